//! The `config` table of a sensor.

mod place;

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_confirm::{Available, SensorConfig};
use hearthd_hardware::{Hwmon, Iio, PlainFile, Root, Thermometer};
use hearthd_output::GpioInput;
use hearthd_sdk::{Problems, Span};
use serde::Deserialize;

use crate::button::ButtonSource;
use crate::config::place::{Place, PointerOnly};
use crate::lines::{LineSource, Meaning};
use crate::quantity::{Fact, Quantity};

/// The `config` table of a sensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A device behind Zigbee2MQTT: its topic, and whether it is there.
    zigbee2mqtt: Option<Zigbee2Mqtt>,
    /// The topic of all properties that do not name their own.
    topic: Option<String>,
    /// Where the device says whether it is there.
    availability: Option<Available>,
    /// Whether a state that the broker has kept is how things are.
    pub(crate) retained: bool,
    /// After how long without a message the device is unreachable.
    max_age: Option<Span>,
    /// Between two readings of a thermometer of this machine.
    pub(crate) period: Span,
    /// The folder that `/sys` and `/dev` are looked up in.
    pub(crate) root: Root,

    contact: Option<Place<FactTable>>,
    motion: Option<Place<FactTable>>,
    leak: Option<Place<FactTable>>,
    smoke: Option<Place<FactTable>>,
    temperature: Option<Place<TemperatureTable>>,
    humidity: Option<Place<NumberTable>>,
    power: Option<Place<NumberTable>>,
    energy: Option<Place<NumberTable>>,
    battery: Option<Place<NumberTable>>,
    button: Option<Place<ButtonTable>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Zigbee2Mqtt {
    topic: String,
    /// Zigbee2MQTT's own `base_topic`.
    #[serde(default = "base")]
    base: String,
}

/// Where something is said that is so or not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FactTable {
    topic: Option<String>,
    pointer: String,
    /// The value for on (of a contact: closed), and the one for off, as text.
    pub(crate) on: Option<String>,
    pub(crate) off: Option<String>,
    /// A line of this machine instead.
    gpio: Option<GpioInput>,
}

/// Where a button says its events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ButtonTable {
    topic: Option<String>,
    pub(crate) pointer: String,
    /// The kind of event that each word is; without any, the words of the usual buttons.
    pub(crate) events: BTreeMap<String, String>,
    /// What other places of the message must say for it to be of this button.
    pub(crate) only: BTreeMap<String, String>,
    /// A line of this machine instead.
    gpio: Option<GpioInput>,
}

/// Where a number is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NumberTable {
    topic: Option<String>,
    pointer: String,
    scale: f64,
    /// What is added after that.
    offset: f64,
}

/// Where a temperature is said, or the thermometer of this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TemperatureTable {
    topic: Option<String>,
    pointer: String,
    scale: f64,
    offset: f64,
    w1: Option<String>,
    hwmon: Option<Hwmon>,
    iio: Option<Iio>,
    thermal_zone: Option<String>,
    file: Option<PlainFile>,
}

/// Where a fact comes from.
#[derive(Clone, Debug)]
pub(crate) struct FactSource {
    pub(crate) fact: Fact,
    pub(crate) topic: String,
    pub(crate) pointer: String,
    pub(crate) on: Option<String>,
    pub(crate) off: Option<String>,
}

/// Where a number comes from.
#[derive(Clone, Debug)]
pub(crate) struct NumberSource {
    pub(crate) quantity: Quantity,
    pub(crate) table: SensorConfig,
    pub(crate) offset: f64,
}

/// A topic that says whether something is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PresenceSource {
    /// What it is about, for people.
    pub(crate) what: &'static str,
    pub(crate) table: Available,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zigbee2mqtt: None,
            topic: None,
            availability: None,
            retained: false,
            max_age: None,
            period: Span::minutes(1),
            root: Root::default(),
            contact: None,
            motion: None,
            leak: None,
            smoke: None,
            temperature: None,
            humidity: None,
            power: None,
            energy: None,
            battery: None,
            button: None,
        }
    }
}

impl Default for NumberTable {
    fn default() -> Self {
        Self { topic: None, pointer: String::new(), scale: 1.0, offset: 0.0 }
    }
}

