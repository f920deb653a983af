//! The declaration of a property, and the reading of values against it.

use hearthd_property::{Range, Values, is_name};
use serde::Serialize;

use crate::Value;

/// The declaration of one property (D1).
///
/// Names consist of `a-z`, `0-9` and `_`; `set`, `get` and `describe` are reserved.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    name: String,
    shape: Shape,
    access: Access,
    title: Option<String>,
    unit: Option<String>,
    bounds: Option<(f64, f64)>,
    step: Option<f64>,
    retained: bool,
    idempotent: bool,
}

/// What a device's table may say of a property beside its type, for kinds whose properties are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PropertyTable<'t> {
    /// The least value of an integer or a number.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// The step, counted from the least value, or from 0.
    pub step: Option<f64>,
    /// The unit of the values.
    pub unit: Option<&'t str>,
    /// The title that people see.
    pub title: Option<&'t str>,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Switch,
    Integer,
    Number,
    Choice(Vec<String>),
    Text,
    Json,
    Event(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Access {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "rw")]
    ReadWrite,
    #[serde(rename = "w")]
    Write,
}

impl Property {
    /// Declares a property that is `ON` or `OFF`, [`Value::Switch`]; a request may also say `TOGGLE`, unless it is
    /// [`write_only`](Self::write_only).
    pub fn switch(name: impl Into<String>) -> Self {
        Self::new(name, Shape::Switch)
    }

    /// Declares a whole number, [`Value::Integer`].
    pub fn integer(name: impl Into<String>) -> Self {
        Self::new(name, Shape::Integer)
    }

    /// Declares a decimal number, [`Value::Number`].
    pub fn number(name: impl Into<String>) -> Self {
        Self::new(name, Shape::Number)
    }

    /// Declares a property that is one of some words, [`Value::Text`].
    pub fn choice(name: impl Into<String>, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Self::new(name, Shape::Choice(values))
    }

    /// Declares free text, [`Value::Text`].
    pub fn text(name: impl Into<String>) -> Self {
        Self::new(name, Shape::Text)
    }

    /// Declares a JSON document, [`Value::Json`]; its Content Type is `application/json` (MQTT 3.3.2.3.9).
    pub fn json(name: impl Into<String>) -> Self {
        Self::new(name, Shape::Json)
    }

