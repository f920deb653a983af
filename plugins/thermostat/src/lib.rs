//! The thermostat: holds a room at a target temperature with a heater that is on or off.
//!
//! Every period the control loop reads the temperature. Below the target by half the hysteresis the heater goes
//! on, above it by half the hysteresis it goes off. The heater is off whenever the device ends.

mod backend;
mod config;
mod control;
mod room;

use std::time::Duration;

use hearth_sdk::{Absence, Answer, Changes, Context, Device, Failure, Outcome, Problems, Property};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
pub use crate::config::Config;
use crate::config::{AfterAbsence, TARGET};
use crate::control::{Action, Mode};

hearth_sdk::export!(Thermostat);

/// A thermostat.
#[derive(Debug)]
pub struct Thermostat {
    config: Config,
    context: Context,
    backend: Box<dyn Backend>,
    setting: Setting,
    action: Action,
    /// The temperature last published, in tenths of a degree.
    shown: Option<i64>,
}

/// What the user wants; outlives the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Setting {
    target: f64,
    mode: Mode,
    /// The generation of the last absence that the thermostat acted on.
    #[serde(default)]
    handled: Option<String>,
}

impl Device for Thermostat {
    const KIND: &'static str = "thermostat";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(_: &Config) -> Vec<Property> {
        let target = Property::number("target_temperature").range(TARGET.0, TARGET.1).step(0.5);
        vec![
            target.unit("°C").title("Target temperature"),
            Property::number("current_temperature").unit("°C").title("Temperature").read_only(),
            Property::choice("mode", &[Mode::Off.as_str(), Mode::Heat.as_str()]).title("Mode"),
            Property::choice("action", &Action::ALL.map(Action::as_str))
                .title("Action")
                .read_only(),
        ]
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let setting = Setting::restored(saved, config.initial_target);
        let backend = config.open_backend(context.now());
        let mut thermostat =
            Self { config, context, backend, setting, action: Action::Off, shown: None };
        thermostat.publish_setting();
        thermostat.control()?;
        thermostat.context.publish("action", thermostat.action.as_str());
        thermostat.arm();
        Ok(thermostat)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let before = self.setting.clone();
        if let Some(target) = changes.number("target_temperature") {
            self.setting.target = target;
        }
        if let Some(mode) = changes.text("mode") {
            self.setting.mode = Mode::parse(mode).ok_or_else(|| Failure::invalid("mode"))?;
        }
        if let Err(failure) = self.control_and_publish() {
            self.setting = before;
            return Err(failure);
        }
        if self.setting.target != before.target {
            self.context.publish("target_temperature", self.setting.target);
        }
        if self.setting.mode != before.mode {
            self.context.publish("mode", self.setting.mode.as_str());
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _id: u32) {
        if let Err(error) = self.control_and_publish() {
            tracing::warn!(%error, "no control in this period");
        }
        self.arm();
    }

    /// On `consumed`, `resume` takes target and mode again; `keep` leaves the room to whoever acted: the mode
    /// goes to off, and stays there until somebody sets it.
    fn absence(&mut self, absence: &Absence) {
        let again = self.setting.handled.as_ref() == Some(&absence.generation);
        if absence.outcome != Outcome::Consumed || again {
            return;
        }
        self.setting.handled = Some(absence.generation.clone());
        let result = match self.config.after_absence {
            AfterAbsence::Resume => self.backend.heat(self.action == Action::Heating),
            AfterAbsence::Keep => {
                self.setting.mode = Mode::Off;
                Ok(())
            }
        };
        if let Err(error) = result.and_then(|()| self.control_and_publish()) {
            tracing::warn!(%error, "the heater did not follow after an absence");
        }
        self.publish_setting();
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(serde_json::to_vec(&self.setting).expect("a setting is numbers and text"))
    }
}

impl Drop for Thermostat {
    fn drop(&mut self) {
        if let Err(error) = self.backend.heat(false) {
            tracing::error!(%error, "the heater may still be on");
        }
    }
}

impl Thermostat {
    fn arm(&self) {
        self.context.set_timer(0, Duration::from_secs_f64(self.config.period));
    }

    fn control_and_publish(&mut self) -> Result<(), Failure> {
        let before = self.action;
        self.control()?;
        if self.action != before {
            self.context.publish("action", self.action.as_str());
        }
        Ok(())
    }

    /// Reads the temperature, publishes it where it differs by a tenth, and switches the heater.
    fn control(&mut self) -> Result<(), Failure> {
        let temperature = self.backend.temperature(self.context.now())?;
        #[expect(clippy::cast_possible_truncation, reason = "room temperatures are small")]
        let tenths = (temperature * 10.0).round() as i64;
        if self.shown != Some(tenths) {
            self.shown = Some(tenths);
            #[expect(clippy::cast_precision_loss, reason = "room temperatures are small")]
            self.context.publish("current_temperature", tenths as f64 / 10.0);
        }
        let Setting { mode, target, .. } = self.setting;
        let action = self.action.next(mode, temperature, target, self.config.hysteresis);
        if action != self.action {
            self.backend.heat(action == Action::Heating)?;
            self.action = action;
            tracing::debug!(action = action.as_str(), temperature, target, "heater");
        }
        Ok(())
    }

    fn publish_setting(&self) {
        self.context.publish("target_temperature", self.setting.target);
        self.context.publish("mode", self.setting.mode.as_str());
    }
}

impl Setting {
    /// Reads a saved setting; one that is missing or not readable is off.
    fn restored(saved: Option<&[u8]>, initial_target: f64) -> Self {
        let new = Self { target: initial_target, mode: Mode::Off, handled: None };
        match saved.map(serde_json::from_slice::<Self>) {
            Some(Ok(setting)) => {
                Self { target: setting.target.clamp(TARGET.0, TARGET.1), ..setting }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the saved state is not readable; the thermostat starts off");
                new
            }
            None => new,
        }
    }
}
