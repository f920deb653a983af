//! One connection, from its CONNECT on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::session::SessionId;
use crate::packet::{Reply, Version};

/// The state of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: SessionId,
    pub(super) version: Version,
    /// CONNACK is out: messages may follow it.
    pub(super) open: bool,
    /// Longest silence (MQTT 3.1.2.10).
    pub(super) keep_alive: Option<Duration>,
    pub(super) last_received: Duration,
    /// Largest packet that the client takes.
    pub(super) maximum_packet_size: usize,
    /// Messages that may be in flight to the client.
    pub(super) window: usize,
    /// The client wants Reason Strings.
    pub(super) wants_reasons: bool,
    /// The session of the CONNECT was to end with the connection (MQTT 3.14.2.2.2).
    pub(super) expires_at_once: bool,
    /// Topics by alias; the first is that of alias 1.
    pub(super) aliases: Vec<Option<Arc<str>>>,
    /// Replies in the order of what they reply to (MQTT 4.6).
    pub(super) replies: VecDeque<PendingReply>,
    /// QoS 1 messages from the client that are not acknowledged.
    pub(super) unacknowledged: usize,
    /// Bytes of messages that were sent since the last [`Input::Drained`](super::Input::Drained).
    pub(super) unsent: usize,
}

/// A reply, and what it waits for.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) reply: Reply,
    /// The batch that has to be written before; 0 where there is nothing to write.
    pub(super) batch: u64,
    /// The publication that makes the batch needless once all its receivers acknowledged it.
    pub(super) publication: Option<u64>,
    /// Filters whose retained messages are handed out after it.
    pub(super) retained: Vec<Arc<str>>,
}

impl PendingReply {
    /// Creates a reply that waits for nothing but those before it.
    pub(super) fn now(reply: Reply) -> Self {
        Self::after(reply, 0)
    }

    /// Creates a reply that waits for a batch.
    pub(super) fn after(reply: Reply, batch: u64) -> Self {
        Self { reply, batch, publication: None, retained: Vec::new() }
    }
}
