//! What the families say and take, and what their words are worth.

pub(crate) mod esphome;
pub(crate) mod shelly;
pub(crate) mod tasmota;
pub(crate) mod topics;
pub(crate) mod wled;
mod zcl;
pub(crate) mod zigbee2mqtt;

use std::time::Duration;

use serde_json::Value as Json;

use crate::{Backend, DeclaredTopics, Message, Property, QoS, Readings, Token, Zigbee2Mqtt};

/// One device, in the messages of its family.
#[derive(Clone, Debug)]
pub(crate) enum Dialect {
    Zigbee2Mqtt(zigbee2mqtt::Dialect),
    Tasmota(tasmota::Dialect),
    Shelly(shelly::Dialect),
    Esphome(esphome::Dialect),
    Wled(wled::Dialect),
    Topics(topics::Dialect),
}

/// What the reports of a device prove, and how the device is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Where the states come from.
    pub(crate) states: States,
    /// How a state is read.
    pub(crate) read: Reading,
    /// Whether nothing is sent while the device's own topic reports it offline.
    pub(crate) offline_is_certain: bool,
    /// Whether the device sleeps, and takes commands when it wakes.
    pub(crate) sleepy: bool,
    /// Whether it is told by one message together with others, and does not acknowledge it.
    pub(crate) in_group: bool,
}

/// Where the states of a device come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum States {
    /// The firmware that switches it.
    Firmware,
    /// A bridge; the configuration says whether a state that changes comes from the device.
    Bridge { changes_are_true: bool },
}

/// How a state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Each answer identifies its question.
    Correlated,
    /// A read makes the device report its state, and nothing distinguishes the answer from its other reports.
    Uncorrelated,
    /// There is no read, but the device reports its state after each command.
    ByCommand,
}

/// A message to the device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) token: Token,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) reply: bool,
}

/// The meaning of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// The bridge is online, or not.
    Bridge(bool),
    /// The device is online, or not.
    Device(bool),
    /// The device's state.
    State(Readings),
    /// The answer to a question.
    Reply(Token, Reply),
    /// The bridge reports that a command of this device failed, but not which.
    Trouble(String),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// The state as it was read.
    State(Readings),
    /// The device accepted the command; the outcome has to be read.
    Taken,
    /// The device could not be asked.
    Unreachable(String),
    /// The device could not do it now, and may do it when it is told again.
    Busy(String),
    /// The device refused.
    Refused(String),
    /// The device does not have the property.
    Unsupported(String),
}

/// Where the tokens of publications come from.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    salt: u64,
    next: u64,
}

impl Tokens {
    /// Makes tokens that are below 2^31, as some devices keep them, and that differ between salts.
    pub(crate) fn new(salt: u64) -> Self {
        Self { salt: (salt % 0x7fff + 1) << 16, next: 0 }
    }

    pub(crate) fn take(&mut self) -> Token {
        self.next = (self.next + 1) & 0xffff;
        Token(self.salt | self.next)
    }
}

impl Frame {
    pub(crate) fn new(token: Token, topic: String, payload: impl Into<Vec<u8>>) -> Self {
        Self { token, topic, payload: payload.into(), qos: QoS::AtLeastOnce, reply: false }
    }
}

impl Dialect {
    pub(crate) fn new(backend: &Backend) -> Self {
        match backend {
            Backend::Zigbee2Mqtt(table) => {
                Self::Zigbee2Mqtt(zigbee2mqtt::Dialect::new(table.clone()))
            }
            Backend::Tasmota(table) => Self::Tasmota(tasmota::Dialect(table.clone())),
            Backend::Shelly(table) => Self::Shelly(shelly::Dialect::new(table.clone())),
            Backend::Esphome(table) => Self::Esphome(esphome::Dialect(table.clone())),
            Backend::Wled(table) => Self::Wled(wled::Dialect(table.clone())),
            Backend::Topics(table) => Self::Topics(topics::Dialect(table.clone())),
        }
    }

    /// Makes one for a member of a group.
    pub(crate) fn member(group: &Zigbee2Mqtt, topic: &str) -> Self {
        Self::Zigbee2Mqtt(zigbee2mqtt::Dialect::member(group, topic))
    }

