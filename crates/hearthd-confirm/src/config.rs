//! The tables of a configuration that name a device, and the topics that follow from them.

use serde::Deserialize;

use crate::{
    Property,
    family::{Dialect, esphome, shelly, tasmota, topics, wled, zigbee2mqtt},
};

/// A problem in a table: the place within it, and a message.
pub type Problem = (&'static str, String);

/// How a device is reached: the family that it belongs to, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Backend {
    /// A device behind Zigbee2MQTT.
    Zigbee2Mqtt(Zigbee2Mqtt),
    /// A device with Tasmota.
    Tasmota(Tasmota),
    /// A Shelly.
    Shelly(Shelly),
    /// A node of ESPHome.
    Esphome(Esphome),
    /// A strip with WLED.
    Wled(Wled),
    /// Anything with a topic for commands and one for states.
    Topics(Box<Topics>),
}

/// The topics that a device uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredTopics {
    /// The topic names that it subscribes to; none has a wildcard.
    pub subscribe: Vec<String>,
    /// What it publishes on.
    pub publish: Vec<String>,
}

/// `zigbee2mqtt = { topic = "zigbee2mqtt/kitchen" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zigbee2Mqtt {
    /// The base topic, `/` and the friendly name, which may contain more of them.
    pub topic: String,
    /// Zigbee2MQTT's own `base_topic`.
    #[serde(default = "zigbee2mqtt::base")]
    pub base: String,
    /// Whether to read back by `bridge/request/action`. Each answer identifies its question, so no state has to settle.
    /// But every client that may publish there can do anything to the Zigbee network.
    #[serde(default)]
    pub raw: bool,
    /// The Zigbee endpoint for `raw`, where it is not the first that has what is wanted.
    pub endpoint: Option<u8>,
    /// The suffix of `state` and the other keys if a device has several of them: `left` for `state_left`.
    pub suffix: Option<String>,
    /// The key of the same name in Zigbee2MQTT's configuration of the device. If it is false, a state that changes to
    /// what is wanted comes from the device.
    #[serde(default = "yes")]
    pub optimistic: bool,
    /// The topics of the devices of a group, if the topic is a group's: each of them is read.
    #[serde(default)]
    pub members: Vec<String>,
    /// Whether the device sleeps, and takes commands when it wakes.
    #[serde(default)]
    pub sleepy: bool,
    /// The key of a radiator valve's own target: `occupied_heating_setpoint` or `current_heating_setpoint`.
    #[serde(default = "zigbee2mqtt::setpoint")]
    pub setpoint: String,
}

/// `tasmota = { topic = "kitchen" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasmota {
    /// `Topic` on the device.
    pub topic: String,
    /// `FullTopic` on the device.
    #[serde(default = "tasmota::full_topic")]
    pub full_topic: String,
    /// Which of several relays, from 1.
    pub index: Option<u8>,
}

/// `shelly = { topic = "shellyplus1-a8032ab12345" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shelly {
    /// The MQTT prefix; of the first generation with `shellies/` before it.
    pub topic: String,
    /// 1 for the first generation; 2 for all later ones.
    #[serde(default = "shelly::generation")]
    pub generation: u8,
    /// `switch:0`, `light:0`, `cct:0`, `rgb:0`; of the first generation `relay:0`, `light:0`, `white:0`.
    pub component: Option<String>,
    /// Where later generations answer, followed by `/rpc`: the device's own prefix and `/hearthd` by default.
    pub source: Option<String>,
}

/// `esphome = { topic = "kitchen", light = "ceiling" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Esphome {
    /// The node's `topic_prefix`.
    pub topic: String,
    /// The object ID of a light,
    pub light: Option<String>,
    /// or of a switch,
    pub switch: Option<String>,
    /// or of a thermostat.
    pub climate: Option<String>,
}

/// The component of an ESPHome node at an object ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EsphomeComponent {
    /// `light`
    Light,
    /// `switch`
    Switch,
    /// `climate`
    Climate,
}

/// `wled = { topic = "wled/desk" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wled {
    /// The Device Topic.
    pub topic: String,
}

/// `topics = { power = { command = "x/set", state = "x/state" } }`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// The topics of `power`.
    pub power: Option<TopicValue>,
    /// The topics of `brightness`.
    pub brightness: Option<TopicValue>,
    /// The topics of `color_temperature`.
    pub color_temperature: Option<TopicValue>,
    /// The topics of a radiator valve's target.
    pub setpoint: Option<TopicValue>,
    /// The message that makes the device report its states.
    pub get: Option<Read>,
    /// Whether the states come from a bridge that repeats commands unchecked; needs `get`.
    pub optimistic: bool,
    /// Whether the device sleeps, and takes commands when it wakes.
    pub sleepy: bool,
    /// The topic on which the device reports whether it is online.
    pub availability: Option<Available>,
}

