//! No sender can use up what others need.

use std::{collections::BTreeMap, time::Duration};

use super::Invariant;
use crate::{
    ledger::{Asked, Given},
    link::Life,
    world::World,
};

impl World {
    /// A request was refused because too many wait: it must be so, and of no other sender may so many count as have come
    /// beyond its share.
    pub(super) fn check_share(&mut self, index: usize, given: &Given, life: Life) {
        let asked = &self.ledger.asked[index];
        // What another hub was given as well is not counted here.
        let mut others = self.hub_ids().filter(|hub| *hub != life.hub);
        let shared = others.any(|hub| self.had_since(hub, asked.device, Duration::ZERO));
        if asked.hostile || asked.ambiguous || self.setup.flooded || shared {
            return;
        }
        let Some(connection) = self.connection(life.hub) else { return };
        let Some(first) =
            asked.first_handed.get(&life.hub).filter(|first| first.link == connection.id)
        else {
            // The answer is an old one.
            return;
        };
        let online = connection.online_since;
        let window = self.hub(life.hub).daemon.as_ref().map_or(0, |daemon| daemon.receive_maximum);
        let window = usize::from(window);
        let queue = self.setup.queue;
        let (device_share, sender_share) = (queue.max(window / 2), queue.max(window / 4));
        // So many waited when it came; what was held back until the fence is taken from every sender.
        let mut waiting: BTreeMap<&str, Waiting> = BTreeMap::new();
        let mut of_sender = Waiting::default();
        for other in &self.ledger.asked {
            let handed = other.first_handed.get(&life.hub).filter(|first| first.life == life);
            let mut answers = other.answers.iter().filter(|answer| answer.life == life);
            // What only reads is carried out once more when it is asked again.
            let again = other.last_handed.get(&life.hub);
            let Some(handed) = handed.filter(|_| {
                answers.next_back().is_none_or(|answer| {
                    answer.at >= first.at || again.is_some_and(|again| *again > answer.at)
                })
            }) else {
                continue;
            };
            let held = online.is_none_or(|online| handed.at <= online);
            if self.told_apart_by(other) == self.told_apart_by(asked) {
                of_sender.add(other, held);
            }
            if other.device == asked.device {
                waiting.entry(self.told_apart_by(other)).or_default().add(other, held);
            }
        }
        let device: usize = waiting.values().map(|waiting| waiting.up_to(sender_share)).sum();
        let device_bytes: usize = waiting.values().map(|waiting| waiting.bytes).sum();
        let sender = of_sender.held + of_sender.later;
        let (device_text, sender_text) = ("already", "of the same sender wait already");
        let (few, bytes) = if given.says("does not answer") {
            (device < queue / 2, 0)
        } else if given.says(sender_text) {
            (sender < nearly(sender_share), of_sender.bytes)
        } else if given.says(device_text) && !given.says("too many answers") {
            (device < nearly(device_share), device_bytes)
        } else {
            (device < queue / 2 && sender < queue / 2, 0)
        };
        self.require(!few || bytes > MANY_BYTES, Invariant::Share, || {
            format!(
                "request {index} is refused, while {device} wait for its device and {sender} of its sender"
            )
        });
    }

    /// Returns by what a hub tells the senders of requests apart.
    fn told_apart_by<'a>(&self, asked: &'a Asked) -> &'a str {
        if self.setup.habits.vouches {
            asked.sender
        } else {
            asked.message.response_topic.as_deref().unwrap_or_default()
        }
    }
}

/// What waits of one sender.
#[derive(Debug, Default)]
struct Waiting {
    /// So many came before the fence, when there are no shares.
    held: usize,
    later: usize,
    bytes: usize,
}

impl Waiting {
    fn add(&mut self, asked: &Asked, held: bool) {
        if held {
            self.held += 1;
        } else {
            self.later += 1;
        }
        let correlation_data = asked.message.correlation_data.as_ref().map_or(0, |data| data.len());
        self.bytes += asked.message.payload.len() + correlation_data;
    }

    fn up_to(&self, share: usize) -> usize {
        self.held + self.later.min(share)
    }
}

/// The hub may count some that have their answer by now, or that the ledger does not know.
fn nearly(share: usize) -> usize {
    share * 3 / 4
}

/// Half of the bytes that may wait for one device, or of one sender.
const MANY_BYTES: usize = 512 * 1024;