impl Default for TemperatureTable {
    fn default() -> Self {
        let NumberTable { topic, pointer, scale, offset } = NumberTable::default();
        let (w1, hwmon, iio, thermal_zone, file) = (None, None, None, None, None);
        Self { topic, pointer, scale, offset, w1, hwmon, iio, thermal_zone, file }
    }
}

impl PointerOnly for FactTable {
    fn at(pointer: String) -> Self {
        Self { pointer, ..Self::default() }
    }
}

impl PointerOnly for ButtonTable {
    fn at(pointer: String) -> Self {
        Self { pointer, ..Self::default() }
    }
}

impl PointerOnly for NumberTable {
    fn at(pointer: String) -> Self {
        Self { pointer, ..Self::default() }
    }
}

impl PointerOnly for TemperatureTable {
    fn at(pointer: String) -> Self {
        Self { pointer, ..Self::default() }
    }
}

impl TemperatureTable {
    /// Returns the thermometer of this machine, where the table names one.
    fn thermometer(&self) -> Option<Thermometer> {
        let Self { w1, hwmon, iio, thermal_zone, file, offset, .. } = self.clone();
        let thermometer = Thermometer { w1, hwmon, iio, thermal_zone, file, offset };
        let none = Thermometer { offset, ..Thermometer::default() };
        (thermometer != none).then_some(thermometer)
    }

    fn number(&self) -> NumberTable {
        let Self { topic, pointer, scale, offset, .. } = self.clone();
        NumberTable { topic, pointer, scale, offset }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        let (facts, numbers) = (self.facts(), self.numbers());
        let thermometer = self.thermometer();
        if self.is_empty() {
            problems.add("", format!("name at least one of {}", NAMES.join(", ")));
        }
        self.check_topics(problems);
        for source in &facts {
            let name = source.fact.name();
            self.check_place(name, &source.topic, &source.pointer, problems);
            if source.on.is_some() != source.off.is_some() {
                problems.add(name, "on and off belong together");
            } else if source.on.is_some() && source.on == source.off {
                problems.add(format!("{name}.off"), "the same as on");
            }
        }
        for NumberSource { quantity, table, offset } in &numbers {
            let name = quantity.name();
            self.check_place(name, &table.topic, &table.pointer, problems);
            if !table.scale.is_finite() || table.scale == 0.0 {
                let message = format!("{} cannot be multiplied by", table.scale);
                problems.add(format!("{name}.scale"), message);
            }
            if !offset.is_finite() {
                problems.add(format!("{name}.offset"), format!("{offset} is not a number"));
            }
        }
        if let Some(button) = self.button_source() {
            self.check_place("button", &button.topic, &button.pointer, problems);
        }
        if let Some(Place(table)) = &self.button {
            table.check_events(problems);
        }
        self.check_lines(problems);
        if let Some(thermometer) = &thermometer {
            self.check_thermometer(thermometer, problems);
        }
        self.check_spans(!facts.is_empty() || !numbers.is_empty(), problems);
    }

