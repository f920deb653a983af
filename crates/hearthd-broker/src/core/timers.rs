//! Events that are due later.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{alphabet::LinkId, session::SessionId};

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The client may have been silent for too long (MQTT 3.1.2.10).
    KeepAlive(LinkId),
    /// The session's will is due (MQTT 3.1.3.2.2).
    Will(SessionId),
    /// The session ends (MQTT 3.1.2.11.2).
    SessionEnd(SessionId),
    /// Messages that have ended are looked for.
    Sweep,
}

/// The deadlines, one for each timer.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Duration, Timer)>,
    deadlines: BTreeMap<Timer, Duration>,
}

impl Timers {
    /// Sets a deadline in the place of the one before it.
    pub(super) fn set(&mut self, timer: Timer, at: Duration) {
        self.clear(timer);
        self.order.insert((at, timer));
        self.deadlines.insert(timer, at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.deadlines.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Returns the next deadline.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one timer whose time has come.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let &(at, timer) = self.order.first().filter(|(at, _)| *at <= now)?;
        self.order.remove(&(at, timer));
        self.deadlines.remove(&timer);
        Some(timer)
    }
}
