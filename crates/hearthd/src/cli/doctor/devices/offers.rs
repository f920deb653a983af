//! What bridges and devices on the broker offer, read from the messages that they keep there.

mod homeassistant;
mod shelly;
mod tasmota;
#[cfg(test)]
mod tests;
mod zigbee2mqtt;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Value, json};

/// The filters that cover what bridges keep at a broker, where they have the topics that they come with.
pub(super) const FILTERS: [&str; 8] = [
    "+/bridge/state",
    "+/bridge/devices",
    "+/bridge/groups",
    "tasmota/discovery/+/config",
    "+/online",
    "shellies/+/online",
    "homeassistant/+/+/config",
    "homeassistant/+/+/+/config",
];

/// One device that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Offered {
    /// What it is called where it comes from.
    pub(super) name: String,
    /// Maker, model, and what it can do, for people.
    pub(super) about: String,
    /// What it becomes here.
    pub(super) entry: Entry,
    /// What `[bridges] allow` has to have for it.
    pub(super) allow: Vec<String>,
}

/// What a device becomes in a configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// A device with `plugin = "light"`.
    Light(Light),
    /// An actuator of a thermostat: a radiator valve, by the table of its family.
    Valve(&'static str, toml::Table),
    /// A device with `plugin = "sensor"`: the table of Zigbee2MQTT, and the place of each property's value in the state.
    Sensor(toml::Table, Vec<(&'static str, String)>),
    /// Nothing yet.
    None,
}

/// The table of a light.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Light {
    /// The family, which is also the key of its table.
    pub(super) backend: &'static str,
    pub(super) table: toml::Table,
    pub(super) brightness: bool,
    /// The least and the greatest color temperature in kelvin.
    pub(super) kelvin: Option<(u32, u32)>,
    pub(super) color: bool,
}

/// Reads the retained messages, by topic; what is no offer, or cannot be read, is left out.
pub(super) fn read(messages: &BTreeMap<String, Vec<u8>>) -> Vec<Offered> {
    let json = |payload: &[u8]| serde_json::from_slice::<Value>(payload).ok();
    let mut offered = Vec::new();
    let mut bridges = BTreeSet::new();
    for (topic, payload) in messages {
        let levels: Vec<&str> = topic.split('/').collect();
        match (levels.as_slice(), json(payload)) {
            ([base, "bridge", "devices"], Some(devices)) => {
                bridges.insert((*base).to_owned());
                offered.extend(zigbee2mqtt::devices(base, &devices));
            }
            ([base, "bridge", "groups"], Some(groups)) => {
                let devices = messages.get(&format!("{base}/bridge/devices"));
                let devices = devices.and_then(|payload| json(payload));
                offered.extend(zigbee2mqtt::groups(base, &groups, devices.as_ref()));
            }
            (["tasmota", "discovery", _, "config"], Some(config)) => {
                offered.extend(tasmota::device(&config));
            }
            (["shellies", id, "online"], _) => offered.extend(shelly::first_generation(id)),
            ([prefix, "online"], Some(Value::Bool(_))) => offered.push(shelly::later(prefix)),
            _ => {}
        }
    }
    let known: Vec<String> = offered.iter().flat_map(|known| known.allow.clone()).collect();
    for (topic, payload) in messages {
        let levels: Vec<&str> = topic.split('/').collect();
        let (["homeassistant", component, .., "config"], Some(config)) =
            (levels.as_slice(), json(payload))
        else {
            continue;
        };
        offered.extend(homeassistant::announced(component, &config, &known));
    }
    offered
}

/// Names the bridges that are there, and whose list is not: it is larger than what the hub takes.
pub(super) fn without_list(messages: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    let bases = messages.keys().filter_map(|topic| topic.strip_suffix("/bridge/state"));
    bases.filter(|base| !messages.contains_key(&format!("{base}/bridge/devices"))).collect()
}

/// Writes the offers as a configuration to paste.
pub(super) fn to_snippet(offered: &[Offered]) -> String {
    let mut text = String::from("\n# What is on the broker.\n");
    if offered.is_empty() {
        text += "# Nothing was found: no Zigbee2MQTT, Tasmota, Shelly or ESPHome keeps its list there.\n";
        return text;
    }
    let allow: BTreeSet<&str> =
        offered.iter().flat_map(|offered| &offered.allow).map(String::as_str).collect();
    let allow: Vec<toml::Value> = allow.into_iter().map(toml::Value::from).collect();
    text += "# Keep of `allow` what belongs to the devices that you keep.\n[bridges]\n";
    put(&mut text, format_args!("allow = {}", toml::Value::Array(allow)));
    let mut taken = BTreeSet::new();
    for Offered { name, about, entry, .. } in offered {
        put(&mut text, format_args!("\n# {}: {}", one_line(name), one_line(about)));
        match entry {
            Entry::Light(light) => light.write(&mut text, &device_id(name, &mut taken)),
            Entry::Valve(family, table) => put(
                &mut text,
                format_args!(
                    "# in a thermostat: actuator = {{ {family} = {}, valve = true }}",
                    inline(table)
                ),
            ),
            Entry::Sensor(table, places) => {
                let id = device_id(name, &mut taken);
                put(
                    &mut text,
                    format_args!("[devices.{id}]\nplugin = \"sensor\"\n[devices.{id}.config]"),
                );
                put(&mut text, format_args!("zigbee2mqtt = {}", inline(table)));
                for (property, pointer) in places {
                    put(&mut text, format_args!("{property} = {}", toml::Value::from(&**pointer)));
                }
                let temperature = places.iter().find(|(property, _)| *property == "temperature");
                if let (Some((_, pointer)), Some(topic)) = (temperature, table.get("topic")) {
                    let pointer = toml::Value::from(&**pointer);
                    put(
                        &mut text,
                        format_args!(
                            "# or in a thermostat: sensors = [{{ mqtt = {{ topic = {topic}, pointer = {pointer} }} }}]"
                        ),
                    );
                }
            }
            Entry::None => text += "# no plugin of the package serves it\n",
        }
    }
    text
}

/// Returns the offers as JSON.
pub(super) fn to_json(offered: &[Offered]) -> Value {
    let one = |Offered { name, about, entry, allow }: &Offered| {
        let config = match entry {
            Entry::Light(light) => json!({"plugin": "light", "config": light.config()}),
            Entry::Valve(family, table) => {
                json!({"plugin": "thermostat", "actuator": {*family: table, "valve": true}})
            }
            Entry::Sensor(table, places) => {
                let mut config = json!({"zigbee2mqtt": table});
                for (property, pointer) in places {
                    config[*property] = pointer.as_str().into();
                }
                json!({"plugin": "sensor", "config": config})
            }
            Entry::None => Value::Null,
        };
        json!({"name": name, "about": about, "device": config, "allow": allow})
    };
    offered.iter().map(one).collect()
}

impl Light {
    /// A light that is switched, and no more.
    fn new(backend: &'static str, topic: &str) -> Self {
        let table = toml::Table::from_iter([("topic".to_owned(), topic.into())]);
        Self { backend, table, brightness: false, kelvin: None, color: false }
    }

    fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.table.insert(key.to_owned(), value.into());
        self
    }

    /// Returns what this one and another can both do.
    fn and(&self, other: &Self) -> Self {
        let kelvin = match (self.kelvin, other.kelvin) {
            (Some((min, max)), Some((least, greatest))) => {
                Some((min.max(least), max.min(greatest))).filter(|(min, max)| min < max)
            }
            _ => None,
        };
        Self {
            backend: self.backend,
            table: self.table.clone(),
            brightness: self.brightness && other.brightness,
            kelvin,
            color: self.color && other.color,
        }
    }

    fn config(&self) -> toml::Table {
        let mut config = toml::Table::from_iter([("backend".to_owned(), self.backend.into())]);
        if self.brightness {
            config.insert("brightness".into(), true.into());
        }
        if let Some((min, max)) = self.kelvin {
            let range = [("min", min), ("max", max)];
            let range = range.map(|(key, value)| (key.to_owned(), i64::from(value).into()));
            config.insert("color_temperature".into(), toml::Table::from_iter(range).into());
        }
        if self.color {
            config.insert("color".into(), true.into());
        }
        config.insert(self.backend.into(), self.table.clone().into());
        config
    }

    fn write(&self, text: &mut String, id: &str) {
        put(text, format_args!("[devices.{id}]\nplugin = \"light\"\n[devices.{id}.config]"));
        let config = self.config();
        // The backend first, and its own table last.
        let own = |key: &str| key == "backend" || key == self.backend;
        let between = config.iter().filter(|(key, _)| !own(key));
        let ordered = [("backend", &config["backend"])].into_iter();
        let ordered = ordered.chain(between.map(|(key, value)| (key.as_str(), value)));
        for (key, value) in ordered.chain([(self.backend, &config[self.backend])]) {
            put(text, format_args!("{key} = {value}"));
        }
    }
}

