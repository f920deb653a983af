//! Declarations of properties, in the words of `describe`.

use hearthd_property::Access;
use hearthd_sdk::{Property, PropertyTable};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

/// The declaration of a property.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declaration {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    access: Access,
    title: Option<String>,
    unit: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    step: Option<f64>,
    /// The words of an enum; the kinds of an event.
    #[serde(default)]
    values: Vec<String>,
    #[serde(default = "yes")]
    retained: bool,
    #[serde(default = "yes")]
    pub(crate) idempotent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Switch,
    Integer,
    Number,
    Enum,
    Text,
    Json,
    Event,
}

impl Declaration {
    /// Reads what a program declares; keys that are not known are for another version.
    pub(crate) fn read(json: &Json) -> Result<Self, String> {
        let mut table: Map<String, Json> =
            json.as_object().cloned().ok_or("a declaration is an object")?;
        table.retain(|key, _| KEYS.contains(&key.as_str()));
        serde_json::from_value(Json::Object(table)).map_err(|error| error.to_string())
    }

    /// Returns what the hub is told about the property.
    pub(crate) fn property(&self, name: &str) -> Property {
        let words: Vec<_> = self.values.iter().map(String::as_str).collect();
        let property = match self.kind {
            Kind::Switch => Property::switch(name),
            Kind::Integer => Property::integer(name),
            Kind::Number => Property::number(name),
            Kind::Enum => Property::choice(name, &words),
            Kind::Text => Property::text(name),
            Kind::Json => Property::json(name),
            Kind::Event => Property::event(name, &words),
        };
        let mut property = property.with_table(&PropertyTable {
            min: self.min,
            max: self.max,
            step: self.step,
            unit: self.unit.as_deref(),
            title: self.title.as_deref(),
        });
        if self.kind == Kind::Event {
            return property;
        }
        property = match self.access {
            Access::Read => property.read_only(),
            Access::ReadWrite => property,
            Access::Write => property.write_only(),
        };
        property = if self.retained { property } else { property.not_retained() };
        if self.idempotent { property } else { property.not_idempotent() }
    }

    /// Returns why the declaration cannot be used, if so.
    pub(crate) fn mistake(&self, name: &str) -> Option<&'static str> {
        if let Some(mistake) = self.property(name).mistake() {
            return Some(mistake);
        }
        let has_words = matches!(self.kind, Kind::Enum | Kind::Event);
        if self.min.is_some() != self.max.is_some() {
            Some("give both min and max, or neither")
        } else if !has_words && !self.values.is_empty() {
            Some("only an enum and an event have values")
        } else if self.kind == Kind::Event && self.unit.is_some() {
            Some("an event has no state, and no unit")
        } else {
            None
        }
    }

    /// Says where a program's declaration of the same property differs in what values mean; `None` where it does not.
    pub(crate) fn difference(&self, told: &Self) -> Option<String> {
        let differ = |key: &str, table: String, told: String| {
            (table != told).then(|| format!("{key} is {told}, and {table} in the table"))
        };
        let access = |declaration: &Self| match declaration.kind {
            // An event can be neither read nor set, whatever is said of it.
            Kind::Event => "none".to_owned(),
            _ => format!("{:?}", declaration.access),
        };
        let number = |number: Option<f64>| number.map_or("none".into(), |n: f64| n.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
        differ("the type", format!("{:?}", self.kind), format!("{:?}", told.kind))
            .or_else(|| differ("the access", access(self), access(told)))
            .or_else(|| differ("min", number(self.min), number(told.min)))
            .or_else(|| differ("max", number(self.max), number(told.max)))
            .or_else(|| differ("step", number(self.step), number(told.step)))
            .or_else(|| differ("unit", text(&self.unit), text(&told.unit)))
            .or_else(|| differ("values", self.values.join(", "), told.values.join(", ")))
    }
}

fn yes() -> bool {
    true
}

const KEYS: [&str; 10] =
    ["type", "access", "title", "unit", "min", "max", "step", "values", "retained", "idempotent"];
