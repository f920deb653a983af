//! The properties of a device, their values, and when two values are the same.

use std::{collections::BTreeMap, fmt};

use crate::Color;

/// A property of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// `power`: on or off.
    Power,
    /// `brightness`: 1 to 100 percent.
    Brightness,
    /// `color_temperature`: kelvin.
    ColorTemperature,
    /// `color`: hue and saturation.
    Color,
    /// A radiator valve's own target: degrees Celsius.
    Setpoint,
}

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Whether it is on.
    Power(bool),
    /// Percent.
    Brightness(f64),
    /// Kelvin.
    ColorTemperature(f64),
    /// A color.
    Color(Color),
    /// Degrees Celsius.
    Setpoint(f64),
}

/// Values by property.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings(BTreeMap<Property, Value>);

/// Half a percent of rounding on either side, and the 2 of 254 that lamps drift.
const PERCENT: f64 = 1.3;
/// How far lamps, and the conversion to whole mireds, move a color temperature.
const MIRED_PART: f64 = 0.02;
/// Valves take steps of half a degree, a tenth at the least.
const CELSIUS: f64 = 0.051;

impl Property {
    /// Returns the name, as the light plugin has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Brightness => "brightness",
            Self::ColorTemperature => "color_temperature",
            Self::Color => "color",
            Self::Setpoint => "setpoint",
        }
    }
}

impl Value {
    /// Returns the property that it is a value of.
    pub fn property(self) -> Property {
        match self {
            Self::Power(_) => Property::Power,
            Self::Brightness(_) => Property::Brightness,
            Self::ColorTemperature(_) => Property::ColorTemperature,
            Self::Color(_) => Property::Color,
            Self::Setpoint(_) => Property::Setpoint,
        }
    }

    /// Returns whether a value that was read is this one, within the rounding of devices and conversions.
    pub fn is_met_by(self, read: Self) -> bool {
        match (self, read) {
            (Self::Power(wanted), Self::Power(read)) => wanted == read,
            (Self::Brightness(wanted), Self::Brightness(read)) => (wanted - read).abs() <= PERCENT,
            (Self::ColorTemperature(wanted), Self::ColorTemperature(read)) => {
                let (wanted, read) = (mireds(wanted), mireds(read));
                (wanted - read).abs() <= wanted * MIRED_PART + 1.0
            }
            (Self::Color(wanted), Self::Color(read)) => wanted.looks_like(read),
            (Self::Setpoint(wanted), Self::Setpoint(read)) => (wanted - read).abs() <= CELSIUS,
            (
                Self::Power(_)
                | Self::Brightness(_)
                | Self::ColorTemperature(_)
                | Self::Color(_)
                | Self::Setpoint(_),
                _,
            ) => false,
        }
    }
}

impl Readings {
    /// Adds a value, which replaces one of the same property.
    pub fn insert(&mut self, value: Value) {
        self.0.insert(value.property(), value);
    }

    /// Returns the value of a property.
    pub fn get(&self, property: Property) -> Option<Value> {
        self.0.get(&property).copied()
    }

    /// Returns whether the device is on, where that is known.
    pub fn power(&self) -> Option<bool> {
        match self.get(Property::Power) {
            Some(Value::Power(on)) => Some(on),
            _ => None,
        }
    }

    /// Returns the properties.
    pub fn properties(&self) -> impl Iterator<Item = Property> {
        self.0.keys().copied()
    }

    /// Returns the values, in the order of the properties.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        self.0.values().copied()
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Merges all values of another.
    pub fn merge(&mut self, newer: &Self) {
        self.0.extend(&newer.0);
    }

    /// Returns the values of another's properties.
    pub(crate) fn of_properties(&self, properties: &Self) -> Self {
        properties.properties().filter_map(|property| self.get(property)).collect()
    }

    /// Returns whether the other has every value of this one.
    pub(crate) fn are_met_by(&self, read: &Self) -> bool {
        self.values()
            .all(|wanted| read.get(wanted.property()).is_some_and(|read| wanted.is_met_by(read)))
    }
}

impl FromIterator<Value> for Readings {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self(values.into_iter().map(|value| (value.property(), value)).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.property().as_str();
        match self {
            Self::Power(on) => write!(f, "{name} {}", if *on { "ON" } else { "OFF" }),
            Self::Brightness(percent) => write!(f, "{name} {percent:.0} %"),
            Self::ColorTemperature(kelvin) => write!(f, "{name} {kelvin:.0} K"),
            Self::Color(Color { hue, saturation }) => {
                write!(f, "{name} hue {hue:.0}, saturation {saturation:.0} %")
            }
            Self::Setpoint(celsius) => write!(f, "{name} {celsius:.1} °C"),
        }
    }
}

impl fmt::Display for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.values().enumerate() {
            write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Converts kelvin to mireds, and back.
pub(crate) fn mireds(kelvin: f64) -> f64 {
    1e6 / kelvin
}