    pub(crate) fn rules(&self) -> Rules {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.rules(),
            Self::Tasmota(_) => tasmota::RULES,
            Self::Shelly(dialect) => dialect.rules(),
            Self::Esphome(_) => esphome::RULES,
            Self::Wled(_) => wled::RULES,
            Self::Topics(dialect) => dialect.rules(),
        }
    }

    pub(crate) fn topics(&self) -> DeclaredTopics {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.topics(),
            Self::Tasmota(dialect) => dialect.topics(),
            Self::Shelly(dialect) => dialect.topics(),
            Self::Esphome(dialect) => dialect.topics(),
            Self::Wled(dialect) => dialect.topics(),
            Self::Topics(dialect) => dialect.topics(),
        }
    }

    /// Returns the name of what is between the broker and the device, for people.
    pub(crate) fn bridge(&self) -> &'static str {
        match self {
            Self::Zigbee2Mqtt(_) => "Zigbee2MQTT",
            Self::Tasmota(_)
            | Self::Shelly(_)
            | Self::Esphome(_)
            | Self::Wled(_)
            | Self::Topics(_) => "the bridge",
        }
    }

    /// Returns what the device is called, for people.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.name(),
            Self::Tasmota(_)
            | Self::Shelly(_)
            | Self::Esphome(_)
            | Self::Wled(_)
            | Self::Topics(_) => "the device",
        }
    }

    pub(crate) fn has(&self, property: Property) -> bool {
        match self {
            Self::Zigbee2Mqtt(_) => true,
            Self::Tasmota(_) => property != Property::Setpoint,
            Self::Shelly(dialect) => dialect.has(property),
            Self::Esphome(dialect) => dialect.has(property),
            Self::Wled(_) => wled::has(property),
            Self::Topics(dialect) => dialect.has(property),
        }
    }

    pub(crate) fn has_transition(&self) -> bool {
        match self {
            Self::Zigbee2Mqtt(_) | Self::Wled(_) => true,
            Self::Tasmota(_) => false,
            Self::Shelly(dialect) => dialect.has(Property::Brightness),
            Self::Esphome(dialect) => dialect.has(Property::Brightness),
            Self::Topics(dialect) => dialect.has_transition(),
        }
    }

    /// Returns why the device cannot do something, if that is known without asking the device.
    pub(crate) fn unsupported(&self, target: &Readings) -> Option<String> {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.unsupported(target),
            Self::Tasmota(_) => tasmota::unsupported(target),
            Self::Shelly(_) | Self::Esphome(_) | Self::Wled(_) | Self::Topics(_) => None,
        }
    }

    /// Returns the messages that set the wanted values.
    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.set(target, transition, tokens),
            Self::Tasmota(dialect) => dialect.set(target, tokens),
            Self::Shelly(dialect) => dialect.set(target, transition, tokens),
            Self::Esphome(dialect) => dialect.set(target, transition, tokens),
            Self::Wled(dialect) => dialect.set(target, transition, tokens),
            Self::Topics(dialect) => dialect.set(target, transition, tokens),
        }
    }

    /// Returns the messages that read these properties, or why they cannot be read.
    pub(crate) fn read(
        &self,
        properties: &[Property],
        left: Duration,
        tokens: &mut Tokens,
    ) -> Result<Vec<Frame>, String> {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.read(properties, left, tokens),
            Self::Tasmota(dialect) => Ok(dialect.read(properties, tokens)),
            Self::Shelly(dialect) => Ok(dialect.read(tokens)),
            Self::Esphome(_) | Self::Wled(_) => Ok(Vec::new()),
            Self::Topics(dialect) => Ok(dialect.read(tokens)),
        }
    }

    /// Returns the meaning of a message; a retained one says at most who is online.
    pub(crate) fn understand(&mut self, message: &Message) -> Vec<Meaning> {
        match self {
            Self::Zigbee2Mqtt(dialect) => dialect.understand(message),
            Self::Tasmota(dialect) => dialect.understand(message),
            Self::Shelly(dialect) => dialect.understand(message),
            Self::Esphome(dialect) => dialect.understand(message),
            Self::Wled(dialect) => dialect.understand(message),
            Self::Topics(dialect) => dialect.understand(message),
        }
    }

    /// Returns the meaning of a reply by Correlation Data.
    pub(crate) fn understand_reply(&self, payload: &[u8]) -> Option<Reply> {
        match self {
            Self::Tasmota(dialect) => dialect.understand_reply(payload),
            Self::Zigbee2Mqtt(_)
            | Self::Shelly(_)
            | Self::Esphome(_)
            | Self::Wled(_)
            | Self::Topics(_) => None,
        }
    }
}

/// Returns the JSON of a payload.
pub(crate) fn json(payload: &[u8]) -> Option<Json> {
    serde_json::from_slice(payload).ok()
}

/// Returns the text of a payload.
pub(crate) fn text(payload: &[u8]) -> Option<&str> {
    std::str::from_utf8(payload).ok().map(str::trim)
}

/// Returns whether a payload means online: the words `online` and `offline`, or Zigbee2MQTT's JSON with them.
pub(crate) fn says_online(payload: &[u8]) -> Option<bool> {
    let json = json(payload);
    let state = json.as_ref().and_then(|json| json.get("state")?.as_str());
    match state.or_else(|| text(payload))? {
        word if word.eq_ignore_ascii_case("online") => Some(true),
        word if word.eq_ignore_ascii_case("offline") => Some(false),
        _ => None,
    }
}

/// Returns on or off in the usual words.
pub(crate) fn on_or_off(json: &Json) -> Option<bool> {
    match json {
        Json::Bool(on) => Some(*on),
        Json::String(word) if word.eq_ignore_ascii_case("on") => Some(true),
        Json::String(word) if word.eq_ignore_ascii_case("off") => Some(false),
        _ => None,
    }
}

/// Returns the word that most families have for on and off.
pub(crate) fn word(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// Returns three numbers from the keys of an object.
pub(crate) fn three(json: &Json, keys: [&str; 3]) -> Option<[f64; 3]> {
    let number = |key| json.get(key)?.as_f64();
    Some([number(keys[0])?, number(keys[1])?, number(keys[2])?])
}
