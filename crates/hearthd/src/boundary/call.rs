//! The calls to an instance, wherever its plugin runs, and how they fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// A message on one of the device's own topics (Q3).
    Message { topic: &'a str, payload: &'a [u8], retained: bool },
    /// The connection was made or lost (Q5).
    Link(bool),
    /// What became of a message of the device (Q4).
    Outcome { token: u64, status: i32, reply: &'a [u8] },
    /// About a device that it has added (N5).
    Child { child: &'a str, call: ChildCall<'a> },
}

/// A call about a device that another one has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChildCall<'a> {
    /// Set properties; as [`Call::Command`].
    Command { token: u64, deadline_ms: u64, property: Option<&'a str>, payload: &'a str },
    /// A timer has fired.
    Timer(u32),
    /// The plugin asked for it.
    Wake,
    /// It is none after all, for this reason (N6).
    Refused(&'a str),
}

impl<'a> ChildCall<'a> {
    /// Returns the same call of a device that nobody has added; none where there is no such call.
    pub(crate) fn as_call(self) -> Option<Call<'a>> {
        match self {
            Self::Command { token, deadline_ms, property, payload } => {
                Some(Call::Command { token, deadline_ms, property, payload })
            }
            Self::Timer(id) => Some(Call::Timer(id)),
            Self::Wake => Some(Call::Wake),
            Self::Refused(_) => None,
        }
    }
}

impl Call<'_> {
    /// Returns whom a command is for, and its token: the name of a child, or nothing for the device itself.
    pub(crate) fn command(&self) -> Option<(&str, u64)> {
        match self {
            Self::Command { token, .. } => Some(("", *token)),
            Self::Child { child, call: ChildCall::Command { token, .. } } => Some((child, *token)),
            Self::Timer(_)
            | Self::Wake
            | Self::Absence(_)
            | Self::Message { .. }
            | Self::Link(_)
            | Self::Outcome { .. }
            | Self::Child { .. } => None,
        }
    }
}

/// A device that another one adds (N2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewChild<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) title: &'a str,
    pub(crate) room: &'a str,
    /// A JSON object of names and declarations.
    pub(crate) properties: &'a str,
}

/// Why a device is not added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildRefusal {
    pub(crate) status: i32,
    /// What of it is wrong; empty for the whole.
    pub(crate) path: &'static str,
    pub(crate) message: String,
}

/// A message that a device publishes on a topic of its own (Q2), or its request to another device (Q7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication<'a> {
    pub(crate) token: u64,
    /// The token of the command that it belongs to.
    pub(crate) command: Option<u64>,
    /// The topic name; of a request to another device, `DEVICE/PROPERTY`.
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) at_least_once: bool,
    pub(crate) retain: bool,
    pub(crate) reply: bool,
    /// It is a request to another device (Q7).
    pub(crate) asks: bool,
    pub(crate) expiry: Duration,
}

/// What an instance is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateArguments<'a> {
    pub(crate) device: &'a str,
    /// The device's own table, as JSON.
    pub(crate) config: &'a str,
    pub(crate) saved: Option<&'a [u8]>,
    /// The names of the children that are waited for, with blanks (N3).
    pub(crate) children: &'a str,
}

/// Why there is no instance, or none any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InstanceError {
    /// The plugin said that it cannot create the device now.
    Refused(String),
    /// The plugin has panicked, or its process has ended.
    Crashed(String),
    /// Its process has ended, and another device of it was to blame.
    ProcessLost(String),
}

/// The reason of a panic that was caught at the boundary.
pub(crate) const PANICKED: &str = "its plugin has panicked";
