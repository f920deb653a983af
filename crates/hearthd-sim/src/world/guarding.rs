//! A hub that another one guards: whose will it is, who acts on it, and the result.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearthd_core::Message;

use super::{
    World,
    network::{is_presence, show_message},
};
use crate::{devices, invariants::Invariant, link::HubId};

/// What one hub does about the wills of another.
#[derive(Debug)]
pub(crate) struct Guarding {
    /// The client identifier of the hub that is guarded: a real one, or a model next door.
    pub(crate) watched: &'static str,
    /// The device that acts.
    pub(crate) device: &'static str,
    /// The Correlation Data of what has claimed to be a will there.
    wills: BTreeSet<Bytes>,
    /// Those that the guarding hub was given.
    pub(crate) handed: BTreeSet<Bytes>,
    pub(crate) answered: BTreeSet<Bytes>,
    /// How often the valve was told to shut.
    pub(crate) shut: usize,
}

impl Guarding {
    /// Returns whom a hub guards: the first the hub next door, the second the first.
    pub(super) fn by(hub: HubId) -> Option<Self> {
        let (watched, device) = match hub.0 {
            0 => (NEXT_DOOR, devices::BOILER),
            1 => (HubId(0).client_id(), devices::PUMP),
            _ => return None,
        };
        Some(Self {
            watched,
            device,
            wills: BTreeSet::new(),
            handed: BTreeSet::new(),
            answered: BTreeSet::new(),
            shut: 0,
        })
    }

    /// Whether a message goes to the response topic of the guarded hub's wills.
    pub(crate) fn is_answer(&self, topic: &str) -> bool {
        let client = topic.strip_suffix("/will").and_then(|rest| rest.strip_suffix(self.watched));
        client.is_some_and(|rest| rest == "response/" || rest.ends_with("/response/"))
    }
}

impl World {
    /// Notes what is published as a will of a hub that another one guards.
    pub(super) fn note_guarded_presence(&mut self, message: &Message) {
        let Some(correlation_data) = &message.correlation_data else { return };
        if &message.payload[..] != b"offline" {
            return;
        }
        for guarding in self.hubs.iter_mut().filter_map(|hub| hub.guarding.as_mut()) {
            if is_presence(&message.topic, guarding.watched) {
                guarding.wills.insert(correlation_data.clone());
            }
        }
    }

    /// The broker has what a hub says about another one's will.
    pub(super) fn note_guard_answer(&mut self, message: &Message, hub: HubId) {
        let guarding = self.hub_mut(hub).guarding.as_mut();
        let Some(guarding) = guarding.filter(|guarding| guarding.is_answer(&message.topic)) else {
            return;
        };
        let Some(correlation_data) = &message.correlation_data else { return };
        guarding.answered.insert(correlation_data.clone());
        let known = guarding.wills.contains(correlation_data);
        self.require(known, Invariant::TrueOutcome, || {
            format!("an answer to a will that was never published: {}", show_message(message))
        });
    }
}

/// The client identifier of a hub that is a model.
pub(crate) const NEXT_DOOR: &str = "attic";
