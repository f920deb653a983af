//! WLED: the firmware reports brightness and color only when they change.

use serde_json::{Map, Value as Json, json};

use super::{Frame, Meaning, Reading, Rules, States, Tokens, says_online, text};
use crate::{Color, DeclaredTopics, Message, Property, Readings, Value, Wled};

#[derive(Clone, Debug)]
pub(crate) struct Dialect(pub(crate) Wled);

pub(crate) const NAME: &str = "wled";

pub(crate) const RULES: Rules = Rules {
    states: States::Firmware,
    read: Reading::ByCommand,
    offline_is_certain: true,
    sleepy: false,
    in_group: false,
};

impl Dialect {
    pub(crate) fn topics(&self) -> DeclaredTopics {
        let topic = &self.0.topic;
        DeclaredTopics {
            subscribe: ["g", "c", "status"].map(|rest| format!("{topic}/{rest}")).to_vec(),
            publish: vec![format!("{topic}/api")],
        }
    }

    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        let mut object = Map::new();
        for value in target.values() {
            let (key, sent) = match value {
                Value::Power(on) => ("on", json!(on)),
                Value::Brightness(percent) => {
                    ("bri", json!((percent / 100.0 * 255.0).round().clamp(1.0, 255.0) as u64))
                }
                Value::Color(color) => ("seg", json!({"col": [color.to_rgb()]})),
                Value::ColorTemperature(_) | Value::Setpoint(_) => continue,
            };
            object.insert(key.to_owned(), sent);
        }
        if transition > 0.0 {
            // In tenths of a second, for this command alone.
            object.insert("tt".to_owned(), json!((transition * 10.0).round() as u64));
        }
        let payload = Json::Object(object).to_string();
        vec![Frame::new(tokens.take(), format!("{}/api", self.0.topic), payload)]
    }

    pub(crate) fn understand(&self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, .. } = message;
        let Some(rest) = topic.strip_prefix(self.0.topic.as_str()) else { return Vec::new() };
        let meaning = match rest {
            "/status" => says_online(payload).map(Meaning::Device),
            "/g" => text(payload).and_then(|text| text.parse().ok()).map(|level: f64| {
                let on = level > 0.0;
                // Off is brightness 0; the brightness before it is not reported.
                let brightness = on.then_some(Value::Brightness(level / 2.55));
                Meaning::State([Value::Power(on)].into_iter().chain(brightness).collect())
            }),
            "/c" => text(payload).and_then(rgb).map(|rgb| {
                Meaning::State([Value::Color(Color::from_rgb(rgb))].into_iter().collect())
            }),
            _ => None,
        };
        meaning.into_iter().collect()
    }
}

pub(crate) fn has(property: Property) -> bool {
    match property {
        Property::Power | Property::Brightness | Property::Color => true,
        Property::ColorTemperature | Property::Setpoint => false,
    }
}

/// Reads `#RRGGBB`, with or without white before it.
fn rgb(text: &str) -> Option<[f64; 3]> {
    let digits = text.strip_prefix('#')?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    let [_, red, green, blue] = number.to_be_bytes();
    Some([red, green, blue].map(f64::from))
}
