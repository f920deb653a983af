//! Any device with a topic for commands and one for states.

use serde_json::Value as Json;

use super::{Frame, Meaning, Reading, Rules, States, Tokens, json, text};
use crate::{
    DeclaredTopics, Message, Property, Readings, TopicValue, Topics, Value,
    config::{Problem, check_topic},
    value::mireds,
};

#[derive(Clone, Debug)]
pub(crate) struct Dialect(pub(crate) Box<Topics>);

impl Dialect {
    pub(crate) fn rules(&self) -> Rules {
        let bridge = States::Bridge { changes_are_true: false };
        Rules {
            states: if self.0.optimistic { bridge } else { States::Firmware },
            read: if self.0.get.is_some() { Reading::Uncorrelated } else { Reading::ByCommand },
            offline_is_certain: false,
            sleepy: self.0.sleepy,
            in_group: false,
        }
    }

    pub(crate) fn topics(&self) -> DeclaredTopics {
        let mut topics = DeclaredTopics::default();
        for (_, value) in self.values() {
            topics.subscribe.push(value.state.clone());
            topics.publish.push(value.command.clone());
        }
        topics.subscribe.extend(self.0.availability.iter().map(|table| table.topic.clone()));
        topics.publish.extend(self.0.get.iter().map(|table| table.topic.clone()));
        for list in [&mut topics.subscribe, &mut topics.publish] {
            list.sort();
            list.dedup();
        }
        topics
    }

    pub(crate) fn has(&self, property: Property) -> bool {
        self.values().any(|(has, _)| has == property)
    }

    pub(crate) fn has_transition(&self) -> bool {
        self.values().any(|(_, value)| value.payload.contains("{transition}"))
    }

    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        // Power comes last, so that a lamp is switched on with the brightness that is wanted.
        let values = self.values().rev();
        let frames = values.filter_map(|(property, table)| {
            let value = table.write(target.get(property)?);
            let payload = table.payload.replace("{value}", &value);
            let payload = payload.replace("{transition}", &transition.to_string());
            Some(Frame::new(tokens.take(), table.command.clone(), payload))
        });
        frames.collect()
    }

    pub(crate) fn read(&self, tokens: &mut Tokens) -> Vec<Frame> {
        let get = self.0.get.iter();
        get.map(|get| Frame::new(tokens.take(), get.topic.clone(), get.payload.clone())).collect()
    }

    pub(crate) fn understand(&self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, .. } = message;
        let mut meanings = Vec::new();
        if let Some(table) = &self.0.availability
            && table.topic == *topic
        {
            let word = text(payload);
            let says = |wanted: &str| word == Some(wanted);
            if says(&table.online) || says(&table.offline) {
                meanings.push(Meaning::Device(says(&table.online)));
            }
        }
        let said = self.values().filter(|(_, table)| table.state == *topic);
        let readings: Readings =
            said.filter_map(|(property, table)| table.read(property, payload)).collect();
        if !readings.is_empty() {
            meanings.push(Meaning::State(readings));
        }
        meanings
    }

    fn values(&self) -> impl DoubleEndedIterator<Item = (Property, &TopicValue)> {
        let Topics { power, brightness, color_temperature, setpoint, .. } = &*self.0;
        [
            (Property::Power, power),
            (Property::Brightness, brightness),
            (Property::ColorTemperature, color_temperature),
            (Property::Setpoint, setpoint),
        ]
        .into_iter()
        .filter_map(|(property, table)| Some((property, table.as_ref()?)))
    }
}

impl TopicValue {
    fn write(&self, value: Value) -> String {
        match value {
            Value::Power(on) => if on { &self.on } else { &self.off }.clone(),
            Value::Brightness(percent) => {
                let full = self.scale.unwrap_or(100.0);
                format!("{:.0}", (percent / 100.0 * full).round().max(1.0))
            }
            Value::ColorTemperature(kelvin) => {
                let value = if self.mired { mireds(kelvin) } else { kelvin };
                format!("{:.0}", value * self.scale.unwrap_or(1.0))
            }
            Value::Setpoint(celsius) => (celsius * self.scale.unwrap_or(1.0)).to_string(),
            Value::Color(_) => String::new(),
        }
    }

    fn read(&self, property: Property, payload: &[u8]) -> Option<Value> {
        let found = if self.pointer.is_empty() {
            Json::from(text(payload)?)
        } else {
            json(payload)?.pointer(&self.pointer)?.clone()
        };
        if property == Property::Power {
            let word = match &found {
                Json::String(word) => word.clone(),
                other => other.to_string(),
            };
            let on = if word == self.on {
                true
            } else if word == self.off {
                false
            } else {
                return None;
            };
            return Some(Value::Power(on));
        }
        let number = match &found {
            Json::String(text) => text.parse().ok(),
            other => other.as_f64(),
        };
        let number = number.filter(|number: &f64| number.is_finite())?;
        match property {
            Property::Power | Property::Color => None,
            Property::Brightness => {
                Some(Value::Brightness(number / self.scale.unwrap_or(100.0) * 100.0))
            }
            Property::ColorTemperature => {
                let value = number / self.scale.unwrap_or(1.0);
                let kelvin = if self.mired { mireds(value) } else { value };
                kelvin.is_finite().then_some(Value::ColorTemperature(kelvin))
            }
            Property::Setpoint => Some(Value::Setpoint(number / self.scale.unwrap_or(1.0))),
        }
    }
}

pub(crate) fn check(table: &Topics, problems: &mut Vec<Problem>) {
    let dialect = Dialect(Box::new(table.clone()));
    if dialect.values().next().is_none() {
        problems.push(("topics", "name at least one of power, brightness and setpoint".to_owned()));
    }
    for (property, value) in dialect.values() {
        let place = match property {
            Property::Power | Property::Color => "topics.power",
            Property::Brightness => "topics.brightness",
            Property::ColorTemperature => "topics.color_temperature",
            Property::Setpoint => "topics.setpoint",
        };
        check_topic(place, &value.command, problems);
        check_topic(place, &value.state, problems);
        if value.command == value.state {
            let message =
                format!("\"{}\" cannot be both: a command would confirm itself", value.state);
            problems.push((place, message));
        }
        if !value.payload.contains("{value}") {
            problems.push((place, format!("\"{}\" has no {{value}}", value.payload)));
        }
        if !value.pointer.is_empty() && !value.pointer.starts_with('/') {
            let message = format!("\"{}\" is not a JSON Pointer, such as /state", value.pointer);
            problems.push((place, message));
        }
        if value.scale.is_some_and(|scale| !(scale.is_finite() && scale > 0.0)) {
            problems.push((place, "scale is not more than 0".to_owned()));
        }
        if value.on == value.off {
            problems.push((place, "on and off are the same".to_owned()));
        }
    }
    if let Some(get) = &table.get {
        check_topic("topics.get", &get.topic, problems);
    }
    if let Some(availability) = &table.availability {
        check_topic("topics.availability", &availability.topic, problems);
    }
    if table.optimistic && table.get.is_none() {
        let message = "a bridge that believes its own commands has to be asked: name get";
        problems.push(("topics.optimistic", message.to_owned()));
    }
}

pub(crate) fn payload() -> String {
    "{value}".to_owned()
}

pub(crate) fn on() -> String {
    "ON".to_owned()
}

pub(crate) fn off() -> String {
    "OFF".to_owned()
}

pub(crate) fn online() -> String {
    "online".to_owned()
}

pub(crate) fn offline() -> String {
    "offline".to_owned()
}
