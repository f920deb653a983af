//! How the commands print lists: of properties, and of devices.

use serde_json::Value;

/// Says in one line which device a description is of, and where that is.
pub(super) fn title(description: &Value) -> String {
    let text = |key: &str| description[key].as_str();
    let id = text("id").unwrap_or_default();
    let name = text("name").filter(|name| *name != id).map(|name| format!(", \"{name}\""));
    let room = text("room").map(|room| format!(", in the room \"{room}\""));
    let kind = text("kind").unwrap_or_default();
    format!("{id} ({kind}){}{}", name.unwrap_or_default(), room.unwrap_or_default())
}

/// Says in one line what a property takes and shows, from its description.
pub(super) fn in_words(declaration: &Value) -> String {
    let text = |key: &str| match &declaration[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let mut words = vec![text("type").unwrap_or_default()];
    let step = text("step").map(|step| format!(" in steps of {step}")).unwrap_or_default();
    words.extend(match (text("min"), text("max")) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}{step}")),
        (Some(min), None) => Some(format!("{min} or more{step}")),
        (None, Some(max)) => Some(format!("{max} or less{step}")),
        (None, None) => Some(step.trim_start().to_owned()).filter(|step| !step.is_empty()),
    });
    if let Some(values) = declaration["values"].as_array() {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
        words.push(values.join(" | "));
    }
    words.extend(text("unit"));
    words.extend(match declaration["access"].as_str() {
        Some("r") => Some("read-only".into()),
        Some("w") => Some("write-only".into()),
        _ => None,
    });
    for key in ["retained", "idempotent"] {
        words.extend((declaration[key] == false).then(|| format!("not {key}")));
    }
    words.extend(text("title").map(|title| format!("\"{title}\"")));
    words.join(", ")
}

/// Returns how wide a column is: wide enough for each of its texts, and no less than usual.
pub(super) fn width<'t>(usual: usize, texts: impl IntoIterator<Item = &'t str>) -> usize {
    texts.into_iter().map(|text| text.chars().count()).fold(usual, usize::max)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_property_is_described_in_words() {
        let said = in_words(&json!({
            "type": "number", "access": "r", "min": 0, "max": 30, "step": 0.5, "title": "Flow", "unit": "bar",
            "retained": false, "idempotent": true,
        }));
        assert_eq!(said, "number, 0 to 30 in steps of 0.5, bar, read-only, not retained, \"Flow\"");
        let said = in_words(&json!({"type": "event", "values": ["press", "double"]}));
        assert_eq!(said, "event, press | double");
    }

    #[test]
    fn a_device_has_a_name_and_a_room_where_people_gave_them() {
        let said = title(
            &json!({"id": "lamp", "name": "Lamp by the bed", "kind": "light", "room": "Bedroom"}),
        );
        assert_eq!(said, "lamp (light), \"Lamp by the bed\", in the room \"Bedroom\"");
        assert_eq!(title(&json!({"id": "lamp", "name": "lamp", "kind": "light"})), "lamp (light)");
    }

    #[test]
    fn a_long_name_widens_its_column() {
        assert_eq!(width(4, []), 4);
        assert_eq!(width(4, ["a", "abc"]), 4);
        assert_eq!(width(4, ["a", "größer"]), 6);
    }
}
