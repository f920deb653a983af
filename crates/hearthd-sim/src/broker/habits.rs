//! How a broker behaves where the standard leaves a choice, and where it breaks the standard.

use std::time::Duration;

/// How this broker does what the standard leaves open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether Packet Identifiers count up; otherwise the lowest free one is taken.
    pub(crate) counts_packet_ids: bool,
    /// Whether order holds only within a topic (MQTT 4.6).
    pub(crate) reorders: bool,
    /// Whether it sends a client more than that client's Receive Maximum, as Mosquitto 2.0.11 does on a resumed session.
    pub(crate) overruns: bool,
    pub(crate) takeover: Takeover,
    /// How long it keeps a session, which CONNACK says where it is less than what was asked for.
    pub(crate) session_expiry: Duration,
    /// Whether it takes wildcards in filters.
    pub(crate) wildcards: bool,
    /// Whether it never answers a SUBSCRIBE with several filters.
    pub(crate) one_filter_at_a_time: bool,
    /// Whether it adds a Message Expiry Interval to messages that have none.
    pub(crate) adds_expiry: bool,
    /// Whether PUBACK says that nobody is subscribed (0x10).
    pub(crate) tells_of_nobody: bool,
    /// Whether it says who sent a message, and lets nobody else say so.
    pub(crate) vouches: bool,
}

impl Habits {
    /// The Message Expiry Interval that is added, in seconds.
    pub(crate) const ADDED_EXPIRY: u32 = 86_400;
    /// How long a hub asks for its session to be kept.
    pub(crate) const ASKED_EXPIRY: Duration = Duration::from_secs(7 * 86_400);
}

/// What becomes of a pending will when its client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// It is cancelled, as the standard says.
    Cancels,
    /// It is published at once.
    Publishes,
    /// It is published a second later.
    PublishesLate,
}

/// What a restart of the broker does to wills that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WillFate {
    Lost,
    Published,
    Kept,
}
