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
/// How much of what is no number is shown.
const SHOWN: usize = 40;

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

/// What a message came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Its value counts from now on.
    Taken,
    /// It is another's, older than what is known, or of an age that nobody knows.
    Ignored,
    /// It has nothing, or null, where the value should be.
    Absent,
    /// It is not what a sensor says, and changes nothing: why, for people.
    Wrong(String),
}

/// A sensor.
///
/// Every message counts, also one that repeats the value. The age is counted from `last_seen` if the message has it
/// (Zigbee2MQTT writes it with `advanced.last_seen`), otherwise from the message's arrival. A retained message without
/// `last_seen` may be of any age, and is ignored.
#[derive(Clone, Debug)]
pub struct Sensor {
    config: SensorConfig,
    range: (f64, f64),
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
        Self { config, range: (f64::MIN, f64::MAX), last: None }
    }

    /// Sets the least and the greatest value that the sensor can mean; without that, any number is taken.
    #[must_use]
    pub fn within(self, min: f64, max: f64) -> Self {
        Self { range: (min, max), ..self }
    }

    /// Returns the topic that the sensor's messages come on.
    pub fn declared_topic(&self) -> &str {
        &self.config.topic
    }

    /// Takes in a message, and returns what it came to.
    pub fn handle(&mut self, now: Now, message: &Message) -> Heard {
        if message.topic != self.config.topic {
            return Heard::Ignored;
        }
        let json = json(&message.payload);
        let Some(said) = said_at(now, json.as_ref(), message.retained, self.max_age()) else {
            return Heard::Ignored;
        };
        let Some(json) = json else { return Heard::Wrong("a message is not JSON".to_owned()) };
        let value = match json.pointer(&self.config.pointer) {
            None | Some(Json::Null) => return Heard::Absent,
            Some(found) => self.value(found),
        };
        let value = match value {
            Ok(value) => value,
            Err(reason) => return Heard::Wrong(reason),
        };
        if self.last.is_some_and(|(_, before)| said < before) {
            return Heard::Ignored;
        }
        self.last = Some((value, said));
        Heard::Taken
    }

    /// Takes in what was known of the sensor before a restart, where nothing newer is known.
    pub fn recall(&mut self, value: f64, said: Duration) {
        if self.last.is_none_or(|(_, before)| said > before) {
            self.last = Some((value, said));
        }
    }

    /// Returns the last value, and when it was said, on the monotonic clock.
    pub fn last(&self) -> Option<(f64, Duration)> {
        self.last
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

    fn value(&self, found: &Json) -> Result<f64, String> {
        let number = match found {
            Json::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        let Some(number) = number.filter(|number| number.is_finite()) else {
            let found = found.to_string();
            let shown: String = found.chars().take(SHOWN).collect();
            let dots = if shown.len() < found.len() { "..." } else { "" };
            return Err(format!("{shown}{dots} is not a number"));
        };
        let value = number * self.config.scale;
        let (min, max) = self.range;
        if !(min..=max).contains(&value) {
            return Err(format!("{value} is not within {min} to {max}"));
        }
        Ok(value)
    }
}

/// Returns when a message was said, on the monotonic clock; none where nobody knows.
///
/// That is its `last_seen`, where it has one, else its arrival. A message that was not retained has come now, whatever
/// the clocks say of it: it counts as at most half as old as a value may be.
pub fn said_at(
    now: Now,
    json: Option<&Json>,
    retained: bool,
    max_age: Duration,
) -> Option<Duration> {
    match json.and_then(last_seen) {
        Some(seen) => {
            // A clock that is ahead of ours is not believed to be in the future.
            let age = now.unix.saturating_sub(seen);
            let age = if retained { age } else { age.min(max_age / 2) };
            // Older than the machine is up: not to be told apart from the beginning.
            if retained {
                now.monotonic.checked_sub(age)
            } else {
                Some(now.monotonic.saturating_sub(age))
            }
        }
        None => (!retained).then_some(now.monotonic),
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
