//! The state of a client across its connections (MQTT 4.1).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use super::{alphabet::LinkId, message::Message};
use crate::{
    packet::{QoS, SubscriptionOptions, Version},
    rights::Grant,
};

/// One session; no number is used twice, also not by a session that begins after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(pub(super) u64);

/// A client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_id: Arc<str>,
    pub(super) account: Arc<str>,
    /// What the account grants to this client.
    pub(super) grant: Grant,
    pub(super) version: Version,
    /// The connection, while there is one.
    pub(super) link: Option<LinkId>,
    /// Session Expiry Interval in seconds; `u32::MAX` never ends.
    pub(super) expiry: u32,
    /// When the last connection ended.
    pub(super) ended: Option<Duration>,
    /// The broker ended while the client was connected: what waits may have been sent.
    pub(super) was_connected: bool,
    pub(super) will: Option<PendingWill>,
    pub(super) subscriptions: BTreeMap<Arc<str>, Subscription>,
    /// Messages that wait to be sent, those to be sent again first.
    pub(super) queue: VecDeque<Entry>,
    /// Messages that were sent on this connection and are not acknowledged.
    pub(super) in_flight: BTreeMap<NonZeroU16, Entry>,
    /// Packet identifiers of messages in `queue` and `in_flight`.
    pub(super) packet_ids: BTreeSet<NonZeroU16>,
    pub(super) last_packet_id: u16,
    pub(super) last_entry: u64,
    /// Retained messages that the session is still to be given.
    pub(super) retained: VecDeque<RetainedCursor>,
    /// Packet identifiers of QoS 2 messages from the client that it has not released (MQTT 4.3.3), each with the batch
    /// that keeps it.
    pub(super) received: BTreeMap<NonZeroU16, u64>,
    /// Memory of `queue` and `in_flight`.
    pub(super) queued: usize,
    /// QoS 0 messages in `queue`.
    pub(super) giving_way: usize,
}

/// A subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Subscription {
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: Option<u32>,
}

/// How far the retained messages of a subscription were handed out.
#[derive(Debug)]
pub(super) struct RetainedCursor {
    pub(super) filter: Arc<str>,
    /// The last topic that was handed out.
    pub(super) after: Option<Arc<str>>,
    /// The SUBACK is out, so they may follow it.
    pub(super) ready: bool,
}

/// A will that was not published (MQTT 3.1.2.5).
#[derive(Clone, Debug)]
pub(super) struct PendingWill {
    /// The message, whose expiry begins when it is published.
    pub(super) message: Message,
    pub(super) expiry: Option<u32>,
    pub(super) retain: bool,
    /// Will Delay Interval in seconds.
    pub(super) delay: u32,
    /// When it is published, once the connection has ended.
    pub(super) due: Option<Duration>,
}

/// A message that waits for the client, or for its acknowledgement.
#[derive(Debug)]
pub(super) struct Entry {
    /// Rises with every message of the session.
    pub(super) number: u64,
    pub(super) message: Arc<Message>,
    /// The message in the store, where the entry outlives the broker.
    pub(super) body: Option<u64>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Box<[u32]>,
    pub(super) packet_id: Option<NonZeroU16>,
    /// The batch without which the message may not be sent.
    pub(super) hold: u64,
    pub(super) progress: Progress,
    /// The publication whose acknowledgement waits for this entry.
    pub(super) publication: Option<u64>,
    /// The entry is in a batch.
    pub(super) stored: bool,
}

/// How far a delivery got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Progress {
    /// Never sent.
    Waiting,
    /// Sent at least once.
    Sent,
    /// PUBREC arrived: PUBREL will be sent (MQTT 4.3.3).
    Released,
}

impl Session {
    /// Returns whether the session outlives its connection, and so the broker.
    pub(super) fn is_durable(&self) -> bool {
        self.expiry > 0
    }

    /// Takes the next packet identifier: they rise, so that none comes back soon (MQTT 2.2.1).
    ///
    /// There is always one, because far fewer messages than identifiers are in flight.
    pub(super) fn take_packet_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_packet_id)
                && self.packet_ids.insert(id)
            {
                return id;
            }
        }
    }

    /// Returns whether the first message that was never sent has ended.
    pub(super) fn starts_expired(&self, now: Duration) -> bool {
        let first = self.queue.front();
        first.is_some_and(|entry| entry.packet_id.is_none() && entry.message.is_expired(now))
    }

    /// Makes everything that was sent on the last connection be sent again on the next, in order (MQTT 4.4, 4.6).
    pub(super) fn rewind(&mut self) {
        let mut again: Vec<Entry> = Vec::new();
        let in_flight = std::mem::take(&mut self.in_flight);
        for (id, entry) in in_flight {
            match entry.progress {
                Progress::Released => drop(self.in_flight.insert(id, entry)),
                Progress::Waiting | Progress::Sent => again.push(entry),
            }
        }
        again.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        for entry in again {
            self.queue.push_front(entry);
        }
        for cursor in &mut self.retained {
            cursor.ready = true;
        }
    }
}

impl Entry {
    /// Returns whether its packet identifier has to be stored before it goes out.
    pub(super) fn needs_hold(&self) -> bool {
        self.qos == QoS::ExactlyOnce && self.packet_id.is_none() && self.body.is_some()
    }

    /// Returns the memory that the entry takes, about, its message as if it were the only one.
    pub(super) fn memory(&self) -> usize {
        Self::memory_of(&self.message)
    }

    /// Returns the memory that an entry of a message takes.
    pub(super) fn memory_of(message: &Message) -> usize {
        ENTRY + message.memory()
    }
}

/// Memory of an entry without its message, about.
const ENTRY: usize = 256;
