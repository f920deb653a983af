//! The fence: a message of the hub to itself, behind everything that the broker had queued; and what its return
//! decides.

use std::time::Duration;

use super::{Connection, Hub, Phase};
use crate::{
    Message, Notice, Now, Output, absence::rfc3339, outbox::Kind, token::Purpose, wills::View,
};

/// Where the fence of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// Not sent yet.
    Unsent,
    /// Sent; given up at this time, which moves on while the broker delivers, but not past the latest.
    Sent { until: Duration, latest: Duration },
    /// Back; late copies are waited for until this time.
    Settling { until: Duration },
    /// Sent once more: what is decided is decided on a connection that lives. Given up at this time.
    Confirming { until: Duration },
    /// The outcomes are decided; the fence may still come.
    Decided { fenced: bool },
}

impl Fence {
    /// Returns whether the fence came back on this connection.
    pub(super) fn is_back(self) -> bool {
        matches!(
            self,
            Self::Settling { .. } | Self::Confirming { .. } | Self::Decided { fenced: true }
        )
    }
}

impl Hub {
    /// Publishes what comes back to the hub behind all that the broker had for it by then.
    pub(super) fn send_fence(&mut self) {
        let fence = self.own_message("fence", Purpose::Fence);
        self.send(fence, Kind::Connection, None);
    }

    /// The fence has come back: all that was queued has arrived before it. The first time the hub goes online, the
    /// second time it decides about its wills.
    pub(super) fn on_fence(&mut self, now: Now, message: &Message) {
        let settle = self.config.settle;
        if self.own_generation(message, Purpose::Fence).is_none() {
            return;
        }
        self.note_expiry(message);
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        match connection.fence {
            Fence::Sent { .. } => {
                connection.fence = Fence::Settling { until: now.monotonic + settle };
                self.pass_fence(now);
            }
            Fence::Confirming { .. } => self.decide(now, true),
            Fence::Decided { fenced: false } => {
                connection.fence = Fence::Decided { fenced: true };
                self.settle_journal(now);
            }
            Fence::Unsent | Fence::Settling { .. } | Fence::Decided { fenced: true } => {}
        }
    }

    /// What is still being delivered shows that the broker works on what it has queued: the fence may take longer.
    pub(super) fn put_off_fence(&mut self, now: Now) {
        let fence_timeout = self.config.fence_timeout;
        if let Phase::Online(connection) = &mut self.phase
            && let Fence::Sent { until, latest } = &mut connection.fence
        {
            *until = (now.monotonic + fence_timeout).min(*latest);
        }
    }

    /// All that was queued has been seen, or is not waited for any longer.
    pub(super) fn pass_fence(&mut self, now: Now) {
        self.say_online(now);
        if let Some(connection) = self.connection() {
            let session_present = connection.session_present;
            self.notice(Notice::Online { session_present });
        }
        if self.fence_is_back() {
            if self.wills.note_takes_its_own() {
                self.store_memory();
            }
            self.forget_left_filters();
        }
        self.settle_journal(now);
        self.release_wills(now);
        self.begin_taking_back(now);
    }

    /// Returns whether a message that arrives now may have waited at the broker while the hub was away.
    pub(super) fn may_be_stale(&self) -> bool {
        self.connection().is_some_and(|connection| {
            connection.session_present
                && matches!(connection.fence, Fence::Unsent | Fence::Sent { .. })
        })
    }

    /// Whether all that the broker had queued has been seen, or is not waited for any longer.
    pub(super) fn has_passed_fence(&self) -> bool {
        matches!(&self.phase, Phase::Online(connection)
            if connection.fence.is_back() || matches!(connection.fence, Fence::Decided { .. }))
    }

    /// Returns whether the hub is online and the fence came back.
    pub(super) fn fence_is_back(&self) -> bool {
        matches!(&self.phase, Phase::Online(connection) if connection.fence.is_back())
    }

    /// Returns when the fence is given up, or the outcomes are decided.
    pub(super) fn fence_due(&self, connection: &Connection) -> Option<Duration> {
        match connection.fence {
            // It comes behind what is held; what was left has it come on the next connection.
            Fence::Sent { .. } if self.has_left || !self.held.is_empty() => None,
            Fence::Sent { until, .. } | Fence::Settling { until } | Fence::Confirming { until } => {
                Some(until)
            }
            Fence::Unsent | Fence::Decided { .. } => None,
        }
    }

    /// Sends the fence again, or decides about the wills, once the time for late evidence is over.
    pub(super) fn decide_when_due(&mut self, now: Now) {
        let Phase::Online(connection) = &self.phase else { return };
        if self.fence_due(connection).is_none_or(|due| due > now.monotonic) {
            return;
        }
        let (fence, generation) = (connection.fence, connection.generation);
        if matches!(fence, Fence::Settling { .. }) && self.wills.has_past(generation) {
            // The connection may have been dead meanwhile, and an acknowledgement be on its way.
            let until = now.monotonic + self.config.fence_timeout;
            self.set_fence(Fence::Confirming { until });
            return self.send_fence();
        }
        self.decide(now, matches!(fence, Fence::Settling { .. }));
    }

    /// Decides the outcomes; `confirmed` says that all has been seen that came by now.
    fn decide(&mut self, now: Now, confirmed: bool) {
        let Phase::Online(connection) = &self.phase else { return };
        let fenced = connection.fence.is_back();
        let (resumed, watched) = (connection.resumed, connection.watched);
        let generation = connection.generation;
        let prefix = connection.prefix.clone();
        self.set_fence(Fence::Decided { fenced });
        if !fenced {
            self.notice(Notice::FenceGivenUp);
            self.pass_fence(now);
        }
        if !resumed && fenced {
            let forgotten = self.journal.session_lost();
            self.forget(forgotten);
        }
        self.note_proof();
        self.leave_past_prefixes();
        if !self.wills.has_past(generation) {
            return;
        }
        let view = View { resumed, fenced: confirmed, watched };
        let fresh = self.config.will_delay + LATE;
        let decided = self.wills.decide(generation, view, &rfc3339(now.unix), now.monotonic, fresh);
        self.store_memory();
        for absence in decided {
            self.publish_absence(prefix.as_ref(), &absence);
            self.outputs.push_back(Output::Absence(absence));
        }
    }

    fn set_fence(&mut self, fence: Fence) {
        if let Phase::Online(connection) = &mut self.phase {
            connection.fence = fence;
        }
    }
}

/// How long after an outcome that silence proved, beyond the delay of a will, news of an unknown connection may come.
const LATE: Duration = Duration::from_secs(60);
