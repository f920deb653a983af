//! One device's instance, wherever its plugin runs.

use std::{sync::Arc, time::Duration};

use hearthd_sdk::abi;
use serde::{Deserialize, Serialize};

use super::{
    crashes::calls::Work, host::HostCalls, isolated::Isolated, local::Local, shared::Shared,
};
use crate::{
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

/// A call into the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call<'a> {
    /// Set properties (C0).
    Command {
        token: u64,
        deadline_ms: u64,
        /// The property; none for a set of several.
        property: Option<&'a str>,
        payload: &'a str,
    },
    /// A timer has fired.
    Timer(u32),
    /// The plugin asked for it.
    Wake,
    /// What became of the hub's will (A1).
    Absence(&'a str),
}

impl Call<'_> {
    /// Returns what the plugin is called for.
    pub(crate) fn work(&self) -> Work {
        match self {
            Self::Command { .. } => Work::Command,
            Self::Timer(_) => Work::Timer,
            Self::Wake => Work::Wake,
            Self::Absence(_) => Work::Absence,
        }
    }
}

/// What an instance is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Birth<'a> {
    pub(crate) device: &'a str,
    /// The device's own table, as JSON.
    pub(crate) config: &'a str,
    pub(crate) saved: Option<&'a [u8]>,
}

/// Why there is no instance, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fall {
    /// The plugin said that it cannot create the device now.
    Refused(String),
    /// The plugin has panicked, or its process has ended.
    Crashed(String),
    /// Its process has ended, and another device of it was to blame.
    Bereft(String),
}

impl Fall {
    pub(crate) fn reason(&self) -> &str {
        let (Self::Refused(reason) | Self::Crashed(reason) | Self::Bereft(reason)) = self;
        reason
    }
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

/// The reason of a panic that was caught at the boundary.
pub(crate) const PANICKED: &str = "its plugin has panicked";