/// The topics of one property.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicValue {
    /// The topic for commands.
    pub command: String,
    /// The payload for commands, with `{value}` and `{transition}` (seconds) filled in.
    #[serde(default = "topics::payload")]
    pub payload: String,
    /// The topic for states.
    pub state: String,
    /// The place of the value in the state (RFC 6901, JSON Pointer); empty if the value is the whole payload.
    #[serde(default)]
    pub pointer: String,
    /// The number for 100 percent: 100, 254 or 255; for other properties the factor of the value.
    pub scale: Option<f64>,
    /// The value for on.
    #[serde(default = "topics::on")]
    pub on: String,
    /// The value for off.
    #[serde(default = "topics::off")]
    pub off: String,
    /// Whether a color temperature is in mireds.
    #[serde(default)]
    pub mired: bool,
}

/// A message that makes a device report its states.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The topic.
    pub topic: String,
    /// The payload.
    #[serde(default)]
    pub payload: String,
}

/// The topic on which a device reports whether it is online.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Available {
    /// The topic.
    pub topic: String,
    /// The payload for online.
    #[serde(default = "topics::online")]
    pub online: String,
    /// The payload for offline.
    #[serde(default = "topics::offline")]
    pub offline: String,
}

impl Backend {
    /// Returns the topics that the device uses; they follow only from the table.
    pub fn declared_topics(&self) -> DeclaredTopics {
        Dialect::new(self).topics()
    }

    /// Returns what is wrong with the table.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self {
            Self::Zigbee2Mqtt(table) => zigbee2mqtt::check(table, &mut problems),
            Self::Tasmota(table) => tasmota::check(table, &mut problems),
            Self::Shelly(table) => shelly::check(table, &mut problems),
            Self::Esphome(table) => esphome::check(table, &mut problems),
            Self::Wled(table) => check_topic("wled.topic", &table.topic, &mut problems),
            Self::Topics(table) => topics::check(table, &mut problems),
        }
        problems
    }

    /// Returns the bridge whose [`Radio`](crate::Radio) the device shares with others, by its base topic.
    pub fn bridge(&self) -> Option<&str> {
        match self {
            Self::Zigbee2Mqtt(table) => Some(&table.base),
            Self::Tasmota(_) | Self::Shelly(_) | Self::Esphome(_) | Self::Wled(_) => None,
            Self::Topics(_) => None,
        }
    }

    /// Returns whether a device of this table can have a property.
    pub fn has(&self, property: Property) -> bool {
        Dialect::new(self).has(property)
    }

    /// Returns whether the device accepts a transition time.
    pub fn has_transition(&self) -> bool {
        Dialect::new(self).has_transition()
    }

    /// Returns the name of the family, which is also the key of its table.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Zigbee2Mqtt(_) => "zigbee2mqtt",
            Self::Tasmota(_) => "tasmota",
            Self::Shelly(_) => "shelly",
            Self::Esphome(_) => "esphome",
            Self::Wled(_) => wled::NAME,
            Self::Topics(_) => "topics",
        }
    }
}

impl Esphome {
    /// Returns the component that is named, if it is one.
    pub(crate) fn component(&self) -> Option<(EsphomeComponent, &str)> {
        match (&self.light, &self.switch, &self.climate) {
            (Some(id), None, None) => Some((EsphomeComponent::Light, id)),
            (None, Some(id), None) => Some((EsphomeComponent::Switch, id)),
            (None, None, Some(id)) => Some((EsphomeComponent::Climate, id)),
            _ => None,
        }
    }
}

/// Checks that a topic is one that can be published on.
pub(crate) fn check_topic(place: &'static str, topic: &str, problems: &mut Vec<Problem>) {
    let problem = if topic.is_empty() {
        "is empty"
    } else if topic.contains(['#', '+']) {
        "has a wildcard; name one device"
    } else if topic.contains(|c: char| c.is_control()) {
        "has a control character"
    } else if topic.starts_with('$') {
        "belongs to the broker"
    } else if topic.starts_with('/') || topic.ends_with('/') || topic.contains("//") {
        "has an empty level"
    } else if topic.len() > 1_024 {
        "is longer than 1024 bytes"
    } else {
        return;
    };
    problems.push((place, format!("\"{topic}\" {problem}")));
}

fn yes() -> bool {
    true
}
