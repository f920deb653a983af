//! The hub's retained messages: the states of its devices, and the outcome of its last will.

use super::{Hub, Phase, address::STATUS};
use crate::{Absence, Message, PropertyState, QoS, answer::wire_text, outbox::Kind, topic::Prefix};

impl Hub {
    /// A device tells the state of a property; what it tells of one that is not there any more comes too late.
    pub(super) fn on_state(&mut self, state: PropertyState) {
        let PropertyState { device, property, .. } = &state;
        if !self.is_declared(device, property) {
            return;
        }
        self.values.report(device, property, state.payload.clone());
        if matches!(self.phase, Phase::Online(_)) {
            self.publish_state(&state);
        }
        let is_status = property == STATUS;
        if is_status && !HOLDS_STATE.contains(&&*state.payload) {
            self.values.doubt(device);
        }
        let announced = self.config.discovery.as_ref().map(|_| device.clone());
        self.states.insert((state.device.clone(), state.property.clone()), state);
        match announced {
            Some(_) if is_status => self.announcing.look_again(),
            Some(device) => self.tell_snapshot(&device),
            None => {}
        }
    }

    /// Returns whether a device tells a property by itself: its status, or what it declares.
    pub(super) fn is_declared(&self, device: &str, property: &str) -> bool {
        let policy = self.config.devices.get(device);
        policy.is_some_and(|policy| property == STATUS || policy.properties.contains(property))
    }

    /// Publishes all states where the broker may not have them.
    pub(super) fn publish_everything(&mut self) {
        let states: Vec<_> = self.states.values().cloned().collect();
        for state in states {
            self.publish_state(&state);
        }
    }

    /// Publishes the states that have waited for the store.
    pub(super) fn publish_unserved(&mut self) {
        if !matches!(self.phase, Phase::Online(_)) {
            return;
        }
        for key in std::mem::take(&mut self.unserved) {
            if let Some(state) = self.states.get(&key).cloned() {
                self.publish_state(&state);
            }
        }
    }

    /// Publishes a state; one that is retained waits until the store knows that something of the device may be left.
    pub(super) fn publish_state(&mut self, state: &PropertyState) {
        let (device, property) = (state.device.as_str(), state.property.as_str());
        if state.retain && !self.serving.may_publish(device, property, self.stored) {
            self.unserved.insert((device.to_owned(), property.to_owned()));
            return;
        }
        let message = Message {
            topic: self.state_topic(self.prefix(), device, property),
            payload: state.payload.clone(),
            qos: QoS::AtLeastOnce,
            retain: state.retain,
            utf8: true,
            content_type: Some(state.content_type.as_str().into()),
            user_properties: self.introduction_and(&state.details),
            ..Message::default()
        };
        self.send(message, Kind::State, None);
    }

    /// Says which hub tells a state, and what it tells beside it.
    fn introduction_and(&self, details: &[(String, String)]) -> Vec<(String, String)> {
        let details = details.iter().map(|(name, text)| (name.clone(), wire_text(text)));
        std::iter::once(self.introduction_of_hub()).chain(details).collect()
    }

    /// Publishes the outcome of a will, retained, as JSON.
    pub(super) fn publish_absence(&mut self, prefix: Option<&Prefix>, absence: &Absence) {
        let payload = absence.facts().to_string();
        let message = Message {
            topic: self
                .config
                .topics
                .absence
                .build(prefix, &[("client_id", &self.config.client_id)]),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            utf8: true,
            content_type: Some("application/json".into()),
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        self.send(message, Kind::Absence, None);
    }
}

/// The statuses at which a device is still the one that has told its state.
const HOLDS_STATE: [&[u8]; 2] = [b"ready", b"unreachable"];
