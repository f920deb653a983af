//! The hub as a device of its own.

use std::collections::BTreeMap;

use hearthd_core::{Announcement, Known};
use serde_json::json;

use crate::{
    Topics,
    component::Component,
    message::{self, Root},
    names,
};

pub(crate) fn announcement(topics: &Topics<'_>, known: &Known<'_>) -> Announcement {
    let client_id = &topics.of.client_id;
    let identifier = names::hub(client_id);
    let root = Root {
        topic: topics.of_hub("config"),
        device: json!({
            "identifiers": [identifier],
            "name": client_id,
            "model": "hub",
            "manufacturer": "hearthd",
            "sw_version": topics.of.version,
        }),
        identifier,
        slug: client_id,
        name: client_id,
        availability: json!([message::while_hub_is_there(topics)]),
        expiry: 10,
    };
    let components = [
        (connected(topics), "Connected"),
        (last_absence(topics), "Last absence"),
        (not_ready(topics), "Devices not ready"),
        (reload(topics), "Reload configuration"),
    ];
    let components = components.map(|(component, name)| (component, Some(name.to_owned()))).into();
    message::announcement(topics.of, root, components, known)
}

/// Tells how many devices are not ready, how those are, and why.
pub(crate) fn state(topics: &Topics<'_>, known: &Known<'_>) -> Announcement {
    let others = known.statuses.iter().filter(|(_, status)| status.word != "ready");
    let others = others.map(|(device, status)| {
        let details = status.details.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        (*device, details.chain([("status", status.word)]).collect::<BTreeMap<_, _>>())
    });
    let others: BTreeMap<_, _> = others.collect();
    let payload = json!({ "not_ready": others.len(), "devices": others });
    Announcement {
        topic: topics.of_hub("state"),
        payload: payload.to_string().into(),
        parts: BTreeMap::new(),
    }
}

fn connected(topics: &Topics<'_>) -> Component {
    Component::new("binary_sensor", "connected")
        .with("state_topic", topics.presence())
        .with("payload_on", "online")
        .with("payload_off", "offline")
        .with("device_class", "connectivity")
        // It tells of the absence itself, so it is there all the time.
        .with("availability", json!([]))
        .diagnostic()
}

fn last_absence(topics: &Topics<'_>) -> Component {
    Component::new("sensor", "absence")
        .with("state_topic", topics.absence())
        .with("value_template", "{{ value_json.outcome }}")
        .with("json_attributes_topic", topics.absence())
        .with("device_class", "enum")
        .with("options", json!(["not-published", "consumed", "unconsumed", "unknown"]))
        .diagnostic()
}

fn not_ready(topics: &Topics<'_>) -> Component {
    let topic = topics.of_hub("state");
    Component::new("sensor", "not-ready")
        .with("state_topic", topic.as_str())
        .with("value_template", "{{ value_json.not_ready }}")
        .with("json_attributes_topic", topic)
        .with("json_attributes_template", "{{ value_json.devices | tojson if value else '{}' }}")
        .with("state_class", "measurement")
        .diagnostic()
}

fn reload(topics: &Topics<'_>) -> Component {
    Component::new("button", "reload")
        .with("command_topic", topics.request(&topics.of.client_id, "reload"))
        .with("payload_press", "now")
        .with("entity_category", "config")
}
