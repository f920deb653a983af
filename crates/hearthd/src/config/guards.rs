//! `[[guard]]`: what this hub does when another hub's will is published.

use std::collections::BTreeMap;

use hearth_core::{
    Guard,
    topic::{Template, Templates},
};
use toml::de::DeValue;

use super::{
    DeviceConfig,
    reader::{Reader, Section, wrong_type},
};

/// Reads every guard; those with a problem are left out.
pub(super) fn guards(
    reader: &mut Reader,
    root: &mut Section<'_>,
    topics: &Templates,
    client_id: &str,
    devices: &BTreeMap<String, DeviceConfig>,
) -> Vec<Guard> {
    let own = topics.presence.to_string().replace("{client_id}", client_id);
    let sections = reader.sections(root, "guard");
    sections.into_iter().filter_map(|section| guard(reader, section, &own, devices)).collect()
}

fn guard(
    reader: &mut Reader,
    mut section: Section<'_>,
    own: &str,
    devices: &BTreeMap<String, DeviceConfig>,
) -> Option<Guard> {
    let presence = reader.parsed(&mut section, "presence", |value| {
        let text = value.as_str().ok_or_else(|| wrong_type("a topic in quotes", value))?;
        if text == own {
            return Err("is this hub's own presence; name another hub's".into());
        }
        Template::parse(text, &[])
    });
    let mut request = reader.section(&mut section, "request");
    let device = reader.parsed(&mut request, "device", |value| {
        let id = value.as_str().ok_or_else(|| wrong_type("a device ID in quotes", value))?;
        if devices.contains_key(id) {
            return Ok(id.into());
        }
        let present: Vec<_> = devices.keys().map(String::as_str).collect();
        Err(format!("there is no device `{id}`; the devices are: {}", present.join(", ")))
    });
    let property = reader.text(&mut request, "property").map(Into::into);
    let payload = reader.parsed(&mut request, "value", payload);
    require(reader, &section, "presence");
    require(reader, &section, "request");
    if request.exists() {
        for key in ["device", "property", "value"] {
            require(reader, &request, key);
        }
    }
    reader.finish(request);
    reader.finish(section);
    Some(Guard { presence: presence?, device: device?, property: property?, payload: payload? })
}

fn require(reader: &mut Reader, section: &Section<'_>, key: &str) {
    if !section.has(key) {
        reader.problem(section.at, &section.path, format!("{key} is missing; {REMEDY}"));
    }
}

/// Reads a value as it goes over the wire.
fn payload(value: &DeValue<'_>) -> Result<bytes::Bytes, String> {
    match value {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string().into()),
        DeValue::Integer(number) => Ok(number.to_string().into()),
        DeValue::Float(number) => Ok(number.to_string().into()),
        DeValue::String(_) => Err("is empty, which would only read the property".into()),
        other => Err(wrong_type("a text or a number", other)),
    }
}

const REMEDY: &str = "write presence = \"{prefix}/hub/OTHER/presence\" and \
                      request = { device = \"boiler\", property = \"power\", value = \"OFF\" }";
