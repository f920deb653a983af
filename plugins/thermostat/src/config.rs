//! The `config` table of a thermostat.

use std::time::Duration;

use hearth_sdk::Problems;
use serde::Deserialize;

use crate::backend::{Backend, Simulated};
use crate::room::Room;

/// The least and the greatest target in °C.
pub(crate) const TARGET: (f64, f64) = (5.0, 30.0);

/// The `config` table of a thermostat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    backend: BackendName,
    /// Seconds between two steps of the control loop.
    pub(crate) period: f64,
    /// Kelvin between switching on and switching off.
    pub(crate) hysteresis: f64,
    /// The target in °C until somebody sets one.
    pub(crate) initial_target: f64,
    pub(crate) after_absence: AfterAbsence,
    simulated: SimulatedRoom,
}

/// The backends that a configuration can name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BackendName {
    /// A room that is computed.
    Simulated,
}

/// What the thermostat does once it learns that another acted while the hub was away.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AfterAbsence {
    /// It takes its own target and mode again.
    Resume,
    /// It goes to mode off, so that what the other set stays until somebody sets the mode.
    Keep,
}

/// The room of the simulated backend.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SimulatedRoom {
    /// °C inside at the beginning.
    start: f64,
    /// °C outside.
    outside: f64,
    /// Kelvin per second that the heater adds.
    heating_rate: f64,
    /// The fraction of the difference to outside that is lost per second.
    loss: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: BackendName::Simulated,
            period: 1.0,
            hysteresis: 0.3,
            initial_target: 20.0,
            after_absence: AfterAbsence::Resume,
            simulated: SimulatedRoom::default(),
        }
    }
}

impl Default for SimulatedRoom {
    fn default() -> Self {
        Self { start: 18.0, outside: 5.0, heating_rate: 0.01, loss: 0.0003 }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        let SimulatedRoom { start, outside, heating_rate, loss } = self.simulated;
        let checks = [
            ("period", self.period, (0.01, 3600.0), "s"),
            ("hysteresis", self.hysteresis, (0.0, 5.0), "K"),
            ("initial_target", self.initial_target, TARGET, "°C"),
            ("simulated.start", start, (-50.0, 60.0), "°C"),
            ("simulated.outside", outside, (-50.0, 60.0), "°C"),
            ("simulated.heating_rate", heating_rate, (0.0, 10.0), "K/s"),
            ("simulated.loss", loss, (0.0, 1.0), "1/s"),
        ];
        for (path, value, (min, max), unit) in checks {
            if !(min..=max).contains(&value) {
                problems.add(path, format!("{value} is not within {min} to {max} {unit}"));
            }
        }
    }

    /// Opens the backend that the configuration names.
    pub(crate) fn open_backend(&self, now: Duration) -> Box<dyn Backend> {
        match self.backend {
            BackendName::Simulated => {
                let SimulatedRoom { start, outside, heating_rate, loss } = self.simulated;
                Box::new(Simulated::new(Room::new(start, outside, heating_rate, loss), now))
            }
        }
    }
}
