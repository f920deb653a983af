//! Application messages as the broker keeps them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::packet::{Forwarded, QoS};

/// An application message (MQTT 3.3), shared by all sessions that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic Name.
    pub topic: Arc<str>,
    /// Application message.
    pub payload: Bytes,
    /// Properties that go to the subscribers unaltered.
    pub properties: Forwarded,
    /// The publisher's Quality of Service.
    pub qos: QoS,
    /// Message Expiry Interval (MQTT 3.3.2.3.3).
    pub expiry: Option<Expiry>,
    /// Who sent it.
    pub sender: Sender,
}

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The account.
    pub account: Arc<str>,
    /// The client ID.
    pub client_id: Arc<str>,
}

/// When a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// On the monotonic clock.
    pub at: Duration,
    /// The whole interval in seconds.
    pub interval: u32,
}

impl Message {
    /// Returns the memory that the message takes, about.
    pub(super) fn memory(&self) -> usize {
        OVERHEAD + self.topic.len() + self.payload.len() + self.properties.as_bytes().len()
    }

    /// Returns whether the message has ended.
    pub(super) fn is_expired(&self, now: Duration) -> bool {
        self.expiry.is_some_and(|expiry| expiry.at <= now)
    }

    /// Returns what remains of the expiry interval in seconds, a begun second counted whole.
    pub(super) fn remaining_expiry(&self, now: Duration) -> Option<u32> {
        self.expiry.map(|expiry| {
            let left = expiry.at.saturating_sub(now);
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            seconds.min(expiry.interval.into()) as u32
        })
    }
}

impl Expiry {
    /// Starts an interval.
    pub(super) fn start(now: Duration, interval: u32) -> Self {
        Self { at: now + Duration::from_secs(interval.into()), interval }
    }
}

/// Memory of a message without its contents, about.
const OVERHEAD: usize = 320;
