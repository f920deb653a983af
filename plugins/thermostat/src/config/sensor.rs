//! The tables of the sensors.

use hearthd_confirm::SensorConfig;
use hearthd_hardware::{Hwmon, Iio, PlainFile, Thermometer};
use hearthd_sdk::Span;
use serde::Deserialize;

/// What measures the room's temperature: exactly one of the sources, and a correction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SensorTable {
    w1: Option<String>,
    hwmon: Option<Hwmon>,
    iio: Option<Iio>,
    thermal_zone: Option<String>,
    file: Option<PlainFile>,
    pub(crate) mqtt: Option<MqttSensor>,
    /// Kelvin to add to each reading.
    pub(crate) offset: f64,
}

/// A sensor that says its temperature by MQTT when it likes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MqttSensor {
    pub(crate) topic: String,
    /// The place of the temperature in the message (RFC 6901, JSON Pointer); empty where it is the whole payload.
    #[serde(default)]
    pub(crate) pointer: String,
    /// What the number is multiplied by to be °C.
    #[serde(default = "one")]
    scale: f64,
    /// How old the temperature may be.
    #[serde(default = "max_age")]
    pub(crate) max_age: Span,
    /// The place of the humidity in percent.
    pub(crate) humidity: Option<String>,
    /// The place of the charge of the sensor's battery in percent.
    pub(crate) battery: Option<String>,
}

impl SensorTable {
    /// Returns the thermometer of this machine, where it is one.
    pub(crate) fn thermometer(&self) -> Option<Thermometer> {
        let Self { w1, hwmon, iio, thermal_zone, file, mqtt, offset } = self.clone();
        let thermometer = Thermometer { w1, hwmon, iio, thermal_zone, file, offset };
        mqtt.is_none().then_some(thermometer)
    }

    /// Returns what is wrong with the table: a place within it, and what is wrong there.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        const SOURCES: &str = "name one of w1, hwmon, iio, thermal_zone, file, mqtt";
        let Self { w1, hwmon, iio, thermal_zone, file, mqtt, offset } = self;
        let named = [
            w1.is_some(),
            hwmon.is_some(),
            iio.is_some(),
            thermal_zone.is_some(),
            file.is_some(),
            mqtt.is_some(),
        ];
        if named.into_iter().filter(|named| *named).count() != 1 {
            return vec![(String::new(), SOURCES.to_owned())];
        }
        let Some(mqtt) = mqtt else {
            let found = self.thermometer().map(|thermometer| thermometer.problems());
            let found = found.into_iter().flatten();
            return found.map(|(place, message)| (place.to_owned(), message)).collect();
        };
        let mut problems = mqtt.problems();
        if !(-20.0..=20.0).contains(offset) {
            problems.push(("offset".to_owned(), format!("{offset} is not within -20 to 20 K")));
        }
        problems
    }
}

impl MqttSensor {
    /// Returns the table of the temperature.
    pub(crate) fn temperature(&self) -> SensorConfig {
        SensorConfig { scale: self.scale, ..self.at(&self.pointer) }
    }

    /// Returns the table of another number in the same message.
    pub(crate) fn at(&self, pointer: &str) -> SensorConfig {
        let (topic, pointer) = (self.topic.clone(), pointer.to_owned());
        SensorConfig { topic, pointer, scale: 1.0, max_age: self.max_age.0.as_secs() }
    }

    fn problems(&self) -> Vec<(String, String)> {
        let (least, most) = (Span::minutes(1), Span::hours(48));
        let mut problems: Vec<(String, String)> = Vec::new();
        let found = self.temperature().problems();
        problems.extend(found.into_iter().map(|(place, message)| (place.to_owned(), message)));
        if self.max_age < least || self.max_age > most {
            problems.retain(|(place, _)| place != "mqtt.max_age");
            let message = format!("{} is not within {least} to {most}", self.max_age);
            problems.push(("mqtt.max_age".to_owned(), message));
        }
        for (key, pointer) in [("humidity", &self.humidity), ("battery", &self.battery)] {
            let found = pointer.as_ref().map(|pointer| self.at(pointer).problems());
            let of_pointer =
                found.into_iter().flatten().filter(|(place, _)| *place == "mqtt.pointer");
            problems.extend(of_pointer.map(|(_, message)| (format!("mqtt.{key}"), message)));
            if pointer.as_ref().is_some_and(String::is_empty) {
                let message = "\"\" is the whole message; name a place, such as /humidity";
                problems.push((format!("mqtt.{key}"), message.to_owned()));
            }
        }
        problems
    }
}

fn one() -> f64 {
    1.0
}

fn max_age() -> Span {
    Span::minutes(90)
}
