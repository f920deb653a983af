//! Values of properties, and the changes that a command asks for.

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
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    list: Vec<(String, Value)>,
    deadline: Option<Duration>,
}

impl Changes {
    /// Returns the new value of a property; `None` if the property does not change.
    pub fn get(&self, property: &str) -> Option<&Value> {
        self.list.iter().find(|(name, _)| name == property).map(|(_, value)| value)
    }

    /// Returns the new value of a switch; `None` if it does not change.
    pub fn switch(&self, property: &str) -> Option<bool> {
        match self.get(property)? {
            Value::Switch(on) => Some(*on),
            Value::Integer(_) | Value::Number(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of an integer; `None` if it does not change.
    pub fn integer(&self, property: &str) -> Option<i64> {
        match self.get(property)? {
            Value::Integer(n) => Some(*n),
            Value::Switch(_) | Value::Number(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a number; `None` if it does not change.
    pub fn number(&self, property: &str) -> Option<f64> {
        match self.get(property)? {
            Value::Number(n) => Some(*n),
            Value::Switch(_) | Value::Integer(_) | Value::Text(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a text or a choice; `None` if it does not change.
    pub fn text(&self, property: &str) -> Option<&str> {
        match self.get(property)? {
            Value::Text(text) => Some(text),
            Value::Switch(_) | Value::Integer(_) | Value::Number(_) | Value::Json(_) => None,
        }
    }

    /// Returns the new value of a JSON property; `None` if it does not change.
    pub fn json(&self, property: &str) -> Option<&serde_json::Value> {
        match self.get(property)? {
            Value::Json(json) => Some(json),
            Value::Switch(_) | Value::Integer(_) | Value::Number(_) | Value::Text(_) => None,
        }
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
        properties: &[Property],
        name: &str,
        payload: &str,
    ) -> Result<Self, Failure> {
        let property = declared(properties, name)?;
        let value = property
            .value_of_text(payload)
            .ok_or_else(|| Failure::invalid(format!("{name}: not a value of this property")))?;
        Ok(Self { list: vec![(name.to_owned(), value)], deadline: None })
    }

    /// Reads a command for several properties.
    pub(crate) fn of_several(properties: &[Property], payload: &[u8]) -> Result<Self, Failure> {
        let table: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload)
            .map_err(|error| Failure::invalid(format!("a JSON object is expected: {error}")))?;
        let mut list = Vec::with_capacity(table.len());
        for (name, json) in table {
            let value = declared(properties, &name)?
                .value_of_json(&json)
                .ok_or_else(|| Failure::invalid(format!("{name}: not a value of this property")))?;
            list.push((name, value));
        }
        Ok(Self { list, deadline: None })
    }

    pub(crate) fn due(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }
}

pub(crate) fn declared<'a>(
    properties: &'a [Property],
    name: &str,
) -> Result<&'a Property, Failure> {
    properties
        .iter()
        .find(|property| property.name() == name)
        .ok_or_else(|| Failure::invalid(format!("{name}: no such property")))
}
