//! The topics that an answer may go to: the requester chooses the Response Topic, but must not gain the hub's rights.

use super::{Hub, bridging::REPLY};
use crate::topic::{self, Prefix};

/// Why a request with this Response Topic is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// Completes "its Response Topic ...".
    pub(super) reason: String,
    /// Whether `[responses] allow` would help.
    pub(super) may_be_allowed: bool,
}

impl Denied {
    fn always(reason: String) -> Self {
        Self { reason, may_be_allowed: false }
    }
}

impl Hub {
    /// Applies the Response Topic policy to a request for a device's property; none for an answer whose request is not
    /// known any more.
    ///
    /// With a prefix all topics below it are open, without one only those of the `response` template; a device's state
    /// topic is open to whoever asks for that very property.
    pub(super) fn check_response_topic(
        &self,
        prefix: Option<&Prefix>,
        name: &str,
        asked: Option<(&str, &str)>,
    ) -> Result<(), Denied> {
        topic::check_name(name).map_err(|error| Denied::always(error.to_owned()))?;
        let topics = &self.config.topics;
        // Where nearly all answers go.
        if let Some(values) = topics.response.match_name(prefix, name)
            && !self.listens_on(values.get("client_id"), values.get("purpose"))
            && !RESERVED_PURPOSES.iter().any(|own| values.get("purpose") == Some(own))
        {
            return Ok(());
        }
        self.check_reserved(prefix, name)?;
        if topics.state.covers(prefix, name) {
            let its_own = topics.state.match_name(prefix, name).is_some_and(|values| {
                let (device, property) = (values.get("device"), values.get("property"));
                let is_asked = asked.is_none_or(|asked| Some(asked) == device.zip(property));
                is_asked && !RESERVED_PROPERTIES.iter().any(|own| property == Some(own))
            });
            return its_own.then_some(()).ok_or_else(|| {
                Denied::always(format!("`{name}` tells the state of something else"))
            });
        }
        if self.config.allow_responses.iter().any(|filter| filter.matches(name)) {
            return Ok(());
        }
        match prefix {
            Some(prefix) if prefix.contains(name) => Ok(()),
            Some(prefix) => Err(Denied {
                reason: format!("`{name}` is neither below the prefix `{prefix}` nor allowed"),
                may_be_allowed: true,
            }),
            None => Err(Denied {
                reason: format!("`{name}` is no response topic, and not allowed"),
                may_be_allowed: true,
            }),
        }
    }

    /// Returns whether a response topic is this hub's, where nobody else has anything to say; answers to its devices' own
    /// requests come from its other devices as well.
    fn listens_on(&self, client_id: Option<&str>, purpose: Option<&str>) -> bool {
        client_id == Some(&self.config.client_id) && purpose != Some(REPLY)
    }

    /// Checks where the acknowledgement of another hub's will goes.
    pub(super) fn check_will_response(
        &self,
        prefix: Option<&Prefix>,
        name: &str,
    ) -> Result<(), Denied> {
        let its_own = self.config.topics.response.match_name(prefix, name).is_some_and(|values| {
            values.get("purpose") == Some("will")
                && values.get("client_id") != Some(&self.config.client_id)
        });
        if its_own {
            return topic::check_name(name).map_err(|error| Denied::always(error.to_owned()));
        }
        self.check_response_topic(prefix, name, None)
    }

    /// Returns whether an answer may go to a topic whose request was checked on an earlier connection.
    pub(super) fn may_answer_to(&self, prefix: Option<&Prefix>, name: &str) -> bool {
        self.check_will_response(prefix, name).is_ok()
    }

    /// Refuses every topic that a hub listens to or tells the truth on.
    fn check_reserved(&self, prefix: Option<&Prefix>, name: &str) -> Result<(), Denied> {
        let topics = &self.config.topics;
        if topics.request.covers(prefix, name) {
            return Err(Denied::always(format!("`{name}` is one that requests go to")));
        }
        if topics.presence.covers_group(prefix, name) || topics.absence.covers_group(prefix, name) {
            return Err(Denied::always(format!("`{name}` tells of a hub's presence")));
        }
        let announced = self.config.discovery.as_ref().map(|discovery| discovery.prefix.as_str());
        let is_below = |prefix: &str| {
            name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if announced.is_some_and(is_below) {
            return Err(Denied::always(format!("`{name}` is where devices are announced")));
        }
        if topics.event.covers(prefix, name) {
            return Err(Denied::always(format!("`{name}` tells what happened to a device")));
        }
        if !topics.response.covers(prefix, name) {
            return Ok(());
        }
        let values = topics.response.leading_values(prefix, name);
        let (client_id, purpose) = (values.get("client_id"), values.get("purpose"));
        if self.listens_on(client_id, purpose) {
            return Err(Denied::always(format!("`{name}` is one that the hub subscribes to")));
        }
        if RESERVED_PURPOSES.iter().any(|own| purpose == Some(own)) {
            return Err(Denied::always(format!("`{name}` belongs to a hub")));
        }
        Ok(())
    }
}

/// What a hub publishes to itself, and what its will is answered with.
const RESERVED_PURPOSES: [&str; 4] = ["will", "fence", "session", "retained"];
/// What hubs say of their devices.
const RESERVED_PROPERTIES: [&str; 2] = ["status", "problem"];
