//! The thermostat: holds a room at a target temperature with a heater that is on or off.
//!
//! Every period the sensors are read and the control decides. The heater is off before anything else happens, while
//! no sensor can be believed, and whenever the device ends. Without a sensor or a heater the device is unreachable.

mod config;
mod control;
mod heating;
mod listen;
mod preset;
mod room;
mod schedule;
mod setting;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthd_confirm::Now;
use hearthd_output::DriveError;
use hearthd_sdk::mqtt::{Message, Topics};
use hearthd_sdk::{Absence, Answer, Changes, Context, Device, Failure, Problems, Property, Value};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::config::AfterAbsence;
pub use crate::config::Config;
use crate::control::fusion::PLAUSIBLE;
use crate::control::{Action, Controller};
use crate::heating::Heating;
use crate::listen::{Listeners, Told};
use crate::preset::Preset;
use crate::setting::{Mode, Moment, Setting, TARGET, TARGET_STEP, Wish};

hearthd_sdk::export!(Thermostat);

/// A clock that says an earlier year was never set.
const FIRST_YEAR: i16 = 2024;

/// A thermostat.
#[derive(Debug)]
pub struct Thermostat {
    // First, so that the heater is off before anything else ends.
    heating: Heating,
    listeners: Listeners,
    config: Config,
    context: Context,
    zone: TimeZone,
    controller: Controller,
    /// What was last published.
    shown: BTreeMap<&'static str, Value>,
    /// Why the heater cannot be reached, while it cannot.
    no_heater: Option<String>,
    /// What the hub was last told of the device's reach.
    told: Option<String>,
}

impl Device for Thermostat {
    const KIND: &'static str = "thermostat";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &Config) -> Vec<Property> {
        let target =
            Property::number("target_temperature").range(TARGET.0, TARGET.1).step(TARGET_STEP);
        let current = Property::number("current_temperature").range(PLAUSIBLE.0, PLAUSIBLE.1);
        let modes = Mode::ALL.map(Mode::as_str);
        let modes = if config.has_schedule() { &modes[..] } else { &modes[..2] };
        let mut properties = vec![
            target.unit("°C").title("Target temperature"),
            current.unit("°C").title("Temperature").read_only(),
            Property::choice("mode", modes).title("Mode"),
            Property::choice("preset", &Preset::ALL.map(Preset::as_str)).title("Preset"),
            Property::choice("action", &Action::ALL.map(Action::as_str))
                .title("Action")
                .read_only(),
            Property::text("alert").title("Alert").read_only(),
        ];
        if config.window.is_some() {
            let window = Property::choice("window", &["closed", "open"]);
            properties.push(window.title("Window").read_only());
        }
        let percent = |name| Property::number(name).range(0, 100).unit("%").read_only();
        let (humidity, battery) = config.passes_through();
        properties.extend(humidity.then(|| percent("humidity").title("Humidity")));
        properties.extend(battery.then(|| percent("battery").title("Battery")));
        properties
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let heating = Heating::open(&config, &context)?;
        let zone = config.time_zone().map_err(|error| Failure::invalid(error.to_string()))?;
        let (rules, now) = (config.rules(), context.now());
        let moment = Moment {
            now,
            local: local_time(&zone),
            presets: &rules.presets,
            schedule: &rules.schedule,
        };
        let setting = Setting::restored(saved, config.initial_target, &moment);
        let mut listeners = Listeners::new(&config);
        let recalled = listeners.recall(&setting.heard, now);
        let controller = Controller::new(rules, config.sources(), setting, now);
        let shown = BTreeMap::new();
        let (no_heater, told) = (None, None);
        let mut thermostat =
            Self { heating, listeners, config, context, zone, controller, shown, no_heater, told };
        thermostat.hear(recalled);
        thermostat.look();
        Ok(thermostat)
    }

    /// Where the heater cannot be switched on, nothing changes. A wish that switches it off stays, and is tried again
    /// every period.
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let unreadable =
            |property: &str| Failure::invalid(format!("{property}: not one of its values"));
        let wish = Wish {
            target: changes.number("target_temperature"),
            mode: match changes.text("mode") {
                Some(mode) => Some(Mode::parse(mode).ok_or_else(|| unreadable("mode"))?),
                None => None,
            },
            preset: match changes.text("preset") {
                Some(preset) => Some(Preset::parse(preset).ok_or_else(|| unreadable("preset"))?),
                None => None,
            },
        };
        let before = self.controller.setting.clone();
        self.controller.wish(wish, self.context.now(), local_time(&self.zone))?;
        let controlled = self.control();
        if let Err(Refused { on: true, .. }) = &controlled {
            self.controller.setting = before;
        }
        self.publish();
        controlled.map(|()| Answer::Done).map_err(|refused| refused.error.failure())
    }

    fn timer(&mut self, _id: u32) {
        self.look();
    }

    fn wake(&mut self) {
        self.follow();
    }

    fn topics(config: &Config) -> Topics {
        config.topics()
    }

    fn message(&mut self, message: &Message) {
        let told = self.listeners.handle(self.both_clocks(), message);
        if told.is_empty() {
            return;
        }
        self.hear(told);
        self.listeners.remember(&mut self.controller.setting.heard);
        self.follow();
    }

    /// Where somebody acted, `resume` takes target and mode again; `keep` leaves the room to whoever acted: the mode
    /// goes to off, and stays there until somebody sets it.
    fn absence(&mut self, absence: &Absence) {
        let setting = &mut self.controller.setting;
        let again = setting.handled.as_ref() == Some(&absence.generation);
        if again || !absence.somebody_acted() {
            return;
        }
        setting.handled = Some(absence.generation.clone());
        match self.config.after_absence {
            AfterAbsence::Resume => {
                self.heating.doubt();
                self.shown.clear();
            }
            AfterAbsence::Keep => setting.mode = Mode::Off,
        }
        self.follow();
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.controller.setting.to_bytes())
    }
}

