//! The announcement of one device: which components its properties come to.

use hearthd_core::{Announcement, Known};
use serde_json::{Map, Value as Json, json};

use crate::{
    Device, Topics,
    climate::Climate,
    component::Component,
    light::Light,
    message::{self, Root},
    names, property,
};

pub(crate) fn announcement(
    topics: &Topics<'_>,
    device: &Device,
    known: &Known<'_>,
) -> Announcement {
    let client_id = &topics.of.client_id;
    let identifier = names::device(client_id, &device.id);
    let name = device.name.as_deref().unwrap_or(&device.id);
    let mut about = Map::new();
    about.insert("identifiers".into(), json!([identifier]));
    about.insert("name".into(), name.into());
    about.insert("model".into(), device.kind.as_str().into());
    about.insert("manufacturer".into(), "hearthd".into());
    about.insert("via_device".into(), names::hub(client_id).into());
    if let Some(room) = &device.room {
        about.insert("suggested_area".into(), room.as_str().into());
    }
    let root = Root {
        topic: topics.of_device(&device.id),
        device: Json::Object(about),
        identifier,
        slug: &device.id,
        name,
        availability: json!([message::while_hub_is_there(topics), while_ready(topics, device)]),
        expiry: device.deadline.as_secs_f64().ceil().max(1.0) as u64,
    };
    let name = root.name;
    let components = components(topics, device);
    let components = components.into_iter().map(|(component, title)| {
        let name = title.and_then(|title| names::entity(name, &title));
        (component, name)
    });
    let components = components.collect();
    message::announcement(topics.of, root, components, known)
}

/// Lists the components with their titles; one without a title has the device's name.
fn components(topics: &Topics<'_>, device: &Device) -> Vec<(Component, Option<String>)> {
    let mut components = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    if let Some(light) = Light::of(device) {
        components.push((light.component(topics, device), None));
        taken.extend(light.properties());
    } else if let Some(climate) = Climate::of(device) {
        components.push((climate.component(topics, device), None));
        taken.extend(climate.properties());
    }
    let rest = device.declarations.values();
    for declaration in rest.filter(|declaration| !taken.contains(&&*declaration.name)) {
        let title = declaration.title.clone().unwrap_or_else(|| names::title(&declaration.name));
        for component in property::components(topics, device, declaration) {
            components.push((component, Some(title.clone())));
        }
    }
    components.push((status(topics, device), Some("Status".into())));
    components.push((restart(topics, device), Some("Restart".into())));
    components.push((failure(topics, device), Some("Command failed".into())));
    if !device.declarations.contains_key("problem") {
        components.push((problem(topics, device), Some("Failed command".into())));
    }
    components
}

/// How the device is, also while it is not available; the reason is an attribute.
fn status(topics: &Topics<'_>, device: &Device) -> Component {
    // Home Assistant sees no user properties, so what they say is in what the hub tells it alone.
    let reason = format!(
        "{{{{ ((value or '{{}}') | from_json).get('devices', {{}}).get('{}', {{}}) | tojson }}}}",
        device.id
    );
    Component::new("sensor", "status")
        .with("state_topic", topics.state(&device.id, "status"))
        .with("json_attributes_topic", topics.of_hub("state"))
        .with("json_attributes_template", reason)
        .with("availability", json!([message::while_hub_is_there(topics)]))
        .diagnostic()
}

/// Creates the device again, also one that has been left alone.
fn restart(topics: &Topics<'_>, device: &Device) -> Component {
    Component::new("button", "restart-device")
        .with("command_topic", topics.request(&topics.of.client_id, "restart"))
        .with("payload_press", device.id.as_str())
        .with("device_class", "restart")
        .with("availability", json!([message::while_hub_is_there(topics)]))
        .diagnostic()
        .disabled()
}

/// A command that came to nothing, once for each.
fn failure(topics: &Topics<'_>, device: &Device) -> Component {
    Component::new("event", "command-failed")
        .with("state_topic", topics.event(&device.id))
        .with("event_types", json!(FAILURES))
        .with("value_template", FAILURE)
        .with("availability", json!([message::while_hub_is_there(topics)]))
        .diagnostic()
}

/// Whether the last command came to nothing.
fn problem(topics: &Topics<'_>, device: &Device) -> Component {
    let topic = topics.state(&device.id, "problem");
    Component::new("binary_sensor", "problem")
        .with("state_topic", topic.as_str())
        .with("value_template", "{{ 'ON' if value_json.status is defined else 'OFF' }}")
        .with("json_attributes_topic", topic)
        // It is empty once it is taken back.
        .with("json_attributes_template", "{{ value or '{}' }}")
        .with("device_class", "problem")
        .with("availability", json!([message::while_hub_is_there(topics)]))
        .diagnostic()
}

/// The device is available while it is ready.
fn while_ready(topics: &Topics<'_>, device: &Device) -> Json {
    json!({
        "topic": topics.state(&device.id, "status"),
        "value_template": "{{ 'online' if value == 'ready' else 'offline' }}",
    })
}

/// The kinds of failed commands, which [`FAILURE`] chooses from.
const FAILURES: [&str; 7] =
    ["unreachable", "no_answer", "refused", "invalid", "busy", "conflict", "failed"];

/// Makes an event entity's message of a failed command, and nothing of other events.
const FAILURE: &str = "{% if value_json.event == 'failed' %}\
    {{ dict(value_json, event_type={400: 'invalid', 404: 'invalid', 408: 'no_answer', 409: 'conflict', \
    415: 'invalid', 422: 'refused', 429: 'busy', 503: 'unreachable'}.get(value_json.status, 'failed')) \
    | tojson }}{% endif %}";
