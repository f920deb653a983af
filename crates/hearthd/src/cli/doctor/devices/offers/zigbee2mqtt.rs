//! The list that Zigbee2MQTT keeps: `BASE/bridge/devices` and `BASE/bridge/groups`.

use serde_json::Value;

use super::{Entry, Light, Offered, abilities, kelvin};
use crate::cli::counted;

/// Reads the devices; the coordinator and what has not been interviewed are none.
pub(super) fn devices(base: &str, list: &Value) -> Vec<Offered> {
    let devices = list.as_array().into_iter().flatten();
    devices.flat_map(|device| offered(base, device)).collect()
}

/// Reads the groups: a light each, with the members that are lights, and what all of them can do.
pub(super) fn groups(base: &str, list: &Value, devices: Option<&Value>) -> Vec<Offered> {
    let groups = list.as_array().into_iter().flatten();
    groups.filter_map(|group| group_of(base, group, devices)).collect()
}

fn group_of(base: &str, group: &Value, devices: Option<&Value>) -> Option<Offered> {
    let name = group["friendly_name"].as_str()?.to_owned();
    let members = group["members"].as_array().filter(|members| !members.is_empty())?;
    let known = || devices.and_then(Value::as_array).into_iter().flatten();
    let mut topics: Vec<String> = Vec::new();
    let mut common: Option<Light> = None;
    let mut others = 0;
    for member in members {
        let device = known().find(|device| device["ieee_address"] == member["ieee_address"]);
        let light = device.and_then(|device| {
            let name = device["friendly_name"].as_str()?;
            let entries = entries(base, name, device, device["definition"]["exposes"].as_array());
            match entries.into_iter().next()? {
                Entry::Light(light) if !light.table.contains_key("suffix") => Some(light),
                _ => None,
            }
        });
        let Some(light) = light else {
            others += 1;
            continue;
        };
        let topic = light.table["topic"].as_str().unwrap_or_default().to_owned();
        if topics.contains(&topic) {
            continue;
        }
        topics.push(topic);
        common = Some(match common {
            Some(before) => before.and(&light),
            None => light,
        });
    }
    let mut about = format!("a group of {} of Zigbee2MQTT", counted(topics.len(), "light"));
    if others > 0 {
        about += &format!(", without {others} other members, which are not read back");
    }
    let entry = match common {
        Some(common) if topics.len() <= MOST_MEMBERS => {
            let table = light(base, &name).with("members", topics).table;
            about += &format!(", {}", abilities(&common));
            Entry::Light(Light { table, ..common })
        }
        Some(_) | None => Entry::None,
    };
    Some(Offered { name, about, entry, allow: vec![format!("{base}/#")] })
}

/// As many members a group may have here.
const MOST_MEMBERS: usize = 20;

fn offered(base: &str, device: &Value) -> Vec<Offered> {
    let Some(name) = device["friendly_name"].as_str() else { return Vec::new() };
    if device["type"] == "Coordinator" || device["disabled"] == true {
        return Vec::new();
    }
    let definition = &device["definition"];
    let text = |key: &str| definition[key].as_str().unwrap_or_default();
    let model = match format!("{} {}", text("vendor"), text("model")).trim() {
        "" => "not known to Zigbee2MQTT".to_owned(),
        model => model.to_owned(),
    };
    let one = |name: String, entry: Entry| {
        let about = match &entry {
            Entry::Light(light) => format!("{model}, {}", abilities(light)),
            Entry::Valve(..) => format!("{model}, a radiator valve"),
            Entry::Sensor(_, places) => {
                let properties: Vec<&str> = places.iter().map(|(property, _)| *property).collect();
                format!("{model}, {}", properties.join(", "))
            }
            Entry::None => model.clone(),
        };
        Offered { name, about, entry, allow: vec![format!("{base}/#")] }
    };
    let entries = entries(base, name, device, definition["exposes"].as_array());
    entries
        .into_iter()
        .map(|entry| match &entry {
            Entry::Light(Light { table, .. }) if table.contains_key("suffix") => {
                one(format!("{name} {}", table["suffix"].as_str().unwrap_or_default()), entry)
            }
            _ => one(name.to_owned(), entry),
        })
        .collect()
}

