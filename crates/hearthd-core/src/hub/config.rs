//! The configuration of the core.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Guard;
use crate::{
    DeclaredTopics, Discovery,
    topic::{Prefix, Templates, TopicFilter},
};

/// The configuration that the hub needs at its start.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The client identifier, and the hub's topic level.
    pub client_id: String,
    /// Topic templates.
    pub topics: Templates,
    /// Response Topics outside the prefix that the hub may answer on.
    pub allow_responses: Vec<TopicFilter>,
    /// Topics outside the prefix that devices may use.
    pub allow_bridges: Vec<TopicFilter>,
    /// Whether the hub refuses to run without Response Information from CONNACK.
    pub require_response_information: bool,
    /// The prefix if the broker offers none.
    pub fallback_prefix: Option<Prefix>,
    /// Will Delay Interval.
    pub will_delay: Duration,
    /// How long late copies may take after the fence.
    pub settle: Duration,
    /// How long the fence may take.
    pub fence_timeout: Duration,
    /// Keep Alive as CONNECT announces it (MQTT 3.1.2.10): PUBACK may take three times as long.
    pub keep_alive: Duration,
    /// A hub that has lost its connection waits a random part of this before it tries again, so that a thousand hubs
    /// of one node do not come back at the same time.
    pub reconnect_spread: Duration,
    /// How long answers may take after [`Input::Shutdown`](crate::Input::Shutdown).
    pub grace: Duration,
    /// The devices.
    pub devices: BTreeMap<String, DevicePolicy>,
    /// What the hub does when other hubs' wills are published.
    pub guards: Vec<Guard>,
    /// The broker's address: what the hub remembers of one broker's session does not apply to another broker.
    pub broker: String,
    /// How long after its PUBACK a request is remembered: long enough to be sure that the broker has it.
    pub redelivery: Duration,
    /// Receive Maximum as CONNECT announces it (MQTT 3.1.2.11.3): the hub works on at most this many messages at a
    /// time.
    pub receive_maximum: u16,
    /// The deadline of requests to the hub itself.
    pub deadline: Duration,
    /// How many requests one device gets at a time; more wait for their turn.
    pub queue: usize,
    /// Largest payload of a request, in bytes.
    pub max_payload: usize,
    /// What is announced to other programs.
    pub discovery: Option<Discovery>,
}

/// How requests to one device are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePolicy {
    /// How long the device may take.
    pub deadline: Duration,
    /// The declared properties; if the broker has no wildcards, the hub subscribes to each by itself.
    pub properties: BTreeSet<String>,
    /// Whether a request that waited while the hub was away is executed.
    pub execute_stale: bool,
    /// The properties whose setting must not be carried out twice.
    pub not_idempotent: BTreeSet<String>,
    /// The topics that the device uses itself.
    pub topics: DeclaredTopics,
}

impl DevicePolicy {
    /// Makes the policy of a device whose properties are all idempotent, and which refuses stale requests.
    pub fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            properties: BTreeSet::new(),
            execute_stale: false,
            not_idempotent: BTreeSet::new(),
            topics: DeclaredTopics::default(),
        }
    }

    /// Returns whether setting this property, or all of `set`, twice has the same effect as once.
    pub(super) fn is_idempotent(&self, property: &str) -> bool {
        if property == "set" {
            self.not_idempotent.is_empty()
        } else {
            !self.not_idempotent.contains(property)
        }
    }
}
