//! What a Tasmota keeps: `tasmota/discovery/MAC/config`, with SetOption19 as it comes.

use serde_json::Value;

use super::{Entry, Light, Offered, abilities};

/// Reads one device: a light for each relay, or for its light.
pub(super) fn device(config: &Value) -> Vec<Offered> {
    let Some(topic) = config["t"].as_str() else { return Vec::new() };
    let full_topic = config["ft"].as_str().unwrap_or(FULL_TOPIC);
    let relays: Vec<u64> =
        config["rl"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let model = config["md"].as_str().unwrap_or("unknown");
    let device = config["dn"].as_str().unwrap_or(topic);
    let switched = relays.iter().filter(|kind| matches!(kind, 1 | 2)).count();
    let mut offered = Vec::new();
    for (index, kind) in relays.iter().enumerate().filter(|(_, kind)| matches!(kind, 1 | 2)) {
        let mut light = Light::new("tasmota", topic);
        if full_topic != FULL_TOPIC {
            light = light.with("full_topic", full_topic);
        }
        if switched > 1 {
            light = light.with("index", i64::try_from(index).unwrap_or_default() + 1);
        }
        // 1: dimmer, 2: cold and warm, 3: RGB, 4: RGB and white, 5: RGB, cold and warm.
        if let (2, Some(subtype @ 1..)) = (*kind, config["lt_st"].as_u64()) {
            light.brightness = true;
            light.kelvin = matches!(subtype, 2 | 5).then_some((2_000, 6_500));
            light.color = subtype >= 3;
        }
        let friendly = config["fn"][index].as_str().filter(|name| !name.is_empty());
        offered.push(Offered {
            name: friendly.unwrap_or(device).to_owned(),
            about: format!("Tasmota on {model}, {}", abilities(&light)),
            entry: Entry::Light(light),
            allow: ["cmnd", "stat", "tele"]
                .map(|prefix| {
                    let full = full_topic.replace("%prefix%", prefix).replace("%topic%", topic);
                    format!("{}/#", full.trim_end_matches('/'))
                })
                .into(),
        });
    }
    offered
}

const FULL_TOPIC: &str = "%prefix%/%topic%/";
