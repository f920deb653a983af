//! `[topics]`: the templates of the hub, for the page.

use hearthd_config::{Reader, Section};

/// Reads the section; returns the templates that it names, each with its key.
pub(super) fn topics(reader: &mut Reader, root: &mut Section<'_>) -> Vec<(&'static str, String)> {
    let mut section = reader.section(root, "topics");
    let mut topics = Vec::new();
    for (key, placeholders) in TEMPLATES {
        let template = reader.parsed(&mut section, key, |value| {
            let text = value.as_str().ok_or_else(|| "must be a text in quotes".to_owned())?;
            check(text, placeholders).map(|()| text.to_owned())
        });
        topics.extend(template.map(|template| (key, template)));
    }
    // The page has no use for it, but the section can be copied from the hub's file.
    let _ = reader.text(&mut section, "snapshot");
    reader.finish(section);
    topics
}

/// Keeps to the rules of the hub: each placeholder once, alone in its level, and `{prefix}` only as the first level.
fn check(text: &str, placeholders: &[&str]) -> Result<(), String> {
    let mut missing = placeholders.to_vec();
    for (index, level) in text.split('/').enumerate() {
        let name = level.strip_prefix('{').and_then(|level| level.strip_suffix('}'));
        match name {
            Some("prefix") if index == 0 => {}
            Some("prefix") => return Err("`{prefix}` may only be the first level".into()),
            Some(name) => {
                let place = missing.iter().position(|it| *it == name);
                let place = place.ok_or_else(|| {
                    format!("`{{{name}}}` is no placeholder of this topic, or is there twice")
                })?;
                missing.remove(place);
            }
            None if level.is_empty() => return Err("a level is empty".into()),
            None if level.contains(['{', '}', '+', '#', '\0']) => {
                return Err(format!("`{level}` cannot be a level of a topic name"));
            }
            None => {}
        }
    }
    missing.first().map_or(Ok(()), |name| Err(format!("`{{{name}}}` is missing")))
}

const TEMPLATES: [(&str, &[&str]); 6] = [
    ("request", &["device", "property"]),
    ("state", &["device", "property"]),
    ("response", &["client_id", "purpose"]),
    ("presence", &["client_id"]),
    ("absence", &["client_id"]),
    ("event", &["device"]),
];
