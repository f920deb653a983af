//! What a number measures: Home Assistant's device class, which it refuses where the unit does not fit.

/// A device class of sensors and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) device_class: &'static str,
    /// How a sensor's values add up over time.
    pub(crate) state_class: &'static str,
}

/// Returns the device class of a unit; a percentage needs the name of the property as well.
pub(crate) fn measure(property: &str, unit: &str) -> Option<Measure> {
    let by_unit = UNITS.iter().find(|(known, _)| *known == unit).map(|(_, class)| *class);
    let by_name = || {
        let names = NAMES.iter().filter(|(known, _, _)| *known == unit);
        let is_named = |part: &str| property.split('_').any(|word| word == part);
        names.clone().find(|(_, part, _)| is_named(part)).map(|(_, _, class)| *class)
    };
    let device_class = by_unit.or_else(by_name)?;
    let state_class = if matches!(device_class, "energy" | "gas" | "water") {
        "total_increasing"
    } else {
        "measurement"
    };
    Some(Measure { device_class, state_class })
}

/// Units that belong to one device class.
const UNITS: [(&str, &str); 24] = [
    ("°C", "temperature"),
    ("°F", "temperature"),
    ("W", "power"),
    ("kW", "power"),
    ("Wh", "energy"),
    ("kWh", "energy"),
    ("MWh", "energy"),
    ("V", "voltage"),
    ("mV", "voltage"),
    ("A", "current"),
    ("mA", "current"),
    ("VA", "apparent_power"),
    ("Hz", "frequency"),
    ("kHz", "frequency"),
    ("lx", "illuminance"),
    ("hPa", "atmospheric_pressure"),
    ("mbar", "atmospheric_pressure"),
    ("bar", "pressure"),
    ("s", "duration"),
    ("min", "duration"),
    ("h", "duration"),
    ("dBm", "signal_strength"),
    ("W/m²", "irradiance"),
    ("km/h", "speed"),
];

/// Units that say too little, with a word of the property's name.
const NAMES: [(&str, &str, &str); 8] = [
    ("%", "humidity", "humidity"),
    ("%", "battery", "battery"),
    ("%", "moisture", "moisture"),
    ("ppm", "co2", "carbon_dioxide"),
    ("µg/m³", "pm25", "pm25"),
    ("µg/m³", "pm10", "pm10"),
    ("m³", "gas", "gas"),
    ("m³", "water", "water"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_says_too_little_needs_the_name() {
        let class = |property, unit| measure(property, unit).map(|measure| measure.device_class);
        assert_eq!(class("anything", "°C"), Some("temperature"));
        assert_eq!(class("brightness", "%"), None);
        assert_eq!(class("air_humidity", "%"), Some("humidity"));
        assert_eq!(class("color_temperature", "K"), None);
        assert_eq!(class("humidity", "ppm"), None);
    }

    #[test]
    fn a_meter_counts_up() {
        assert_eq!(measure("total", "kWh").map(|m| m.state_class), Some("total_increasing"));
        assert_eq!(measure("load", "W").map(|m| m.state_class), Some("measurement"));
    }
}
