//! The `config` tables of a group and of a scene.

use std::collections::{BTreeMap, BTreeSet};

use hearthd_sdk::{Problems, Property, PropertyTable};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::members::AGREEMENT;

/// The `config` table of a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The IDs of its devices.
    pub(crate) members: Vec<String>,
    /// The properties that its devices have in common.
    #[serde(default = "power")]
    pub(crate) properties: BTreeMap<String, PropertyConfig>,
}

/// A property that all devices of a group have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PropertyConfig {
    #[serde(rename = "type")]
    kind: Kind,
    title: Option<String>,
    unit: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    step: Option<f64>,
    /// The words of a choice.
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Switch,
    Integer,
    Number,
    Choice,
    Text,
}

/// The `config` table of a scene.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SceneConfig {
    /// What each device is set to, by the scene's name.
    pub(crate) scenes: BTreeMap<String, BTreeMap<String, BTreeMap<String, Json>>>,
}

impl GroupConfig {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.members.is_empty() {
            problems.add("members", "there is none; name the IDs of the devices");
        }
        if self.members.len() > MOST_MEMBERS {
            problems.add("members", format!("there are more than {MOST_MEMBERS}"));
        }
        let mut seen = BTreeSet::new();
        for (index, member) in self.members.iter().enumerate() {
            if !seen.insert(member) {
                problems.add(format!("members[{index}]"), format!("`{member}` is named twice"));
            }
        }
        if self.properties.is_empty() {
            problems.add("properties", "there is none, and a device has one at least");
        }
        let states = self.members.len() * self.properties.len();
        if states > MOST_STATES {
            let message = format!("they have {states} states, and {MOST_STATES} are the most");
            problems.add("properties", message);
        }
        for (name, property) in &self.properties {
            check_name(&format!("properties.{name}"), name, problems);
            if name == AGREEMENT {
                let message = format!("`{AGREEMENT}` says how the devices are to each other");
                problems.add(format!("properties.{name}"), message);
            }
            property.check(&format!("properties.{name}"), problems);
        }
    }

    pub(crate) fn declarations(&self) -> Vec<Property> {
        self.properties.iter().map(|(name, property)| property.declaration(name)).collect()
    }
}

impl PropertyConfig {
    fn check(&self, path: &str, problems: &mut Problems) {
        let numeric = matches!(self.kind, Kind::Integer | Kind::Number);
        let bounds = [("min", self.min), ("max", self.max), ("step", self.step)];
        for (key, bound) in bounds {
            let Some(bound) = bound else { continue };
            if !numeric {
                problems.add(format!("{path}.{key}"), "only an integer or a number has it");
            } else if !bound.is_finite() || (self.kind == Kind::Integer && bound.fract() != 0.0) {
                problems.add(format!("{path}.{key}"), format!("{bound} is no value of it"));
            }
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => {
                problems.add(format!("{path}.min"), format!("{min} is above {max}"));
            }
            (Some(_), None) => problems.add(path, "`max` is missing beside `min`"),
            (None, Some(_)) => problems.add(path, "`min` is missing beside `max`"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.step.is_some_and(|step| step <= 0.0) {
            problems.add(format!("{path}.step"), "it is not above 0");
        }
        if (self.kind == Kind::Choice) == self.values.is_empty() {
            let what =
                "a choice has words, `values = [\"eco\", \"comfort\"]`, and nothing else has";
            problems.add(format!("{path}.values"), what);
        }
    }

    fn declaration(&self, name: &str) -> Property {
        let property = match self.kind {
            Kind::Switch => Property::switch(name),
            Kind::Integer => Property::integer(name),
            Kind::Number => Property::number(name),
            Kind::Choice => {
                let words: Vec<&str> = self.values.iter().map(String::as_str).collect();
                Property::choice(name, &words)
            }
            Kind::Text => Property::text(name),
        };
        property.with_table(&PropertyTable {
            min: self.min,
            max: self.max,
            step: self.step,
            unit: self.unit.as_deref(),
            title: self.title.as_deref(),
        })
    }
}

impl SceneConfig {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.scenes.is_empty() {
            problems.add("scenes", "there is none");
        }
        for (name, devices) in &self.scenes {
            let path = format!("scenes.{name}");
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            if name.is_empty() || !name.chars().all(fits) {
                problems.add(&path, "a scene's name is of a-z, 0-9, _ and -");
            }
            if devices.is_empty() {
                problems.add(&path, "it sets no device");
            }
            for (device, values) in devices {
                let path = format!("{path}.{device}");
                if values.is_empty() {
                    problems.add(&path, "it sets no property, such as `power = \"ON\"`");
                }
                for (property, value) in values {
                    check_name(&format!("{path}.{property}"), property, problems);
                    if value.is_null() {
                        problems.add(format!("{path}.{property}"), "it has no value");
                    }
                }
            }
        }
        let members = self.members().len();
        if members > MOST_MEMBERS {
            problems.add(
                "scenes",
                format!("they set {members} devices, and {MOST_MEMBERS} are the most"),
            );
        }
    }

    /// Names all devices that a scene sets.
    pub(crate) fn members(&self) -> BTreeSet<&str> {
        self.scenes.values().flat_map(BTreeMap::keys).map(String::as_str).collect()
    }
}

fn check_name(path: &str, name: &str, problems: &mut Problems) {
    if let Some(mistake) = Property::name_mistake(name) {
        problems.add(path, mistake);
    }
}

fn power() -> BTreeMap<String, PropertyConfig> {
    BTreeMap::from([("power".to_owned(), PropertyConfig::default())])
}

/// As many as a device may ask.
const MOST_MEMBERS: usize = 64;
/// As many as a device may follow.
const MOST_STATES: usize = 256;
