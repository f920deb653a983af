//! Decides whether to heat: without I/O and without a clock of its own.
//!
//! Feed readings with [`observe`](Controller::observe), ask with [`decide`](Controller::decide), switch the real heater,
//! and tell what came of it with [`switched`](Controller::switched) and [`failed`](Controller::failed). A room without a
//! temperature that can be believed is not heated, whatever was asked for.

pub(crate) mod fusion;
pub(crate) mod heater;
pub(crate) mod law;
pub(crate) mod window;

#[cfg(test)]
mod simulation;

use std::time::Duration;

use jiff::civil::DateTime;

use crate::control::fusion::{Doubt, Fused, Fusion, Source};
use crate::control::heater::{Heater, Limits};
use crate::control::law::{Hysteresis, Law};
use crate::control::window::Window;
use crate::preset::Presets;
use crate::schedule::Schedule;
use crate::setting::{Mode, Moment, Setting, TARGET, TARGET_STEP, Wish};

/// How the frost is kept away, whatever the law: on a quarter of a kelvin before it comes.
const FROST: Hysteresis = Hysteresis { width: 0.5 };
const FROST_MARGIN: f64 = 0.5;

/// What a configuration says about control.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) law: Law,
    pub(crate) limits: Limits,
    pub(crate) doubt: Doubt,
    pub(crate) window: Option<window::Rule>,
    /// In °C: the room is kept at least so warm, also in mode off.
    pub(crate) frost: f64,
    pub(crate) presets: Presets,
    pub(crate) schedule: Schedule,
}

/// What the thermostat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Off,
    Idle,
    Heating,
}

/// Controls one heater.
#[derive(Debug)]
pub(crate) struct Controller {
    rules: Rules,
    law: Law,
    fusion: Fusion,
    heater: Heater,
    window: Option<Window>,
    pub(crate) setting: Setting,
    report: Report,
    /// Why the real heater did not follow.
    failure: Option<String>,
}

/// What the last decision rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) temperature: Option<f64>,
    pub(crate) window_open: bool,
    /// Why there is no sensor left that can be believed; none before each has had its first say.
    pub(crate) no_sensor: Option<String>,
    complaints: Vec<String>,
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
}

impl Controller {
    /// Makes a controller of a heater that was switched off just now.
    pub(crate) fn new(rules: Rules, sensors: Vec<Source>, setting: Setting, now: Duration) -> Self {
        Self {
            law: rules.law.clone(),
            fusion: Fusion::new(sensors, rules.doubt, now),
            heater: Heater::new(rules.limits, now),
            window: rules.window.map(Window::new),
            setting,
            report: Report::default(),
            failure: None,
            rules,
        }
    }

    /// Takes a sensor's reading in °C, or why there is none.
    pub(crate) fn observe(&mut self, sensor: usize, at: Duration, reading: Result<f64, String>) {
        self.fusion.observe(sensor, at, reading);
    }

    /// Takes what is wrong with a sensor although its last reading still counts, or that nothing is.
    pub(crate) fn remark(&mut self, sensor: usize, remark: Option<String>) {
        self.fusion.remark(sensor, remark);
    }

    /// Takes what the user asks for; all of it or nothing.
    pub(crate) fn wish(
        &mut self,
        wish: Wish,
        now: Duration,
        local: Option<DateTime>,
    ) -> Result<(), hearthd_sdk::Failure> {
        let Rules { presets, schedule, .. } = &self.rules;
        self.setting = self.setting.changed(wish, &Moment { now, local, presets, schedule })?;
        Ok(())
    }

    /// Returns whether the heater should be on.
    pub(crate) fn decide(&mut self, now: Duration, local: Option<DateTime>) -> bool {
        let Some(temperature) = self.survey(now, local) else {
            self.law.pause();
            return false;
        };
        let wanted = self.wanted(temperature, now);
        let heat = self.heater.permit(wanted, now);
        if self.heater.is_resting() {
            self.law.pause();
            let complaint = "the heater was on for too long without a pause and rests";
            self.report.complaints.push(complaint.to_owned());
        }
        heat
    }

    /// Returns the target in °C that a radiator valve should have; it heats by itself, by its own thermometer.
    pub(crate) fn valve_target(&mut self, now: Duration, local: Option<DateTime>) -> f64 {
        self.survey(now, local);
        let frost = self.rules.frost;
        let target = match self.setting.mode {
            Mode::Heat | Mode::Auto if !self.report.window_open => self.setting.target.max(frost),
            Mode::Off | Mode::Heat | Mode::Auto => frost,
        };
        (target.clamp(TARGET.0, TARGET.1) / TARGET_STEP).ceil() * TARGET_STEP
    }

    /// Takes in what time and the sensors say, and returns the room's temperature, where one can be believed.
    fn survey(&mut self, now: Duration, local: Option<DateTime>) -> Option<f64> {
        let Rules { presets, schedule, .. } = &self.rules;
        self.setting.advance(&Moment { now, local, presets, schedule });
        let Fused { temperature, complaints } = self.fusion.temperature(now);
        let none_is_left = temperature.is_none()
            && !complaints.is_empty()
            && complaints.len() == self.fusion.sensors();
        let no_sensor = none_is_left.then(|| complaints.join("; "));
        self.report = Report { temperature, window_open: false, no_sensor, complaints };
        if local.is_none() && !self.rules.schedule.is_empty() {
            let complaint = "the clock is not set: the schedule is not followed";
            self.report.complaints.push(complaint.to_owned());
        }
        let Some(temperature) = temperature else {
            if let Some(window) = &mut self.window {
                window.forget();
            }
            return None;
        };
        let at = self.fusion.newest().unwrap_or(now);
        self.report.window_open =
            self.window.as_mut().is_some_and(|window| window.observe(temperature, at, now));
        Some(temperature)
    }

    fn wanted(&mut self, temperature: f64, now: Duration) -> bool {
        let on = self.heater.is_on();
        let heating = match self.setting.mode {
            Mode::Off => false,
            Mode::Heat | Mode::Auto => !self.report.window_open,
        };
        if heating {
            let target = self.setting.target.max(self.rules.frost);
            return self.law.wants(now, self.heater.limits(), target - temperature, on);
        }
        self.law.pause();
        FROST.wants(self.rules.frost + FROST_MARGIN - temperature, on)
    }

    /// Takes note of what the real heater does now.
    pub(crate) fn switched(&mut self, on: bool, now: Duration) {
        self.heater.switched(on, now);
    }

    /// Takes note of why the real heater did not follow, or that nothing is wrong with it.
    pub(crate) fn failed(&mut self, reason: Option<String>) {
        self.failure = reason;
    }

    pub(crate) fn report(&self) -> &Report {
        &self.report
    }

    /// Returns what the thermostat does in a mode.
    pub(crate) fn action(&self, mode: Mode) -> Action {
        if self.heater.is_on() {
            Action::Heating
        } else if mode == Mode::Off || self.report.temperature.is_none() {
            Action::Off
        } else {
            Action::Idle
        }
    }

    /// Returns all that a person should look after, or `none`.
    pub(crate) fn alert(&self) -> String {
        let all: Vec<&str> =
            self.failure.iter().chain(&self.report.complaints).map(String::as_str).collect();
        if all.is_empty() { "none".to_owned() } else { all.join("; ") }
    }
}
