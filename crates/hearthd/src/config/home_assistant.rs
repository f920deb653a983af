//! `[home_assistant]`: which devices Home Assistant is told of, and where.

use std::collections::{BTreeMap, BTreeSet};

use hearthd_config::{Reader, Section, most_similar, wrong_type};
use hearthd_core::topic::{self, Templates};

use super::{DeviceConfig, HomeAssistant, guards::Own, values};

/// Reads `[home_assistant]`; `exclude` may name only devices of the configuration.
pub(super) fn home_assistant(
    reader: &mut Reader,
    root: &mut Section<'_>,
    own: &Own<'_>,
    devices: &BTreeMap<String, DeviceConfig>,
) -> HomeAssistant {
    let mut section = reader.section(root, "home_assistant");
    let discovery = reader.parsed(&mut section, "discovery", values::truth);
    let expiry = reader.parsed(&mut section, "expiry", values::truth);
    let prefix = reader.parsed(&mut section, "prefix", |value| {
        let text = value.as_str().ok_or_else(|| wrong_type("a topic in quotes", value))?;
        check_prefix(text, own).map(|()| text.to_owned())
    });
    let mut exclude = BTreeSet::new();
    for (entry, id) in reader.texts(&mut section, "exclude").unwrap_or_default() {
        if !devices.contains_key(id) {
            let similar = most_similar(id, devices.keys().map(String::as_str));
            let meant = similar.map(|id| format!("; did you mean `{id}`?")).unwrap_or_default();
            let what = format!("there is no device `{id}`{meant}");
            reader.problem(entry.at, &entry.path, what);
        }
        exclude.insert(id.to_owned());
    }
    reader.finish(section);
    HomeAssistant {
        discovery: discovery.unwrap_or(false),
        prefix: prefix.unwrap_or_else(|| "homeassistant".into()),
        expiry: expiry.unwrap_or(true),
        exclude,
    }
}

/// Checks that announcements are topics, and none of the hub's own.
fn check_prefix(prefix: &str, own: &Own<'_>) -> Result<(), String> {
    topic::check_name(prefix).map_err(|error| format!("`{prefix}` {error}"))?;
    if prefix.split('/').any(str::is_empty) {
        return Err(format!("`{prefix}` has an empty level"));
    }
    if prefix.len() > LONGEST {
        return Err(format!("has {} bytes; {LONGEST} are allowed", prefix.len()));
    }
    let Templates { request, state, response, presence, absence, event, snapshot } = own.topics;
    let templates = [request, state, response, presence, absence, event, snapshot];
    let status = format!("{prefix}/status");
    for home in own.prefixes {
        let taken = templates.iter().find(|template| template.covers(home.as_ref(), &status));
        if let Some(template) = taken {
            return Err(format!("`{prefix}` is where the hub has its own topics, `{template}`"));
        }
    }
    Ok(())
}

/// How many bytes the prefix may have.
const LONGEST: usize = 256;
