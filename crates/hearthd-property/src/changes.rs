//! Reads a request to change properties: one on its own topic, or several by `set`.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Declaration, Fault, Rejection, Value, is_json, parse_json};

/// A request to change properties, and the device that it is for.
#[derive(Clone, Copy, Debug)]
pub struct ChangeRequest<'a> {
    /// Device ID.
    pub device: &'a str,
    /// What the device declares.
    pub declarations: &'a BTreeMap<String, Declaration>,
    /// The property, or `set`.
    pub property: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The Content Type, if there is one.
    pub content_type: Option<&'a str>,
}

/// Why a request changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and what is accepted.
    pub rejection: Rejection,
    /// The property at fault.
    pub property: Option<String>,
    /// The value at fault.
    pub value: Option<String>,
}

impl ChangeRequest<'_> {
    /// Reads the values to set, each as the device gets it; `current` tells the states that TOGGLE turns over.
    ///
    /// # Errors
    /// Where a property is unknown or cannot be set, and where a value does not fit.
    pub fn read(
        &self,
        current: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, Value>, Refusal> {
        if self.property == "set" {
            return self.read_set(current);
        }
        let declaration = self.find(self.property)?;
        let state = current(self.property);
        let value = declaration.read(self.payload, self.content_type, state.as_deref());
        let value = value.map_err(|rejection| {
            about(rejection, self.property, Some(&String::from_utf8_lossy(self.payload)))
        })?;
        Ok(BTreeMap::from([(self.property.to_owned(), value)]))
    }

    fn read_set(
        &self,
        current: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, Value>, Refusal> {
        let bad = |error: &str| {
            let message = format!("`set` takes a JSON object of properties{error}");
            whole(Rejection { fault: Fault::Unreadable, message })
        };
        is_json(self.content_type).map_err(whole)?;
        let read = parse_json(self.payload).map_err(|error| bad(&format!(": {error}")))?;
        let Json::Object(object) = read else { return Err(bad("")) };
        if object.is_empty() {
            return Err(bad(", at least one"));
        }
        let mut changes = BTreeMap::new();
        for (name, value) in object {
            let state = current(&name);
            let read = self.find(&name)?.read_json(&value, state.as_deref());
            let read =
                read.map_err(|rejection| about(rejection, &name, Some(&value.to_string())))?;
            changes.insert(name, read);
        }
        Ok(changes)
    }

    fn find(&self, property: &str) -> Result<&Declaration, Refusal> {
        self.declarations.get(property).ok_or_else(|| {
            let present: Vec<_> = self.declarations.keys().map(String::as_str).collect();
            let message = format!(
                "`{}` has no `{property}`; it has {}, set, get, describe and status",
                self.device,
                present.join(", ")
            );
            about(Rejection { fault: Fault::Unknown, message }, property, None)
        })
    }
}

/// Writes the changes of a `set` of several properties as the plugin gets them (C0).
pub fn object_of(changes: &BTreeMap<String, Value>) -> String {
    let object = changes.iter().map(|(name, value)| (name.clone(), value.as_json().clone()));
    Json::Object(object.collect()).to_string()
}

fn whole(rejection: Rejection) -> Refusal {
    Refusal { rejection, property: None, value: None }
}

fn about(rejection: Rejection, property: &str, value: Option<&str>) -> Refusal {
    const LONGEST: usize = 256;
    let value = value.map(|value| value.chars().take(LONGEST).collect());
    Refusal { rejection, property: Some(property.to_owned()), value }
}
