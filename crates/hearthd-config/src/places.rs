//! The place of each key below `[devices]` in the file.

use std::collections::HashMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::reader;

/// The place of each key, by device and path. The place of a table is that of its key; the place of anything else is
/// that of its value.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<String, HashMap<String, usize>>);

impl Places {
    /// Collects the places in a text; if that is not TOML, those in the part that can be read.
    pub(crate) fn of_devices(text: &str) -> Self {
        let (root, _) = DeTable::parse_recoverable(text);
        let devices = reader::find(root.get_ref(), "devices");
        let devices = devices.and_then(|(_, devices)| devices.get_ref().as_table());
        let device = |(id, device): (&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let mut places = HashMap::new();
            places.insert(String::new(), id.span().start);
            if let Some(table) = device.get_ref().as_table() {
                note_table(&mut places, "", table);
            }
            (id.get_ref().to_string(), places)
        };
        Self(devices.into_iter().flatten().map(device).collect())
    }

    /// Returns the place of a key of a device's table, such as `config.rooms[2].name`, or of the nearest existing key
    /// around it; `None` for an unknown device.
    pub(crate) fn find(&self, device: &str, path: &str) -> Option<usize> {
        let places = self.0.get(device)?;
        let mut path = path;
        loop {
            if let Some(at) = places.get(path) {
                return Some(*at);
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or_default()];
        }
    }
}

fn note_table(places: &mut HashMap<String, usize>, path: &str, table: &DeTable<'_>) {
    for (key, value) in table {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", key.get_ref());
        let at = if value.get_ref().is_table() { key.span() } else { value.span() };
        note(places, path, at.start, value.get_ref());
    }
}

fn note(places: &mut HashMap<String, usize>, path: String, at: usize, value: &DeValue<'_>) {
    match value {
        DeValue::Table(table) => note_table(places, &path, table),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                note(places, format!("{path}[{index}]"), item.span().start, item.get_ref());
            }
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
    places.insert(path, at);
}
