//! One device's instance, wherever its plugin runs.

use std::{sync::Arc, time::Duration};

use hearthd_sdk::abi;

use super::{isolated::Isolated, shared::Shared};
use crate::{
    boundary::{
        call::{Birth, Call, Fall, PANICKED},
        host::HostCalls,
        local::Local,
    },
    config::Isolation,
    plugin::{Kind, Launcher},
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
        kind: &Kind,
        launcher: &Launcher,
        shared: &Arc<Shared>,
        isolation: Isolation,
        saved: Option<&[u8]>,
    ) -> Result<Self, Fall> {
        let config = shared.config.config.to_string();
        let birth = Birth { device: &shared.config.id, config: &config, saved };
        if isolation.is_here() {
            let table = kind.table().map_err(Fall::Refused)?;
            let calls: Arc<dyn HostCalls> = Arc::clone(shared) as _;
            return Local::create(table, calls, birth).map(Self::Local);
        }
        Isolated::create(kind, launcher, shared, isolation, birth).map(Self::Isolated)
    }

    /// Calls the plugin; an error means that the instance is of no use any more (F2).
    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<i32, Fall> {
        let status = match self {
            Self::Local(local) => local.call(call),
            Self::Isolated(isolated) => isolated.call(call)?,
        };
        if status == abi::ERR_PANIC { Err(Fall::Crashed(PANICKED.into())) } else { Ok(status) }
    }

    /// Asks for what a successor should know, after a call; an isolated one has told before the call returned.
    pub(crate) fn save(&mut self) -> Result<Option<Vec<u8>>, Fall> {
        match self {
            Self::Local(local) => local.save(),
            Self::Isolated(_) => Ok(None),
        }
    }

    /// As [`Instance::save`], where a thread of the plugin's own may have changed something since the last call.
    pub(crate) fn save_between_calls(&mut self) -> Result<Option<Vec<u8>>, Fall> {
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

    /// Returns why the instance is gone, if it went by itself.
    pub(crate) fn gone(&mut self) -> Option<Fall> {
        match self {
            Self::Local(_) => None,
            Self::Isolated(isolated) => isolated.gone(),
        }
    }
}
