//! What happens at a device once, such as the press of a button: told to whoever listens now, and not kept.

use bytes::Bytes;
use serde_json::json;

use super::{Hub, events::EVENT_EXPIRY};
use crate::{Message, Now, PropertyEvent, QoS, outbox::Kind};

impl Hub {
    /// Something has happened at a device; while there is no connection nobody hears of it, and later it is not true.
    pub(super) fn on_happened(&mut self, now: Now, happened: &PropertyEvent) {
        let PropertyEvent { device, property, event, left_out } = happened;
        let policy = self.config.devices.get(device);
        if !policy.is_some_and(|policy| policy.properties.contains(property)) {
            return;
        }
        let mut facts = json!({ "event": event, "property": property });
        if *left_out > 0 {
            facts["left_out"] = (*left_out).into();
        }
        self.send_event(now, device, &facts, None);
    }

    /// Publishes on a device's event topic, where there is a connection; an event about a request has its Correlation
    /// Data.
    pub(super) fn send_event(
        &mut self,
        now: Now,
        device: &str,
        facts: &serde_json::Value,
        correlation_data: Option<Bytes>,
    ) {
        let Some(connection) = self.connection() else { return };
        let topic =
            self.config.topics.event.build(connection.prefix.as_ref(), &[("device", device)]);
        let message = Message {
            topic,
            payload: facts.to_string().into(),
            qos: QoS::AtLeastOnce,
            utf8: true,
            content_type: Some("application/json".into()),
            correlation_data,
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        self.send(message, Kind::Event, Some(now.monotonic + EVENT_EXPIRY));
    }
}
