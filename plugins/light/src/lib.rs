//! The light: a switch, and where the lamp can do it a brightness and a color temperature.
//!
//! A brightness above 0 switches on and 0 switches off, unless the same command sets `power` as well. Switched on
//! from brightness 0, the light takes the last brightness it had.

mod backend;
mod state;

use hearth_sdk::{Absence, Answer, Changes, Context, Device, Failure, Outcome, Problems, Property};
use serde::Deserialize;

use crate::backend::Backend;
use crate::state::State;

hearth_sdk::export!(Light);

/// A light.
#[derive(Debug)]
pub struct Light {
    config: Config,
    context: Context,
    backend: Box<dyn Backend>,
    state: State,
}

/// The `config` table of a light.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    backend: backend::Choice,
    /// Whether the light can be dimmed.
    #[serde(default)]
    brightness: bool,
    /// The color temperatures that the light can take, if it can take any.
    #[serde(default)]
    color_temperature: Option<Kelvin>,
    #[serde(default)]
    after_absence: AfterAbsence,
}

/// A range of color temperatures in kelvin.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kelvin {
    min: u16,
    max: u16,
}

/// What the light does once it learns that another acted while the hub was away.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AfterAbsence {
    /// Nothing.
    #[default]
    Keep,
    /// It takes the state again that the hub last set.
    Restore,
    /// It switches off.
    Off,
}

impl Device for Light {
    const KIND: &'static str = "light";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        if let Some(Kelvin { min, max }) = config.color_temperature
            && (min == 0 || min >= max)
        {
            let message = format!("{min} is not a least value (1 or more, and below max, {max})");
            problems.add("color_temperature.min", message);
        }
    }

    fn properties(config: &Config) -> Vec<Property> {
        let mut properties = vec![Property::switch("power").title("Power")];
        if config.brightness {
            let brightness = Property::integer("brightness").range(0, 100);
            properties.push(brightness.unit("%").title("Brightness"));
        }
        if let Some(Kelvin { min, max }) = config.color_temperature {
            let color_temperature = Property::integer("color_temperature").range(min, max);
            properties.push(color_temperature.unit("K").title("Color temperature"));
        }
        properties
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let kelvin = config.color_temperature.map(|Kelvin { min, max }| (min, max));
        let state = State::restored(saved).fitted(kelvin);
        let mut backend = config.backend.open();
        backend.apply(&state)?;
        let light = Self { config, context, backend, state };
        light.publish(None);
        Ok(light)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        self.change_to(self.state.changed(changes)?)?;
        Ok(Answer::Done)
    }

    fn absence(&mut self, absence: &Absence) {
        let again = self.state.handled.as_ref() == Some(&absence.generation);
        if absence.outcome != Outcome::Consumed || again {
            return;
        }
        let mut state = State { handled: Some(absence.generation.clone()), ..self.state.clone() };
        let result = match self.config.after_absence {
            AfterAbsence::Keep => {
                self.state = state;
                return;
            }
            AfterAbsence::Restore => self.backend.apply(&state).map(|()| {
                self.state = state;
                self.publish(None);
            }),
            AfterAbsence::Off => {
                state.on = false;
                self.change_to(state)
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the light did not follow after an absence");
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.state.to_bytes())
    }
}

impl Light {
    /// Applies a state, then publishes what differs from the one before.
    fn change_to(&mut self, state: State) -> Result<(), Failure> {
        self.backend.apply(&state)?;
        let before = std::mem::replace(&mut self.state, state);
        self.publish(Some(&before));
        Ok(())
    }

    /// Publishes every property, or those that differ from the state before.
    fn publish(&self, before: Option<&State>) {
        let State { on, brightness, color_temperature, .. } = self.state;
        if before.is_none_or(|before| before.on != on) {
            self.context.publish("power", on);
        }
        if self.config.brightness && before.is_none_or(|before| before.brightness != brightness) {
            self.context.publish("brightness", brightness);
        }
        if self.config.color_temperature.is_some()
            && before.is_none_or(|before| before.color_temperature != color_temperature)
        {
            self.context.publish("color_temperature", color_temperature);
        }
    }
}
