//! The sensor: what a contact, a detector, a meter or a thermometer says, as properties that can be read.
//!
//! What comes by MQTT, or over a GPIO line, comes when the sensor likes; a thermometer of this machine is asked every
//! period. A button has no state: what it says is an event. What is not a value of its property changes nothing and is
//! told in `alert`.

mod button;
mod config;
mod lines;
mod quantity;
mod source;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthd_confirm::Now;
use hearthd_sdk::mqtt::{Message, Topics};
use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property, Value};

use crate::button::{ButtonSource, Pressed};
pub use crate::config::Config;
use crate::lines::{Effect, LineSource, Lines};
use crate::quantity::Quantity;
use crate::source::{Presence, Said, Source};
use crate::worker::Worker;

hearthd_sdk::export!(Sensor);

/// A sensor.
#[derive(Debug)]
pub struct Sensor {
    context: Context,
    config: Config,
    sources: Vec<Source>,
    button: Option<ButtonSource>,
    presences: Vec<Presence>,
    thermometer: Option<Worker>,
    lines: Lines,
    /// Why something of this machine cannot be read, by the property.
    failures: BTreeMap<&'static str, String>,
    link_up: bool,
    /// When something was last heard by MQTT, on the monotonic clock.
    heard: Option<Duration>,
    /// What is wrong with the last message about a property.
    wrong: BTreeMap<&'static str, String>,
    /// What was last published.
    shown: BTreeMap<&'static str, Value>,
    /// What the hub was last told of the device's reach.
    told: Option<String>,
}

