//! `[topics]`: the templates of topic names; no topic name matches two of them.

use hearthd_core::topic::{Prefix, Template, Templates};

use hearthd_config::{Entry, Reader, Section, wrong_type};

/// Lists the prefixes to check topics under: none, the configured one, and stand-ins for what a broker may offer.
///
/// A broker's prefix that is the same as a fixed level of a template is not foreseen.
pub(super) fn possible_prefixes(fallback: Option<&Prefix>) -> Vec<Option<Prefix>> {
    // A longer one has no template to meet: two levels at most are placeholders.
    let [one, two] = ["{prefix}", "{prefix}/{prefix}"]
        .map(|text| Some(Prefix::parse(text).expect("a stand-in has no wildcard")));
    let mut prefixes = vec![one, None, two];
    prefixes.extend(fallback.cloned().map(Some));
    prefixes
}

/// Reads the templates; one that cannot be used is the default.
pub(super) fn topics(
    reader: &mut Reader,
    root: &mut Section<'_>,
    prefixes: &[Option<Prefix>],
) -> Templates {
    let mut section = reader.section(root, "topics");
    let mut topics = Templates::default();
    let fields = [
        ("request", &mut topics.request, Templates::DEVICE),
        ("state", &mut topics.state, Templates::DEVICE),
        ("response", &mut topics.response, Templates::RESPONSE),
        ("presence", &mut topics.presence, Templates::HUB),
        ("absence", &mut topics.absence, Templates::HUB),
        ("event", &mut topics.event, Templates::EVENT),
        ("snapshot", &mut topics.snapshot, Templates::EVENT),
    ];
    let mut read: Vec<(&str, Option<Entry<'_>>, Template)> = Vec::new();
    for (key, field, placeholders) in fields {
        let entry = reader.entry(&mut section, key);
        if let Some(entry) = &entry {
            match template(entry, placeholders, field) {
                Ok(template) => *field = template,
                Err(what) => {
                    reader.problem(entry.at, &entry.path, what);
                    continue;
                }
            }
        }
        read.push((key, entry, field.clone()));
    }
    for (index, (key, entry, template)) in read.iter().enumerate() {
        for (other_key, other_entry, other) in &read[..index] {
            let Some(name) = common_name(template, other, prefixes) else { continue };
            // The defaults have nothing in common, so one of the two is in the file.
            let (entry, other) = match (entry, other_entry) {
                (Some(entry), _) => (entry, other_key),
                (None, Some(entry)) => (entry, key),
                (None, None) => continue,
            };
            let what = format!("`{name}` would be a topic of `{other}` as well; change one");
            reader.problem(entry.at, &entry.path, what);
        }
    }
    reader.finish(section);
    topics
}

fn template(
    entry: &Entry<'_>,
    placeholders: &[&'static str],
    default: &Template,
) -> Result<Template, String> {
    let text = entry.value.as_str().ok_or_else(|| wrong_type("a topic in quotes", entry.value))?;
    Template::parse(text, placeholders)
        .map_err(|error| format!("{error}; the default is `{default}`"))
}

/// Returns a topic name that both templates match under one of the prefixes.
pub(super) fn common_name(
    one: &Template,
    other: &Template,
    prefixes: &[Option<Prefix>],
) -> Option<String> {
    prefixes.iter().find_map(|prefix| one.common_name(other, prefix.as_ref()))
}
