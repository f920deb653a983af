//! What a Shelly keeps: whether it is there. What it can do follows from the model in its name, or has to be added.

use super::{Entry, Light, Offered, abilities};

/// Reads one of the first generation, by its ID such as `shelly1-A4CF12`.
pub(super) fn first_generation(id: &str) -> Option<Offered> {
    let model = id.rsplit_once('-').map_or(id, |(model, _)| model).to_ascii_lowercase();
    let (component, brightness, kelvin, color) = match model.as_str() {
        "shelly1" | "shelly1pm" | "shelly1l" | "shellyplug" | "shellyplug-s" | "shellyswitch"
        | "shellyswitch25" | "shelly2" | "shellyem" | "shelly4pro" => {
            ("relay:0", false, None, false)
        }
        "shellydimmer" | "shellydimmer2" | "shellyvintage" => ("light:0", true, None, false),
        "shellybulbduo" => ("light:0", true, Some((2_700, 6_500)), false),
        "shellycolorbulb" | "shellybulb" | "shellyrgbw2" => ("light:0", true, None, true),
        _ => return None,
    };
    let mut light = Light::new("shelly", &format!("shellies/{id}"))
        .with("generation", 1)
        .with("component", component);
    (light.brightness, light.kelvin, light.color) = (brightness, kelvin, color);
    Some(Offered {
        name: id.to_owned(),
        about: format!("Shelly of the first generation, {}", abilities(&light)),
        entry: Entry::Light(light),
        allow: vec![format!("shellies/{id}/#")],
    })
}

/// Reads one of a later generation, of which only its prefix is known.
pub(super) fn later(prefix: &str) -> Offered {
    let light = Light::new("shelly", prefix);
    Offered {
        name: prefix.to_owned(),
        about: "Shelly; name its component where it is not switch:0 (light:0, cct:0, rgb:0)".into(),
        entry: Entry::Light(light),
        allow: vec![format!("{prefix}/#")],
    }
}
