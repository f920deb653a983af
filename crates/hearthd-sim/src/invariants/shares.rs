//! No sender can use up what others need.

use std::time::Duration;

use super::Invariant;
use crate::{ledger::Asked, link::Life, world::World};

impl World {
    /// A request was refused because too many wait: its device, or its own sender, must have many.
    pub(super) fn check_share(&mut self, index: usize, life: Life) {
        let asked = &self.ledger.asked[index];
        // What another hub was given as well is not counted here.
        let mut others = self.hub_ids().filter(|hub| *hub != life.hub);
        let shared = others.any(|hub| self.had_since(hub, asked.device, Duration::ZERO));
        if asked.hostile || asked.ambiguous || self.setup.flooded || shared {
            return;
        }
        let link = self.connection(life.hub).map(|connection| connection.id);
        let Some(first) =
            asked.first_handed.get(&life.hub).filter(|first| Some(first.link) == link)
        else {
            // The answer is an old one.
            return;
        };
        // So many waited when it came.
        let waits = |other: &&Asked| {
            let handed = other.first_handed.get(&life.hub).is_some_and(|first| first.life == life);
            let mut answers = other.answers.iter().filter(|answer| answer.life == life);
            handed && answers.next_back().is_none_or(|answer| answer.at >= first.at)
        };
        let vouches = self.setup.habits.vouches;
        let (mut device, mut sender) = (0, 0);
        for other in self.ledger.asked.iter().filter(waits) {
            device += usize::from(other.device == asked.device);
            sender += usize::from(if vouches {
                other.sender == asked.sender
            } else {
                other.message.response_topic == asked.message.response_topic
            });
        }
        let few = self.setup.queue / 2;
        self.require(device >= few || sender >= few, Invariant::Share, || {
            format!(
                "request {index} is refused, while {device} wait for its device and {sender} of its sender"
            )
        });
    }
}
