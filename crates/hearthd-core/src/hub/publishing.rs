//! Messages to the broker: into the outbox, sent as the window allows, and removed with their PUBACK.

use std::time::Duration;

use super::{Hub, Next, Phase};
use crate::{
    Message, Notice, Now, Output, PublishId,
    outbox::{Kind, Taken},
};

impl Hub {
    /// Puts a message into the outbox. Without room it is given up, with a notice, and the deliveries that wait for
    /// it get their PUBACK.
    pub(super) fn send(
        &mut self,
        message: Message,
        kind: Kind,
        expires: Option<Duration>,
    ) -> Option<PublishId> {
        match self.outbox.push(message, kind, expires) {
            Ok(id) => Some(id),
            Err((kind, topic)) => {
                self.notice(Notice::QueueFull { topic });
                if let Kind::Response { deliveries, .. } = kind {
                    self.finish_deliveries(&deliveries);
                }
                None
            }
        }
    }

    /// Hands over what the window allows.
    pub(super) fn pump(&mut self, now: Now) {
        let Phase::Online(connection) = &self.phase else { return };
        let window = connection.window;
        let window = if self.denied.is_careful { window.of_one() } else { window };
        while let Some(taken) = self.outbox.take(now.monotonic, window, &self.denied.aside) {
            match taken {
                Taken::Publish(id, message) => {
                    self.outputs.push_back(Output::Publish { id, message });
                }
                Taken::Dropped(id, kind, topic) => {
                    self.let_go(id, kind, false);
                    self.notice(Notice::MessageDropped { topic });
                }
                Taken::LeftOut(id, kind, topic) => self.leave_out(now, id, kind, topic),
            }
        }
        self.end_care();
        self.pump_bridges(now);
    }

    /// PUBACK has come, with a reason code (MQTT 3.4.2.1): goes on with what waited for it, or sends a refused
    /// message again later.
    pub(super) fn on_published(&mut self, id: PublishId, reason_code: u8) {
        if self.on_bridge_published(id, reason_code) {
            return;
        }
        let refused = reason_code >= REFUSED;
        if refused && self.discovery_refused(id, reason_code) {
            return;
        }
        if PASSING_REFUSALS.contains(&reason_code)
            && let Some(topic) = self.outbox.put_off(id, self.clock)
        {
            self.acquit(&topic);
            return self.notice(Notice::PublishRefused { topic, reason_code });
        }
        let Some((kind, topic)) = self.outbox.remove(id) else { return };
        self.acquit(&topic);
        if refused {
            if kind == Kind::Clearing {
                // What cannot be cleared is left, and known to be there.
                self.leave_uncleared(&topic, PASSING_REFUSALS.contains(&reason_code));
            }
            self.notice(Notice::PublishRefused { topic, reason_code });
        }
        let farewell = kind == Kind::Farewell;
        self.let_go(id, kind, !refused);
        if farewell && refused {
            // The will says it instead, which a DISCONNECT would delete.
            return self.stop(Ok(()));
        }
        if let Phase::Online(connection) = &self.phase
            && farewell
        {
            let generation = connection.generation;
            self.disconnect(Next::Stop(Ok(())), Some(generation));
        }
    }

    /// A message has left the outbox: the broker has it, or it was given up.
    pub(super) fn let_go(&mut self, id: PublishId, kind: Kind, is_taken: bool) {
        self.announcement_left(id, &kind, is_taken);
        if self.presence.published(id, is_taken) {
            self.acknowledge_evidence();
        }
        if let Kind::Response { entry, deliveries } = kind {
            if let Some(entry) = entry {
                self.mark_delivered(entry, Some(id));
            }
            self.finish_deliveries(&deliveries);
        }
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// PUBACK reason codes that may be others later (MQTT 3.4.2.1): unspecified, implementation specific, quota exceeded.
const PASSING_REFUSALS: [u8; 3] = [0x80, 0x83, 0x97];
