//! What other programs are told of the devices, so that they find them without being set up by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::topic::Prefix;

/// Announces devices in the words of another program; the hub publishes them, and takes them back.
pub trait Announcer: fmt::Debug + Send + Sync {
    /// Returns all that shall be retained at the broker; no topic is there twice.
    fn announcements(&self, known: &Known<'_>) -> Vec<Announcement>;

    /// Returns the states of a device as one message, where an announcement needs that; `states` are the payloads by
    /// property.
    fn snapshot(&self, device: &str, states: &BTreeMap<&str, &[u8]>) -> Option<Bytes>;
}

/// What an announcement may depend on.
#[derive(Clone, Debug)]
pub struct Known<'k> {
    /// The prefix of the connection in use.
    pub prefix: Option<&'k Prefix>,
    /// What was announced before, by topic.
    pub before: BTreeMap<&'k str, &'k Announced>,
    /// How each announced device is, as far as that is known.
    pub statuses: BTreeMap<&'k str, KnownStatus<'k>>,
}

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownStatus<'k> {
    /// One word, such as `ready`.
    pub word: &'k str,
    /// What its state carries as user properties, such as the reason.
    pub details: &'k [(String, String)],
}

/// One retained message that announces something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Topic name.
    pub topic: String,
    /// JSON.
    pub payload: Bytes,
    /// What is announced in it, and what was before and is not any more.
    pub parts: BTreeMap<String, String>,
}

/// What may be retained on a topic because of an announcement, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Topic name.
    pub topic: String,
    /// Tells one payload from another; none while it is not known which one the broker has.
    pub digest: Option<u64>,
    /// As in [`Announcement::parts`].
    pub parts: BTreeMap<String, String>,
    /// The topic of start messages that the session may be subscribed to because of it: the first of
    /// [`Discovery::start`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}

/// What is announced, and to whom.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// Writes the announcements.
    pub announcer: Arc<dyn Announcer>,
    /// The devices that are announced.
    pub devices: BTreeSet<String>,
    /// What the topics of all announcements begin with, without a slash at its end.
    pub prefix: String,
    /// The topic and the payload by which the other program says that it has started.
    pub start: (String, &'static str),
}
