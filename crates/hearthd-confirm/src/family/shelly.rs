//! Shelly: the first generation uses topics; later ones use RPC, whose answers identify their questions.

use serde_json::{Map, Value as Json, json};

use super::{Frame, Meaning, Reading, Reply, Rules, States, Tokens, json, text};
use crate::{
    Color, DeclaredTopics, Message, Property, Readings, Shelly, Token, Value,
    config::{Problem, check_topic},
};

#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    table: Shelly,
    kind: Kind,
    id: u32,
}

/// What a component is; the same words in both generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `relay` in the first generation.
    Switch,
    Light,
    /// The first generation's dimmer for LED strips.
    White,
    Cct,
    Rgb,
}

/// What an error of RPC says about the command or read that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The device does not have it, or does not take such a value.
    Unsupported,
    /// The device does not let the hub in.
    Unreachable,
    /// Not now: the device may do it when it is told again.
    Busy,
    /// The device has a reason not to do it.
    Refused,
}

impl Trouble {
    /// Returns what a code means (Shelly's "Common Errors", HTTP's statuses, JSON-RPC 2.0 section 5.1).
    fn of(code: i64) -> Self {
        match code {
            // Bad Request, Not Found, INVALID ARGUMENT, NOT FOUND; JSON-RPC's unknown method, and invalid parameters.
            400 | 404 | -103 | -105 | -32_601 | -32_602 => Self::Unsupported,
            // Unauthorized, Forbidden.
            401 | 403 => Self::Unreachable,
            // Too Many Requests, Service Unavailable, DEADLINE EXCEEDED, RESOURCE EXHAUSTED, UNAVAILABLE.
            429 | 503 | -104 | -108 | -114 => Self::Busy,
            // FAILED PRECONDITION, and what a component has of its own, such as an overload.
            _ => Self::Refused,
        }
    }
}

impl Dialect {
    pub(crate) fn new(table: Shelly) -> Self {
        let (kind, id) = component(&table).unwrap_or((Kind::Switch, 0));
        Self { table, kind, id }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            states: States::Firmware,
            read: if self.is_first() { Reading::Uncorrelated } else { Reading::Correlated },
            // `online` goes false while the device is alive, when it connects anew.
            offline_is_certain: false,
            sleepy: false,
            in_group: false,
        }
    }

    pub(crate) fn topics(&self) -> DeclaredTopics {
        let topic = &self.table.topic;
        let online = format!("{topic}/online");
        if !self.is_first() {
            return DeclaredTopics {
                subscribe: vec![
                    format!("{}/rpc", self.source()),
                    format!("{topic}/status/{}", self.component()),
                    online,
                ],
                publish: vec![format!("{topic}/rpc")],
            };
        }
        let state = match self.kind {
            Kind::Switch => self.first(""),
            Kind::Light | Kind::White | Kind::Cct | Kind::Rgb => self.first("/status"),
        };
        DeclaredTopics {
            subscribe: vec![state, online],
            publish: vec![self.first_command(), format!("{topic}/command")],
        }
    }

    pub(crate) fn has(&self, property: Property) -> bool {
        match property {
            Property::Power => true,
            Property::Brightness => self.kind != Kind::Switch,
            Property::ColorTemperature => {
                self.kind == Kind::Cct || self.is_first() && self.kind == Kind::Light
            }
            Property::Color => self.kind == Kind::Rgb,
            Property::Setpoint => false,
        }
    }

    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        let token = tokens.take();
        if self.is_first() {
            return vec![Frame::new(
                token,
                self.first_command(),
                self.first_set(target, transition),
            )];
        }
        let mut params = Map::from_iter([("id".to_owned(), json!(self.id))]);
        for value in target.values() {
            let (key, sent) = match value {
                Value::Power(on) => ("on", json!(on)),
                Value::Brightness(percent) => ("brightness", json!(percent.round() as u64)),
                Value::ColorTemperature(kelvin) => ("ct", json!(kelvin.round() as u64)),
                Value::Color(color) => ("rgb", json!(color.to_rgb())),
                Value::Setpoint(_) => continue,
            };
            params.insert(key.to_owned(), sent);
        }
        if transition > 0.0 && self.kind != Kind::Switch {
            params.insert("transition_duration".to_owned(), json!(transition));
        }
        vec![self.call(token, "Set", params)]
    }

    pub(crate) fn read(&self, tokens: &mut Tokens) -> Vec<Frame> {
        let token = tokens.take();
        if self.is_first() {
            return vec![Frame::new(token, format!("{}/command", self.table.topic), "update")];
        }
        let params = Map::from_iter([("id".to_owned(), json!(self.id))]);
        vec![self.call(token, "GetStatus", params)]
    }

    pub(crate) fn understand(&self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, retained } = message;
        let meaning = if *topic == format!("{}/online", self.table.topic) {
            match text(payload) {
                Some("true") => Some(Meaning::Device(true)),
                Some("false") => Some(Meaning::Device(false)),
                _ => None,
            }
        } else if self.is_first() {
            self.first_state(topic, payload)
        } else if *topic == format!("{}/rpc", self.source()) {
            if *retained { None } else { json(payload).and_then(|json| self.answer(&json)) }
        } else if *topic == format!("{}/status/{}", self.table.topic, self.component()) {
            json(payload).map(|json| Meaning::State(readings(&json)))
        } else {
            None
        };
        meaning
            .into_iter()
            .filter(|meaning| !matches!(meaning, Meaning::State(r) if r.is_empty()))
            .collect()
    }

    fn is_first(&self) -> bool {
        self.table.generation == 1
    }

    fn source(&self) -> String {
        let source = self.table.source.clone();
        source.unwrap_or_else(|| format!("{}/hearthd", self.table.topic))
    }

    fn component(&self) -> String {
        format!("{}:{}", self.kind.name(), self.id)
    }

    fn call(&self, token: Token, method: &str, params: Map<String, Json>) -> Frame {
        let method = format!("{}.{method}", self.kind.method());
        let payload =
            json!({"id": token.0, "src": self.source(), "method": method, "params": params});
        Frame::new(token, format!("{}/rpc", self.table.topic), payload.to_string())
    }

    fn answer(&self, frame: &Json) -> Option<Meaning> {
        let token = Token(frame.get("id")?.as_u64()?);
        if let Some(error) = frame.get("error") {
            let code = error.get("code").and_then(Json::as_i64).unwrap_or_default();
            let message = error.get("message").and_then(Json::as_str).unwrap_or("no reason given");
            let reason = format!("{message} ({code})");
            let reply = match Trouble::of(code) {
                Trouble::Unsupported => Reply::Unsupported(reason),
                Trouble::Unreachable => Reply::Unreachable(reason),
                Trouble::Busy => Reply::Busy(reason),
                Trouble::Refused => Reply::Refused(reason),
            };
            return Some(Meaning::Reply(token, reply));
        }
        let readings = readings(frame.get("result")?);
        let reply = if readings.is_empty() { Reply::Taken } else { Reply::State(readings) };
        Some(Meaning::Reply(token, reply))
    }

    fn first(&self, rest: &str) -> String {
        let kind = if self.kind == Kind::Switch { "relay" } else { self.kind.name() };
        format!("{}/{kind}/{}{rest}", self.table.topic, self.id)
    }

    fn first_command(&self) -> String {
        self.first(if self.kind == Kind::Switch { "/command" } else { "/set" })
    }

    fn first_set(&self, target: &Readings, transition: f64) -> String {
        if self.kind == Kind::Switch {
            return if target.power() == Some(true) { "on" } else { "off" }.to_owned();
        }
        let mut object = Map::new();
        for value in target.values() {
            let (key, sent) = match value {
                Value::Power(on) => ("turn", json!(if on { "on" } else { "off" })),
                Value::Brightness(percent) => ("brightness", json!(percent.round() as u64)),
                Value::ColorTemperature(kelvin) => ("temp", json!(kelvin.round() as u64)),
                Value::Color(_) | Value::Setpoint(_) => continue,
            };
            object.insert(key.to_owned(), sent);
        }
        if transition > 0.0 {
            object.insert("transition".to_owned(), json!((transition * 1e3).round() as u64));
        }
        Json::Object(object).to_string()
    }

    fn first_state(&self, topic: &str, payload: &[u8]) -> Option<Meaning> {
        if topic == self.first("") {
            let on = super::on_or_off(&Json::from(text(payload)?))?;
            return Some(Meaning::State([Value::Power(on)].into_iter().collect()));
        }
        if topic != self.first("/status") {
            return None;
        }
        let json = json(payload)?;
        let number = |key| json.get(key)?.as_f64();
        let on = json.get("ison").and_then(super::on_or_off);
        let values = [
            on.map(Value::Power),
            number("brightness").map(Value::Brightness),
            number("temp").map(Value::ColorTemperature),
        ];
        Some(Meaning::State(values.into_iter().flatten().collect()))
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Light => "light",
            Self::White => "white",
            Self::Cct => "cct",
            Self::Rgb => "rgb",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Switch => "Switch",
            Self::Light | Self::White => "Light",
            Self::Cct => "CCT",
            Self::Rgb => "RGB",
        }
    }
}

