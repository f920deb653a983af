//! The thermometers that a machine has.

use crate::HardwareError;
use crate::root::{Class, HWMON, IIO, Root, THERMAL, W1};
use crate::thermometer::{Hwmon, Iio, Thermometer};

/// A thermometer that is present, and what it reads now.
#[derive(Debug)]
pub struct FoundThermometer {
    /// The form that a table names it by.
    pub thermometer: Thermometer,
    /// °C, or why there is no reading.
    pub reading: Result<f64, HardwareError>,
}

/// Returns every thermometer of the machine, each read once.
pub fn thermometers(root: &Root) -> Vec<FoundThermometer> {
    let none = Thermometer::default;
    let w1 = root.members(&W1).into_iter().map(|id| Thermometer { w1: Some(id), ..none() });
    let hwmon = inputs(root, &HWMON, "temp", &["_input"]).into_iter();
    let hwmon =
        hwmon.map(|(name, input)| Thermometer { hwmon: Some(Hwmon { name, input }), ..none() });
    let iio = inputs(root, &IIO, "in_temp", &["_input", "_raw"]).into_iter();
    let iio = iio.map(|(name, channel)| Thermometer { iio: Some(Iio { name, channel }), ..none() });
    let zones = labels(root, &THERMAL).into_iter();
    let zones = zones.map(|(_, zone)| Thermometer { thermal_zone: Some(zone), ..none() });
    w1.chain(hwmon)
        .chain(iio)
        .chain(zones)
        .map(|thermometer| FoundThermometer { reading: thermometer.read(root), thermometer })
        .collect()
}

/// Returns the members of a class as (name, label); a label that two members share gives way to the name.
fn labels(root: &Root, class: &Class) -> Vec<(String, String)> {
    let label = |name: &String| class.label_of(&root.path(class.folder).join(name));
    let members: Vec<_> =
        root.members(class).into_iter().map(|name| (label(&name), name)).collect();
    let shared = |label: &String| {
        members.iter().filter(|(other, _)| other.as_ref() == Some(label)).count() > 1
    };
    let named = |(label, name): &(Option<String>, String)| {
        let label = label.clone().filter(|label| !shared(label));
        (name.clone(), label.unwrap_or_else(|| name.clone()))
    };
    members.iter().map(named).collect()
}

/// Returns every temperature of a class as (chip, input).
fn inputs(root: &Root, class: &Class, input: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, label) in labels(root, class) {
        for file in root.names(format!("{}/{name}", class.folder)) {
            let stem = endings.iter().find_map(|ending| file.strip_suffix(ending));
            if let Some(stem) = stem.filter(|stem| stem.starts_with(input)) {
                found.push((label.clone(), stem.to_owned()));
            }
        }
    }
    found.dedup();
    found
}