/// Returns what a device becomes: a valve, a light for each of its outputs, or a sensor.
fn entries(base: &str, name: &str, device: &Value, exposes: Option<&Vec<Value>>) -> Vec<Entry> {
    let exposes = || exposes.into_iter().flatten();
    if let Some(climate) = exposes().find(|one| one["type"] == "climate") {
        let has = |key: &str| {
            let mut features = climate["features"].as_array().into_iter().flatten();
            features.any(|feature| feature["property"] == key)
        };
        let mut table = light(base, name).table;
        if device["power_source"] == "Battery" {
            table.insert("sleepy".into(), true.into());
        }
        if !has("occupied_heating_setpoint") && has("current_heating_setpoint") {
            table.insert("setpoint".into(), "current_heating_setpoint".into());
        }
        return vec![Entry::Valve("zigbee2mqtt", table)];
    }
    let switched = exposes().filter(|one| one["type"] == "light" || one["type"] == "switch");
    let lights: Vec<Entry> =
        switched.map(|exposed| Entry::Light(able(light(base, name), exposed))).collect();
    if !lights.is_empty() {
        return lights;
    }
    let said: Vec<&str> = exposes().filter_map(|one| one["property"].as_str()).collect();
    let mut places = Vec::new();
    for (theirs, ours) in MEASURED {
        let known = places.iter().any(|(property, _)| *property == ours);
        if said.contains(&theirs) && !known {
            places.push((ours, format!("/{theirs}")));
        }
    }
    let mut actions = exposes().filter(|one| one["property"] == "action");
    let is_usual = |word: &Value| word.as_str().is_some_and(|word| PRESSES.contains(&word));
    if actions.any(|one| one["values"].as_array().is_some_and(|all| all.iter().any(is_usual))) {
        places.insert(0, ("button", "/action".to_owned()));
    }
    match places.as_slice() {
        [] | [("battery", _)] => vec![Entry::None],
        _ => vec![Entry::Sensor(light(base, name).table, places)],
    }
}

/// The words of a button that the sensor plugin knows without being told.
const PRESSES: [&str; 5] = ["single", "double", "hold", "press", "release"];

/// What Zigbee2MQTT calls the properties of a sensor.
const MEASURED: [(&str, &str); 10] = [
    ("contact", "contact"),
    ("occupancy", "motion"),
    ("presence", "motion"),
    ("water_leak", "leak"),
    ("smoke", "smoke"),
    ("temperature", "temperature"),
    ("humidity", "humidity"),
    ("power", "power"),
    ("energy", "energy"),
    ("battery", "battery"),
];

fn light(base: &str, name: &str) -> Light {
    let light = Light::new("zigbee2mqtt", &format!("{base}/{name}"));
    if base == "zigbee2mqtt" { light } else { light.with("base", base) }
}

/// Adds what the features of a light, or of one endpoint of it, say.
fn able(mut light: Light, exposed: &Value) -> Light {
    for feature in exposed["features"].as_array().into_iter().flatten() {
        match feature["name"].as_str() {
            Some("state") => {
                // A device that has several has `state_left` and the like.
                let property = feature["property"].as_str().unwrap_or_default();
                if let Some(suffix) = property.strip_prefix("state_") {
                    light = light.with("suffix", suffix);
                }
            }
            Some("brightness") => light.brightness = true,
            Some("color_temp") => {
                let limit = |key: &str| feature[key].as_f64().filter(|mireds| *mireds > 0.0);
                if let (Some(min), Some(max)) = (limit("value_min"), limit("value_max"))
                    && min < max
                {
                    // The warmest is a little less than said, and the coldest a little more, so that both are within.
                    light.kelvin = Some((kelvin(max) + 1, kelvin(min)));
                }
            }
            Some("color_xy" | "color_hs") => light.color = true,
            _ => {}
        }
    }
    light
}