/// The real heater did not follow.
struct Refused {
    on: bool,
    error: DriveError,
}

impl Thermostat {
    /// Controls with what is known, asks for new readings, and comes back after a period.
    fn look(&mut self) {
        self.follow();
        self.heating.ask();
        self.context.set_timer(0, self.config.period.0);
    }

    /// Takes over what sensors have said by MQTT.
    fn hear(&mut self, told: Vec<Told>) {
        for Told { sensor, reading, remark } in told {
            if let Some((value, at)) = reading {
                self.controller.observe(sensor, at, Ok(value));
            }
            self.controller.remark(sensor, remark);
        }
    }

    fn both_clocks(&self) -> Now {
        // A clock that is not set counts as the beginning: messages count from their arrival.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { monotonic: self.context.now(), unix }
    }

    /// Controls; a heater that does not follow shows as an alert.
    fn follow(&mut self) {
        // The alert says so.
        let _ = self.control();
        self.publish();
    }

    fn control(&mut self) -> Result<(), Refused> {
        let now = self.context.now();
        for reading in self.heating.readings(now) {
            self.controller.observe(reading.sensor, reading.at, reading.value);
        }
        let on = self.controller.decide(now, local_time(&self.zone));
        match self.heating.heat(on) {
            Ok(()) => {
                self.controller.switched(on, now);
                self.no_heater = None;
                Ok(())
            }
            Err(error) => {
                self.controller.failed(error.to_string());
                self.no_heater = error.is_unreachable().then(|| error.to_string());
                Err(Refused { on, error })
            }
        }
    }

    /// Tells the hub where heater or sensors cannot be reached: then nobody knows how warm the room is, or gets it warm.
    fn tell_reach(&mut self) {
        let reasons = [self.no_heater.clone(), self.controller.report().no_sensor.clone()];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        let unreachable = (!reasons.is_empty()).then(|| reasons.join("; "));
        if unreachable == self.told {
            return;
        }
        match &unreachable {
            Some(reason) => self.context.unreachable(reason),
            None => self.context.reachable(),
        }
        self.told = unreachable;
    }

    /// Publishes what differs from what was last published.
    fn publish(&mut self) {
        let (setting, report) = (&self.controller.setting, self.controller.report());
        let alert = self.controller.alert();
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let mut values: Vec<(&'static str, Value)> = vec![
            ("target_temperature", setting.target.into()),
            ("mode", setting.mode.as_str().into()),
            ("preset", setting.preset.as_str().into()),
            ("action", self.controller.action().as_str().into()),
            ("alert", alert.as_str().into()),
        ];
        if let Some(temperature) = report.temperature {
            values.push(("current_temperature", tenth(temperature).into()));
        }
        if let Some(humidity) = self.listeners.humidity(self.context.now()) {
            values.push(("humidity", tenth(humidity).into()));
        }
        if let Some(battery) = self.listeners.battery() {
            values.push(("battery", battery.round().into()));
        }
        if self.config.window.is_some() {
            values.push(("window", if report.window_open { "open" } else { "closed" }.into()));
        }
        for (property, value) in values {
            if self.shown.get(property) == Some(&value) {
                continue;
            }
            match property {
                "alert" if alert != "none" => tracing::warn!(alert, "the thermostat needs a look"),
                "alert" if self.shown.contains_key("alert") => tracing::info!("the alert is over"),
                _ => {}
            }
            self.context.publish(property, value.clone());
            self.shown.insert(property, value);
        }
        self.tell_reach();
    }
}

/// Returns the local time, where the clock is set.
fn local_time(zone: &TimeZone) -> Option<DateTime> {
    let local = zone.to_datetime(Timestamp::now());
    (local.year() >= FIRST_YEAR).then_some(local)
}
