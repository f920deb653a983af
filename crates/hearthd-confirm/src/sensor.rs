//! A value that a sensor reports now and then, and its age.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    Message,
    config::{Problem, check_topic},
    family::json,
    timestamp,
};

/// Most sensors report once an hour; this is one and a half of that.
const MAX_AGE: u64 = 90 * 60;

/// `mqtt = { topic = "zigbee2mqtt/hall", pointer = "/temperature" }`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorConfig {
    /// The topic of the sensor's messages.
    pub topic: String,
    /// The place of the value (RFC 6901, JSON Pointer); empty if the value is the whole payload.
    #[serde(default)]
    pub pointer: String,
    /// The factor by which the value is multiplied.
    #[serde(default = "one")]
    pub scale: f64,
    /// How old a value may be, in seconds.
    #[serde(default = "max_age")]
    pub max_age: u64,
}

/// The time of a message, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic; ages are counted on this clock.
    pub monotonic: Duration,
    /// Since the Unix epoch; only compared with the time in the message itself.
    pub unix: Duration,
}

/// What is known of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// The sensor has reported nothing, or nothing whose age is known.
    Unknown,
    /// The sensor reports this.
    Fresh(f64),
    /// The sensor has reported nothing for too long.
    Stale {
        /// The last value.
        last: f64,
        /// When it was reported, on the monotonic clock.
        since: Duration,
    },
}

/// A sensor.
///
/// Every message counts, also one that repeats the value. The age is counted from `last_seen` if the message has it
/// (Zigbee2MQTT writes it with `advanced.last_seen`), otherwise from the message's arrival. A retained message without
/// `last_seen` may be of any age, and is ignored.
#[derive(Clone, Debug)]
pub struct Sensor {
    config: SensorConfig,
    last: Option<(f64, Duration)>,
}

impl SensorConfig {
    /// Returns what is wrong with the table.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_topic("mqtt.topic", &self.topic, &mut problems);
        if !self.pointer.is_empty() && !self.pointer.starts_with('/') {
            let message =
                format!("\"{}\" is not a JSON Pointer, such as /temperature", self.pointer);
            problems.push(("mqtt.pointer", message));
        }
        if !self.scale.is_finite() || self.scale == 0.0 {
            problems.push(("mqtt.scale", format!("{} cannot be multiplied by", self.scale)));
        }
        if self.max_age == 0 {
            problems.push(("mqtt.max_age", "0 is not an age (1 second or more)".to_owned()));
        }
        problems
    }
}

impl Sensor {
    /// Makes a sensor that has reported nothing.
    pub fn new(config: SensorConfig) -> Self {
        Self { config, last: None }
    }

    /// Returns the topic that the sensor's messages come on.
    pub fn declared_topic(&self) -> &str {
        &self.config.topic
    }

    /// Takes in a message.
    pub fn handle(&mut self, now: Now, message: &Message) {
        if message.topic != self.config.topic {
            return;
        }
        let Some(json) = json(&message.payload) else { return };
        let Some(value) = self.value(&json) else { return };
        let said = match last_seen(&json) {
            Some(seen) => {
                // A clock ahead of ours cannot put the message into the future.
                let age = now.unix.saturating_sub(seen);
                // A message that was not retained is new, whatever its clock says.
                let age = if message.retained { age } else { age.min(self.max_age() / 2) };
                let Some(said) = now.monotonic.checked_sub(age) else { return };
                said
            }
            None if message.retained => return,
            None => now.monotonic,
        };
        if self.last.is_none_or(|(_, before)| said >= before) {
            self.last = Some((value, said));
        }
    }

    /// Returns what is known now.
    pub fn read(&self, now: Duration) -> Reading {
        match self.last {
            None => Reading::Unknown,
            Some((value, said)) if now.saturating_sub(said) <= self.max_age() => {
                Reading::Fresh(value)
            }
            Some((last, since)) => Reading::Stale { last, since },
        }
    }

    /// Returns when the value becomes stale, where it is fresh.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.last.map(|(_, said)| said + self.max_age())
    }

    fn max_age(&self) -> Duration {
        Duration::from_secs(self.config.max_age)
    }

    fn value(&self, json: &Json) -> Option<f64> {
        let found = json.pointer(&self.config.pointer)?;
        let number = match found {
            Json::String(text) => text.trim().parse().ok()?,
            other => other.as_f64()?,
        };
        Some(number * self.config.scale).filter(|value| value.is_finite())
    }
}

/// Reads `last_seen`: milliseconds since the Unix epoch, or RFC 3339.
fn last_seen(json: &Json) -> Option<Duration> {
    match json.get("last_seen")? {
        Json::String(text) => timestamp::parse(text),
        other => other.as_u64().map(Duration::from_millis),
    }
}

fn one() -> f64 {
    1.0
}

fn max_age() -> u64 {
    MAX_AGE
}
