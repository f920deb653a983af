//! No answer shows a state that the device does not have, above all not a repeated one.
//!
//! This checks what a hub publishes at once, when it gets a request, or a connection on which it may publish what it
//! had left before a restart. That must be true. An answer that had to wait is about the time when it was made.

use hearthd_core::Message;

use super::Invariant;
use crate::{
    devices::position,
    link::HubId,
    report::Reached,
    world::{Occasion, World, lossy, network::show_message},
};

impl World {
    /// A hub publishes an answer that shows a state: the device must have it.
    pub(crate) fn check_truth(&mut self, hub: HubId, message: &Message) {
        if message.user_property("__stat").is_none() {
            return;
        }
        let Some(root) = self.ledger.answered_by(message) else { return };
        let life = self.hub(hub).life;
        let published = self.ledger.asked[root].course.published.replace(life) == Some(life);
        let asked = &self.ledger.asked[root];
        let repeats = match self.occasion {
            Occasion::Request(index) => self.ledger.root_of(index) == root,
            // What was asked again before that was answered when it came.
            Occasion::Subscribed => {
                // What was left had to wait from the first time on at which the hub was online.
                !published
                    && !self.hub(hub).daemon.as_ref().is_some_and(|daemon| daemon.was_online)
                    && message.user_property("repeated").is_none()
                    && !asked.course.executed.contains(&life)
                    && asked.course.executed.iter().any(|executed| executed.hub == hub)
            }
            // The device was read so that its first answer is given again only if it is true.
            Occasion::Read => message.user_property("repeated").is_some(),
            Occasion::Other => false,
        };
        if repeats && self.occasion == Occasion::Read {
            self.reach(Reached::ReadFirst);
        }
        if repeats && let Occasion::Request(index) = self.occasion {
            self.check_read_again(index, message);
        }
        let Some((index, property, shown)) = self.shown_by(message, root).filter(|_| repeats)
        else {
            return;
        };
        let asked = &self.ledger.asked[index];
        let device = asked.device;
        let mut others = self.hub_ids().filter(|other| *other != hub);
        let shared = others.any(|other| self.has_since(other, device, self.now));
        if !asked.sets || shared || !self.has_since(hub, device, self.now) {
            // Whoever has the device now knows its state; this hub knows what it has done.
            return;
        }
        let holds = self.devices.had_since(device, property, &shown, self.now);
        let is = self.devices.states.get(&(device.to_owned(), property.to_owned()));
        let is = is.map(|is| lossy(is)).unwrap_or_default();
        self.require(holds, Invariant::TrueState, || {
            format!("{device}/{property} is {is}, and the answer is {}", show_message(message))
        });
        self.reach(Reached::ReplayedTrue);
    }

    /// Returns which request an answer is for, and which property it shows with which state.
    fn shown_by<'m>(
        &self,
        message: &'m Message,
        root: usize,
    ) -> Option<(usize, &'m str, bytes::Bytes)> {
        let reason = message.user_property("reason");
        let index = match message.user_property("__stat") {
            // Of several requests that are answered alike, only what is set tells which one it was.
            Some("200") => self.ledger.identify(&message.payload),
            Some("409") if reason == Some("superseded") => None,
            _ => return None,
        };
        let alike = self.ledger.asked[root].ambiguous;
        let index = index.or((!alike).then_some(root))?;
        let reads = self.ledger.asked[root].course.reads;
        if alike && reads || self.ledger.root_of(index) != root {
            return None;
        }
        if reason.is_some() {
            let value = message.user_property("__propVal").unwrap_or_default().to_owned();
            return Some((index, message.user_property("__propName")?, value.into()));
        }
        Some(match self.ledger.asked[index].property {
            "set" => (index, "position", position(&message.payload)),
            property => (index, property, message.payload.clone()),
        })
    }

    /// A hub answers a request while it is given it, so no device was asked: what it only reads must be so now.
    fn check_read_again(&mut self, index: usize, message: &Message) {
        let asked = &self.ledger.asked[index];
        let (device, property) = (asked.device, asked.property);
        let key = (device.to_owned(), property.to_owned());
        let shows = message.user_property("__stat") == Some("200");
        if asked.sets || !shows || !self.devices.states.contains_key(&key) {
            return;
        }
        let holds = self.devices.had_since(device, property, &message.payload, self.now);
        self.require(holds, Invariant::TrueState, || {
            format!("{device}/{property} is read again, and is not {}", show_message(message))
        });
    }

    /// The broker has the answer to a request that only reads: it was read after it was asked for.
    pub(super) fn check_read(&mut self, index: usize, message: &Message) {
        let asked = &self.ledger.asked[index];
        let (device, property) = (asked.device, asked.property);
        let key = (device.to_owned(), property.to_owned());
        if asked.sets || asked.ambiguous || !self.devices.states.contains_key(&key) {
            return;
        }
        let since = asked.first_sent;
        let holds = message.user_property("__stat") != Some("200")
            || self.devices.had_since(device, property, &message.payload, since);
        self.require(holds, Invariant::TrueState, || {
            format!("{device}/{property} never was what is answered: {}", show_message(message))
        });
    }
}
