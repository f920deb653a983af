//! One device's instance, wherever its plugin runs.

use std::{sync::Arc, time::Duration};

use hearthd_sdk::abi;

use super::{isolated::Isolated, shared::Shared};
use crate::{
    boundary::{
        call::{Call, CreateArguments, InstanceError, PANICKED},
        host::HostCalls,
        local::Local,
    },
    config::Isolation,
    plugin::{DeviceKind, Launcher},
};

/// A living instance; dropping it ends it.
#[derive(Debug)]
pub(crate) enum Instance {
    /// In this process.
    Local(Local),
    /// In another process.
    Isolated(Isolated),
}

impl Instance {
    /// Creates an instance with what its predecessor saved, in a place that may be another than the configured one.
    pub(crate) fn create(
        kind: &DeviceKind,
        launcher: &Launcher,
        shared: &Arc<Shared>,
        isolation: Isolation,
        saved: Option<&[u8]>,
    ) -> Result<Self, InstanceError> {
        let (device, config) = (&shared.config.id, shared.table.json());
        let children = shared.list_children().join(" ");
        let arguments = CreateArguments { device, config, saved, children: &children };
        if isolation.is_here() {
            let table = kind.table().map_err(InstanceError::Refused)?;
            let calls: Arc<dyn HostCalls> = Arc::clone(shared) as _;
            return Local::create(table, calls, arguments).map(Self::Local);
        }
        Isolated::create(kind, launcher, shared, isolation, arguments).map(Self::Isolated)
    }

    /// Calls the plugin; an error means that the instance is of no use any more (F2).
    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<i32, InstanceError> {
        let status = match self {
            Self::Local(local) => local.call(call),
            Self::Isolated(isolated) => isolated.call(call)?,
        };
        if status == abi::ERR_PANIC {
            Err(InstanceError::Crashed(PANICKED.into()))
        } else {
            Ok(status)
        }
    }

    /// Asks for what a successor should know, after a call; an isolated one has told before the call returned.
    pub(crate) fn save(&mut self) -> Result<Option<Vec<u8>>, InstanceError> {
        match self {
            Self::Local(local) => local.save(),
            Self::Isolated(_) => Ok(None),
        }
    }

    /// As [`Instance::save`], where a thread of the plugin's own may have changed something since the last call.
    pub(crate) fn save_between_calls(&mut self) -> Result<Option<Vec<u8>>, InstanceError> {
        match self {
            Self::Local(local) => local.save(),
            Self::Isolated(isolated) => isolated.save().map(|()| None),
        }
    }

    /// Ends the instance in order; an isolated one saves before it ends.
    pub(crate) fn end(self, grace: Duration) {
        match self {
            Self::Local(local) => drop(local),
            Self::Isolated(isolated) => isolated.end(grace),
        }
    }

    /// Returns why the instance ended, if it ended by itself.
    pub(crate) fn gone(&mut self) -> Option<InstanceError> {
        match self {
            Self::Local(_) => None,
            Self::Isolated(isolated) => isolated.gone(),
        }
    }
}
