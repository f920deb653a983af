//! Values of properties, and the changes that a command asks for.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::{Failure, Property};

/// The value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `ON` or `OFF`.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// A decimal number.
    Number(f64),
    /// Free text, or one word of a choice.
    Text(String),
    /// A JSON document.
    Json(serde_json::Value),
}

impl Value {
    /// Returns the canonical text that is sent.
    pub fn to_text(&self) -> String {
        match self {
            Self::Switch(true) => "ON".to_owned(),
            Self::Switch(false) => "OFF".to_owned(),
            Self::Integer(n) => n.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text.clone(),
            Self::Json(json) => json.to_string(),
        }
    }

    /// Returns the JSON form, in which several values are sent together.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Switch(_) | Self::Text(_) => self.to_text().into(),
            Self::Integer(n) => (*n).into(),
            Self::Number(n) => (*n).into(),
            Self::Json(json) => json.clone(),
        }
    }
}

/// Implements `From` for types that convert without loss.
macro_rules! from {
    ($($source:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        })+
    };
}

from! {
    bool => Switch,
    u8 => Integer, u16 => Integer, u32 => Integer,
    i8 => Integer, i16 => Integer, i32 => Integer, i64 => Integer,
    f64 => Number,
    &str => Text, String => Text,
    serde_json::Value => Json,
}

/// The properties to set and their values, each at most once.
///
/// Who asks for a property that the device has not declared, or has declared as another type, gets `None` and a warning in
/// the hub's log; a test with [`TestDevice`](crate::harness::TestDevice) panics. Those of
/// [`Device::OPTIONAL`](crate::Device::OPTIONAL) may always be asked for. Name each property once, in a constant
/// such as `const POWER: &str = "power";`, so that the compiler finds a typo.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    list: Vec<(String, Value)>,
    deadline: Option<Duration>,
    declared: Arc<Declared>,
}

/// What a device declares, and may ask its changes for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Declared {
    pub(crate) properties: Vec<Property>,
    /// Names that only some devices of the kind declare.
    pub(crate) optional: &'static [&'static str],
}

impl Changes {
    /// Returns the new value of a property; `None` if the property does not change.
    pub fn get(&self, property: &str) -> Option<&Value> {
        self.find(property, &[])
    }

    /// Returns the new value of a switch; `None` if it does not change.
    pub fn switch(&self, property: &str) -> Option<bool> {
        match self.find(property, &["switch"])? {
            Value::Switch(on) => Some(*on),
            Value::Integer(_) | Value::Number(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of an integer; `None` if it does not change.
    pub fn integer(&self, property: &str) -> Option<i64> {
        match self.find(property, &["integer"])? {
            Value::Integer(n) => Some(*n),
            Value::Switch(_) | Value::Number(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a number; `None` if it does not change.
    pub fn number(&self, property: &str) -> Option<f64> {
        match self.find(property, &["number"])? {
            Value::Number(n) => Some(*n),
            Value::Switch(_) | Value::Integer(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a text or a choice; `None` if it does not change.
    pub fn text(&self, property: &str) -> Option<&str> {
        match self.find(property, &["text", "enum"])? {
            Value::Text(text) => Some(text),
            Value::Switch(_) | Value::Integer(_) | Value::Number(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a JSON property; `None` if it does not change.
    pub fn json(&self, property: &str) -> Option<&serde_json::Value> {
        match self.find(property, &["json"])? {
            Value::Json(json) => Some(json),
            Value::Switch(_) | Value::Integer(_) | Value::Number(_) | Value::Text(_) => None,
        }
    }

    /// Finds a value, and reports who asks for what was not declared so.
    fn find(&self, property: &str, types: &[&str]) -> Option<&Value> {
        let Declared { properties, optional } = &*self.declared;
        match properties.iter().find(|declared| declared.name() == property) {
            None if optional.contains(&property) => {}
            None => {
                let names: Vec<_> = properties.iter().map(Property::name).collect();
                mistake(format!("`{property}` is not declared; there is: {}", names.join(", ")));
            }
            Some(declared) if !types.is_empty() && !types.contains(&declared.type_name()) => {
                let (declared, asked) = (declared.type_name(), types.join(" or "));
                mistake(format!(
                    "`{property}` is declared as {declared}, and asked for as {asked}"
                ));
            }
            Some(_) => {}
        }
        self.list.iter().find(|(name, _)| name == property).map(|(_, value)| value)
    }

    /// Returns the changes: one, or several in the order of the properties' names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the deadline of the answer, on the clock of [`Context::now`](crate::Context::now).
    ///
    /// It is the request's Message Expiry Interval (MQTT 3.3.2.3.3), or the deadline in the hub's configuration.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Reads a command for one property.
    pub(crate) fn of_one(
        declared: &Arc<Declared>,
        name: &str,
        payload: &str,
    ) -> Result<Self, Failure> {
        let property = find(&declared.properties, name)?;
        let value = property
            .value_of_text(payload)
            .ok_or_else(|| Failure::invalid(format!("{name}: not a value of this property")))?;
        let list = vec![(name.to_owned(), value)];
        Ok(Self { list, deadline: None, declared: Arc::clone(declared) })
    }

    /// Reads a command for several properties.
    pub(crate) fn of_several(declared: &Arc<Declared>, payload: &[u8]) -> Result<Self, Failure> {
        let table: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload)
            .map_err(|error| Failure::invalid(format!("a JSON object is expected: {error}")))?;
        let mut list = Vec::with_capacity(table.len());
        for (name, json) in table {
            let value = find(&declared.properties, &name)?
                .value_of_json(&json)
                .ok_or_else(|| Failure::invalid(format!("{name}: not a value of this property")))?;
            list.push((name, value));
        }
        Ok(Self { list, deadline: None, declared: Arc::clone(declared) })
    }

    pub(crate) fn due(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }
}

fn find<'a>(properties: &'a [Property], name: &str) -> Result<&'a Property, Failure> {
    properties
        .iter()
        .find(|property| property.name() == name)
        .ok_or_else(|| Failure::invalid(format!("{name}: no such property")))
}

thread_local! {
    /// What a device under test has asked for by mistake; none outside of a test.
    static MISTAKES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects what a device asks its changes for by mistake, on this thread, while `call` runs.
pub(crate) fn watched<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    MISTAKES.set(Some(Vec::new()));
    let result = call();
    (result, MISTAKES.take().unwrap_or_default())
}

fn mistake(text: String) {
    MISTAKES.with_borrow_mut(|mistakes| match mistakes {
        Some(mistakes) => mistakes.push(text),
        None => tracing::warn!("the device asks for a change that cannot come: {text}"),
    });
}
