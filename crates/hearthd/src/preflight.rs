//! Checks everything that a configuration names: the file itself, the plugins, and each device's table.

use std::{collections::BTreeMap, path::Path};

use hearthd_config::most_similar;
use hearthd_core::{TopicObjection, topic::Prefix};

use crate::{
    config::{Config, Draft, Problems},
    device::{self, Checked},
    plugin::Plugins,
};

/// A configuration that can be used, with its plugins.
#[derive(Debug)]
pub struct Accepted {
    /// The configuration.
    pub config: Config,
    /// The plugins of its folders.
    pub plugins: Plugins,
    /// What the plugins say about the devices.
    pub checked: Checked,
}

/// Checks a file and all that it names; what is as it is in `known` is not asked again.
///
/// Whatever is wrong with one section, the others are checked as well.
///
/// # Errors
/// Everything that is wrong, in the file's order.
pub fn check(
    file: &Path,
    known_plugins: &Plugins,
    known: &Checked,
    staging: &Path,
) -> Result<Accepted, Problems> {
    let mut draft = Draft::read(file)?;
    if !draft.knows_plugin_path() {
        // Without the right plugins, no kind is known, so no device can be checked.
        return Err(draft.into_problems());
    }
    let config = &draft.config;
    let launcher = known_plugins.launcher().with_limits(config.containment.limits);
    let (plugins, errors) = known_plugins.load_again(&config.plugin_path, staging, &launcher);
    for error in &errors {
        draft.add_plugin_problem(&error.to_string());
    }
    let mut sound = draft.sound();
    refuse_unknown_kinds(&mut draft, &mut sound, &plugins);
    let checked = match device::check(&sound, &plugins, known) {
        Ok(checked) => checked,
        Err(complaints) => {
            for (device, path, what) in &complaints {
                draft.complain(device, path, what);
            }
            Checked::default()
        }
    };
    for (device, path, what) in checked.warnings() {
        draft.warn(device, path, what);
    }
    check_topics(&mut draft, &checked);
    Ok(Accepted { config: draft.finish()?, plugins, checked })
}

/// Says what speaks against the MQTT topics that devices use themselves: a problem where it does whatever prefix the
/// broker offers, and a warning where that depends on it.
fn check_topics(draft: &mut Draft, checked: &Checked) {
    let fallback = draft.config.response_information.fallback.clone();
    let prefixes = draft.config.possible_prefixes();
    let objections =
        |prefix: Option<&Prefix>| draft.config.topic_rules(prefix).objections(checked.topics());
    let at_last = objections(fallback.as_ref());
    let everywhere: Vec<_> = prefixes.iter().map(|prefix| objections(prefix.as_ref())).collect();
    for (device, objection) in at_last {
        let is_refused = |found: &BTreeMap<String, TopicObjection>| {
            found.get(&device).is_some_and(|other| other.remedy().is_none())
        };
        let of_fallback = fallback.is_some() && objection.remedy().is_none();
        if of_fallback || everywhere.iter().all(is_refused) {
            draft.complain(&device, "", &objection.to_string());
            continue;
        }
        let when = match (&fallback, objection.remedy()) {
            (None, None) => "where the broker offers no prefix, ",
            (None, Some(_)) => "unless it lies below the prefix that the broker offers: ",
            (Some(_), _) => "unless the broker offers another prefix: ",
        };
        draft.warn(&device, "", &format!("{when}{objection}"));
    }
}

/// Says of each device whose kind no plugin provides which one may be meant, and leaves it out.
fn refuse_unknown_kinds(draft: &mut Draft, sound: &mut Config, plugins: &Plugins) {
    let present: Vec<_> = plugins.kinds().collect();
    let listed = if present.is_empty() { "none".into() } else { present.join(", ") };
    sound.devices.retain(|id, device| {
        let kind = &device.kind;
        // The missing kind is reported already.
        if plugins.kind(kind).is_some() || kind.is_empty() {
            return !kind.is_empty();
        }
        let rest = match most_similar(kind, present.iter().copied()) {
            Some(similar) => format!("did you mean `{similar}`?"),
            None => format!("the kinds present are: {listed}"),
        };
        draft.add(id, "plugin", &format!("no plugin provides `{kind}`; {rest}"));
        false
    });
}