/// Says what a light can do.
fn abilities(light: &Light) -> String {
    let mut abilities = vec!["on and off".to_owned()];
    if light.brightness {
        abilities.push("brightness".into());
    }
    if let Some((min, max)) = light.kelvin {
        abilities.push(format!("{min} to {max} K"));
    }
    if light.color {
        abilities.push("color".into());
    }
    abilities.join(", ")
}

/// Makes a device ID of a name: small letters, digits and hyphens; each is used once.
fn device_id(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut id = String::new();
    for c in name.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => id.push(c),
            'ä' | 'Ä' => id += "ae",
            'ö' | 'Ö' => id += "oe",
            'ü' | 'Ü' => id += "ue",
            'ß' => id += "ss",
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
    }
    let id = match id.trim_end_matches('-') {
        "" => "device",
        id => &id[..id.len().min(LONGEST_ID)],
    };
    let mut unique = id.to_owned();
    let mut number = 1;
    while !taken.insert(unique.clone()) {
        number += 1;
        unique = format!("{id}-{number}");
    }
    unique
}

/// A name may be whatever a bridge says; a comment is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn inline(table: &toml::Table) -> toml::Value {
    toml::Value::Table(table.clone())
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

/// Returns kelvin for mireds; a hundred are enough for people.
fn kelvin(mireds: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 1000 to 100000"
    )]
    let kelvin = (1_000_000.0 / mireds.clamp(10.0, 1_000.0)) as u32;
    kelvin
}

/// The rest of a device ID is for what makes it unique.
const LONGEST_ID: usize = 48;
