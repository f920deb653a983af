//! Announces the devices of a hub to Home Assistant by MQTT discovery, from what they declare.
//!
//! Each device is one retained message on `PREFIX/device/hearthd_HUB/DEVICE/config`, and the hub itself is one on
//! `PREFIX/device/hearthd_HUB/config`. This crate writes the messages; `hearthd-core` publishes them and takes them
//! back.

#![forbid(unsafe_code)]

mod climate;
mod component;
mod device;
mod hub;
mod light;
mod measures;
mod message;
mod names;
mod property;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Announcement, Announcer, Discovery, Known,
    property::Declaration,
    topic::{Prefix, Templates},
};
use serde_json::{Map, Value as Json};

/// What Home Assistant is told of one hub.
#[derive(Clone, Debug)]
pub struct HomeAssistant {
    /// The discovery prefix that Home Assistant is set to; its own default is `homeassistant`.
    pub prefix: String,
    /// The hub's client ID.
    pub client_id: String,
    /// The version of hearthd.
    pub version: String,
    /// The templates of the hub's topics.
    pub topics: Templates,
    /// Whether commands expire. Home Assistant refuses such commands while it is connected by MQTT 3.1.1.
    pub expiry: bool,
    /// The devices that are announced.
    pub devices: Vec<Device>,
}

/// One device that is announced.
#[derive(Clone, Debug)]
pub struct Device {
    /// Device ID.
    pub id: String,
    /// Name for people.
    pub name: Option<String>,
    /// The room that it is in, for people.
    pub room: Option<String>,
    /// The plugin's name for this kind of device.
    pub kind: String,
    /// What the device declares.
    pub declarations: BTreeMap<String, Declaration>,
    /// How long it may take for one command: Home Assistant's commands expire after that.
    pub deadline: Duration,
}

impl HomeAssistant {
    /// Returns what the core needs to announce the devices.
    pub fn discovery(self) -> Discovery {
        Discovery {
            devices: self.devices.iter().map(|device| device.id.clone()).collect::<BTreeSet<_>>(),
            prefix: self.prefix.clone(),
            start: (format!("{}/status", self.prefix), "online"),
            announcer: Arc::new(self),
        }
    }

    /// Builds the topics under the prefix of a connection.
    fn topics<'a>(&'a self, prefix: Option<&'a Prefix>) -> Topics<'a> {
        Topics { of: self, prefix }
    }
}

impl Announcer for HomeAssistant {
    fn announcements(&self, known: &Known<'_>) -> Vec<Announcement> {
        let topics = self.topics(known.prefix);
        let mut announcements: Vec<_> = self
            .devices
            .iter()
            .map(|device| device::announcement(&topics, device, known))
            .collect();
        announcements.push(hub::announcement(&topics, known));
        announcements.push(hub::state(&topics, known));
        announcements
    }

    fn snapshot(&self, device: &str, states: &BTreeMap<&str, &[u8]>) -> Option<Bytes> {
        let device = self.devices.iter().find(|other| other.id == device)?;
        light::Light::of(device)?;
        let value = |(name, payload): (&&str, &&[u8])| {
            let declaration = device.declarations.get(*name)?;
            let text = std::str::from_utf8(payload).ok()?;
            let value = declaration.read_state(text).ok()?;
            Some(((*name).to_owned(), value.as_json().clone()))
        };
        let values: Map<String, Json> = states.iter().filter_map(value).collect();
        Some(Json::Object(values).to_string().into())
    }
}

/// The topics of one hub.
#[derive(Clone, Copy, Debug)]
struct Topics<'a> {
    of: &'a HomeAssistant,
    prefix: Option<&'a Prefix>,
}

impl Topics<'_> {
    fn state(&self, device: &str, property: &str) -> String {
        self.of.topics.state.build(self.prefix, &[("device", device), ("property", property)])
    }

    fn request(&self, device: &str, property: &str) -> String {
        self.of.topics.request.build(self.prefix, &[("device", device), ("property", property)])
    }

    fn snapshot(&self, device: &str) -> String {
        self.of.topics.snapshot.build(self.prefix, &[("device", device)])
    }

    fn event(&self, device: &str) -> String {
        self.of.topics.event.build(self.prefix, &[("device", device)])
    }

    fn presence(&self) -> String {
        self.of.topics.presence.build(self.prefix, &[("client_id", &self.of.client_id)])
    }

    fn absence(&self) -> String {
        self.of.topics.absence.build(self.prefix, &[("client_id", &self.of.client_id)])
    }

    /// The topic of the hub's own announcement, `config`, or of what it tells Home Assistant alone.
    fn of_hub(&self, last: &str) -> String {
        format!("{}/device/{}/{last}", self.of.prefix, names::hub(&self.of.client_id))
    }

    fn of_device(&self, device: &str) -> String {
        format!("{}/device/{}/{device}/config", self.of.prefix, names::hub(&self.of.client_id))
    }
}
