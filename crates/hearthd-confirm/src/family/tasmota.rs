//! Tasmota: the firmware answers each command on RESULT, or on the Response Topic if it is built for MQTT 5.

use serde_json::Value as Json;

use super::{Frame, Meaning, Reading, Reply, Rules, States, Tokens, json, says_online, text, word};
use crate::{
    Color, DeclaredTopics, Message, Property, Readings, Tasmota, Value,
    config::{Problem, check_topic},
    value::mireds,
};

#[derive(Clone, Debug)]
pub(crate) struct Dialect(pub(crate) Tasmota);

pub(crate) const RULES: Rules = Rules {
    states: States::Firmware,
    read: Reading::Uncorrelated,
    offline_is_certain: true,
    sleepy: false,
    in_group: false,
};

/// The mireds that `CT` takes.
const MIREDS: (f64, f64) = (153.0, 500.0);

impl Dialect {
    pub(crate) fn topics(&self) -> DeclaredTopics {
        let commands = ["POWER", "Dimmer", "CT", "HSBColor1", "HSBColor2", "HSBColor"];
        let publish = commands.iter().map(|command| match *command {
            "POWER" => self.topic("cmnd", &self.power()),
            command => self.topic("cmnd", command),
        });
        let publish = publish.collect();
        let subscribe = vec![
            self.topic("stat", "RESULT"),
            self.topic("stat", &self.power()),
            // With SetOption4 the answers are there instead of on RESULT.
            self.topic("stat", "DIMMER"),
            self.topic("stat", "CT"),
            self.topic("stat", "HSBCOLOR"),
            self.topic("tele", "STATE"),
            self.topic("tele", "LWT"),
        ];
        DeclaredTopics { subscribe, publish }
    }

    /// Returns one command for each value, power last: with SetOption20 the others do not switch on.
    pub(crate) fn set(&self, target: &Readings, tokens: &mut Tokens) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut send = |command: &str, payload: String| {
            let frame = Frame::new(tokens.take(), self.topic("cmnd", command), payload);
            frames.push(Frame { reply: true, ..frame });
        };
        for value in target.values() {
            match value {
                Value::Power(_) | Value::Setpoint(_) => {}
                Value::Brightness(percent) => send("Dimmer", format!("{percent:.0}")),
                Value::ColorTemperature(kelvin) => {
                    let mireds = mireds(kelvin).round().clamp(MIREDS.0, MIREDS.1);
                    send("CT", format!("{mireds:.0}"));
                }
                Value::Color(Color { hue, saturation }) => {
                    send("HSBColor1", format!("{hue:.0}"));
                    send("HSBColor2", format!("{saturation:.0}"));
                }
            }
        }
        if let Some(on) = target.power() {
            send(&self.power(), word(on).to_owned());
        }
        frames
    }

    pub(crate) fn read(&self, properties: &[Property], tokens: &mut Tokens) -> Vec<Frame> {
        let command = |property: &Property| match property {
            Property::Power => Some(self.power()),
            Property::Brightness => Some("Dimmer".to_owned()),
            Property::ColorTemperature => Some("CT".to_owned()),
            Property::Color => Some("HSBColor".to_owned()),
            Property::Setpoint => None,
        };
        let frames = properties.iter().filter_map(command).map(|command| {
            let frame = Frame::new(tokens.take(), self.topic("cmnd", &command), "");
            Frame { reply: true, ..frame }
        });
        frames.collect()
    }

    pub(crate) fn understand(&self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, .. } = message;
        if *topic == self.topic("tele", "LWT") {
            return says_online(payload).map(Meaning::Device).into_iter().collect();
        }
        let readings = match json(payload) {
            Some(json @ Json::Object(_)) => self.readings(&json),
            _ if *topic == self.topic("stat", &self.power()) => {
                let on = text(payload).and_then(|word| super::on_or_off(&Json::from(word)));
                on.map(Value::Power).into_iter().collect()
            }
            _ => return Vec::new(),
        };
        if readings.is_empty() { Vec::new() } else { vec![Meaning::State(readings)] }
    }

    pub(crate) fn understand_reply(&self, payload: &[u8]) -> Option<Reply> {
        let json = json(payload)?;
        let unknown = json.get("Command").and_then(Json::as_str);
        if unknown == Some("Unknown") || unknown == Some("Error") {
            return Some(Reply::Unsupported("Tasmota does not know the command".to_owned()));
        }
        let readings = self.readings(&json);
        (!readings.is_empty()).then_some(Reply::State(readings))
    }

    fn readings(&self, json: &Json) -> Readings {
        let power = json.get(self.power()).or_else(|| {
            // SetOption26 says POWER1 of a single relay as well.
            let other = match self.0.index {
                None => "POWER1",
                Some(1) => "POWER",
                Some(_) => return None,
            };
            json.get(other)
        });
        let number = |key| json.get(key)?.as_f64();
        let color = json.get("HSBColor").and_then(Json::as_str).and_then(hsb);
        // A lamp that shows a color says a color temperature of 0, or none.
        let color_temperature = number("CT").filter(|mireds| *mireds > 0.0);
        [
            power.and_then(super::on_or_off).map(Value::Power),
            number("Dimmer").map(Value::Brightness),
            color_temperature.map(|value| Value::ColorTemperature(mireds(value))),
            color.map(Value::Color),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn power(&self) -> String {
        self.0.index.map_or_else(|| "POWER".to_owned(), |index| format!("POWER{index}"))
    }

    fn topic(&self, prefix: &str, command: &str) -> String {
        let full = self.0.full_topic.replace("%prefix%", prefix).replace("%topic%", &self.0.topic);
        format!("{}/{command}", full.trim_end_matches('/'))
    }
}

pub(crate) fn check(table: &Tasmota, problems: &mut Vec<Problem>) {
    check_topic("tasmota.topic", &table.topic, problems);
    for part in ["%prefix%", "%topic%"] {
        if !table.full_topic.contains(part) {
            let message = format!("\"{}\" does not have {part}", table.full_topic);
            problems.push(("tasmota.full_topic", message));
        }
    }
    check_topic("tasmota.full_topic", table.full_topic.trim_end_matches('/'), problems);
    if table.index == Some(0) {
        problems.push(("tasmota.index", "relays are counted from 1".to_owned()));
    }
}

pub(crate) fn unsupported(target: &Readings) -> Option<String> {
    let Some(Value::ColorTemperature(kelvin)) = target.get(Property::ColorTemperature) else {
        return None;
    };
    let range = MIREDS.0 - 1.0..=MIREDS.1 + 1.0;
    (!range.contains(&mireds(kelvin))).then(|| "Tasmota takes 2000 to 6536 K".to_owned())
}

pub(crate) fn full_topic() -> String {
    "%prefix%/%topic%/".to_owned()
}

fn hsb(text: &str) -> Option<Color> {
    let mut parts = text.split(',').map(|part| part.trim().parse().ok());
    Some(Color { hue: parts.next()??, saturation: parts.next()?? })
}
