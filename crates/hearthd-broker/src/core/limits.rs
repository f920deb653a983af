//! The bounds of the broker, each with its default.

use std::time::Duration;

/// What clients may use up, in bytes where memory is meant.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest packet from a client that is logged in.
    pub packet: u32,
    /// Messages on their way from one client that are not acknowledged to it (Receive Maximum in CONNACK).
    pub receive_maximum: u16,
    /// How many messages to one MQTT 5 client may lack an acknowledgement, if its Receive Maximum allows it.
    pub window: u16,
    /// The same for a client of MQTT 3.1.1, which cannot say how many it takes.
    pub window_v3: u16,
    /// Topic aliases that a client may set on a connection.
    pub topic_aliases: u16,
    /// Bytes that are given to a connection before the system has taken those before.
    pub unsent: usize,
    /// Messages that wait for one session.
    pub session_queue: usize,
    /// Messages that wait for all sessions together.
    pub queues: usize,
    /// Retained messages.
    pub retained: usize,
    /// Sessions, connected and not.
    pub sessions: usize,
    /// Sessions of one account.
    pub sessions_of_account: usize,
    /// Subscriptions of one session.
    pub subscriptions: usize,
    /// Bytes of all subscriptions together.
    pub subscription_memory: usize,
    /// Packets that one client may have waiting for their reply.
    pub replies: usize,
    /// Longest Session Expiry Interval; a longer one, and none of MQTT 3.1.1, is cut to it.
    pub session_expiry: Duration,
    /// The longest time that a change with an acknowledgement waits for other changes to share a write.
    pub write_delay: Duration,
    /// Longest time that any other change waits.
    pub lazy_write_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet: 1024 * 1024,
            receive_maximum: 256,
            window: 1024,
            window_v3: 100,
            topic_aliases: 8,
            unsent: 32 * 1024,
            session_queue: 4 * 1024 * 1024,
            queues: 10 * 1024 * 1024,
            retained: 8 * 1024 * 1024,
            sessions: 10_000,
            sessions_of_account: 4_000,
            subscriptions: 1_000,
            subscription_memory: 4 * 1024 * 1024,
            replies: 4_096,
            session_expiry: Duration::from_secs(90 * 24 * 3600),
            write_delay: Duration::from_millis(5),
            lazy_write_delay: Duration::from_secs(1),
        }
    }
}
