//! ESPHome: the firmware reports its state after each command, even if nothing changes.

use serde_json::{Map, Value as Json, json};

use super::{Frame, Meaning, Reading, Rules, States, Tokens, json, says_online, text, three, word};
use crate::{
    Color, DeclaredTopics, Esphome, EsphomeComponent, Message, Property, Readings, Value,
    config::{Problem, check_topic},
    value::mireds,
};

#[derive(Clone, Debug)]
pub(crate) struct Dialect(pub(crate) Esphome);

pub(crate) const RULES: Rules = Rules {
    states: States::Firmware,
    read: Reading::ByCommand,
    offline_is_certain: true,
    sleepy: false,
    in_group: false,
};

impl Dialect {
    pub(crate) fn topics(&self) -> DeclaredTopics {
        DeclaredTopics {
            subscribe: vec![self.topic("state"), format!("{}/status", self.0.topic)],
            publish: vec![self.topic("command")],
        }
    }

    pub(crate) fn has(&self, property: Property) -> bool {
        match self.component().0 {
            EsphomeComponent::Light => property != Property::Setpoint,
            EsphomeComponent::Switch => property == Property::Power,
            EsphomeComponent::Climate => property == Property::Setpoint,
        }
    }

    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        let payload = match self.component().0 {
            EsphomeComponent::Light => light(target, transition).to_string(),
            EsphomeComponent::Switch => word(target.power() == Some(true)).to_owned(),
            EsphomeComponent::Climate => match target.get(Property::Setpoint) {
                Some(Value::Setpoint(celsius)) => celsius.to_string(),
                _ => return Vec::new(),
            },
        };
        vec![Frame::new(tokens.take(), self.topic("command"), payload)]
    }

    pub(crate) fn understand(&self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, .. } = message;
        if *topic == format!("{}/status", self.0.topic) {
            return says_online(payload).map(Meaning::Device).into_iter().collect();
        }
        if *topic != self.topic("state") {
            return Vec::new();
        }
        let readings: Option<Readings> = match self.component().0 {
            EsphomeComponent::Light => json(payload).map(|json| readings(&json)),
            EsphomeComponent::Switch => {
                let on = text(payload).and_then(|word| super::on_or_off(&Json::from(word)));
                on.map(|on| [Value::Power(on)].into_iter().collect())
            }
            EsphomeComponent::Climate => {
                let celsius = text(payload).and_then(|text| text.parse().ok());
                celsius.map(|celsius| [Value::Setpoint(celsius)].into_iter().collect())
            }
        };
        readings.map(Meaning::State).into_iter().collect()
    }

    fn component(&self) -> (EsphomeComponent, &str) {
        self.0.component().unwrap_or((EsphomeComponent::Switch, ""))
    }

    fn topic(&self, what: &str) -> String {
        let node = &self.0.topic;
        match self.component() {
            (EsphomeComponent::Light, id) => format!("{node}/light/{id}/{what}"),
            (EsphomeComponent::Switch, id) => format!("{node}/switch/{id}/{what}"),
            (EsphomeComponent::Climate, id) => {
                format!("{node}/climate/{id}/target_temperature/{what}")
            }
        }
    }
}

pub(crate) fn check(table: &Esphome, problems: &mut Vec<Problem>) {
    check_topic("esphome.topic", &table.topic, problems);
    match table.component() {
        Some((_, id)) => check_topic("esphome", id, problems),
        None => problems.push(("esphome", "name one of light, switch and climate".to_owned())),
    }
}

/// Returns a command; ESPHome ignores a number of it in silence that is not whole.
fn light(target: &Readings, transition: f64) -> Json {
    let mut object = Map::new();
    for value in target.values() {
        let (key, sent) = match value {
            Value::Power(on) => ("state", json!(word(on))),
            Value::Brightness(percent) => {
                ("brightness", json!((percent / 100.0 * 255.0).round().clamp(1.0, 255.0) as u64))
            }
            Value::ColorTemperature(kelvin) => ("color_temp", json!(mireds(kelvin).round() as u64)),
            Value::Color(color) => {
                let [red, green, blue] = color.to_rgb();
                ("color", json!({"r": red, "g": green, "b": blue}))
            }
            Value::Setpoint(_) => continue,
        };
        object.insert(key.to_owned(), sent);
    }
    if transition > 0.0 {
        object.insert("transition".to_owned(), json!(transition.ceil() as u64));
    }
    Json::Object(object)
}

fn readings(json: &Json) -> Readings {
    let number = |key| json.get(key)?.as_f64();
    let mode = json.get("color_mode").and_then(Json::as_str);
    let rgb = json.get("color").and_then(|color| three(color, ["r", "g", "b"]));
    let color_temperature = number("color_temp").filter(|mireds| *mireds > 0.0);
    [
        json.get("state").and_then(super::on_or_off).map(Value::Power),
        number("brightness").map(|level| Value::Brightness(level / 2.55)),
        color_temperature
            .filter(|_| mode.is_none_or(|mode| !mode.starts_with("rgb")))
            .map(|value| Value::ColorTemperature(mireds(value))),
        rgb.filter(|_| mode.is_none_or(|mode| mode.starts_with("rgb")))
            .map(|rgb| Value::Color(Color::from_rgb(rgb))),
    ]
    .into_iter()
    .flatten()
    .collect()
}