impl Device for Sensor {
    const KIND: &'static str = "sensor";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &Config) -> Vec<Property> {
        let facts = config.facts().into_iter().map(|source| source.fact.property());
        let mut properties: Vec<Property> = facts.collect();
        let lines = config.lines();
        properties.extend(lines.iter().map(|LineSource { meaning, .. }| meaning.property()));
        properties.extend(config.button_source().map(|source| source.property()));
        if config.thermometer().is_some() {
            properties.push(Quantity::Temperature.property());
        }
        properties.extend(config.numbers().into_iter().map(|source| source.quantity.property()));
        properties.push(Property::text("alert").title("Alert").read_only());
        properties
    }

    fn topics(config: &Config) -> Topics {
        let button = config.button_source();
        let mut topics = Self::all_topics(&sources(config), button.as_ref(), &presences(config));
        topics.sort();
        topics.dedup();
        topics.into_iter().fold(Topics::none(), Topics::subscribe)
    }

    fn create(config: Config, context: Context, _saved: Option<&[u8]>) -> Result<Self, Failure> {
        let thermometer = config.thermometer();
        let start = |thermometer| Worker::start(thermometer, config.root.clone(), context.clone());
        let thermometer = thermometer.map(start).transpose()?;
        let lines = Lines::watch(config.lines(), &config.root, &context)?;
        let mut sensor = Self {
            sources: sources(&config),
            button: config.button_source(),
            presences: presences(&config),
            thermometer,
            lines,
            failures: BTreeMap::new(),
            link_up: false,
            heard: None,
            wrong: BTreeMap::new(),
            shown: BTreeMap::new(),
            told: None,
            context,
            config,
        };
        sensor.measure();
        sensor.publish();
        Ok(sensor)
    }

    fn set(&mut self, _changes: &Changes) -> Result<Answer, Failure> {
        Err(Failure::invalid("a sensor has nothing that can be set"))
    }

    fn timer(&mut self, id: u32) {
        if id == MEASURE {
            self.measure();
        }
        self.publish();
    }

    fn wake(&mut self) {
        match self.thermometer.as_mut().and_then(Worker::reading) {
            Some(Ok(celsius)) => self.take_temperature(celsius),
            Some(Err(reason)) => self.fail("temperature", format!("temperature: {reason}")),
            None => {}
        }
        for (name, effect) in self.lines.effects() {
            if let Effect::Failure(reason) = effect {
                self.fail(name, reason);
                continue;
            }
            self.failures.remove(name);
            match effect {
                Effect::State(value) => self.show(name, value),
                Effect::Event(kind) => self.context.event(name, kind),
                Effect::Nothing | Effect::Failure(_) => {}
            }
        }
        self.publish();
    }

    fn message(&mut self, message: &Message) {
        for presence in &mut self.presences {
            presence.handle(&message.topic, &message.payload);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = Now { monotonic: self.context.now(), unix };
        let Message { topic, payload, retained } = message.clone();
        let retained = retained && !self.config.retained;
        let message = hearthd_confirm::Message { topic, payload, retained };
        let max_age = self.config.max_age();
        let said: Vec<(&'static str, Said)> = self
            .sources
            .iter_mut()
            .map(|source| (source.name(), source.handle(now, &message, max_age)))
            .collect();
        for (name, said) in said {
            match said {
                Said::Nothing => {}
                Said::State(value, at) => {
                    self.wrong.remove(name);
                    self.heard = self.heard.max(Some(at));
                    self.show(name, value);
                }
                Said::Wrong(reason) => {
                    self.wrong.insert(name, reason);
                }
            }
        }
        match self.button.as_ref().map(|button| button.handle(&message)) {
            Some(Pressed::Event(kind)) => {
                self.wrong.remove("button");
                self.context.event("button", &kind);
            }
            Some(Pressed::Wrong(reason)) => _ = self.wrong.insert("button", reason),
            Some(Pressed::Nothing) | None => {}
        }
        self.publish();
    }

    fn link(&mut self, up: bool) {
        self.link_up = up;
        self.publish();
    }
}

impl Sensor {
    /// Asks the thermometer of this machine, and comes back after a period.
    fn measure(&mut self) {
        let Some(thermometer) = &mut self.thermometer else { return };
        if thermometer.ask() {
            let period = self.config.period;
            self.fail("temperature", format!("temperature: no answer for {period}"));
        }
        self.context.set_timer(MEASURE, self.config.period.0);
    }

    fn take_temperature(&mut self, celsius: f64) {
        let (min, max) = Quantity::Temperature.range();
        if !(min..=max).contains(&celsius) {
            let reason = format!("temperature: {celsius} is not within {min} to {max}");
            self.fail("temperature", reason);
            return;
        }
        self.failures.remove("temperature");
        self.show("temperature", Quantity::Temperature.value(celsius));
    }

    fn fail(&mut self, property: &'static str, reason: String) {
        self.failures.insert(property, reason);
    }

    /// Publishes what is wrong, and whether the device can be reached.
    fn publish(&mut self) {
        let wrong: Vec<String> =
            self.wrong.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let alert = if wrong.is_empty() { "none".to_owned() } else { wrong.join("; ") };
        if alert != "none" && self.shown.get("alert") != Some(&Value::from(alert.as_str())) {
            tracing::warn!(alert, "the sensor needs a look");
        }
        self.show("alert", alert.into());
        let unreachable = self.unreachable();
        if unreachable == self.told {
            return;
        }
        match &unreachable {
            Some(reason) => self.context.unreachable(reason),
            None => self.context.reachable(),
        }
        self.told = unreachable;
    }

    /// Publishes a value that differs from what was last published.
    fn show(&mut self, name: &'static str, value: Value) {
        if self.shown.get(name) != Some(&value) {
            self.context.publish(name, value.clone());
            self.shown.insert(name, value);
        }
    }

    /// Returns why what the properties say may not be so, and comes back when it may not be so any more.
    fn unreachable(&self) -> Option<String> {
        if !self.sources.is_empty() || self.button.is_some() {
            if !self.link_up {
                return Some("no connection to the broker".to_owned());
            }
            if let Some(reason) = self.presences.iter().find_map(Presence::reason) {
                return Some(reason);
            }
        }
        // That nobody presses a button says nothing.
        if !self.sources.is_empty() {
            let Some(heard) = self.heard else {
                return Some("nothing was heard of it yet".to_owned());
            };
            let (now, max_age) = (self.context.now(), self.config.max_age());
            if now.saturating_sub(heard) > max_age {
                let max_age = hearthd_sdk::Span(max_age);
                return Some(format!("nothing was heard of it for {max_age}"));
            }
            let left = (heard + max_age).saturating_sub(now);
            self.context.set_timer(SILENCE, left + Duration::from_millis(1));
        }
        let failures: Vec<&str> = self.failures.values().map(String::as_str).collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }

    fn all_topics(
        sources: &[Source],
        button: Option<&ButtonSource>,
        presences: &[Presence],
    ) -> Vec<String> {
        if sources.is_empty() && button.is_none() {
            return Vec::new();
        }
        let topics = sources.iter().map(Source::topic);
        let topics = topics.chain(button.map(|button| &*button.topic));
        topics.chain(presences.iter().map(Presence::topic)).map(str::to_owned).collect()
    }
}

/// The timer of the next reading of a thermometer, and that of the silence that is too long.
const MEASURE: u32 = 0;
const SILENCE: u32 = 1;

fn sources(config: &Config) -> Vec<Source> {
    let facts = config.facts().into_iter().map(Source::Fact);
    facts.chain(config.numbers().into_iter().map(Source::number)).collect()
}

fn presences(config: &Config) -> Vec<Presence> {
    config.presences().into_iter().map(Presence::new).collect()
}
