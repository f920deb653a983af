//! The `config` table of a thermostat.

mod check;
pub(crate) mod sensor;

use std::time::Duration;

use hearthd_confirm::{Backend, Esphome, Shelly, Tasmota, Topics as TopicTable, Wled, Zigbee2Mqtt};
use hearthd_hardware::Root;
use hearthd_output::{Gpio, Led, OutputCommand, Pwm, Wiring};
use hearthd_sdk::Problems;
use hearthd_sdk::Span;
use hearthd_sdk::mqtt::Topics;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::config::sensor::{MqttSensor, SensorTable};
use crate::control::Rules;
use crate::control::fusion::{Doubt, Source};
use crate::control::heater::Limits;
use crate::control::law::{Hysteresis, Law, Proportional, Tuning};
use crate::control::window;
use crate::preset::Presets;
use crate::room::Room;
use crate::schedule::RawSchedule;

/// The `config` table of a thermostat.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    backend: BackendName,
    /// The folder that `/sys` and `/dev` are looked up in.
    pub(crate) root: Root,
    pub(crate) sensors: Vec<SensorTable>,
    pub(crate) actuator: Option<Actuator>,
    simulated: SimulatedRoom,

    /// Between two looks at the sensors.
    pub(crate) period: Span,
    control: ControlName,
    /// Kelvin between switching on and switching off.
    hysteresis: f64,
    /// The length of a cycle of `pi`.
    cycle: Span,
    /// The part of full power for each kelvin below the target.
    gain: f64,
    /// The time in which the integral part does what the gain does at once.
    integral_time: Span,

    /// The least times that the heater stays on and off; 2 minutes, and none for the simulated room.
    min_on: Option<Span>,
    min_off: Option<Span>,
    /// The longest time that the heater is on without a pause.
    max_heating: Option<Span>,
    /// The pause after that.
    rest: Span,

    /// How long a radiator valve may take until a person should know; 30 minutes.
    valve_timeout: Option<Span>,

    /// A sensor that reads the same number for so long counts as broken.
    frozen_after: Span,
    /// A change by more than this many kelvin between two readings is not believed at once.
    jump: f64,
    /// Sensors that differ by more than this many kelvin do not measure the same room.
    spread: f64,

    /// The target in °C until somebody sets one.
    pub(crate) initial_target: f64,
    /// The room is kept at least so warm (°C), also in mode off.
    frost: f64,
    presets: Presets,
    schedule: RawSchedule,
    /// The zone of the schedule's times, such as `Europe/Berlin`; the system's by default.
    time_zone: Option<String>,
    /// Pauses the heating while a window is open.
    pub(crate) window: Option<WindowTable>,
    pub(crate) after_absence: AfterAbsence,
}

/// The backends that a configuration can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BackendName {
    /// A room that is computed.
    Simulated,
    /// Sensors and an actuator.
    Hardware,
}

/// How the heater follows the temperature.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ControlName {
    Hysteresis,
    Pi,
}

/// What switches the heater, or is one: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Actuator {
    gpio: Option<Gpio>,
    led: Option<Led>,
    pwm: Option<Pwm>,
    command: Option<OutputCommand>,
    simulated: Option<NoKeys>,
    zigbee2mqtt: Option<Zigbee2Mqtt>,
    tasmota: Option<Tasmota>,
    shelly: Option<Shelly>,
    esphome: Option<Esphome>,
    wled: Option<Wled>,
    topics: Option<TopicTable>,
    /// Whether it is a radiator valve, with a target of its own.
    valve: bool,
}

/// A table without keys.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoKeys {}

/// The one way to switch the heater that an [`Actuator`] names.
#[derive(Clone, Debug)]
pub(crate) enum Switch {
    Output(Wiring),
    Command(OutputCommand),
    /// In the log alone.
    Simulated,
    /// By MQTT.
    Remote(Backend),
    /// A radiator valve, by MQTT.
    Valve(Backend),
}

