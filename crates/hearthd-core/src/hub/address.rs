//! The meaning of an arriving message's topic name.

use std::sync::Arc;

use super::Hub;
pub(super) use crate::property::STATUS;
use crate::topic::{Prefix, Values};

/// What a topic name says about a message.
pub(super) enum Address {
    Fence,
    /// What the hub publishes to its session before it subscribes.
    Session,
    WillAnswer,
    Presence,
    /// The presence of another hub that this one guards.
    Guarded,
    /// Comes back once the broker has sent what it has retained.
    Retained,
    /// What the broker has retained of a device or property that is no more.
    Leftover,
    /// The status of a device of this hub, which somebody else tells.
    Rival {
        device: Arc<str>,
    },
    /// A request to a device of this hub, or to the hub itself.
    Request {
        device: Arc<str>,
        property: Arc<str>,
    },
    /// Another program to which devices are announced says that it has started.
    Started,
    Other,
}

impl Hub {
    /// Reads a topic by the current prefix, and by those of the wills that are still open.
    pub(super) fn address(&self, prefix: Option<&Prefix>, name: &str) -> Address {
        let topics = &self.config.topics;
        if let Some(values) = topics.request.match_name(prefix, name) {
            return self.request_address(&values);
        }
        for prefix in std::iter::once(prefix).chain(self.wills.past_prefixes()) {
            if let Some(values) = topics.response.match_name(prefix, name)
                && values.get("client_id") == Some(&self.config.client_id)
            {
                return match values.get("purpose") {
                    Some("fence") => Address::Fence,
                    Some("session") => Address::Session,
                    Some("will") => Address::WillAnswer,
                    Some("retained") => Address::Retained,
                    _ => Address::Other,
                };
            }
            if let Some(values) = topics.presence.match_name(prefix, name)
                && values.get("client_id") == Some(&self.config.client_id)
            {
                return Address::Presence;
            }
        }
        if self.config.guards.iter().any(|guard| guard.presence.build(prefix, &[]) == name) {
            return Address::Guarded;
        }
        if self.announcing.hears(name) {
            return Address::Started;
        }
        if self.serving.takes_back(name) {
            return Address::Leftover;
        }
        match topics.state.match_name(prefix, name) {
            Some(values) if values.get("property") == Some(STATUS) => {
                let device = values.get("device").unwrap_or_default();
                match self.config.devices.contains_key(device) {
                    true => Address::Rival { device: device.into() },
                    false => Address::Other,
                }
            }
            Some(_) | None => Address::Other,
        }
    }

    /// A request for a device that this hub does not have is none of its business.
    fn request_address(&self, values: &Values<'_>) -> Address {
        let value = |placeholder| values.get(placeholder).unwrap_or_default();
        let (device, property) = (value("device"), value("property"));
        if self.config.devices.contains_key(device) || device == self.config.client_id {
            return Address::Request { device: device.into(), property: property.into() };
        }
        Address::Other
    }

    /// Returns the topic of this hub's `online` and `offline`.
    pub(super) fn own_presence_topic(&self, prefix: Option<&Prefix>) -> String {
        self.config.topics.presence.build(prefix, &[("client_id", &self.config.client_id)])
    }

    /// Returns a topic that this hub subscribes to, or that its will is answered on, by its purpose.
    pub(super) fn own_response_topic(&self, prefix: Option<&Prefix>, purpose: &str) -> String {
        let values = [("client_id", self.config.client_id.as_str()), ("purpose", purpose)];
        self.config.topics.response.build(prefix, &values)
    }
}
