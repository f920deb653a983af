//! `[[guard]]`: what this hub does when another hub's will is published.

use std::collections::BTreeMap;

use hearthd_config::{Reader, Section, wrong_type};
use hearthd_core::{
    Guard,
    topic::{Prefix, Template, Templates},
};
use toml::de::DeValue;

use super::{DeviceConfig, topics::common_name};

/// What this hub's own topics are made of.
pub(super) struct Own<'c> {
    pub(super) topics: &'c Templates,
    pub(super) client_id: &'c str,
    pub(super) prefixes: &'c [Option<Prefix>],
}

/// Reads every guard; those with a problem are left out.
pub(super) fn guards(
    reader: &mut Reader,
    root: &mut Section<'_>,
    own: &Own<'_>,
    devices: &BTreeMap<String, DeviceConfig>,
) -> Vec<Guard> {
    let sections = reader.sections(root, "guard");
    sections.into_iter().filter_map(|section| guard(reader, section, own, devices)).collect()
}

impl Own<'_> {
    /// Reads the presence topic of another hub.
    fn parse_presence(&self, text: &str) -> Result<Template, String> {
        let presence = Template::parse(text, &[])?;
        let values = [("client_id", self.client_id)];
        let is_own = self.prefixes.iter().any(|prefix| {
            let own = self.topics.presence.build(prefix.as_ref(), &values);
            presence.build(prefix.as_ref(), &[]) == own
        });
        if is_own {
            return Err("is this hub's own presence; name another hub's".into());
        }
        let others = [("request", &self.topics.request), ("response", &self.topics.response)];
        let taken =
            others.iter().find(|(_, other)| common_name(&presence, other, self.prefixes).is_some());
        match taken {
            Some((key, _)) => Err(format!("is a topic of topics.{key}, and no hub's presence")),
            None => Ok(presence),
        }
    }
}

fn guard(
    reader: &mut Reader,
    mut section: Section<'_>,
    own: &Own<'_>,
    devices: &BTreeMap<String, DeviceConfig>,
) -> Option<Guard> {
    let presence = reader.parsed(&mut section, "presence", |value| {
        let text = value.as_str().ok_or_else(|| wrong_type("a topic in quotes", value))?;
        own.parse_presence(text)
    });
    let mut request = reader.section(&mut section, "request");
    let device = reader.parsed(&mut request, "device", |value| {
        let id = value.as_str().ok_or_else(|| wrong_type("a device ID in quotes", value))?;
        if id == own.client_id {
            return Err("is the hub itself; name one of its devices".into());
        }
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
