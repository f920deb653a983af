//! Other hubs, or other responders, that claim a device of this hub.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Hub, Phase,
    address::{Address, STATUS},
};
use crate::{Message, Notice, Now, answer::wire_text, topic::Prefix};

/// The devices whose states are published anew, because somebody else has written over them.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    devices: BTreeSet<Arc<str>>,
    next: Duration,
}

impl Rewriting {
    /// Returns when the next states are due.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.devices.is_empty()).then_some(self.next)
    }
}

impl Hub {
    /// Somebody tells the status of a device of this hub.
    pub(super) fn on_rival(&mut self, now: Now, device: &Arc<str>, message: &Message) {
        let hub = message.user_property("hub");
        if hub == Some(&self.config.client_id) {
            // It is this hub's own word, or somebody has put it into its mouth.
            if !self.has_said(device, message) {
                self.rewrite(now, device);
            }
            return;
        }
        let known = self.rivals.contains_key(device);
        if message.payload.is_empty() {
            // It took back what it had published, and with it what this hub had.
            if self.rivals.remove(device).is_some() {
                self.notice(Notice::RivalGone { device: device.clone() });
            }
            self.rewrite(now, device);
        } else if !known {
            let hub = hub.map(str::to_owned);
            self.rivals.insert(device.clone(), hub.clone());
            self.notice(Notice::Rival { device: device.clone(), hub });
            // The other one should hear of this hub, too.
            self.rewrite(now, device);
        } else if hub.is_none() {
            // Two hubs that have the device would never stop; whoever is none has no say.
            self.rewrite(now, device);
        }
    }

    /// Whether a message on a status topic is what this hub would publish there now.
    fn has_said(&self, device: &str, message: &Message) -> bool {
        self.states.get(&(device.to_owned(), STATUS.to_owned())).is_some_and(|own| {
            own.payload == message.payload
                && own
                    .details
                    .iter()
                    .all(|(name, is)| message.user_property(name) == Some(wire_text(is).as_str()))
        })
    }

    /// The broker has granted a filter. What the hub told of a device before it could hear others, a hub that had the
    /// device before may have taken back since.
    pub(super) fn begin_hearing_of_rivals(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        filter: &str,
    ) {
        if matches!(self.phase, Phase::Online(_))
            && let Address::Rival { device } = self.address(prefix, filter)
        {
            self.rewrite(now, &device);
        }
    }

    fn rewrite(&mut self, now: Now, device: &Arc<str>) {
        if self.rewriting.devices.is_empty() {
            self.rewriting.next = self.rewriting.next.max(now.monotonic);
        }
        self.rewriting.devices.insert(device.clone());
    }

    /// Publishes the states of such devices anew, once a second at most.
    pub(super) fn rewrite_states(&mut self, now: Now) {
        if self.rewriting.due().is_none_or(|due| due > now.monotonic)
            || !matches!(self.phase, Phase::Online(_))
        {
            return;
        }
        self.rewriting.next = now.monotonic + REWRITTEN_AGAIN;
        for device in std::mem::take(&mut self.rewriting.devices) {
            let states: Vec<_> = self
                .states
                .values()
                .filter(|state| *state.device == *device && state.retain)
                .cloned()
                .collect();
            for state in states {
                self.publish_state(&state);
            }
        }
    }
}

/// How soon states may be published anew.
const REWRITTEN_AGAIN: Duration = Duration::from_secs(1);
