//! When the heater is on.

use serde::{Deserialize, Serialize};

/// What the user wants the thermostat to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Off,
    Heat,
}

/// What the thermostat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Off,
    Idle,
    Heating,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Heat => "heat",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Off, Self::Heat].into_iter().find(|mode| mode.as_str() == text)
    }
}

impl Action {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Idle, Self::Heating];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Idle => "idle",
            Self::Heating => "heating",
        }
    }

    /// Returns the action that follows; within the hysteresis the heater stays as it is.
    pub(crate) fn next(self, mode: Mode, temperature: f64, target: f64, hysteresis: f64) -> Self {
        let half = hysteresis / 2.0;
        match (mode, self) {
            (Mode::Off, Self::Off | Self::Idle | Self::Heating) => Self::Off,
            (Mode::Heat, Self::Heating) if temperature < target + half => Self::Heating,
            (Mode::Heat, Self::Off | Self::Idle) if temperature < target - half => Self::Heating,
            (Mode::Heat, Self::Off | Self::Idle | Self::Heating) => Self::Idle,
        }
    }
}
