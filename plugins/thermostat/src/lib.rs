//! The thermostat: holds a room at a target temperature with a heater that is on or off, or a radiator valve.
//!
//! Every period the sensors are read and the control decides. The heater is off before anything else happens, while
//! no sensor can be believed, and whenever the device ends. Without a sensor or a heater the device is unreachable.

mod config;
mod control;
mod heating;
mod listen;
mod preset;
mod remote;
mod room;
mod schedule;
mod setting;
mod valve;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthd_confirm::Now;
use hearthd_sdk::mqtt::{Message, PublishError, Topics};
use hearthd_sdk::{
    Absence, Answer, Changes, Context, Deferred, Device, Failure, Problems, Property, Value,
};
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
use crate::remote::{Asker, Followed};
use crate::setting::{Mode, Moment, Setting, TARGET, TARGET_STEP, Wish};
use crate::valve::ValveState;

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
    /// Who waits until the heater has followed.
    waiting: Vec<Waiting>,
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
        let mut properties = vec![target.unit("°C").title("Target temperature")];
        if config.has_sensors() {
            properties.push(current.unit("°C").title("Temperature").read_only());
        }
        properties.push(Property::choice("mode", modes).title("Mode"));
        properties
            .push(Property::choice("preset", &Preset::ALL.map(Preset::as_str)).title("Preset"));
        properties.push(if config.has_valve() {
            let states = ValveState::ALL.map(ValveState::as_str);
            Property::choice("valve", &states).title("Valve").read_only()
        } else {
            let actions = Action::ALL.map(Action::as_str);
            Property::choice("action", &actions).title("Action").read_only()
        });
        properties.push(Property::text("alert").title("Alert").read_only());
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
        let (waiting, told) = (Vec::new(), None);
        let mut thermostat =
            Self { heating, listeners, config, context, zone, controller, shown, waiting, told };
        thermostat.hear(recalled);
        thermostat.look();
        Ok(thermostat)
    }

    /// Where the heater cannot be switched on, nothing changes. A wish that switches it off stays, and is tried again
    /// every period. Where the heater is switched by MQTT, the answer waits until it has confirmed or refused; a
    /// radiator valve is not waited for.
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
        let (on, followed) = self.control(Asker::Request(changes.deadline()));
        let others = self.answers(on, &followed);
        let answer = match followed {
            Followed::Yes => Ok(Answer::Done),
            Followed::Later => {
                let deferred = self.context.defer();
                self.waiting.push(Waiting { deferred, on, before });
                Ok(Answer::Later)
            }
            Followed::No(failure) => {
                if on && others.iter().all(|other| other.failure.is_none()) {
                    self.restore(before);
                    self.control(Asker::Control);
                }
                Err(failure)
            }
        };
        self.publish();
        others.into_iter().for_each(Answered::give);
        answer
    }

    fn timer(&mut self, id: u32) {
        if id == remote::TIMER {
            self.heating.timer();
            self.follow();
        } else {
            self.look();
        }
    }

    fn wake(&mut self) {
        self.follow();
    }

    fn topics(config: &Config) -> Topics {
        config.topics()
    }

    fn message(&mut self, message: &Message) {
        let told = self.listeners.handle(self.both_clocks(), message);
        self.hear(told);
        self.listeners.remember(&mut self.controller.setting.heard);
        self.heating.message(message);
        self.follow();
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        self.heating.outcome(token, result);
        self.follow();
    }

    fn link(&mut self, up: bool) {
        self.heating.link(up);
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
        Some(self.settled().to_bytes())
    }
}

/// A request that waits until the heater has followed.
#[derive(Debug)]
struct Waiting {
    deferred: Deferred,
    /// Whether the heater is to be on.
    on: bool,
    /// What was wanted before.
    before: Setting,
}

/// A request that can be answered.
struct Answered {
    deferred: Deferred,
    failure: Option<Failure>,
}

impl Answered {
    fn give(self) {
        match self.failure {
            Some(failure) => self.deferred.fail(&failure),
            None => self.deferred.done(),
        }
    }
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

    /// Controls; a heater that does not follow shows as an alert, and to those who wait for it.
    fn follow(&mut self) {
        let (on, followed) = self.control(Asker::Control);
        let answers = self.answers(on, &followed);
        if on && answers.iter().any(|answer| answer.failure.is_some()) {
            // What was wanted before wants something else.
            self.control(Asker::Control);
        }
        self.publish();
        answers.into_iter().for_each(Answered::give);
    }

    /// Decides whether to heat, switches the heater, and returns what came of it.
    fn control(&mut self, asker: Asker) -> (bool, Followed) {
        let now = self.context.now();
        for reading in self.heating.readings(now) {
            self.controller.observe(reading.sensor, reading.at, reading.value);
        }
        let local = local_time(&self.zone);
        let (on, followed) = if self.config.has_valve() {
            let target = self.controller.valve_target(now, local);
            (true, self.heating.turn(target))
        } else {
            let on = self.controller.decide(now, local);
            (on, self.heating.heat(on, asker))
        };
        if let Some(driven) = self.heating.driven() {
            self.controller.switched(driven, now);
        }
        let reason = self.heating.trouble().map(|trouble| trouble.reason.clone());
        self.controller.failed(reason);
        (on, followed)
    }

    /// Takes out the requests that can be answered now that the heater is on or off, or could not be switched.
    ///
    /// Where it could not be switched on, what they wanted is taken back. Whoever wanted it to be otherwise than it is
    /// now got what they asked of the thermostat: it has changed its mind since.
    fn answers(&mut self, on: bool, followed: &Followed) -> Vec<Answered> {
        let waits = |waiting: &Waiting| waiting.on == on && matches!(followed, Followed::Later);
        let (kept, over): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(waits);
        self.waiting = kept;
        let failed = match followed {
            Followed::No(failure) => Some(failure),
            Followed::Yes | Followed::Later => None,
        };
        let first = over.iter().find(|waiting| waiting.on == on && on && failed.is_some());
        if let Some(before) = first.map(|waiting| waiting.before.clone()) {
            self.restore(before);
        }
        let answered = |Waiting { deferred, on: wish, .. }| {
            let failure = failed.filter(|_| wish == on).cloned();
            Answered { deferred, failure }
        };
        over.into_iter().map(answered).collect()
    }

    /// Takes back what was wanted.
    fn restore(&mut self, before: Setting) {
        self.controller.setting = before.having_learned(&self.controller.setting);
    }

    /// Returns what is wanted, without what the heater has yet to confirm.
    fn settled(&self) -> Setting {
        let setting = &self.controller.setting;
        let before = self.waiting.iter().find(|waiting| waiting.on);
        before.map_or_else(|| setting.clone(), |on| on.before.clone().having_learned(setting))
    }

    /// Tells the hub where heater or sensors cannot be reached: then nobody knows how warm the room is, or gets it warm.
    fn tell_reach(&mut self) {
        let trouble = self.heating.trouble().filter(|trouble| trouble.unreachable);
        let no_heater = trouble.map(|trouble| trouble.reason.clone());
        let reasons = [no_heater, self.controller.report().no_sensor.clone()];
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
        let (setting, report) = (self.settled(), self.controller.report());
        let alert = self.controller.alert();
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let mut values: Vec<(&'static str, Value)> = vec![
            ("target_temperature", setting.target.into()),
            ("mode", setting.mode.as_str().into()),
            ("preset", setting.preset.as_str().into()),
            ("alert", alert.as_str().into()),
        ];
        values.push(match self.heating.valve_state() {
            Some(state) => ("valve", state.as_str().into()),
            None => ("action", self.controller.action(setting.mode).as_str().into()),
        });
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
