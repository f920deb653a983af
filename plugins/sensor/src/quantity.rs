//! What a sensor can say: the properties, their units and ranges.

use hearthd_sdk::{Property, Value};

/// Something that is so or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A door or a window: on is closed.
    Contact,
    Motion,
    Leak,
    Smoke,
}

/// Something with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    Temperature,
    Humidity,
    Power,
    Energy,
    Battery,
}

impl Fact {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Motion => "motion",
            Self::Leak => "leak",
            Self::Smoke => "smoke",
        }
    }

    pub(crate) fn property(self) -> Property {
        let name = self.name();
        let property = match self {
            Self::Contact => Property::choice(name, &["closed", "open"]).title("Contact"),
            Self::Motion => Property::switch(name).title("Motion"),
            Self::Leak => Property::switch(name).title("Leak"),
            Self::Smoke => Property::switch(name).title("Smoke"),
        };
        property.read_only()
    }

    pub(crate) fn value(self, on: bool) -> Value {
        match self {
            Self::Contact => if on { "closed" } else { "open" }.into(),
            Self::Motion | Self::Leak | Self::Smoke => on.into(),
        }
    }

    /// Returns the words for on and for off that are taken where the table names none; in capitals.
    pub(crate) fn words(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Contact => (&["TRUE", "ON", "1", "CLOSED"], &["FALSE", "OFF", "0", "OPEN"]),
            Self::Motion | Self::Leak | Self::Smoke => {
                (&["TRUE", "ON", "1", "YES"], &["FALSE", "OFF", "0", "NO"])
            }
        }
    }
}

impl Quantity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Humidity => "humidity",
            Self::Power => "power",
            Self::Energy => "energy",
            Self::Battery => "battery",
        }
    }

    pub(crate) fn property(self) -> Property {
        let (min, max) = self.range();
        let (unit, title) = match self {
            Self::Temperature => ("°C", "Temperature"),
            Self::Humidity => ("%", "Humidity"),
            Self::Power => ("W", "Power"),
            Self::Energy => ("kWh", "Energy"),
            Self::Battery => ("%", "Battery"),
        };
        Property::number(self.name()).range(min, max).unit(unit).title(title).read_only()
    }

    /// Returns the least and the greatest number that such a sensor can mean.
    pub(crate) fn range(self) -> (f64, f64) {
        match self {
            Self::Temperature => (-100.0, 500.0),
            Self::Humidity | Self::Battery => (0.0, 100.0),
            // What feeds into the grid counts below 0.
            Self::Power => (-1e6, 1e6),
            Self::Energy => (-1e9, 1e9),
        }
    }

    /// Returns a number with as many decimals as are worth a message.
    pub(crate) fn value(self, number: f64) -> Value {
        let decimals = match self {
            Self::Battery => 1.0,
            Self::Humidity | Self::Power => 10.0,
            Self::Temperature => 100.0,
            Self::Energy => 1000.0,
        };
        let (min, max) = self.range();
        ((number * decimals).round() / decimals).clamp(min, max).into()
    }
}
