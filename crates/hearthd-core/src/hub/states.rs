//! What the hub publishes retained: the states of its devices, and what became of its last will.

use super::{DevicePolicy, Hub, Phase, State, address::STATUS};
use crate::{Absence, Message, QoS, outbox::Kind, topic::Prefix};

impl Hub {
    /// A device tells the state of a property; what it tells of one that is not there any more comes too late.
    pub(super) fn on_state(&mut self, device: String, property: String, state: State) {
        let is_there =
            |policy: &DevicePolicy| property == STATUS || policy.properties.contains(&property);
        if !self.config.devices.get(&device).is_some_and(is_there) {
            return;
        }
        self.values.report(&device, &property, state.payload.clone());
        if matches!(self.phase, Phase::Online(_)) {
            self.publish_state(&device, &property, &state);
        }
        self.states.insert((device, property), state);
    }

    /// Publishes all states where the broker may not have them.
    pub(super) fn publish_everything(&mut self) {
        let states: Vec<_> = self.states.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for ((device, property), state) in states {
            self.publish_state(&device, &property, &state);
        }
    }

    /// Publishes the states that have waited for the store.
    pub(super) fn publish_unserved(&mut self) {
        if !matches!(self.phase, Phase::Online(_)) {
            return;
        }
        for (device, property) in std::mem::take(&mut self.unserved) {
            let key = (device, property);
            if let Some(state) = self.states.get(&key).cloned() {
                self.publish_state(&key.0, &key.1, &state);
            }
        }
    }

    pub(super) fn publish_state(&mut self, device: &str, property: &str, state: &State) {
        if state.retain && !self.serving.may_publish(device, property, self.stored) {
            self.unserved.insert((device.to_owned(), property.to_owned()));
            return;
        }
        let values = [("device", device), ("property", property)];
        let message = Message {
            topic: self.config.topics.state.build(self.prefix(), &values),
            payload: state.payload.clone(),
            qos: QoS::AtLeastOnce,
            retain: state.retain,
            utf8: true,
            content_type: Some(state.content_type.as_str().into()),
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        self.send(message, Kind::State, None);
    }

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
