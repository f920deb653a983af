//! What a sensor says by MQTT, read from its messages.

use std::time::Duration;

use hearthd_confirm::{Heard, Message, Now, Sensor, said_at};
use hearthd_sdk::Value;

use crate::config::{FactSource, NumberSource, PresenceSource};

/// What one property is read from.
#[derive(Debug)]
pub(crate) enum Source {
    Fact(FactSource),
    Number { quantity: crate::quantity::Quantity, sensor: Sensor, offset: f64 },
}

/// What a message came to for one property.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    /// It is not about this property.
    Nothing,
    /// The property is so, and was at that time on the monotonic clock.
    State(Value, Duration),
    /// It is not what such a sensor says: why, for people.
    Wrong(String),
}

impl Source {
    pub(crate) fn number(source: NumberSource) -> Self {
        let NumberSource { quantity, table, offset } = source;
        let (min, max) = quantity.range();
        Self::Number { quantity, sensor: Sensor::new(table).within(min, max), offset }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fact(source) => source.fact.name(),
            Self::Number { quantity, .. } => quantity.name(),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        match self {
            Self::Fact(source) => &source.topic,
            Self::Number { sensor, .. } => sensor.declared_topic(),
        }
    }

    /// Takes in a message.
    pub(crate) fn handle(&mut self, now: Now, message: &Message, max_age: Duration) -> Said {
        match self {
            Self::Fact(source) => source.handle(now, message, max_age),
            Self::Number { quantity, sensor, offset } => match sensor.handle(now, message) {
                Heard::Taken => sensor.last().map_or(Said::Nothing, |(value, said)| {
                    Said::State(quantity.value(value + *offset), said)
                }),
                Heard::Ignored | Heard::Absent => Said::Nothing,
                Heard::Wrong(reason) => Said::Wrong(reason),
            },
        }
    }
}

impl FactSource {
    fn handle(&self, now: Now, message: &Message, max_age: Duration) -> Said {
        if message.topic != self.topic {
            return Said::Nothing;
        }
        let json: Option<serde_json::Value> = serde_json::from_slice(&message.payload).ok();
        let Some(said) = said_at(now, json.as_ref(), message.retained, max_age) else {
            return Said::Nothing;
        };
        // A word alone is no JSON, and all there is on many topics.
        let text = match json.as_ref().map(|json| json.pointer(&self.pointer)) {
            None if self.pointer.is_empty() => {
                String::from_utf8_lossy(&message.payload).trim().to_owned()
            }
            None => return Said::Wrong("a message is not JSON".to_owned()),
            Some(None | Some(serde_json::Value::Null)) => return Said::Nothing,
            Some(Some(serde_json::Value::String(text))) => text.clone(),
            Some(Some(other)) => other.to_string(),
        };
        match self.is_on(&text) {
            Some(on) => Said::State(self.fact.value(on), said),
            None => Said::Wrong(format!("\"{}\" is neither on nor off", shown(&text))),
        }
    }

    fn is_on(&self, text: &str) -> Option<bool> {
        if let (Some(on), Some(off)) = (&self.on, &self.off) {
            return (text == on).then_some(true).or((text == off).then_some(false));
        }
        let (on, off) = self.fact.words();
        let text = text.to_uppercase();
        let among = |words: &[&str]| words.contains(&text.as_str());
        among(on).then_some(true).or(among(off).then_some(false))
    }
}

/// Whether a device or its bridge is there, as its topic says.
#[derive(Debug)]
pub(crate) struct Presence {
    source: PresenceSource,
    offline: bool,
}

impl Presence {
    pub(crate) fn new(source: PresenceSource) -> Self {
        Self { source, offline: false }
    }

    pub(crate) fn topic(&self) -> &str {
        &self.source.table.topic
    }

    /// Takes in a message; a retained one says how things are as well.
    pub(crate) fn handle(&mut self, topic: &str, payload: &[u8]) {
        let PresenceSource { table, .. } = &self.source;
        if table.topic != topic {
            return;
        }
        let json: Option<serde_json::Value> = serde_json::from_slice(payload).ok();
        let state = json.as_ref().and_then(|json| json.get("state")?.as_str());
        let plain = String::from_utf8_lossy(payload);
        let said = state.unwrap_or(plain.trim());
        if said == table.offline {
            self.offline = true;
        } else if said == table.online {
            self.offline = false;
        }
    }

    /// Returns why the device cannot be reached, where that is so.
    pub(crate) fn reason(&self) -> Option<String> {
        self.offline.then(|| format!("{} is offline", self.source.what))
    }
}

/// Returns the beginning of a text, for people.
pub(crate) fn shown(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() { shown + "..." } else { shown }
}

/// How much of a text that is not understood is shown.
const SHOWN: usize = 40;
