//! The message of one device: its root, and what was announced in it before.

use std::collections::BTreeMap;

use hearthd_core::{Announcement, Known};
use serde_json::{Map, Value as Json, json};

use crate::{HomeAssistant, Topics, component::Component, names};

/// What stands in the root of an announcement beside its components.
pub(crate) struct Root<'r> {
    pub(crate) topic: String,
    /// The key `device`.
    pub(crate) device: Json,
    /// The identifier that entities' unique IDs begin with.
    pub(crate) identifier: String,
    /// What entity IDs begin with.
    pub(crate) slug: &'r str,
    /// Name for people.
    pub(crate) name: &'r str,
    pub(crate) availability: Json,
    /// After so many seconds a command is of no use any more.
    pub(crate) expiry: u64,
}

/// Writes an announcement.
///
/// The root has only keys that Home Assistant 2026.2 knows as well: one that it does not know makes it refuse the whole
/// message. Of a component it leaves out what it does not know.
pub(crate) fn announcement(
    of: &HomeAssistant,
    root: Root<'_>,
    components: Vec<(Component, Option<String>)>,
    known: &Known<'_>,
) -> Announcement {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    let mut written = Map::new();
    for (component, name) in components {
        let (key, platform) = (component.key(), component.platform());
        let rest = component.id().to_owned();
        let slug = if name.is_none() { "" } else { rest.as_str() };
        let mut component = component
            .with("unique_id", format!("{}/{rest}", root.identifier))
            .with("default_entity_id", names::entity_id(platform, root.slug, slug))
            .with("name", name)
            .with("qos", 1);
        if of.expiry && COMMANDS.iter().any(|key| component.has(key)) {
            component = component.with("message_expiry_interval", root.expiry);
        }
        parts.insert(key.clone(), platform.to_owned());
        written.insert(key, component.into_json());
    }
    take_back(&mut written, &mut parts, known, &root.topic);
    let payload = json!({
        "device": root.device,
        "origin": { "name": "hearthd", "sw_version": of.version, "support_url": SUPPORT_URL },
        "availability": root.availability,
        "availability_mode": "all",
        "components": written,
    });
    Announcement { topic: root.topic, payload: payload.to_string().into(), parts }
}

/// Adds what was announced before and is not any more: with its platform alone, Home Assistant removes it.
///
/// It stays in the message, since Home Assistant may be away when it changes, and costs some thirty bytes.
fn take_back(
    written: &mut Map<String, Json>,
    parts: &mut BTreeMap<String, String>,
    known: &Known<'_>,
    topic: &str,
) {
    let Some(before) = known.before.get(topic) else { return };
    let gone: Vec<_> =
        before.parts.iter().filter(|(key, _)| !parts.contains_key(*key)).take(MOST_GONE).collect();
    for (key, platform) in gone {
        written.insert(key.clone(), json!({ "platform": platform }));
        parts.insert(key.clone(), platform.clone());
    }
}

/// An entity of a device is available while the hub is there.
pub(crate) fn while_hub_is_there(topics: &Topics<'_>) -> Json {
    json!({
        "topic": topics.presence(),
        "payload_available": "online",
        "payload_not_available": "offline",
    })
}

/// The keys by which a component has commands.
const COMMANDS: [&str; 4] = [
    "command_topic",
    "mode_command_topic",
    "temperature_command_topic",
    "preset_mode_command_topic",
];
/// How many components that went are remembered in one message.
const MOST_GONE: usize = 64;
const SUPPORT_URL: &str = "https://github.com/hearthd/hearthd";