/// What counts as an open window.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WindowTable {
    /// Kelvin.
    fall: f64,
    within: Span,
    pause: Span,
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
            root: Root::default(),
            sensors: Vec::new(),
            actuator: None,
            simulated: SimulatedRoom::default(),
            period: Span::seconds(10),
            control: ControlName::Hysteresis,
            hysteresis: 0.3,
            cycle: Span::minutes(15),
            gain: 0.5,
            integral_time: Span::hours(3),
            min_on: None,
            min_off: None,
            max_heating: None,
            rest: Span::minutes(30),
            valve_timeout: None,
            frozen_after: Span::hours(3),
            jump: 5.0,
            spread: 3.0,
            initial_target: 20.0,
            frost: 5.0,
            presets: Presets::default(),
            schedule: RawSchedule::default(),
            time_zone: None,
            window: None,
            after_absence: AfterAbsence::Resume,
        }
    }
}

impl Default for WindowTable {
    fn default() -> Self {
        Self { fall: 1.0, within: Span::minutes(5), pause: Span::minutes(20) }
    }
}

impl Default for SimulatedRoom {
    fn default() -> Self {
        Self { start: 18.0, outside: 5.0, heating_rate: 0.01, loss: 0.0003 }
    }
}

impl Actuator {
    /// Returns the way to switch, where exactly one is named.
    pub(crate) fn switch(&self) -> Option<Switch> {
        let Self { gpio, led, pwm, command, simulated, .. } = self.clone();
        let Self { zigbee2mqtt, tasmota, shelly, esphome, wled, topics, .. } = self.clone();
        let named = [
            gpio.map(Wiring::Gpio).map(Switch::Output),
            led.map(Wiring::Led).map(Switch::Output),
            pwm.map(Wiring::Pwm).map(Switch::Output),
            command.map(Switch::Command),
            simulated.map(|NoKeys {}| Switch::Simulated),
            zigbee2mqtt.map(Backend::Zigbee2Mqtt).map(Switch::Remote),
            tasmota.map(Backend::Tasmota).map(Switch::Remote),
            shelly.map(Backend::Shelly).map(Switch::Remote),
            esphome.map(Backend::Esphome).map(Switch::Remote),
            wled.map(Backend::Wled).map(Switch::Remote),
            topics.map(Box::new).map(Backend::Topics).map(Switch::Remote),
        ];
        let mut named = named.into_iter().flatten();
        let switch = named.next().filter(|_| named.next().is_none())?;
        Some(match switch {
            Switch::Remote(backend) if self.valve => Switch::Valve(asleep(backend)),
            switch => switch,
        })
    }

    /// Returns whether it is said to be a radiator valve.
    pub(crate) fn is_valve(&self) -> bool {
        self.valve
    }
}

/// Returns a radiator valve's table: those that say so and those that do not all sleep.
fn asleep(backend: Backend) -> Backend {
    match backend {
        Backend::Zigbee2Mqtt(table) => Backend::Zigbee2Mqtt(Zigbee2Mqtt { sleepy: true, ..table }),
        Backend::Topics(table) => Backend::Topics(Box::new(TopicTable { sleepy: true, ..*table })),
        other => other,
    }
}

impl Config {
    /// Returns the room, where the backend is the simulated one.
    pub(crate) fn room(&self) -> Option<Room> {
        let SimulatedRoom { start, outside, heating_rate, loss } = self.simulated;
        match self.backend {
            BackendName::Simulated => Some(Room::new(start, outside, heating_rate, loss)),
            BackendName::Hardware => None,
        }
    }

    /// Returns what the sensors are called in alerts, and which of them say something when they like.
    pub(crate) fn sources(&self) -> Vec<Source> {
        match self.backend {
            BackendName::Simulated => {
                vec![Source { name: "simulated".to_owned(), messages: None }]
            }
            BackendName::Hardware => {
                let source = |(n, table): (usize, &SensorTable)| Source {
                    name: format!("sensors[{n}]"),
                    messages: table.mqtt.as_ref().map(|mqtt| mqtt.max_age.0),
                };
                self.sensors.iter().enumerate().map(source).collect()
            }
        }
    }

