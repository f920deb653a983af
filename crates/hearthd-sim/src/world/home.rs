//! The home that the hubs run in: their configuration, and which of them has which device.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use hearthd_core::{
    ContentType, Guard, HubConfig, Input, PropertyState,
    topic::{Template, Templates, TopicFilter},
};

use super::World;
use crate::{devices, invariants::REDELIVERY, link::HubId};

impl World {
    /// Returns the configuration of a hub in this home.
    pub(super) fn hub_config(&self, hub: HubId) -> HubConfig {
        let machine = self.hub(hub);
        HubConfig {
            client_id: hub.client_id().into(),
            topics: topics().clone(),
            allow_bridges: vec![TopicFilter::parse(devices::BRIDGED).expect("the filter is valid")],
            allow_responses: vec![TopicFilter::parse(ALLOWED).expect("the filter is valid")],
            require_response_information: self.setup.required,
            fallback_prefix: self.fallback(),
            will_delay: self.setup.will_delay,
            settle: self.setup.settle,
            fence_timeout: FENCE_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            reconnect_spread: Duration::ZERO,
            grace: Duration::from_secs(5),
            devices: devices::policies(&machine.devices, &self.setup),
            guards: self.guards(hub),
            broker: "broker".into(),
            redelivery: REDELIVERY,
            receive_maximum: machine.client_receive_maximum,
            deadline: devices::DEADLINE,
            queue: self.setup.queue,
            max_payload: MAX_PAYLOAD,
            discovery: self.discovery(hub),
        }
    }

    fn guards(&self, hub: HubId) -> Vec<Guard> {
        let Some(guarding) = &self.hub(hub).guarding else { return Vec::new() };
        let presence = format!("{{prefix}}/hub/{}/presence", guarding.watched);
        let presence = Template::parse(&presence, &[]).expect("the guarded presence is a topic");
        let guard = |property: &str, payload: &'static str| Guard {
            presence: presence.clone(),
            device: guarding.device.into(),
            property: property.into(),
            payload: payload.into(),
        };
        vec![guard("power", "OFF"), guard("valve", "SHUT")]
    }

    /// A device has a new state, which every hub that has the device learns.
    pub(super) fn report(&mut self, device: &str, property: &str, payload: Bytes) {
        self.devices.change(self.now, device, property, &payload);
        for hub in self.hub_ids() {
            if self.hub(hub).devices.contains(device) {
                self.save(hub, device);
                self.report_to(hub, device, property, payload.clone());
            }
        }
    }

    /// A device reports all that it has to a hub.
    pub(super) fn report_device(&mut self, hub: HubId, device: &str) {
        let states = self.devices.states.iter();
        let states: Vec<_> = states
            .filter(|((owner, _), _)| owner == device)
            .map(|((_, property), state)| (property.clone(), state.clone()))
            .collect();
        for (property, payload) in states {
            self.report_to(hub, device, &property, payload);
        }
    }

    fn report_to(&mut self, hub: HubId, device: &str, property: &str, payload: Bytes) {
        let state = Input::State(PropertyState {
            device: device.to_owned(),
            property: property.to_owned(),
            payload,
            content_type: ContentType::Text,
            retain: true,
            details: match self.devices.out_of_reach(device) {
                Some(since) if property == "status" => vec![("since".into(), since)],
                Some(_) | None => Vec::new(),
            },
        });
        self.feed(hub, state);
    }
}

pub(crate) const ALLOWED: &str = "clients/+/responses";
/// Keep Alive as CONNECT announces it.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);
pub(crate) const FENCE_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const MAX_PAYLOAD: usize = 256;

/// Returns the topics of the home, which are made once.
pub(crate) fn topics() -> &'static Templates {
    static TOPICS: LazyLock<Templates> = LazyLock::new(Templates::default);
    &TOPICS
}
