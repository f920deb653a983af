//! Messages for which the broker ends the connection instead of refusing them. They are named, and set aside after the
//! second time, so that such a message does not keep the hub offline for ever.

use std::{collections::BTreeMap, time::Duration};

use super::{Hub, Phase, telling::Telling};
use crate::{
    Disconnection, Notice, Now, PublishId,
    outbox::{Aside, Kind},
};

/// What the broker ended connections over.
#[derive(Debug, Default)]
pub(super) struct Denied {
    /// The topic of the oldest message without PUBACK when the last connection ended early.
    last: Option<String>,
    /// The topics that one connection has ended over, and until when that counts.
    suspected: BTreeMap<String, Duration>,
    /// The topics that nothing is published on for now.
    pub(super) aside: Aside,
    /// Messages go out one at a time, which shows the one that the broker does not take.
    pub(super) is_careful: bool,
    told: Telling,
}

impl Denied {
    /// A connection has ended over a message on this topic, which was the only one under way if `alone`; returns whether
    /// the topic is set aside now.
    fn accuse(&mut self, now: Duration, topic: &str, alone: bool) -> bool {
        self.suspected.retain(|_, until| *until > now);
        self.is_careful = true;
        let until = now + ASIDE;
        if alone && self.suspected.remove(topic).is_some() {
            remember(&mut self.aside.topics, topic, until);
            return true;
        }
        remember(&mut self.suspected, topic, until);
        false
    }

    /// The broker has answered a message on this topic, and kept the connection.
    fn acquit(&mut self, topic: &str) {
        self.suspected.remove(topic);
    }
}

impl Hub {
    /// Names the message that the broker may have ended the connection over: it says so, or it does it a second time.
    ///
    /// It is set aside only where the broker has said so twice, the second time with nothing else under way.
    pub(super) fn suspect_publish(&mut self, now: Now, cause: &Disconnection) {
        let Phase::Online(connection) = &self.phase else { return };
        let early = now.monotonic < connection.since + EARLY;
        let oldest = self.oldest_unanswered().map(|(_, topic)| topic.to_owned());
        let before = std::mem::replace(&mut self.denied.last, oldest.clone().filter(|_| early));
        let says_so = match cause {
            Disconnection::ByBroker { reason_code, .. } => PUBLISH_CAUSES.contains(reason_code),
            Disconnection::Lost { .. }
            | Disconnection::Requested
            | Disconnection::Refused { .. }
            | Disconnection::Unreachable { .. } => false,
        };
        let repeats = matches!(cause, Disconnection::Lost { .. }) && early && before == oldest;
        let Some(topic) = oldest.filter(|_| says_so || repeats) else { return };
        self.notice(Notice::PublishSuspected { topic: topic.clone() });
        let unanswered = self.outbox.unanswered() + self.bridge.unanswered();
        let alone = unanswered == 1 && self.filters.is_idle();
        if says_so && self.denied.accuse(now.monotonic, &topic, alone) {
            self.notice(Notice::TopicSetAside { topic, time: ASIDE });
        }
    }

    /// Returns when the oldest message was sent that has no PUBACK yet, and its topic.
    pub(super) fn oldest_unanswered(&self) -> Option<(Duration, &str)> {
        let own = self.outbox.oldest_unanswered();
        own.into_iter().chain(self.bridge.oldest_unanswered()).min()
    }

    /// A message is not published, because its topic is set aside: as if the broker had refused it for good.
    pub(super) fn leave_out(&mut self, now: Now, id: PublishId, kind: Kind, topic: String) {
        self.serving.cannot_look_at(&topic);
        if let Some(more) = self.denied.told.tell(now.monotonic) {
            let is_answer = matches!(kind, Kind::Response { .. });
            self.notice(Notice::MessageLeftOut { topic, is_answer, more });
        }
        let farewell = kind == Kind::Farewell;
        if kind == Kind::Discovery {
            self.discovery_left_out(id);
        }
        self.let_go(id, kind, false);
        if farewell {
            // The will says it instead, which a DISCONNECT would delete.
            self.stop(Ok(()));
        }
    }

    /// The broker has answered a message.
    pub(super) fn acquit(&mut self, topic: &str) {
        self.denied.acquit(topic);
    }

    /// Everything was published that could be: nothing is suspect any more among what waits.
    pub(super) fn end_care(&mut self) {
        if self.denied.is_careful && self.outbox.is_drained() {
            self.denied.is_careful = false;
        }
    }

    /// Publishes on all topics again, as after a restart.
    pub(super) fn forgive(&mut self, now: Now) {
        self.denied = Denied::default();
        self.forgive_filters();
        self.join_bridges(now);
        self.outbox.try_again(now.monotonic);
    }
}

/// Remembers a topic; of too many, the one is forgotten whose time is over first.
fn remember(topics: &mut BTreeMap<String, Duration>, topic: &str, until: Duration) {
    if topics.len() >= TOPICS
        && !topics.contains_key(topic)
        && let Some(first) = topics.iter().min_by_key(|(_, until)| **until)
    {
        let first = first.0.clone();
        topics.remove(&first);
    }
    topics.insert(topic.to_owned(), until);
}

/// DISCONNECT reason codes that a PUBLISH may be the cause of (MQTT 3.14.2.1).
const PUBLISH_CAUSES: [u8; 8] = [0x81, 0x82, 0x87, 0x90, 0x95, 0x99, 0x9A, 0x9B];
/// A connection that ends sooner may have ended over what was published at its beginning.
const EARLY: Duration = Duration::from_secs(10);
/// How long a topic stays suspect, and how long nothing is published on it.
const ASIDE: Duration = Duration::from_secs(3600);
/// How many topics are remembered of each.
const TOPICS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_topics_the_oldest_is_forgotten() {
        let mut topics = BTreeMap::new();
        for index in 0..=TOPICS {
            remember(&mut topics, &format!("response/{index}"), Duration::from_secs(index as u64));
        }
        assert_eq!(topics.len(), TOPICS);
        assert!(!topics.contains_key("response/0"));
    }
}
