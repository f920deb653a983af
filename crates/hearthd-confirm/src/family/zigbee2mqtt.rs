//! Zigbee2MQTT 2.x: a bridge that repeats each command as if the device had carried it out.

mod devices;

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use self::devices::{Entry, Listed};
use super::{Frame, Meaning, Reading, Reply, Rules, States, Tokens, json, says_online, word, zcl};
use crate::{
    Color, DeclaredTopics, Message, Property, Readings, Token, Value, Zigbee2Mqtt,
    config::{Problem, check_topic},
    value::mireds,
};

#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    table: Zigbee2Mqtt,
    /// The topic of the group that it is told in.
    group: Option<String>,
    /// The device in `bridge/devices`.
    listed: Listed,
}

/// A full brightness.
const FULL: f64 = 254.0;

impl Dialect {
    pub(crate) fn new(table: Zigbee2Mqtt) -> Self {
        Self { table, group: None, listed: Listed::Unknown }
    }

    /// Makes one for the member of a group that has this topic.
    pub(crate) fn member(group: &Zigbee2Mqtt, topic: &str) -> Self {
        let table = Zigbee2Mqtt { topic: topic.to_owned(), members: Vec::new(), ..group.clone() };
        Self { group: Some(group.topic.clone()), ..Self::new(table) }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            states: States::Bridge { changes_are_true: !self.table.optimistic },
            read: if self.table.raw { Reading::Correlated } else { Reading::Uncorrelated },
            offline_is_certain: false,
            sleepy: self.table.sleepy,
            in_group: self.group.is_some(),
        }
    }

    pub(crate) fn topics(&self) -> DeclaredTopics {
        let Zigbee2Mqtt { topic, raw, members, .. } = &self.table;
        let read = if members.is_empty() { std::slice::from_ref(topic) } else { members };
        let states = read.iter().flat_map(|topic| [topic.clone(), format!("{topic}/availability")]);
        let mut subscribe: Vec<String> = states.collect();
        subscribe.extend([self.bridge("state"), self.bridge("logging")]);
        let mut publish = vec![format!("{topic}/set")];
        if *raw {
            subscribe.extend([self.bridge("devices"), self.bridge("response/action")]);
            publish.push(self.bridge("request/action"));
        } else {
            publish.extend(read.iter().map(|topic| format!("{topic}/get")));
        }
        DeclaredTopics { subscribe, publish }
    }

    pub(crate) fn unsupported(&self, target: &Readings) -> Option<String> {
        let Listed::Here(entry) = &self.listed else { return None };
        target.values().find_map(|value| {
            let key = self.key(value.property());
            let Some(feature) = entry.features.iter().find(|feature| feature.property == key)
            else {
                return Some(format!("{} has no {key}", self.name()));
            };
            let sent = match value {
                Value::ColorTemperature(kelvin) => mireds(kelvin).round(),
                Value::Setpoint(celsius) => celsius,
                Value::Power(_) | Value::Brightness(_) | Value::Color(_) => return None,
            };
            let (min, max) = (feature.min.unwrap_or(f64::MIN), feature.max.unwrap_or(f64::MAX));
            // Kelvin are rounded to mireds, so one mired beyond the range counts as its end.
            let play = if matches!(value, Value::ColorTemperature(_)) { 1.0 } else { 0.0 };
            if sent >= min - play && sent <= max + play {
                return None;
            }
            Some(match value {
                Value::ColorTemperature(_) => format!(
                    "{} takes {:.0} to {:.0} K",
                    self.name(),
                    mireds(max).ceil(),
                    mireds(min).floor()
                ),
                _ => format!("{} takes {min} to {max} °C", self.name()),
            })
        })
    }

    pub(crate) fn set(
        &self,
        target: &Readings,
        transition: f64,
        tokens: &mut Tokens,
    ) -> Vec<Frame> {
        let mut object = Map::new();
        for value in target.values() {
            let sent = match value {
                Value::Power(on) => json!(word(on)),
                Value::Brightness(percent) => json!(self.level(percent)),
                Value::ColorTemperature(kelvin) => json!(self.mireds(kelvin)),
                Value::Color(Color { hue, saturation }) => {
                    json!({"hue": hue.round(), "saturation": saturation.round()})
                }
                Value::Setpoint(celsius) => json!(celsius),
            };
            object.insert(self.key(value.property()), sent);
        }
        if transition > 0.0 {
            object.insert("transition".to_owned(), json!(transition));
        }
        let topic = format!("{}/set", self.group.as_ref().unwrap_or(&self.table.topic));
        vec![Frame::new(tokens.take(), topic, Json::Object(object).to_string())]
    }

    pub(crate) fn read(
        &self,
        properties: &[Property],
        left: Duration,
        tokens: &mut Tokens,
    ) -> Result<Vec<Frame>, String> {
        if !self.table.raw {
            let keys = properties.iter().map(|property| (self.key(*property), json!("")));
            let payload = Json::Object(keys.collect()).to_string();
            return Ok(vec![Frame::new(
                tokens.take(),
                format!("{}/get", self.table.topic),
                payload,
            )]);
        }
        let entry = match &self.listed {
            Listed::Unknown => return Err("Zigbee2MQTT has not listed its devices".to_owned()),
            Listed::Missing => return Err(format!("Zigbee2MQTT has no device {}", self.name())),
            Listed::Here(entry) => entry,
        };
        let mut clusters: Vec<zcl::Cluster> =
            properties.iter().map(|property| zcl::Cluster::of(*property)).collect();
        clusters.dedup();
        let frames = clusters.into_iter().map(|cluster| {
            let token = tokens.take();
            let payload = json!({
                "action": "raw",
                "transaction": transaction(token),
                "params": {
                    "ieee_address": entry.ieee_address,
                    "network_address": entry.network_address,
                    "dst_endpoint": self.table.endpoint.unwrap_or_else(|| entry.endpoint(cluster)),
                    "cluster_key": cluster.key(),
                    "zcl": {
                        "frame_type": 0,
                        "direction": 0,
                        "command_key": "read",
                        "payload": cluster.attributes().iter().map(|id| json!({"attrId": id})).collect::<Vec<_>>(),
                    },
                    "timeout": (left.as_millis() as u64).max(1),
                },
            });
            Frame::new(token, self.bridge("request/action"), payload.to_string())
        });
        Ok(frames.collect())
    }

    pub(crate) fn understand(&mut self, message: &Message) -> Vec<Meaning> {
        let Message { topic, payload, retained } = message;
        // A device may be called as the bridge's own topics begin.
        let own = topic.strip_prefix(self.table.topic.as_str());
        if let Some(rest) = own.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            let state = || Some(Meaning::State(self.readings(&json(payload)?)));
            let meaning = match rest {
                "" => state(),
                "/availability" => says_online(payload).map(Meaning::Device),
                _ => None,
            };
            return meaning.into_iter().collect();
        }
        let Some(rest) = topic.strip_prefix(self.table.base.as_str()) else { return Vec::new() };
        let meaning = match rest {
            "/bridge/state" => says_online(payload).map(Meaning::Bridge),
            "/bridge/devices" => {
                // The list is a state of the bridge and not of a device, so a retained one is valid.
                if let Some(Json::Array(devices)) = json(payload) {
                    self.list(&devices);
                }
                None
            }
            "/bridge/response/action" if !retained => json(payload).and_then(|json| answer(&json)),
            "/bridge/logging" if !retained => json(payload).and_then(|json| self.trouble(&json)),
            _ => None,
        };
        meaning.into_iter().collect()
    }

    fn bridge(&self, rest: &str) -> String {
        format!("{}/bridge/{rest}", self.table.base)
    }

    pub(crate) fn name(&self) -> &str {
        let rest = self.table.topic.strip_prefix(self.table.base.as_str());
        rest.map_or(&self.table.topic, |rest| rest.trim_start_matches('/'))
    }

    fn key(&self, property: Property) -> String {
        let key = match property {
            Property::Power => "state",
            Property::Brightness => "brightness",
            Property::ColorTemperature => "color_temp",
            Property::Color => "color",
            Property::Setpoint => &self.table.setpoint,
        };
        match &self.table.suffix {
            Some(suffix) => format!("{key}_{suffix}"),
            None => key.to_owned(),
        }
    }

    fn level(&self, percent: f64) -> u64 {
        (percent / 100.0 * FULL).round().clamp(1.0, FULL) as u64
    }

    /// Returns mireds, within the device's own range if that is known.
    fn mireds(&self, kelvin: f64) -> u64 {
        let mut value = mireds(kelvin).round();
        if let Listed::Here(entry) = &self.listed {
            let key = self.key(Property::ColorTemperature);
            if let Some(feature) = entry.features.iter().find(|feature| feature.property == key) {
                value = value.max(feature.min.unwrap_or(value)).min(feature.max.unwrap_or(value));
            }
        }
        value as u64
    }

    fn readings(&self, json: &Json) -> Readings {
        let mode = json.get("color_mode").and_then(Json::as_str);
        let number = |property| json.get(self.key(property))?.as_f64();
        let power = json.get(self.key(Property::Power)).and_then(super::on_or_off);
        let color = json.get(self.key(Property::Color)).and_then(color);
        let color_temperature = number(Property::ColorTemperature).filter(|mireds| *mireds > 0.0);
        [
            power.map(Value::Power),
            number(Property::Brightness).map(|level| Value::Brightness(level / FULL * 100.0)),
            color_temperature
                .filter(|_| mode.is_none_or(|mode| mode == "color_temp"))
                .map(|value| Value::ColorTemperature(mireds(value))),
            color.filter(|_| mode != Some("color_temp")).map(Value::Color),
            number(Property::Setpoint).map(Value::Setpoint),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn list(&mut self, devices: &[Json]) {
        let named = |device: &&Json| {
            device.get("friendly_name").and_then(Json::as_str) == Some(self.name())
        };
        self.listed =
            devices.iter().find(named).and_then(Entry::read).map_or(Listed::Missing, Listed::Here);
    }

    /// Returns the reason in a log line, if the line says that this device's last command failed.
    fn trouble(&self, json: &Json) -> Option<Meaning> {
        let line = json.get("message")?.as_str()?;
        let marker = format!("to '{}' failed: ", self.name());
        let alternative = format!("from '{}' failed: ", self.name());
        let reason = [marker, alternative]
            .iter()
            .find_map(|marker| line.split_once(marker.as_str()).map(|(_, reason)| reason))?;
        // This is about the command that the last one replaced.
        if reason.contains("Request superseded") {
            return None;
        }
        // The cause is in the last parentheses, after the command's parameters.
        let reason = reason.trim_matches('\'');
        let inner = reason.rsplit_once("failed (").map(|(_, cause)| cause.trim_end_matches(')'));
        let cause = inner.unwrap_or(reason).trim_end_matches('.');
        Some(Meaning::Trouble(cause.to_owned()))
    }
}

pub(crate) fn check(table: &Zigbee2Mqtt, problems: &mut Vec<Problem>) {
    check_topic("zigbee2mqtt.base", &table.base, problems);
    check_topic("zigbee2mqtt.topic", &table.topic, problems);
    check_name("zigbee2mqtt.topic", &table.topic, &table.base, problems);
    check_members(table, problems);
    if table.endpoint == Some(0) {
        problems.push(("zigbee2mqtt.endpoint", "0 is not an endpoint (1 to 240)".to_owned()));
    }
}

/// Checks that a topic is one of a device or group of the bridge.
fn check_name(place: &'static str, topic: &str, base: &str, problems: &mut Vec<Problem>) {
    let name = topic.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    match name {
        None => {
            let message =
                format!("\"{topic}\" does not begin with \"{base}/\"; base names another");
            problems.push((place, message));
        }
        Some(name) if name == "bridge" || name.starts_with("bridge/") => {
            problems.push((place, format!("\"{topic}\" is the bridge's own")));
        }
        Some(_) => {}
    }
}

fn check_members(table: &Zigbee2Mqtt, problems: &mut Vec<Problem>) {
    const PLACE: &str = "zigbee2mqtt.members";
    let members = &table.members;
    for (place, member) in members.iter().enumerate() {
        check_topic(PLACE, member, problems);
        check_name(PLACE, member, &table.base, problems);
        if *member == table.topic {
            problems.push((PLACE, format!("\"{member}\" is the group itself")));
        }
        if members[..place].contains(member) {
            problems.push((PLACE, format!("\"{member}\" is named twice")));
        }
    }
    if members.len() > MOST_MEMBERS {
        let message = format!("{} members, and {MOST_MEMBERS} are the most", members.len());
        problems.push((PLACE, message));
    }
    if members.is_empty() {
        return;
    }
    let of_one = [
        ("zigbee2mqtt.endpoint", table.endpoint.is_some()),
        ("zigbee2mqtt.suffix", table.suffix.is_some()),
        ("zigbee2mqtt.optimistic", !table.optimistic),
        ("zigbee2mqtt.sleepy", table.sleepy),
    ];
    for (place, _) in of_one.into_iter().filter(|(_, given)| *given) {
        problems.push((place, "is for a single device, and not for a group".to_owned()));
    }
}

/// A device may use 64 topics in all, and each member takes up to three.
const MOST_MEMBERS: usize = 20;

pub(crate) fn base() -> String {
    "zigbee2mqtt".to_owned()
}

pub(crate) fn setpoint() -> String {
    "occupied_heating_setpoint".to_owned()
}

fn color(json: &Json) -> Option<Color> {
    let number = |key| json.get(key)?.as_f64();
    if let (Some(hue), Some(saturation)) = (number("hue"), number("saturation")) {
        return Some(Color { hue, saturation });
    }
    Some(Color::from_xy(number("x")?, number("y")?))
}

fn transaction(token: Token) -> String {
    format!("hearthd-{}", token.0)
}

fn answer(json: &Json) -> Option<Meaning> {
    let token = json.get("transaction")?.as_str()?.strip_prefix("hearthd-")?.parse().ok()?;
    let reply = if json.get("status")?.as_str()? == "ok" {
        let bytes: Option<Vec<u8>> = json.pointer("/data/data/data").and_then(|bytes| {
            let numbers = bytes.as_array()?.iter();
            numbers.map(|number| u8::try_from(number.as_u64()?).ok()).collect()
        });
        let cluster = json.pointer("/data/clusterID").and_then(Json::as_u64);
        match (bytes, cluster.and_then(zcl::Cluster::from_id)) {
            (Some(bytes), Some(cluster)) => zcl::answer(cluster, &bytes),
            _ => Reply::Unreachable("the answer of Zigbee2MQTT is not readable".to_owned()),
        }
    } else {
        let error = json.get("error").and_then(Json::as_str).unwrap_or("no reason given");
        Reply::Unreachable(error.trim_end_matches('.').to_owned())
    };
    Some(Meaning::Reply(Token(token), reply))
}
