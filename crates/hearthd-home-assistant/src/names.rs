//! Names and identifiers: identifiers come from the configuration's IDs alone, names never repeat the device's.

/// Names a hub; also the topic level of all that it announces.
pub(crate) fn hub(client_id: &str) -> String {
    format!("hearthd_{client_id}")
}

/// Names a device in Home Assistant's registry; no ID has a slash.
pub(crate) fn device(client_id: &str, device: &str) -> String {
    format!("{}/{device}", hub(client_id))
}

/// Makes an entity ID, such as `light.light_in_bedroom`; an empty `rest` is left out.
pub(crate) fn entity_id(platform: &str, device: &str, rest: &str) -> String {
    let slug = |text: &str| text.replace('-', "_");
    let rest = if rest.is_empty() { String::new() } else { format!("_{}", slug(rest)) };
    format!("{platform}.{}{rest}", slug(device))
}

/// Names an entity beside its device, whose name Home Assistant puts in front; none where that says it all.
pub(crate) fn entity(device: &str, title: &str) -> Option<String> {
    let (device, title) = (device.trim(), title.trim());
    let rest = match title.get(..device.len()) {
        Some(begin) if begin.eq_ignore_ascii_case(device) => &title[device.len()..],
        _ => return Some(title.to_owned()),
    };
    if !rest.is_empty() && !rest.starts_with([' ', '-', ':', '_']) {
        // The device's name is only the beginning of another word.
        return Some(title.to_owned());
    }
    let rest = rest.trim_start_matches([' ', '-', ':', '_']);
    (!rest.is_empty()).then(|| capitalised(rest))
}

/// Makes a title of a property's name: `color_temperature` is "Color temperature".
pub(crate) fn title(property: &str) -> String {
    capitalised(property.replace('_', " ").trim())
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_repeat_the_device() {
        let name = |title| entity("Hall light", title);
        assert_eq!(name("Power").as_deref(), Some("Power"));
        assert_eq!(name("Hall light"), None);
        assert_eq!(name("hall light power").as_deref(), Some("Power"));
        assert_eq!(name("Hall lighting").as_deref(), Some("Hall lighting"));
    }

    #[test]
    fn a_property_without_a_title_has_its_name() {
        assert_eq!(title("color_temperature"), "Color temperature");
        assert_eq!(title("_x_"), "X");
    }

    #[test]
    fn an_entity_id_is_made_of_configured_ids() {
        assert_eq!(entity_id("light", "light-in-bedroom", ""), "light.light_in_bedroom");
        assert_eq!(entity_id("sensor", "hall", "co2"), "sensor.hall_co2");
    }
}
