//! One component of an announcement: an entity of Home Assistant.

use serde_json::{Map, Value as Json};

/// One entity, with the keys of its platform's discovery schema.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    platform: &'static str,
    /// Unique within the device: a property's name, or a name that no property can have.
    id: String,
    keys: Map<String, Json>,
}

impl Component {
    pub(crate) fn new(platform: &'static str, id: &str) -> Self {
        Self { platform, id: id.to_owned(), keys: Map::new() }
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.keys.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a key where there is a value for it.
    pub(crate) fn with_some(self, key: &str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(crate) fn diagnostic(self) -> Self {
        self.with("entity_category", "diagnostic")
    }

    pub(crate) fn disabled(self) -> Self {
        self.with("enabled_by_default", false)
    }

    pub(crate) fn platform(&self) -> &'static str {
        self.platform
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Names the component in its announcement. The platform is a part of it: Home Assistant takes another platform for
    /// another entity.
    pub(crate) fn key(&self) -> String {
        format!("{}_{}", self.platform, self.id)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    pub(crate) fn into_json(self) -> Json {
        let mut keys = self.keys;
        keys.insert("platform".into(), self.platform.into());
        Json::Object(keys)
    }
}
