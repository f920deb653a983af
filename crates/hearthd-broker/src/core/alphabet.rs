//! All inputs and outputs of the core. Nothing else can happen to it.

use std::{sync::Arc, time::Duration};

use super::{delivery::Delivery, record::Change};
use crate::{
    packet::{Connect, Received, Reply, WireError},
    rights::AccountTable,
};

/// The time at which an input happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time that never goes back; all deadlines live here. It is far from 0, so that what happened before a restart has
    /// a time as well.
    pub monotonic: Duration,
    /// Time since the Unix epoch; stored times use it, because it continues while the broker is down.
    pub unix: Duration,
}

/// One network connection, named by the driver; no number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happens to the broker.
#[derive(Clone, Debug)]
pub enum Input {
    /// CONNECT arrived, and its password is the account's (MQTT 3.1).
    Connected {
        /// The connection.
        link: LinkId,
        /// The packet.
        connect: Box<Connect>,
        /// The account that it logged in as.
        account: Arc<str>,
    },
    /// Any other packet arrived.
    Received {
        /// The connection.
        link: LinkId,
        /// The packet.
        packet: Received,
    },
    /// Something arrived that is no packet (MQTT 4.13).
    Malformed {
        /// The connection.
        link: LinkId,
        /// What is wrong with it.
        error: WireError,
    },
    /// The connection is gone.
    Closed {
        /// The connection.
        link: LinkId,
    },
    /// All that was sent on the connection is with the system.
    Drained {
        /// The connection.
        link: LinkId,
    },
    /// The store holds this batch and all before it, durably.
    Written {
        /// The number of [`Output::Write`].
        batch: u64,
    },
    /// The accounts changed.
    Accounts(AccountTable),
    /// The password of an account changed.
    LoggedOut {
        /// The account.
        account: Arc<str>,
    },
    /// The broker stops: every connection ends, every will is due as if it were cut.
    Stop,
    /// Nothing but time passed.
    Tick,
}

/// What the broker wants.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a packet.
    Send {
        /// The connection.
        link: LinkId,
        /// The packet.
        packet: Outgoing,
    },
    /// End the connection once all before it is sent.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Write changes durably, all or none of them, after those of the batches before.
    Write {
        /// Rises by one with every batch.
        batch: u64,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Tell people.
    Notice(Notice),
}

/// A packet to a client.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// PUBLISH (MQTT 3.3).
    Publish(Delivery),
    /// Any other.
    Reply(Reply),
}

/// What people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind of thing happened; the log tells each kind of a client once in a while.
    pub kind: NoticeKind,
    /// Whose doing it is.
    pub client_id: Arc<str>,
    /// The account.
    pub account: Arc<str>,
    /// Why, for people.
    pub why: String,
}

/// The kinds of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// A CONNECT was refused.
    ConnectRefused,
    /// A message was refused.
    PublishRefused,
    /// A subscription was refused.
    SubscribeRefused,
    /// A message was not kept for a session that has too much waiting.
    Dropped,
    /// A session was ended because too much waits for it.
    SessionFull,
    /// A will was not published.
    WillRefused,
    /// The client broke the protocol, or was silent for too long.
    Ended,
    /// A record of the store could not be read.
    StoreDamaged,
}