pub(crate) fn check(table: &Shelly, problems: &mut Vec<Problem>) {
    check_topic("shelly.topic", &table.topic, problems);
    if let Some(source) = &table.source {
        check_topic("shelly.source", source, problems);
    }
    if !(1..=2).contains(&table.generation) {
        let message = format!("{} is not 1 or 2; all after the first are 2", table.generation);
        problems.push(("shelly.generation", message));
    }
    if table.generation == 1 && table.source.is_some() {
        problems.push(("shelly.source", "not used by generation 1".to_owned()));
    }
    if component(table).is_none() {
        let names = if table.generation == 1 {
            "relay:0, light:0 and white:0"
        } else {
            "switch:0, light:0, cct:0 and rgb:0"
        };
        let given = table.component.as_deref().unwrap_or_default();
        problems.push(("shelly.component", format!("\"{given}\" is not one of {names}")));
    }
}

pub(crate) fn generation() -> u8 {
    2
}

fn component(table: &Shelly) -> Option<(Kind, u32)> {
    let Some(component) = &table.component else { return Some((Kind::Switch, 0)) };
    let (name, id) = component.split_once(':')?;
    let kind = match (name, table.generation) {
        ("relay", 1) => Kind::Switch,
        ("white", 1) => Kind::White,
        ("light", _) => Kind::Light,
        ("switch", 2) => Kind::Switch,
        ("cct", 2) => Kind::Cct,
        ("rgb", 2) => Kind::Rgb,
        _ => return None,
    };
    Some((kind, id.parse().ok()?))
}

/// Returns what a status object of the later generations says.
fn readings(status: &Json) -> Readings {
    let number = |key| status.get(key)?.as_f64();
    let rgb = status.get("rgb").and_then(Json::as_array).and_then(|parts| {
        let parts: Option<Vec<f64>> = parts.iter().map(Json::as_f64).collect();
        parts?.try_into().ok().map(Color::from_rgb)
    });
    [
        status.get("output").and_then(Json::as_bool).map(Value::Power),
        number("brightness").map(Value::Brightness),
        number("ct").map(Value::ColorTemperature),
        rgb.map(Value::Color),
    ]
    .into_iter()
    .flatten()
    .collect()
}
