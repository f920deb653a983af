//! The declaration of a property, and the reading and checking of values against it.
//!
//! The hub checks with it what requesters and devices say, and the SDK's test harness what a test says: a test refuses
//! exactly what the hub refuses.

#![forbid(unsafe_code)]

mod changes;
mod declare;
mod json;
mod read;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::{Value as Json, json};

pub use changes::{ChangeRequest, Refusal, object_of};
pub use declare::{STATUS, is_name};
pub use json::parse_json;
pub use read::is_json;

/// What a plugin declares about one property.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// Name: one topic level of `[a-z0-9_]`.
    pub name: String,
    /// What its values are.
    pub values: Values,
    /// What requesters may do.
    pub access: Access,
    /// Name for people.
    pub title: Option<String>,
    /// Unit of the values.
    pub unit: Option<String>,
    /// Whether the broker retains its state.
    pub retained: bool,
    /// Whether setting a value twice is as good as once.
    pub idempotent: bool,
}

/// The values of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `ON` or `OFF`.
    Switch,
    /// Whole numbers.
    Integer(Range),
    /// Decimal numbers.
    Number(Range),
    /// One of these words.
    Enum(Vec<String>),
    /// Any text.
    Text,
    /// Any JSON.
    Json,
    /// No value: what happens at once, of one of these kinds.
    Event(Vec<String>),
}

/// The limits of a number; each may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// Least value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// Distance between neighbours, counted from `min`, or from zero.
    pub step: Option<f64>,
}

/// What requesters may do with a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Access {
    /// Read.
    #[serde(rename = "r")]
    Read,
    /// Read and write.
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    /// Write: the property has no state.
    #[serde(rename = "w")]
    Write,
}

/// A value that fits its declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    text: String,
    json: Json,
}

impl Value {
    /// Returns the canonical text.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Returns the JSON form.
    pub fn as_json(&self) -> &Json {
        &self.json
    }
}

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What is wrong, as a program sees it.
    pub fault: Fault,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// What is wrong with a value, or with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read.
    Unreadable,
    /// It can be read, and is not acceptable.
    NotAcceptable,
    /// Its Content Type is neither text nor JSON.
    ContentType,
    /// The device has no such property.
    Unknown,
}

impl Declaration {
    /// Returns whether it is an event of which this is a kind.
    pub fn has_event(&self, kind: &str) -> bool {
        matches!(&self.values, Values::Event(kinds) if kinds.iter().any(|known| known == kind))
    }

    /// Says why it has no state to read; none where it has one.
    pub fn not_readable(&self) -> Option<String> {
        let name = &self.name;
        match (&self.values, self.access) {
            (Values::Event(_), _) => Some(format!(
                "`{name}` is an event and has no state: what happens goes to the device's event topic"
            )),
            (_, Access::Write) => Some(format!("`{name}` has no state to read")),
            (_, Access::Read | Access::ReadWrite) => None,
        }
    }

    /// Describes the property for requesters, with the keys of the plugin ABI; an event has no access.
    pub fn describe(&self) -> Json {
        let (kind, range, values) = match &self.values {
            Values::Switch => ("switch", None, None),
            Values::Integer(range) => ("integer", Some(range), None),
            Values::Number(range) => ("number", Some(range), None),
            Values::Enum(values) => ("enum", None, Some(values)),
            Values::Text => ("text", None, None),
            Values::Json => ("json", None, None),
            Values::Event(kinds) => ("event", None, Some(kinds)),
        };
        let is_event = matches!(self.values, Values::Event(_));
        let access = match self.access {
            Access::Read => "r",
            Access::ReadWrite => "rw",
            Access::Write => "w",
        };
        let mut description = serde_json::Map::new();
        description.insert("type".into(), json!(kind));
        if !is_event {
            description.insert("access".into(), json!(access));
        }
        let limits = range.copied().unwrap_or_default();
        for (key, limit) in [("min", limits.min), ("max", limits.max), ("step", limits.step)] {
            if let Some(limit) = limit {
                description.insert(key.into(), number(limit));
            }
        }
        for (key, text) in [("title", &self.title), ("unit", &self.unit)] {
            if let Some(text) = text {
                description.insert(key.into(), json!(text));
            }
        }
        if let Some(values) = values {
            description.insert("values".into(), json!(values));
        }
        if !is_event {
            description.insert("retained".into(), json!(self.retained));
            description.insert("idempotent".into(), json!(self.idempotent));
        }
        Json::Object(description)
    }
}

/// Writes whole numbers without a fraction.
fn number(value: f64) -> Json {
    #[expect(clippy::cast_possible_truncation, reason = "the value is whole and small")]
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// The kind of event that is the hub's own: a request that came to nothing.
pub const FAILED: &str = "failed";