    /// Returns whether a sensor's messages have its humidity, and the charge of its battery.
    pub(crate) fn passes_through(&self) -> (bool, bool) {
        let has = |pointer: fn(&MqttSensor) -> &Option<String>| {
            let mut sensors = self.sensors.iter().filter_map(|table| table.mqtt.as_ref());
            sensors.any(|mqtt| pointer(mqtt).is_some())
        };
        (has(|mqtt| &mqtt.humidity), has(|mqtt| &mqtt.battery))
    }

    /// Returns the heater's MQTT device, where it is one.
    pub(crate) fn remote(&self) -> Option<Backend> {
        match self.actuator.as_ref()?.switch()? {
            Switch::Remote(backend) | Switch::Valve(backend) => Some(backend),
            Switch::Output(_) | Switch::Command(_) | Switch::Simulated => None,
        }
    }

    /// Returns whether the heater is a radiator valve.
    pub(crate) fn has_valve(&self) -> bool {
        self.actuator.as_ref().is_some_and(Actuator::is_valve)
    }

    /// Returns how long a radiator valve may take until a person should know.
    pub(crate) fn valve_timeout(&self) -> Span {
        self.valve_timeout.unwrap_or(Span::minutes(30))
    }

    /// Returns whether anything measures the room.
    pub(crate) fn has_sensors(&self) -> bool {
        self.backend == BackendName::Simulated || !self.sensors.is_empty()
    }

    /// Returns the MQTT topics that the device uses.
    pub(crate) fn topics(&self) -> Topics {
        let remote = self.remote();
        let (declared, of_heater) = match &remote {
            Some(backend) => (hearthd_remote::topics(backend), backend.declared_topics().subscribe),
            None => (Topics::none(), Vec::new()),
        };
        let sensors = self.sensors.iter().filter_map(|table| Some(&table.mqtt.as_ref()?.topic));
        let mut sensors: Vec<&String> =
            sensors.filter(|topic| !of_heater.contains(topic)).collect();
        sensors.sort();
        sensors.dedup();
        sensors.into_iter().fold(declared, Topics::subscribe)
    }

    /// Returns whether there is a schedule to follow.
    pub(crate) fn has_schedule(&self) -> bool {
        !self.schedule.read(&mut Problems::default(), |_| None).is_empty()
    }

    /// Returns the zone of the schedule.
    pub(crate) fn time_zone(&self) -> Result<TimeZone, jiff::Error> {
        self.time_zone.as_deref().map_or_else(|| Ok(TimeZone::system()), TimeZone::get)
    }

    /// Returns what the control goes by.
    pub(crate) fn rules(&self) -> Rules {
        let simulated = self.room().is_some();
        let least = if simulated { Duration::ZERO } else { Span::minutes(2).0 };
        let or_least = |span: Option<Span>| span.map_or(least, |span| span.0);
        let law = match self.control {
            ControlName::Hysteresis => Law::Hysteresis(Hysteresis { width: self.hysteresis }),
            ControlName::Pi => Law::Proportional(Box::new(Proportional::new(Tuning {
                gain: self.gain,
                integral_time: self.integral_time.0,
                cycle: self.cycle.0,
            }))),
        };
        Rules {
            law,
            limits: Limits {
                min_on: or_least(self.min_on),
                min_off: or_least(self.min_off),
                max_on: self.max_heating.map(|span| span.0),
                rest: self.rest.0,
            },
            doubt: Doubt {
                max_age: self.period.0 * 3 / 2,
                // A computed room may well stand still, and its time may be quick.
                frozen_after: (!simulated).then_some(self.frozen_after.0),
                jump: (!simulated).then_some(self.jump),
                spread: self.spread,
            },
            window: self.window.map(|WindowTable { fall, within, pause }| window::Rule {
                fall,
                within: within.0,
                pause: pause.0,
            }),
            frost: self.frost,
            presets: self.presets,
            schedule: self.schedule.read(&mut Problems::default(), |_| None),
        }
    }
}
