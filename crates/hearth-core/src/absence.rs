//! What became of a will, and the memory that the hub keeps of it across restarts.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::topic::Prefix;

/// Names one connection's will: its Correlation Data, 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Generation(pub [u8; 16]);

impl Generation {
    /// Reads a generation from Correlation Data.
    pub fn from_correlation_data(data: &[u8]) -> Option<Self> {
        data.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({self})")
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.to_string()
    }
}

impl TryFrom<String> for Generation {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const ERROR: &str = "a generation is 32 hexadecimal digits";
        if text.len() != 32 || !text.is_ascii() {
            return Err(ERROR);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ERROR)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ERROR)?;
        }
        Ok(Self(bytes))
    }
}

/// What became of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The broker did not publish it.
    NotPublished,
    /// The broker published it, and somebody acknowledged.
    Consumed,
    /// The broker published it, and nobody acknowledged.
    Unconsumed,
    /// It cannot be known.
    Unknown,
}

impl Outcome {
    /// Returns the outcome as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPublished => "not-published",
            Self::Consumed => "consumed",
            Self::Unconsumed => "unconsumed",
            Self::Unknown => "unknown",
        }
    }
}

/// One answer to a will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who answered: the user property `client_id`, else `__srcId`, else the broker's note of the sender.
    pub responder: Option<String>,
    /// What it did, in its own words; what is not UTF-8 is replaced.
    pub payload: String,
    /// Its `__stat`, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether it came while the hub was away.
    pub before_fence: bool,
}

/// What the hub knows about one absence: the value of the `absence` topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The will's generation.
    pub generation: Generation,
    /// What became of the will.
    pub outcome: Outcome,
    /// Whether the hub had disconnected in order before.
    pub clean: bool,
    /// When the connection with this will began, RFC 3339, by the system's clock of that time.
    pub connected_at: String,
    /// When the outcome was decided, likewise.
    pub decided_at: String,
    /// Every answer to the will, in the order of arrival.
    pub acknowledgements: Vec<Acknowledgement>,
}

/// A will whose outcome is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWill {
    /// Its Correlation Data.
    pub generation: Generation,
    /// The prefix of its topics.
    pub prefix: Option<Prefix>,
    /// When the connection began, RFC 3339.
    pub connected_at: String,
    /// Whether the broker is known to have had it: CONNACK came.
    #[serde(default)]
    pub connected: bool,
    /// Whether the session held the subscriptions that make a missing will evidence.
    pub subscribed: bool,
    /// Whether DISCONNECT 0x00 was sent.
    pub clean: bool,
    /// Whether a copy of it was seen.
    pub seen: bool,
    /// The answers so far.
    pub acknowledgements: Vec<Acknowledgement>,
}

impl OpenWill {
    /// Returns whether the broker had it: an attempt to connect that came to nothing is no absence.
    pub(crate) fn is_worth_telling(&self) -> bool {
        self.connected || self.seen || !self.acknowledgements.is_empty()
    }
}

/// What the store keeps between two lives of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The prefix last learned; the outer `None` means that none was ever learned.
    pub prefix: Option<KnownPrefix>,
    /// Wills whose outcome is open, oldest first.
    pub open: Vec<OpenWill>,
    /// The last outcomes, oldest first.
    pub decided: Vec<Absence>,
    /// The broker that all this is about.
    #[serde(default)]
    pub broker: Option<String>,
    /// Earlier prefixes that the session may still be subscribed under.
    #[serde(default)]
    pub past: Vec<KnownPrefix>,
    /// Whether a connection has subscribed and decided nothing yet: it may have the session of the open wills, or one
    /// that an attempt without CONNACK had made anew; and the store may fail before it holds what comes.
    #[serde(default)]
    pub unproven: bool,
    /// The last wills that each guard acted on, by their Correlation Data, oldest first.
    #[serde(default)]
    pub guarded: BTreeMap<String, Vec<Vec<u8>>>,
}

/// The result of learning the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPrefix {
    /// The prefix; none where the topics stand in their plain form.
    pub prefix: Option<Prefix>,
}

impl Memory {
    /// How many open wills and how many decided ones are kept.
    pub const BOUND: usize = 8;
}

/// Writes a time since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(unix: Duration) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + unix).to_string()
}
