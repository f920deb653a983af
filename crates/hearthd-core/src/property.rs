//! The declaration of a property, and the reading and checking of values against it.

mod json;

use serde::Deserialize;
use serde_json::{Value as Json, json};

pub use json::parse_json;

use crate::{ContentType, Status};

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
    /// The status of the answer.
    pub status: Status,
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl Rejection {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

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

impl Declaration {
    /// Parses a declaration in the plugin ABI's JSON form.
    ///
    /// # Errors
    /// Where the name, a key or a limit is not acceptable; the text says why.
    pub fn parse(name: &str, declaration: &[u8]) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
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

    /// Returns the Content Type of the property's values on the wire.
    pub fn content_type(&self) -> ContentType {
        if self.values == Values::Json { ContentType::Json } else { ContentType::Text }
    }

    /// Reads the payload of a request; `current` is the state that TOGGLE turns over.
    ///
    /// # Errors
    /// 415 for a content type that is neither text nor JSON, 400 for what cannot be read, 422 for what does not fit.
    pub fn read(
        &self,
        payload: &[u8],
        content_type: Option<&str>,
        current: Option<&str>,
    ) -> Result<Value, Rejection> {
        if let Some(message) = self.not_writable() {
            return Err(Rejection::new(Status::Unprocessable, message));
        }
        let text = std::str::from_utf8(payload).map_err(|error| {
            Rejection::new(Status::BadRequest, format!("the payload is not UTF-8: {error}"))
        })?;
        if is_json(content_type)? || self.values == Values::Json {
            let json = parse_json(text.as_bytes()).map_err(|error| {
                Rejection::new(Status::BadRequest, format!("the payload is not JSON: {error}"))
            })?;
            return self.read_json(&json, current);
        }
        self.read_text(text.trim(), current)
    }

    /// Reads a JSON value of a request.
    ///
    /// # Errors
    /// As [`Declaration::read`].
    pub fn read_json(&self, value: &Json, current: Option<&str>) -> Result<Value, Rejection> {
        if let Some(message) = self.not_writable() {
            return Err(Rejection::new(Status::Unprocessable, message));
        }
        match (&self.values, value) {
            (Values::Json, value) => Ok(Value { text: value.to_string(), json: value.clone() }),
            (_, Json::String(text)) => self.read_text(text, current),
            (Values::Switch | Values::Enum(_), Json::Bool(_) | Json::Number(_))
            | (Values::Integer(_) | Values::Number(_), Json::Number(_)) => {
                self.read_text(&value.to_string(), current)
            }
            (_, other) => Err(self.unreadable(&other.to_string())),
        }
    }

    /// Reads a state that the device reports, whatever requesters may do.
    ///
    /// # Errors
    /// As [`Declaration::read`].
    pub fn read_state(&self, text: &str) -> Result<Value, Rejection> {
        if self.values == Values::Json {
            let json: Json = serde_json::from_str(text).map_err(|_| self.unreadable(text))?;
            return Ok(Value { text: json.to_string(), json });
        }
        if self.values == Values::Switch && text.eq_ignore_ascii_case("TOGGLE") {
            return Err(self.unreadable(text));
        }
        self.read_text(text, None)
    }

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

    fn not_writable(&self) -> Option<String> {
        match (&self.values, self.access) {
            (Values::Event(_), _) => {
                Some(format!("`{}` is an event, and cannot be set", self.name))
            }
            (_, Access::Read) => Some(format!("`{}` is read-only", self.name)),
            (_, Access::ReadWrite | Access::Write) => None,
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

    fn read_text(&self, text: &str, current: Option<&str>) -> Result<Value, Rejection> {
        match &self.values {
            Values::Switch => match text.to_ascii_uppercase().as_str() {
                "ON" | "TRUE" | "1" => Ok(switch(true)),
                "OFF" | "FALSE" | "0" => Ok(switch(false)),
                "TOGGLE" => Ok(switch(current != Some("ON"))),
                _ => Err(self.unreadable(text)),
            },
            Values::Integer(range) => {
                let number = whole(text).ok_or_else(|| self.unreadable(text))?;
                #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
                let fits = range.fit(number as f64).is_some();
                if !fits {
                    return Err(self.out_of_range(text));
                }
                Ok(Value { text: number.to_string(), json: json!(number) })
            }
            Values::Number(range) => {
                let read: f64 = text.parse().map_err(|_| self.unreadable(text))?;
                if !read.is_finite() {
                    return Err(self.unreadable(text));
                }
                let fit = range.fit(read).ok_or_else(|| self.out_of_range(text))?;
                Ok(Value { text: fit.to_string(), json: number(fit) })
            }
            Values::Enum(values) => {
                let found = values.iter().find(|value| value.eq_ignore_ascii_case(text));
                let value = found.ok_or_else(|| self.out_of_range(text))?;
                Ok(Value { text: value.clone(), json: json!(value) })
            }
            Values::Text => Ok(Value { text: text.to_owned(), json: json!(text) }),
            Values::Json | Values::Event(_) => Err(self.unreadable(text)),
        }
    }

    fn unreadable(&self, text: &str) -> Rejection {
        let message = format!("`{}` cannot be read: {}", shorten(text), self.expectation());
        Rejection::new(Status::BadRequest, message)
    }

    fn out_of_range(&self, text: &str) -> Rejection {
        let message = format!("`{}` is not acceptable: {}", shorten(text), self.expectation());
        Rejection::new(Status::Unprocessable, message)
    }

    fn expectation(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let name = &self.name;
        match &self.values {
            Values::Switch => format!("`{name}` takes ON, OFF or TOGGLE"),
            Values::Integer(range) => {
                format!("`{name}` takes a whole number{}{unit}", range.describe())
            }
            Values::Number(range) => format!("`{name}` takes a number{}{unit}", range.describe()),
            Values::Enum(values) => format!("`{name}` takes {}", values.join(", ")),
            Values::Text => format!("`{name}` takes text"),
            Values::Json => format!("`{name}` takes JSON"),
            Values::Event(_) => format!("`{name}` is an event and has no value"),
        }
    }
}

/// Reads the kinds of an event's declaration.
fn kinds_of_event(name: &str, raw: &RawDeclaration) -> Result<Vec<String>, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if raw.access.is_some_and(|access| access != Access::Read) || raw.retained == Some(true) {
        return Err(format!("`{name}`: an event has no state, and cannot be set"));
    }
    if raw.values.is_empty() {
        return Err(format!("`{name}`: an event needs values, its kinds"));
    }
    for kind in &raw.values {
        if kind.is_empty() || !kind.chars().all(fits) {
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

impl Range {
    /// Returns the value on the grid of steps, where it lies within the limits and close to the grid.
    fn fit(&self, value: f64) -> Option<f64> {
        const TOLERANCE: f64 = 1e-6;
        if self.min.is_some_and(|min| value < min) || self.max.is_some_and(|max| value > max) {
            return None;
        }
        let Some(step) = self.step else { return Some(value) };
        let origin = self.min.unwrap_or(0.0);
        let steps = ((value - origin) / step).round();
        let nearest = origin + steps * step;
        // Nine decimals are finer than any step and hide the noise of binary fractions.
        let rounded = (nearest * 1e9).round() / 1e9;
        ((value - nearest).abs() <= step * TOLERANCE).then_some(rounded)
    }

    fn describe(&self) -> String {
        let limits = match (self.min, self.max) {
            (Some(min), Some(max)) => format!(" from {min} to {max}"),
            (Some(min), None) => format!(" from {min}"),
            (None, Some(max)) => format!(" up to {max}"),
            (None, None) => String::new(),
        };
        let step = self.step.map(|step| format!(" in steps of {step}")).unwrap_or_default();
        limits + &step
    }
}

/// Returns whether a payload of this Content Type is read as JSON, and not as plain text.
///
/// # Errors
/// 415 for a Content Type that is neither.
pub fn is_json(content_type: Option<&str>) -> Result<bool, Rejection> {
    let media_type = content_type.unwrap_or("text/plain").split(';').next().unwrap_or_default();
    match media_type.trim().to_ascii_lowercase().as_str() {
        "text/plain" | "" => Ok(false),
        "application/json" => Ok(true),
        other => {
            let message = format!("`{other}` is neither text/plain nor application/json");
            Err(Rejection::new(Status::UnsupportedContentType, message))
        }
    }
}

/// Reads a whole number, however it is written: `50`, `50.0`, `5e1`.
fn whole(text: &str) -> Option<i64> {
    // Far above, neighbours are 1 and more apart, and a number near the one that was meant would be taken for it.
    const MOST: f64 = 1e15;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small enough")]
    (number.fract() == 0.0 && number.abs() < MOST).then_some(number as i64)
}

fn switch(on: bool) -> Value {
    let text = if on { "ON" } else { "OFF" };
    Value { text: text.into(), json: json!(text) }
}

/// Writes whole numbers without a fraction.
fn number(value: f64) -> Json {
    #[expect(clippy::cast_possible_truncation, reason = "the value is whole and small")]
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// Shows a text, not too much of it, and what is invisible in it as `\u{..}`.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The kind of event that is the hub's own: a request that came to nothing.
pub(crate) const FAILED: &str = "failed";

/// What every device answers besides its properties.
const VERBS: [&str; 3] = ["set", "get", "describe"];

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(declaration: &str) -> Declaration {
        Declaration::parse("property", declaration.as_bytes()).unwrap()
    }

    fn read(declaration: &Declaration, payload: &str) -> Result<String, u16> {
        declaration
            .read(payload.as_bytes(), None, Some("ON"))
            .map(|value| value.as_text().to_owned())
            .map_err(|rejection| rejection.status.code())
    }

    #[test]
    fn an_event_has_kinds_and_no_state() {
        let bell = declare(r#"{"type": "event", "values": ["press", "double"], "title": "Bell"}"#);
        assert!(bell.has_event("double") && !bell.has_event("triple"));
        assert!(!bell.retained && bell.not_readable().is_some());
        let described =
            serde_json::json!({"type": "event", "values": ["press", "double"], "title": "Bell"});
        assert_eq!(bell.describe(), described);
        assert_eq!(bell.read(b"press", None, None).unwrap_err().status, Status::Unprocessable);
        assert_eq!(
            bell.read_json(&"press".into(), None).unwrap_err().status,
            Status::Unprocessable
        );
        assert!(bell.read_state("press").is_err());
        for wrong in [
            r#"{"type": "event"}"#,
            r#"{"type": "event", "values": ["failed"]}"#,
            r#"{"type": "event", "values": ["Press"]}"#,
            r#"{"type": "event", "values": [""]}"#,
            r#"{"type": "event", "values": ["press"], "access": "rw"}"#,
            r#"{"type": "event", "values": ["press"], "retained": true}"#,
        ] {
            assert!(Declaration::parse("bell", wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_takes_the_words_that_people_use() {
        let power = declare(r#"{"type":"switch"}"#);
        for (payload, value) in
            [("ON", "ON"), ("off", "OFF"), ("true", "ON"), ("0", "OFF"), ("toggle", "OFF")]
        {
            assert_eq!(read(&power, payload), Ok(value.into()), "{payload}");
        }
        assert_eq!(read(&power, "banana"), Err(400));
    }

    #[test]
    fn a_number_keeps_to_its_range_and_steps() {
        let target = declare(r#"{"type":"number","min":5,"max":30,"step":0.5,"unit":"°C"}"#);
        assert_eq!(read(&target, "21.5"), Ok("21.5".into()));
        assert_eq!(read(&target, " 21.0 "), Ok("21".into()));
        assert_eq!(read(&target, "29.7"), Err(422));
        assert_eq!(read(&target, "31"), Err(422));
        for unreadable in ["warm", "NaN", "inf", ""] {
            assert_eq!(read(&target, unreadable), Err(400), "{unreadable}");
        }
        let rejection = target.read(b"29.7", None, None).unwrap_err();
        assert_eq!(
            rejection.message,
            "`29.7` is not acceptable: `property` takes a number from 5 to 30 in steps of 0.5 °C"
        );
    }

    /// Each as plain text, as JSON text and, where it is one, as a JSON number or truth value.
    #[test]
    fn the_table_of_values_holds_in_every_form() {
        for row in include_str!("../tests/values.txt").lines().filter(|row| !row.starts_with('#')) {
            let [declaration, written, value] = row.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("three columns, not {row}");
            };
            let declaration = declare(match declaration {
                "switch" => r#"{"type":"switch"}"#,
                "integer" => r#"{"type":"integer","min":-1000,"max":1000}"#,
                "even" => r#"{"type":"integer","min":0,"max":100,"step":2}"#,
                "long" => r#"{"type":"integer"}"#,
                "number" => r#"{"type":"number","min":5,"max":30,"step":0.5}"#,
                "fine" => r#"{"type":"number","min":0,"max":1,"step":0.1}"#,
                "choice" => r#"{"type":"enum","values":["off","heat","2"]}"#,
                "text" => r#"{"type":"text"}"#,
                other => panic!("no declaration `{other}`"),
            });
            let is_taken = |form: &str, read: Result<Value, Rejection>| {
                let read = read.map(|value| value.as_text().to_owned());
                let read = read.unwrap_or_else(|_| "refused".into());
                assert_eq!(read, value, "{row} as {form}");
            };
            let current = Some("ON");
            is_taken("plain text", declaration.read(written.as_bytes(), None, current));
            is_taken("JSON text", declaration.read_json(&json!(written), current));
            let literal: Option<Json> = serde_json::from_str(written).ok();
            if let Some(literal) = literal.filter(|_| declaration.values != Values::Text) {
                is_taken("JSON", declaration.read_json(&literal, current));
            }
            if written.eq_ignore_ascii_case("TOGGLE") && declaration.values == Values::Switch {
                assert!(declaration.read_state(written).is_err(), "no state");
            } else {
                is_taken("a state", declaration.read_state(written));
            }
        }
    }

    #[test]
    fn a_refusal_shows_what_is_invisible() {
        let level = declare(r#"{"type":"integer","min":0,"max":100,"unit":"%"}"#);
        let refusal =
            |payload: &str| level.read(payload.as_bytes(), None, None).unwrap_err().message;
        let expectation = "cannot be read: `property` takes a whole number from 0 to 100 %";
        for (payload, shown) in [
            ("\u{feff}50", "\\u{feff}50"),
            ("5\u{200b}0", "5\\u{200b}0"),
            ("5\n0", "5\\n0"),
            ("50.5", "50.5"),
            ("it's \"fünfzig\"", "it's \"fünfzig\""),
        ] {
            assert_eq!(refusal(payload), format!("`{shown}` {expectation}"));
        }
        assert_eq!(refusal(&"x".repeat(61)), format!("`{}...` {expectation}", "x".repeat(60)));
    }

    #[test]
    fn a_fine_step_leaves_no_binary_noise() {
        let fine = declare(r#"{"type":"number","min":0,"max":1,"step":0.1}"#);
        assert_eq!(read(&fine, "0.30000000000000004"), Ok("0.3".into()));
    }

    #[test]
    fn content_types_decide_how_a_payload_is_read() {
        let level = declare(r#"{"type":"integer","min":0,"max":100}"#);
        let read = |payload: &[u8], content_type| {
            level.read(payload, content_type, None).map_err(|rejection| rejection.status.code())
        };
        assert_eq!(read(b"42", Some("text/plain; charset=utf-8")).unwrap().as_text(), "42");
        assert_eq!(read(b"42", Some("application/json")).unwrap().as_json(), &json!(42));
        assert_eq!(read(b"4.2", Some("application/json")), Err(400));
        assert_eq!(read(b"{", Some("application/json")), Err(400));
        assert_eq!(read(b"42", Some("image/png")), Err(415));
        assert_eq!(read(b"\xff", None), Err(400));
    }

    #[test]
    fn a_read_only_property_is_not_written() {
        let action = declare(r#"{"type":"enum","values":["off","idle"],"access":"r"}"#);
        assert_eq!(read(&action, "idle"), Err(422));
        assert_eq!(action.read_state("idle").unwrap().as_text(), "idle");
    }

    #[test]
    fn a_wrong_declaration_is_refused() {
        let refused = |name: &str, text: &str| Declaration::parse(name, text.as_bytes()).is_err();
        assert!(refused("set", r#"{"type":"switch"}"#));
        assert!(refused("Power", r#"{"type":"switch"}"#));
        assert!(refused("power", r#"{"type":"lever"}"#));
        assert!(refused("power", r#"{"type":"switch","colour":"red"}"#));
        assert!(refused("power", r#"{"type":"integer","min":2,"max":1}"#));
        assert!(refused("power", r#"{"type":"number","step":0}"#));
        assert!(refused("power", r#"{"type":"enum"}"#));
    }
}
