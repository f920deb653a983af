//! What the broker does not offer or does not answer: the hub reports it and works without it.

use std::time::Duration;

use super::{Hub, Next, Phase};
use crate::{Connack, Lack, Limits, Notice, Now, QoS};

impl Connack {
    /// Lists what the broker does not offer, of what a hub with this client ID wants.
    pub fn lacks(&self, client_id: &str) -> Vec<Lack> {
        let Limits { qos, retain } = self.limits;
        let mut lacks = Vec::new();
        lacks.extend((qos < QoS::AtLeastOnce).then_some(Lack::AtLeastOnce));
        lacks.extend((!retain).then_some(Lack::Retain));
        lacks.extend((!self.wildcards).then_some(Lack::Wildcards));
        lacks.extend(self.session_expiry.map(|seconds| Lack::SessionExpiry { seconds }));
        let assigned = self.assigned_client_id.as_deref().filter(|id| *id != client_id);
        lacks.extend(assigned.map(|assigned| Lack::ClientId { assigned: assigned.to_owned() }));
        lacks
    }
}

impl Hub {
    /// Tells what the broker does not offer, where that is something else than before; the next will keeps to it.
    pub(super) fn note_lacks(&mut self, connack: &Connack) {
        if self.wills.note_limits(connack.limits) {
            self.store_memory();
        }
        let lacks = connack.lacks(&self.config.client_id);
        if lacks != self.lacks {
            self.lacks.clone_from(&lacks);
            self.notice(Notice::Lacks(lacks));
        }
    }

    /// A refused will may be one that the broker cannot keep: the next one is less.
    pub(super) fn learn_from_refusal(&mut self, reason_code: u8) {
        let mut limits = self.wills.memory().limits;
        match reason_code {
            RETAIN_NOT_SUPPORTED => limits.retain = false,
            QOS_NOT_SUPPORTED => limits.qos = QoS::AtMostOnce,
            _ => {}
        }
        self.wills.note_limits(limits);
    }

    /// Returns how long PUBACK may take: three times the keep alive that is agreed on.
    pub(super) fn puback_timeout(&self, connack: &Connack) -> Duration {
        let server = connack.server_keep_alive.filter(|seconds| *seconds > 0);
        let agreed = server.map(|seconds| Duration::from_secs(seconds.into()));
        agreed.unwrap_or(self.config.keep_alive).max(SHORTEST_KEEP_ALIVE) * 3
    }

    /// Returns when a PUBACK that has not come is given up.
    pub(super) fn puback_due(&self) -> Option<Duration> {
        // One that ends waits no longer than its grace.
        let Phase::Online(connection) = &self.phase else { return None };
        if self.stopping.is_some() {
            return None;
        }
        Some(self.oldest_unanswered()?.0 + connection.puback_timeout)
    }

    /// Connects again where the broker gives no PUBACK: it may have lost the message, or itself.
    pub(super) fn give_up_puback(&mut self, now: Now) {
        if self.puback_due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        let topic = self.oldest_unanswered().map(|(_, topic)| topic.to_owned());
        self.notice(Notice::PublishUnanswered { topic: topic.unwrap_or_default() });
        self.leave_silent_broker(Next::Wait);
    }

    /// Gives a connection up on which the broker does not answer: it may have gone, and all that it had not written with it.
    pub(super) fn leave_silent_broker(&mut self, next: Next) {
        self.doubt_announcements();
        let will = self.connection().map(|connection| connection.generation);
        self.disconnect(next, will);
    }
}

/// CONNACK reason codes of a will that the broker cannot keep (MQTT 3.2.2.2).
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
const QOS_NOT_SUPPORTED: u8 = 0x9B;
/// A broker that wants to hear of its clients more often is no faster for it.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(5);
