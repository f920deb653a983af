//! What the core is told of the configuration.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::{DevicePolicy, Discovery, HubConfig};
use hearthd_home_assistant::HomeAssistant;

use crate::{
    config::{Config, DeviceConfig, Stale},
    device::Devices,
    link::RECEIVE_MAXIMUM,
};

/// Returns all that the core must know of the configuration.
pub(super) fn hub_config(config: &Config, devices: &Devices) -> HubConfig {
    HubConfig {
        client_id: config.broker.client_id.clone(),
        topics: config.topics.clone(),
        allow_responses: config.allow_responses.clone(),
        allow_bridges: config.allow_bridges.clone(),
        require_response_information: config.response_information.required,
        fallback_prefix: config.response_information.fallback.clone(),
        will_delay: config.will_delay,
        settle: SETTLE,
        fence_timeout: FENCE_TIMEOUT,
        keep_alive: config.broker.keep_alive,
        reconnect_spread: config.broker.reconnect_spread,
        grace: GRACE,
        devices: policies(devices),
        guards: config.guards.clone(),
        broker: config.broker.identity(),
        redelivery: REDELIVERY.max(config.broker.keep_alive * 2),
        receive_maximum: RECEIVE_MAXIMUM,
        deadline: config.requests.deadline,
        queue: config.requests.queue,
        max_payload: config.requests.max_payload,
        discovery: discovery(config, devices),
    }
}

/// Returns what the core must know of each device.
pub(super) fn policies(devices: &Devices) -> BTreeMap<String, DevicePolicy> {
    let policy = |device: &DeviceConfig| DevicePolicy {
        deadline: device.deadline,
        properties: devices.properties(&device.id),
        execute_stale: device.stale == Stale::Execute,
        not_idempotent: devices.not_idempotent(&device.id),
        topics: devices.topics(&device.id),
    };
    devices.configs().map(|device| (device.id.clone(), policy(device))).collect()
}

/// Returns what Home Assistant is told, where it is told of devices at all.
pub(super) fn discovery(config: &Config, devices: &Devices) -> Option<Discovery> {
    let told = &config.home_assistant;
    let is_told =
        |device: &&DeviceConfig| device.home_assistant && !told.exclude.contains(&device.id);
    let device = |device: &DeviceConfig| hearthd_home_assistant::Device {
        id: device.id.clone(),
        name: device.name.clone(),
        room: device.room.clone(),
        kind: device.kind.clone(),
        declarations: devices.declarations(&device.id),
        deadline: device.deadline,
    };
    let home_assistant = HomeAssistant {
        prefix: told.prefix.clone(),
        client_id: config.broker.client_id.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        topics: config.topics.clone(),
        expiry: told.expiry,
        devices: devices.configs().filter(is_told).map(device).collect(),
    };
    told.discovery.then(|| home_assistant.discovery())
}

/// How long late copies of a will may take after the fence.
const SETTLE: Duration = Duration::from_millis(300);
const FENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request is remembered after its PUBACK, at least: a lost connection shows in twice the keep alive.
const REDELIVERY: Duration = Duration::from_secs(60);
/// How long the answers in flight may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
