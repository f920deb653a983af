//! Reads a declaration as a plugin writes it.

use serde::Deserialize;

use super::{Access, Declaration, FAILED, Range, Values};

impl Declaration {
    /// Parses a declaration in the plugin ABI's JSON form.
    ///
    /// # Errors
    /// Where the name, a key or a limit is not acceptable; the text says why.
    pub fn parse(name: &str, declaration: &[u8]) -> Result<Self, String> {
        if !is_name(name) {
            return Err(format!("`{name}` is no property name: [a-z0-9_]+ is"));
        }
        if VERBS.contains(&name) {
            return Err(format!("`{name}` is taken: every device answers it"));
        }
        let raw: RawDeclaration = serde_json::from_slice(declaration)
            .map_err(|error| format!("the declaration of `{name}`: {error}"))?;
        let range = Range { min: raw.min, max: raw.max, step: raw.step };
        if let (Some(min), Some(max)) = (range.min, range.max)
            && min > max
        {
            return Err(format!("`{name}`: min {min} is greater than max {max}"));
        }
        if range.step.is_some_and(|step| step <= 0.0) {
            return Err(format!("`{name}`: the step must be greater than 0"));
        }
        let values = match raw.kind {
            RawKind::Switch => Values::Switch,
            RawKind::Integer => Values::Integer(range),
            RawKind::Number => Values::Number(range),
            RawKind::Enum if raw.values.is_empty() => {
                return Err(format!("`{name}`: an enum needs values"));
            }
            RawKind::Enum => Values::Enum(raw.values),
            RawKind::Text => Values::Text,
            RawKind::Json => Values::Json,
            RawKind::Event => Values::Event(kinds_of_event(name, &raw)?),
        };
        let is_event = matches!(values, Values::Event(_));
        Ok(Self {
            name: name.to_owned(),
            values,
            access: raw.access.unwrap_or(if is_event { Access::Read } else { Access::ReadWrite }),
            title: raw.title,
            unit: raw.unit,
            retained: raw.retained.unwrap_or(!is_event),
            idempotent: raw.idempotent,
        })
    }

    /// Parses the declarations of one device: pairs of a name and a declaration.
    ///
    /// # Errors
    /// As for [`Declaration::parse`], and where a name is one that the hub itself uses.
    pub fn of_device(
        pairs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<Self>, String> {
        let parse = |(name, json): (String, String)| match name.as_str() {
            STATUS => Err(format!("`{STATUS}` is taken: the hub says there how the device is")),
            _ => Self::parse(&name, json.as_bytes()),
        };
        pairs.into_iter().map(parse).collect()
    }

    /// Parses the declarations of a device that another one adds: a JSON object of names and declarations.
    ///
    /// # Errors
    /// As for [`Declaration::of_device`].
    pub fn parse_all(properties: &str) -> Result<Vec<Self>, String> {
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(properties).map_err(|error| format!("no JSON object: {error}"))?;
        Self::of_device(members.into_iter().map(|(name, it)| (name, it.to_string())))
    }
}

/// The property that the hub reports for every device.
pub const STATUS: &str = "status";

/// A declaration as a plugin writes it; rule D1 of `hearth_plugin.h`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDeclaration {
    #[serde(rename = "type")]
    kind: RawKind,
    access: Option<Access>,
    title: Option<String>,
    unit: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    step: Option<f64>,
    #[serde(default)]
    values: Vec<String>,
    retained: Option<bool>,
    #[serde(default = "yes")]
    idempotent: bool,
}

/// The type of a declaration, by its word.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Switch,
    Integer,
    Number,
    Enum,
    Text,
    Json,
    Event,
}

fn yes() -> bool {
    true
}

/// Returns whether a text may name a property, or a kind of event.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !text.is_empty() && text.chars().all(fits)
}

/// Reads the kinds of an event's declaration.
fn kinds_of_event(name: &str, raw: &RawDeclaration) -> Result<Vec<String>, String> {
    if raw.access.is_some_and(|access| access != Access::Read) || raw.retained == Some(true) {
        return Err(format!("`{name}`: an event has no state, and cannot be set"));
    }
    if raw.values.is_empty() {
        return Err(format!("`{name}`: an event needs values, its kinds"));
    }
    for kind in &raw.values {
        if !is_name(kind) {
            return Err(format!("`{name}`: `{kind}` is no kind of event: [a-z0-9_]+ is"));
        }
        if kind == FAILED {
            return Err(format!(
                "`{name}`: the kind `{kind}` is taken: the hub says it of a request"
            ));
        }
    }
    Ok(raw.values.clone())
}

/// What every device answers besides its properties.
const VERBS: [&str; 3] = ["set", "get", "describe"];
