//! The end: the hub drains, publishes `offline`, and disconnects in order.

use super::{Hub, Next, Phase, Stopping};
use crate::{Fatal, Now, Output, outbox::Kind};

impl Hub {
    /// Begins the end in order: no request is taken any more, and those in progress have the grace period.
    pub(super) fn on_shutdown(&mut self, now: Now) {
        match self.phase {
            Phase::Online(_) => {
                let until = now.monotonic + self.config.grace;
                self.stopping.get_or_insert(Stopping { until, farewell: false });
                self.presence.ends();
            }
            Phase::Waiting { unused, .. } => {
                if let Some(generation) = unused {
                    self.wills.forget(generation);
                    self.store_memory();
                }
                self.stop(Ok(()));
            }
            Phase::Storing { generation, .. } => {
                self.wills.forget(generation);
                self.store_memory();
                self.stop(Ok(()));
            }
            Phase::Connecting { .. } | Phase::Subscribing(_) => {
                let until = now.monotonic + self.config.grace;
                self.stopping.get_or_insert(Stopping { until, farewell: false });
            }
            Phase::Closing { .. } | Phase::Stopped => {}
            Phase::Disconnecting { ref mut next, .. } => *next = Next::Stop(Ok(())),
        }
    }

    /// Says the last `offline` once all answers are out or the grace period is over, and then disconnects.
    pub(super) fn go_on_stopping(&mut self, now: Now) {
        let Some(stopping) = self.stopping else { return };
        let late = stopping.until <= now.monotonic;
        match &self.phase {
            Phase::Online(connection) => {
                let drained = self.requests.is_empty()
                    && self.unpublished.is_empty()
                    && self.outbox.is_drained();
                if (drained || late) && !stopping.farewell {
                    let farewell = self.farewell(now, connection);
                    self.send(farewell, Kind::Farewell, None);
                    let until = now.monotonic + self.config.grace;
                    self.stopping = Some(Stopping { until, farewell: true });
                } else if late && stopping.farewell {
                    self.stop(Ok(()));
                }
            }
            Phase::Stopped => {}
            _ if late => self.stop(Ok(())),
            _ => {}
        }
    }

    /// Ends the state machine; nothing follows.
    pub(super) fn stop(&mut self, result: Result<(), Fatal>) {
        self.keep_doubts();
        self.phase = Phase::Stopped;
        self.outputs.push_back(Output::Stopped(result));
    }
}
