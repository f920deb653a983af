//! What others announce to Home Assistant: lights and switches of ESPHome, and of whatever has a pair of topics.

use hearthd_core::topic::TopicFilter;
use serde_json::Value;

use super::{Entry, Light, Offered, abilities, kelvin};

/// Reads one announcement; what is known already by the lists of others, or is hearthd's own, is left out.
pub(super) fn announced(component: &str, config: &Value, known: &[String]) -> Option<Offered> {
    if !matches!(component, "light" | "switch") {
        return None;
    }
    let get = |long: &str, short: &str| {
        let text = config[long].as_str().or_else(|| config[short].as_str())?;
        Some(text.replace('~', config["~"].as_str().unwrap_or("~")))
    };
    let origin = &config["origin"]["name"];
    let origin = origin.as_str().or_else(|| config["o"]["name"].as_str()).unwrap_or_default();
    let command = get("command_topic", "cmd_t")?;
    let covered =
        |filter: &String| TopicFilter::parse(filter).is_ok_and(|filter| filter.matches(&command));
    if origin == "hearthd" || known.iter().any(covered) {
        return None;
    }
    let device = if config["device"].is_object() { &config["device"] } else { &config["dev"] };
    let of_device = device["name"].as_str();
    let own = config["name"].as_str();
    let name = match (of_device, own) {
        (Some(device), Some(own)) => format!("{device} {own}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => command.clone(),
    };
    if let Some(offered) = of_esphome(component, config, &command, &name, device) {
        return Some(offered);
    }
    let state = get("state_topic", "stat_t")?;
    // What is written in templates, or in several topics, is for people to translate.
    let json = config["schema"] == "json";
    let templated = ["value_template", "val_tpl", "state_value_template", "command_template"];
    if json
        || config["schema"] == "template"
        || templated.iter().any(|key| config[*key].is_string())
    {
        return Some(Offered {
            name,
            about: format!("announced to Home Assistant with templates; commands go to {command}"),
            entry: Entry::None,
            allow: vec![command, state],
        });
    }
    let payload =
        |long: &str, short: &str, default: &str| get(long, short).unwrap_or(default.into());
    let on = payload("payload_on", "pl_on", "ON");
    let off = payload("payload_off", "pl_off", "OFF");
    let mut power = toml::Table::from_iter([
        ("command".to_owned(), command.as_str().into()),
        ("state".to_owned(), state.as_str().into()),
    ]);
    for (key, value, default) in [("on", &on, "ON"), ("off", &off, "OFF")] {
        if value != default {
            power.insert(key.into(), value.as_str().into());
        }
    }
    let mut light = Light::new("topics", "");
    light.table = toml::Table::from_iter([("power".to_owned(), power.into())]);
    Some(Offered {
        name,
        about: format!("announced to Home Assistant, {}", abilities(&light)),
        entry: Entry::Light(light),
        allow: vec![command, state],
    })
}

/// Reads a light or switch of ESPHome, whose topics are `NODE/light/ID/command` and `NODE/switch/ID/command`.
fn of_esphome(
    component: &str,
    config: &Value,
    command: &str,
    name: &str,
    device: &Value,
) -> Option<Offered> {
    let version = device["sw_version"].as_str().or_else(|| device["sw"].as_str())?;
    if !version.to_ascii_lowercase().contains("esphome") {
        return None;
    }
    let object = command.strip_suffix("/command")?;
    let (node, object) = object.rsplit_once('/')?;
    let node = node.strip_suffix(component)?.strip_suffix('/')?;
    let mut light = Light::new("esphome", node).with(component, object);
    let modes =
        ["supported_color_modes", "sup_clrm"].iter().find_map(|key| config[*key].as_array());
    let modes: Vec<&str> = modes.into_iter().flatten().filter_map(Value::as_str).collect();
    light.brightness = config["brightness"] == true || modes.iter().any(|mode| *mode != "onoff");
    light.brightness |= config["bri"] == true;
    if modes.contains(&"color_temp") {
        let limit =
            |long: &str, short: &str| config[long].as_f64().or_else(|| config[short].as_f64());
        let warmest = limit("max_mireds", "max_mirs").unwrap_or(500.0);
        let coldest = limit("min_mireds", "min_mirs").unwrap_or(153.0);
        light.kelvin = (coldest < warmest).then(|| (kelvin(warmest) + 1, kelvin(coldest)));
    }
    light.color = modes.iter().any(|mode| mode.starts_with("rgb"));
    Some(Offered {
        name: name.to_owned(),
        about: format!("ESPHome, {}", abilities(&light)),
        entry: Entry::Light(light),
        allow: vec![format!("{node}/#")],
    })
}
