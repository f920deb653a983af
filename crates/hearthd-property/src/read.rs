//! Reads values, and checks them against their declaration.

use serde_json::{Value as Json, json};

use super::{Access, Declaration, Fault, Range, Rejection, Value, Values, number, parse_json};

impl Declaration {
    /// Reads the payload of a request; `current` is the state that TOGGLE turns over.
    ///
    /// # Errors
    /// For a content type that is neither text nor JSON, for what cannot be read, and for what does not fit.
    pub fn read(
        &self,
        payload: &[u8],
        content_type: Option<&str>,
        current: Option<&str>,
    ) -> Result<Value, Rejection> {
        if let Some(message) = self.not_writable() {
            return Err(Rejection::new(Fault::NotAcceptable, message));
        }
        let text = std::str::from_utf8(payload).map_err(|error| {
            Rejection::new(Fault::Unreadable, format!("the payload is not UTF-8: {error}"))
        })?;
        if is_json(content_type)? || self.values == Values::Json {
            let json = parse_json(text.as_bytes()).map_err(|error| {
                Rejection::new(Fault::Unreadable, format!("the payload is not JSON: {error}"))
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
            return Err(Rejection::new(Fault::NotAcceptable, message));
        }
        self.read_any_json(value, current)
    }

    fn read_any_json(&self, value: &Json, current: Option<&str>) -> Result<Value, Rejection> {
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

    /// Reads a state that is given as JSON.
    ///
    /// # Errors
    /// As [`Declaration::read`].
    pub fn read_state_json(&self, value: &Json) -> Result<Value, Rejection> {
        match (&self.values, value) {
            (Values::Json, _) => self.read_any_json(value, None),
            (_, Json::String(text)) => self.read_state(text),
            (_, other) => self.read_any_json(other, None),
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

    fn read_text(&self, text: &str, current: Option<&str>) -> Result<Value, Rejection> {
        match &self.values {
            Values::Switch => match text.to_ascii_uppercase().as_str() {
                "ON" | "TRUE" | "1" => Ok(switch(true)),
                "OFF" | "FALSE" | "0" => Ok(switch(false)),
                // What has no state cannot be turned over.
                "TOGGLE" if self.access != Access::Write => Ok(switch(current != Some("ON"))),
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
        Rejection::new(Fault::Unreadable, message)
    }

    fn out_of_range(&self, text: &str) -> Rejection {
        let message = format!("`{}` is not acceptable: {}", shorten(text), self.expectation());
        Rejection::new(Fault::NotAcceptable, message)
    }

    fn expectation(&self) -> String {
        let unit = self.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let name = &self.name;
        match &self.values {
            Values::Switch if self.access == Access::Write => format!("`{name}` takes ON or OFF"),
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

impl Rejection {
    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
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
/// For a Content Type that is neither.
pub fn is_json(content_type: Option<&str>) -> Result<bool, Rejection> {
    let media_type = content_type.unwrap_or("text/plain").split(';').next().unwrap_or_default();
    match media_type.trim().to_ascii_lowercase().as_str() {
        "text/plain" | "" => Ok(false),
        "application/json" => Ok(true),
        other => {
            let message = format!("`{other}` is neither text/plain nor application/json");
            Err(Rejection::new(Fault::ContentType, message))
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

/// Shows a text, not too much of it, and what is invisible in it as `\u{..}`.
pub(super) fn shorten(text: &str) -> String {
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
