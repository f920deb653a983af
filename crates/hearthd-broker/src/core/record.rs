//! The form in which the broker's state is stored.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    alphabet::Now,
    message::{Expiry, Message, Sender},
    session::{Entry, PendingWill, Progress, Session, SessionId},
};
use crate::packet::{Forwarded, QoS, Version};

/// One change of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The key in it.
    pub key: Vec<u8>,
    /// The value; `None` if the record is removed.
    pub value: Option<Vec<u8>>,
}

/// The tables of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Sessions and wills by number.
    Sessions,
    /// Subscriptions by session and filter.
    Subscriptions,
    /// Unreleased QoS 2 packet identifiers by session.
    Received,
    /// Messages that wait, by number.
    Bodies,
    /// Places in queues, by session and number.
    Entries,
    /// Retained messages by topic.
    Retained,
    /// How far the retained messages of new subscriptions were handed out, by session and filter.
    Cursors,
}

impl Table {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Subscriptions,
        Self::Received,
        Self::Bodies,
        Self::Entries,
        Self::Retained,
        Self::Cursors,
    ];
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) client_id: String,
    pub(super) account: String,
    pub(super) version_5: bool,
    pub(super) expiry: u32,
    /// Milliseconds since the Unix epoch.
    pub(super) ended: Option<u64>,
    pub(super) last_packet_id: u16,
    pub(super) will: Option<WillRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WillRecord {
    message: MessageRecord,
    expiry: Option<u32>,
    retain: bool,
    delay: u32,
    due: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MessageRecord {
    topic: String,
    payload: Vec<u8>,
    properties: Vec<u8>,
    qos: u8,
    /// Milliseconds since the Unix epoch at which the message ends, and the whole interval in seconds.
    expiry: Option<(u64, u32)>,
    account: String,
    client_id: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryRecord {
    pub(super) body: u64,
    qos: u8,
    retain: bool,
    identifiers: Vec<u32>,
    packet_id: Option<NonZeroU16>,
    progress: Progress,
}

impl SessionRecord {
    pub(super) fn of(session: &Session, now: Now) -> Self {
        Self {
            client_id: session.client_id.to_string(),
            account: session.account.to_string(),
            version_5: session.version == Version::V5,
            expiry: session.expiry,
            ended: session.ended.map(|ended| now.to_unix(ended)),
            last_packet_id: session.last_packet_id,
            will: session.will.as_ref().map(|will| WillRecord {
                message: MessageRecord::of(&will.message, now),
                expiry: will.expiry,
                retain: will.retain,
                delay: will.delay,
                due: will.due.map(|due| now.to_unix(due)),
            }),
        }
    }
}

impl WillRecord {
    pub(super) fn restore(self, now: Now) -> Option<PendingWill> {
        Some(PendingWill {
            message: self.message.restore(now)?,
            expiry: self.expiry,
            retain: self.retain,
            delay: self.delay,
            due: self.due.map(|due| now.at_unix(due)),
        })
    }
}

impl MessageRecord {
    pub(super) fn of(message: &Message, now: Now) -> Self {
        Self {
            topic: message.topic.to_string(),
            payload: message.payload.to_vec(),
            properties: message.properties.as_bytes().to_vec(),
            qos: message.qos as u8,
            expiry: message.expiry.map(|expiry| (now.to_unix(expiry.at), expiry.interval)),
            account: message.sender.account.to_string(),
            client_id: message.sender.client_id.to_string(),
        }
    }

    pub(super) fn restore(self, now: Now) -> Option<Message> {
        let expiry = self.expiry.map(|(end, interval)| {
            // A clock that was set back makes no message live longer than it ever was to.
            let longest = now.monotonic + Duration::from_secs(interval.into());
            Expiry { at: now.at_unix(end).min(longest), interval }
        });
        Some(Message {
            topic: self.topic.into(),
            payload: Bytes::from(self.payload),
            properties: Forwarded::from_encoded(&self.properties),
            qos: QoS::from_bits(self.qos)?,
            expiry,
            sender: Sender { account: self.account.into(), client_id: self.client_id.into() },
        })
    }
}

impl EntryRecord {
    pub(super) fn of(entry: &Entry, body: u64) -> Self {
        Self {
            body,
            qos: entry.qos as u8,
            retain: entry.retain,
            identifiers: entry.identifiers.to_vec(),
            packet_id: entry.packet_id,
            progress: entry.progress,
        }
    }

    pub(super) fn restore(self, number: u64, message: Arc<Message>) -> Option<Entry> {
        Some(Entry {
            number,
            message,
            body: Some(self.body),
            qos: QoS::from_bits(self.qos)?,
            retain: self.retain,
            identifiers: self.identifiers.into(),
            packet_id: self.packet_id,
            hold: 0,
            progress: self.progress,
            publication: None,
            stored: true,
        })
    }
}

pub(super) fn encode(record: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(record).expect("records hold nothing that cannot be written")
}

pub(super) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Returns the key of something that belongs to a session.
pub(super) fn key_of(session: SessionId, rest: &[u8]) -> Vec<u8> {
    let mut key = session.0.to_be_bytes().to_vec();
    key.extend_from_slice(rest);
    key
}

/// Takes such a key apart.
pub(super) fn split_key(key: &[u8]) -> Option<(SessionId, &[u8])> {
    let (session, rest) = key.split_first_chunk()?;
    Some((SessionId(u64::from_be_bytes(*session)), rest))
}

impl Now {
    /// Returns a time of the monotonic clock in milliseconds since the Unix epoch.
    pub(super) fn to_unix(self, at: Duration) -> u64 {
        let unix = (self.unix + at).saturating_sub(self.monotonic);
        u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time of the monotonic clock at that many milliseconds since the Unix epoch.
    pub(super) fn at_unix(self, at: u64) -> Duration {
        (self.monotonic + Duration::from_millis(at)).saturating_sub(self.unix)
    }
}
