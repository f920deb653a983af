//! The home that the hub runs in: its configuration.

use std::time::Duration;

use hearth_core::{
    Guard, HubConfig,
    topic::{Template, Templates, TopicFilter},
};

use super::World;
use crate::{devices, invariants::REDELIVERY};

impl World {
    pub(super) fn hub_config(&self) -> HubConfig {
        let templates = Templates::default();
        let presence = Template::parse("{prefix}/hub/attic/presence", &[])
            .expect("the guarded presence is a topic");
        let guard = |property: &str, payload: &'static str| Guard {
            presence: presence.clone(),
            device: devices::BOILER.into(),
            property: property.into(),
            payload: payload.into(),
        };
        HubConfig {
            client_id: CLIENT_ID.into(),
            topics: templates,
            allow_responses: vec![TopicFilter::parse(ALLOWED).expect("the filter is valid")],
            require_response_information: self.setup.required,
            fallback_prefix: self.fallback(),
            will_delay: self.setup.will_delay,
            settle: Duration::from_millis(300),
            fence_timeout: FENCE_TIMEOUT,
            grace: Duration::from_secs(5),
            devices: devices::policies(self.setup.executes_stale),
            guards: vec![guard("power", "OFF"), guard("valve", "SHUT")],
            broker: "broker".into(),
            redelivery: REDELIVERY,
            receive_maximum: self.client_receive_maximum,
            deadline: devices::DEADLINE,
            queue: self.setup.queue,
            max_payload: MAX_PAYLOAD,
        }
    }
}

pub(crate) const CLIENT_ID: &str = "hub";
pub(crate) const ALLOWED: &str = "clients/+/responses";
pub(crate) const FENCE_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MAX_PAYLOAD: usize = 256;
