//! A light that is wired to the machine, switched by a program, or simulated.

use std::time::Duration;

use hearthd_output::DriveError;
use hearthd_sdk::{Absence, Changes, Context, Failure};

use crate::backend::Backend;
use crate::config::{AfterAbsence, Config, Kelvin, PowerOn};
use crate::ramp::Ramp;
use crate::state::State;

/// The timer of a transition's next level.
const STEP: u32 = 0;
/// The timer of the next attempt to reach the lamp.
const RETRY: u32 = 1;

const BETWEEN_STEPS: Duration = Duration::from_millis(25);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A light of which the state is what it should show.
#[derive(Debug)]
pub(crate) struct Wired {
    config: Config,
    context: Context,
    backend: Backend,
    state: State,
    ramp: Option<Ramp>,
    /// Why the lamp does not show the state, and how long to wait before the next attempt.
    trouble: Option<Trouble>,
    /// The alert that was last published.
    alert: Option<String>,
}

#[derive(Debug)]
struct Trouble {
    reason: String,
    wait: Duration,
}

impl Wired {
    pub(crate) fn new(config: Config, context: Context, saved: Option<&[u8]>) -> Self {
        let kelvin = config.color_temperature.map(|Kelvin { min, max }| (min, max));
        let mut state = State::restored(saved).fitted(kelvin);
        let boot = boot(&config);
        if state.boot != boot {
            match config.power_on.unwrap_or_default() {
                PowerOn::Off => state.switch(false),
                PowerOn::On => state.switch(true),
                PowerOn::Restore => {}
            }
            state.boot = boot;
        }
        let backend = config.backend(context.device_id());
        let (ramp, trouble, alert) = (None, None, None);
        let mut light = Self { config, context, backend, state, ramp, trouble, alert };
        light.show_again();
        light.publish(None);
        light.publish_alert();
        light
    }

    pub(crate) fn set(&mut self, changes: &Changes) -> Result<(), Failure> {
        self.change_to(self.state.changed(changes)?)
    }

    pub(crate) fn timer(&mut self, id: u32) {
        if id == STEP || self.trouble.is_some() {
            self.show_again();
            self.publish_alert();
        }
    }

    pub(crate) fn absence(&mut self, absence: &Absence) {
        let again = self.state.handled.as_ref() == Some(&absence.generation);
        if again || !absence.somebody_acted() {
            return;
        }
        self.state.handled = Some(absence.generation.clone());
        match self.config.after_absence {
            AfterAbsence::Keep => {}
            AfterAbsence::Restore => {
                self.show_again();
                self.publish(None);
                self.publish_alert();
            }
            AfterAbsence::Off => {
                let mut state = self.state.clone();
                state.switch(false);
                if let Err(error) = self.change_to(state) {
                    tracing::warn!(%error, "the light did not follow after an absence");
                }
            }
        }
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        self.state.to_bytes()
    }

    /// Shows a state, or begins the way to it, then publishes what differs from the one before.
    fn change_to(&mut self, state: State) -> Result<(), Failure> {
        let now = self.context.now();
        let from = self.level(now);
        let length = Duration::from_secs_f64(state.transition);
        let ramp = Ramp::new(from, state.level(), now, length).filter(|_| self.backend.fades());
        // The first level of a ramp is the present one: it proves that the lamp can be reached.
        let level = ramp.map_or(state.level(), |_| from);
        if let Err(error) = self.backend.show(&state, level) {
            self.fail(&error);
            self.publish_alert();
            return Err(error.failure());
        }
        self.succeed();
        let before = std::mem::replace(&mut self.state, state);
        self.ramp = ramp;
        match ramp {
            Some(_) => self.context.set_timer(STEP, BETWEEN_STEPS),
            None => self.context.cancel_timer(STEP),
        }
        self.publish(Some(&before));
        self.publish_alert();
        Ok(())
    }

    /// Shows the state as it should be now; what fails is tried again later.
    fn show_again(&mut self) {
        let now = self.context.now();
        if self.ramp.is_some_and(|ramp| ramp.is_over(now)) {
            self.ramp = None;
        }
        let level = self.level(now);
        if let Err(error) = self.backend.show(&self.state, level) {
            // The end of the way is shown once the lamp is back.
            self.ramp = None;
            self.fail(&error);
            return;
        }
        self.succeed();
        if self.ramp.is_some() {
            self.context.set_timer(STEP, BETWEEN_STEPS);
        }
    }

    /// Returns the level that the lamp should have now.
    fn level(&self, now: Duration) -> f64 {
        self.ramp.map_or_else(|| self.state.level(), |ramp| ramp.level(now))
    }

    fn fail(&mut self, error: &DriveError) {
        let reason = error.to_string();
        let wait = match &self.trouble {
            Some(trouble) => (trouble.wait * 2).min(LAST_RETRY),
            None => FIRST_RETRY,
        };
        if self.trouble.as_ref().is_none_or(|trouble| trouble.reason != reason) {
            tracing::warn!(reason, "the lamp does not follow");
        }
        error.tell(&self.context);
        self.trouble = Some(Trouble { reason, wait });
        self.context.set_timer(RETRY, wait);
    }

    fn succeed(&mut self) {
        if self.trouble.take().is_some() {
            self.context.cancel_timer(RETRY);
            tracing::info!("the lamp follows again");
            self.context.reachable();
        }
    }

    fn publish_alert(&mut self) {
        let alert = self.trouble.as_ref().map_or("none", |trouble| trouble.reason.as_str());
        if self.config.has_hardware() && self.alert.as_deref() != Some(alert) {
            self.context.publish("alert", alert);
            self.alert = Some(alert.to_owned());
        }
    }

    /// Publishes every property, or those that differ from the state before.
    fn publish(&self, before: Option<&State>) {
        let State { on, brightness, color_temperature, color_mode, transition, ref color, .. } =
            self.state;
        let changed = |same: fn(&State, &State) -> bool| {
            before.is_none_or(|before| !same(before, &self.state))
        };
        if changed(|a, b| a.on == b.on) {
            self.context.publish("power", on);
        }
        if self.config.brightness && changed(|a, b| a.brightness == b.brightness) {
            self.context.publish("brightness", brightness);
        }
        if self.config.brightness && changed(|a, b| a.transition.total_cmp(&b.transition).is_eq()) {
            self.context.publish("transition", transition);
        }
        if self.config.color_temperature.is_some()
            && changed(|a, b| a.color_temperature == b.color_temperature)
        {
            self.context.publish("color_temperature", color_temperature);
        }
        if self.config.color && changed(|a, b| a.color == b.color) {
            self.context.publish("color", color.to_string());
        }
        if self.config.has_color_mode() && changed(|a, b| a.color_mode == b.color_mode) {
            self.context.publish("color_mode", color_mode.as_str());
        }
    }
}

/// Returns what tells this boot of the machine from others.
fn boot(config: &Config) -> Option<String> {
    let id = std::fs::read_to_string(config.root.path("/proc/sys/kernel/random/boot_id"));
    id.ok().map(|id| id.trim().to_owned())
}