    /// Declares what happens at once and has no state, such as a button or a doorbell, with its kinds of event (E1).
    ///
    /// Kinds are of `a-z`, `0-9` and `_`; `failed` is taken. [`Context::event`](crate::Context::event) says that one has
    /// happened. It can be neither read nor set. A hub of version 1.0 of the ABI gets a device without it.
    pub fn event(name: impl Into<String>, kinds: &[&str]) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Self { access: Access::Read, retained: false, ..Self::new(name, Shape::Event(kinds)) }
    }

    /// Sets the least and the greatest value of an integer or a number.
    #[must_use]
    pub fn range(mut self, min: impl Into<f64>, max: impl Into<f64>) -> Self {
        self.bounds = Some((min.into(), max.into()));
        self
    }

    /// Sets the step of an integer or a number, counted from the least value, or from 0.
    #[must_use]
    pub fn step(mut self, step: impl Into<f64>) -> Self {
        self.step = Some(step.into());
        self
    }

    /// Sets the unit of the values, such as `°C`, `%` or `K`; the hub converts nothing.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Sets the title that people see.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets what a device's table gives: the range where it gives both of its ends.
    #[must_use]
    pub fn with_table(self, table: &PropertyTable<'_>) -> Self {
        let bounds = table.min.zip(table.max).or(self.bounds);
        let step = table.step.or(self.step);
        let unit = table.unit.map(str::to_owned).or(self.unit);
        let title = table.title.map(str::to_owned).or(self.title);
        Self { title, unit, bounds, step, ..self }
    }

    /// Declares that the property reports a state and cannot be set.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::Read;
        self
    }

    /// Declares that the property can be set and reports no state.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.access = Access::Write;
        self
    }

    /// Declares that the broker should not retain the state (MQTT 3.3.1.3), for example that of a button.
    #[must_use]
    pub fn not_retained(mut self) -> Self {
        self.retained = false;
        self
    }

    /// Declares that setting a value twice differs from setting it once.
    ///
    /// If a crash of the hub leaves the outcome of a request open, the request is then answered 409 and not carried out
    /// again.
    #[must_use]
    pub fn not_idempotent(mut self) -> Self {
        self.idempotent = false;
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the declaration as JSON (D1).
    pub fn declaration(&self) -> String {
        let whole = matches!(self.shape, Shape::Integer);
        let numeric = whole || matches!(self.shape, Shape::Number);
        let json = |value: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "bounds of integers are whole")]
            if whole { serde_json::json!(value as i64) } else { serde_json::json!(value) }
        };
        let bounds = self.bounds.filter(|_| numeric);
        let declaration = Declaration {
            type_: self.shape.name(),
            access: self.access,
            title: self.title.as_deref(),
            unit: self.unit.as_deref(),
            min: bounds.map(|(min, _)| json(min)),
            max: bounds.map(|(_, max)| json(max)),
            step: self.step.filter(|_| numeric).map(json),
            values: match &self.shape {
                Shape::Choice(values) | Shape::Event(values) => Some(values),
                Shape::Switch | Shape::Integer | Shape::Number | Shape::Text | Shape::Json => None,
            },
            retained: self.retained,
            idempotent: self.idempotent,
        };
        serde_json::to_string(&declaration)
            .expect("a declaration holds nothing but text and numbers")
    }

    /// Reads a state, given as JSON, that the device may report; `None` for what the hub would refuse (C3).
    pub fn read_value(&self, json: &serde_json::Value) -> Option<Value> {
        let value = self.as_the_hub_sees_it().read_state_json(json).ok()?;
        self.value_of_text(value.as_text())
    }

    /// Returns the declaration that the hub checks values with.
    pub(crate) fn as_the_hub_sees_it(&self) -> hearthd_property::Declaration {
        let numeric = matches!(self.shape, Shape::Integer | Shape::Number);
        let (min, max) = self.bounds.filter(|_| numeric).unzip();
        let range = Range { min, max, step: self.step.filter(|_| numeric) };
        hearthd_property::Declaration {
            name: self.name.clone(),
            values: match &self.shape {
                Shape::Switch => Values::Switch,
                Shape::Integer => Values::Integer(range),
                Shape::Number => Values::Number(range),
                Shape::Choice(values) => Values::Enum(values.clone()),
                Shape::Text => Values::Text,
                Shape::Json => Values::Json,
                Shape::Event(kinds) => Values::Event(kinds.clone()),
            },
            access: match self.access {
                Access::Read => hearthd_property::Access::Read,
                Access::ReadWrite => hearthd_property::Access::ReadWrite,
                Access::Write => hearthd_property::Access::Write,
            },
            title: self.title.clone(),
            unit: self.unit.clone(),
            retained: self.retained,
            idempotent: self.idempotent,
        }
    }

    /// Returns why the hub would refuse a property of this name (D1), if it would.
    pub fn name_mistake(name: &str) -> Option<&'static str> {
        if !is_name(name) {
            Some("a property's name is of a-z, 0-9 and _")
        } else if matches!(name, "set" | "get" | "describe" | "status") {
            Some("the name is taken: every device answers it")
        } else {
            None
        }
    }

    /// Returns why the hub would refuse the declaration (D1), if it would.
    pub fn mistake(&self) -> Option<&'static str> {
        let numeric = matches!(self.shape, Shape::Integer | Shape::Number);
        if let Some(mistake) = Self::name_mistake(&self.name) {
            Some(mistake)
        } else if !numeric && (self.bounds.is_some() || self.step.is_some()) {
            Some("only integers and numbers have a range and a step")
        } else if self.bounds.is_some_and(|(min, max)| min > max) {
            Some("the least value is above the greatest")
        } else if self.step.is_some_and(|step| step <= 0.0) {
            Some("the step is not above 0")
        } else {
            self.mistake_of_values()
        }
    }

    fn mistake_of_values(&self) -> Option<&'static str> {
        match &self.shape {
            Shape::Choice(values) if values.is_empty() => Some("a choice has at least one value"),
            Shape::Event(kinds) if kinds.is_empty() => Some("an event has at least one kind"),
            Shape::Event(kinds) if !kinds.iter().all(|kind| is_name(kind)) => {
                Some("a kind of event is of a-z, 0-9 and _")
            }
            Shape::Event(kinds) if kinds.iter().any(|kind| kind == hearthd_property::FAILED) => {
                Some("the kind `failed` is taken: it is what the hub says of a request")
            }
            Shape::Event(_) if self.access != Access::Read || self.retained => {
                Some("an event has no state, and cannot be set")
            }
            Shape::Switch
            | Shape::Integer
            | Shape::Number
            | Shape::Choice(_)
            | Shape::Text
            | Shape::Json
            | Shape::Event(_) => None,
        }
    }

    /// Returns the type, in the words of the declaration (D1).
    pub(crate) fn type_name(&self) -> &'static str {
        self.shape.name()
    }

    /// Returns whether it is an event, which has no state.
    pub fn is_event(&self) -> bool {
        matches!(self.shape, Shape::Event(_))
    }

    /// Returns whether it is an event that has this kind.
    pub fn has_event(&self, kind: &str) -> bool {
        matches!(&self.shape, Shape::Event(kinds) if kinds.iter().any(|known| known == kind))
    }

    /// Returns whether it reports a state.
    pub fn readable(&self) -> bool {
        self.access != Access::Write
    }

    /// Reads a value from the canonical text that the hub passes on.
    pub(crate) fn value_of_text(&self, text: &str) -> Option<Value> {
        match self.shape {
            Shape::Switch => switch(text).map(Value::Switch),
            Shape::Integer => text.parse().ok().map(Value::Integer),
            Shape::Number => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Number),
            Shape::Choice(_) | Shape::Text => Some(Value::Text(text.to_owned())),
            Shape::Json => serde_json::from_str(text).ok().map(Value::Json),
            Shape::Event(_) => None,
        }
    }

    /// Reads a value from the JSON that the hub passes on.
    pub(crate) fn value_of_json(&self, json: &serde_json::Value) -> Option<Value> {
        match self.shape {
            Shape::Switch => match json {
                serde_json::Value::Bool(on) => Some(Value::Switch(*on)),
                other => other.as_str().and_then(switch).map(Value::Switch),
            },
            Shape::Integer => json.as_i64().or_else(|| whole(json.as_f64()?)).map(Value::Integer),
            Shape::Number => json.as_f64().map(Value::Number),
            Shape::Choice(_) | Shape::Text => json.as_str().map(|t| Value::Text(t.to_owned())),
            Shape::Json => Some(Value::Json(json.clone())),
            Shape::Event(_) => None,
        }
    }

    fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            shape,
            access: Access::ReadWrite,
            title: None,
            unit: None,
            bounds: None,
            step: None,
            retained: true,
            idempotent: true,
        }
    }
}

impl Shape {
    fn name(&self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Choice(_) => "enum",
            Self::Text => "text",
            Self::Json => "json",
            Self::Event(_) => "event",
        }
    }
}

#[derive(Serialize)]
struct Declaration<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    access: Access,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a Vec<String>>,
    retained: bool,
    idempotent: bool,
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    }
}

/// Returns a number as a whole one; far above the bound, neighbours are 1 and more apart.
fn whole(n: f64) -> Option<i64> {
    const MOST: f64 = 1e15;
    #[expect(clippy::cast_possible_truncation, reason = "the magnitude is checked beside it")]
    (n.fract() == 0.0 && n.abs() < MOST).then_some(n as i64)
}