    /// Checks the topics that properties share, and those that say whether the device is there.
    fn check_topics(&self, problems: &mut Problems) {
        let mut check = |place: &str, topic: &str| {
            for message in topic_problems(topic) {
                problems.add(place, message);
            }
        };
        if let Some(topic) = &self.topic {
            check("topic", topic);
        }
        if let Some(Available { topic, .. }) = &self.availability {
            check("availability.topic", topic);
        }
        let Some(Zigbee2Mqtt { topic, base }) = &self.zigbee2mqtt else { return };
        check("zigbee2mqtt.base", base);
        check("zigbee2mqtt.topic", topic);
        let name = topic.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix('/'));
        if name.is_none() {
            let message =
                format!("\"{topic}\" does not begin with \"{base}/\"; base names another");
            problems.add("zigbee2mqtt.topic", message);
        }
        if self.topic.is_some() {
            problems.add("topic", "zigbee2mqtt has the topic already");
        }
    }

    /// Checks where a property is said.
    fn check_place(&self, name: &str, topic: &str, pointer: &str, problems: &mut Problems) {
        if topic.is_empty() {
            problems.add(name, "no topic: name one here, as topic, or as zigbee2mqtt.topic");
            return;
        }
        let own = topic_problems(topic).into_iter().filter(|_| self.own_topic(name));
        for message in own {
            problems.add(format!("{name}.topic"), message);
        }
        if !pointer.is_empty() && !pointer.starts_with('/') {
            let message = format!("\"{pointer}\" is not a JSON Pointer, such as /{name}");
            problems.add(format!("{name}.pointer"), message);
        }
    }

    /// Checks the lines of this machine; what has a line has no topic.
    fn check_lines(&self, problems: &mut Problems) {
        for LineSource { meaning, input } in self.lines() {
            let name = meaning.name();
            for (place, message) in input.problems() {
                problems.add(format!("{name}.{place}"), message);
            }
        }
        for (fact, table) in self.fact_tables() {
            let Some(Place(FactTable { topic, pointer, on, off, gpio: Some(_) })) = table else {
                continue;
            };
            if topic.is_some() || !pointer.is_empty() || on.is_some() || off.is_some() {
                problems.add(fact.name(), NO_MESSAGES);
            }
        }
        if let Some(Place(ButtonTable { topic, pointer, events, only, gpio: Some(_) })) =
            &self.button
            && (topic.is_some() || !pointer.is_empty() || !events.is_empty() || !only.is_empty())
        {
            problems.add("button", NO_MESSAGES);
        }
    }

    fn check_thermometer(&self, thermometer: &Thermometer, problems: &mut Problems) {
        let table = self.temperature.as_ref().map(|Place(table)| table);
        if table.is_some_and(|table| table.topic.is_some() || !table.pointer.is_empty()) {
            problems.add("temperature", "a thermometer of this machine has no topic");
        }
        for (place, message) in thermometer.problems() {
            let dot = if place.is_empty() { "" } else { "." };
            problems.add(format!("temperature{dot}{place}"), message);
        }
    }

    fn check_spans(&self, by_mqtt: bool, problems: &mut Problems) {
        let within = |place, span: Span, (min, max): (Span, Span), problems: &mut Problems| {
            if span < min || span > max {
                problems.add(place, format!("{span} is not within {min} to {max}"));
            }
        };
        if let Some(max_age) = self.max_age {
            within("max_age", max_age, (Span::minutes(1), Span::hours(720)), problems);
            if !by_mqtt {
                problems.add("max_age", "nothing comes by MQTT");
            }
        }
        within("period", self.period, (Span::seconds(2), Span::hours(1)), problems);
    }

    /// Returns all facts that come by MQTT, in the order of their declaration.
    pub(crate) fn facts(&self) -> Vec<FactSource> {
        let source = |(fact, table): (Fact, &Option<Place<FactTable>>)| {
            let Place(FactTable { topic, pointer, on, off, gpio: None }) = table.clone()? else {
                return None;
            };
            Some(FactSource { fact, topic: self.topic_or(topic), pointer, on, off })
        };
        self.fact_tables().into_iter().filter_map(source).collect()
    }

    fn fact_tables(&self) -> [(Fact, &Option<Place<FactTable>>); 4] {
        [
            (Fact::Contact, &self.contact),
            (Fact::Motion, &self.motion),
            (Fact::Leak, &self.leak),
            (Fact::Smoke, &self.smoke),
        ]
    }

    /// Returns the button that comes by MQTT, where there is one.
    pub(crate) fn button_source(&self) -> Option<ButtonSource> {
        let Place(table) = self.button.as_ref()?;
        let topic = self.topic_or(table.topic.clone());
        table.gpio.is_none().then(|| ButtonSource::new(topic, table))
    }

    /// Returns what comes from lines of this machine.
    pub(crate) fn lines(&self) -> Vec<LineSource> {
        let fact = |(fact, table): (Fact, &Option<Place<FactTable>>)| {
            let input = table.as_ref()?.0.gpio.clone()?;
            Some(LineSource { meaning: Meaning::Fact(fact), input })
        };
        let facts = self.fact_tables().into_iter().filter_map(fact);
        let button = self.button.as_ref().and_then(|Place(table)| table.gpio.clone());
        let button = button.map(|input| LineSource { meaning: Meaning::Button, input });
        facts.chain(button).collect()
    }

    /// Returns all numbers that come by MQTT, in the order of their declaration.
    pub(crate) fn numbers(&self) -> Vec<NumberSource> {
        let temperature = self.temperature.as_ref().map(|Place(table)| table);
        let temperature = temperature.filter(|table| table.thermometer().is_none());
        let number = |table: &Option<Place<NumberTable>>| table.clone().map(|Place(table)| table);
        let tables = [
            (Quantity::Temperature, temperature.map(TemperatureTable::number)),
            (Quantity::Humidity, number(&self.humidity)),
            (Quantity::Power, number(&self.power)),
            (Quantity::Energy, number(&self.energy)),
            (Quantity::Battery, number(&self.battery)),
        ];
        let source = |(quantity, table): (Quantity, Option<NumberTable>)| {
            let NumberTable { topic, pointer, scale, offset } = table?;
            let topic = self.topic_or(topic);
            let max_age = self.max_age().as_secs();
            let table = SensorConfig { topic, pointer, scale, max_age };
            Some(NumberSource { quantity, table, offset })
        };
        tables.into_iter().filter_map(source).collect()
    }

    /// Returns the thermometer of this machine, where there is one.
    pub(crate) fn thermometer(&self) -> Option<Thermometer> {
        self.temperature.as_ref()?.0.thermometer()
    }

    /// Returns the topics that say whether the device, or its bridge, is there.
    pub(crate) fn presences(&self) -> Vec<PresenceSource> {
        let online = |topic: String| Available {
            topic,
            online: "online".to_owned(),
            offline: "offline".to_owned(),
        };
        let mut presences = Vec::new();
        if let Some(Zigbee2Mqtt { topic, base }) = &self.zigbee2mqtt {
            let table = online(format!("{base}/bridge/state"));
            presences.push(PresenceSource { what: "Zigbee2MQTT", table });
            let table = online(format!("{topic}/availability"));
            presences.push(PresenceSource { what: "the device", table });
        }
        let own = self.availability.clone();
        presences.extend(own.map(|table| PresenceSource { what: "the device", table }));
        presences
    }

    /// Returns after how long without a message the device is unreachable.
    pub(crate) fn max_age(&self) -> Duration {
        let regular = [
            self.temperature.is_some() && self.thermometer().is_none(),
            self.humidity.is_some(),
            self.power.is_some(),
            self.energy.is_some(),
        ];
        let default = if regular.contains(&true) { Span::minutes(90) } else { Span::hours(25) };
        self.max_age.unwrap_or(default).0
    }

    fn is_empty(&self) -> bool {
        self.facts().is_empty()
            && self.numbers().is_empty()
            && self.thermometer().is_none()
            && self.button.is_none()
            && self.lines().is_empty()
    }

    fn topic_or(&self, own: Option<String>) -> String {
        let shared = || self.zigbee2mqtt.as_ref().map(|table| table.topic.clone());
        own.or_else(shared).or_else(|| self.topic.clone()).unwrap_or_default()
    }

    /// Returns whether a property names a topic of its own.
    fn own_topic(&self, name: &str) -> bool {
        let fact = |table: &Option<Place<FactTable>>| {
            table.as_ref().is_some_and(|Place(table)| table.topic.is_some())
        };
        let number = |table: &Option<Place<NumberTable>>| {
            table.as_ref().is_some_and(|Place(table)| table.topic.is_some())
        };
        match name {
            "contact" => fact(&self.contact),
            "motion" => fact(&self.motion),
            "leak" => fact(&self.leak),
            "smoke" => fact(&self.smoke),
            "humidity" => number(&self.humidity),
            "power" => number(&self.power),
            "energy" => number(&self.energy),
            "battery" => number(&self.battery),
            "button" => self.button.as_ref().is_some_and(|Place(table)| table.topic.is_some()),
            _ => self.temperature.as_ref().is_some_and(|Place(table)| table.topic.is_some()),
        }
    }
}

/// The properties that a table can name.
const NAMES: [&str; 10] = [
    "contact",
    "motion",
    "leak",
    "smoke",
    "temperature",
    "humidity",
    "power",
    "energy",
    "battery",
    "button",
];
const NO_MESSAGES: &str = "a line of this machine has no topic, and no words";

/// Returns what is wrong with a topic.
fn topic_problems(topic: &str) -> Vec<String> {
    let (pointer, scale, max_age) = (String::new(), 1.0, 1);
    let table = SensorConfig { topic: topic.to_owned(), pointer, scale, max_age };
    table.problems().into_iter().map(|(_, message)| message).collect()
}

fn base() -> String {
    "zigbee2mqtt".to_owned()
}
