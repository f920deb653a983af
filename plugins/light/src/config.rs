//! The `config` table of a light.

use hearthd_confirm::{Esphome, Property, Shelly, Tasmota, Topics, Wled, Zigbee2Mqtt};
use hearthd_hardware::Root;
use hearthd_output::{Gpio, Led, Output, OutputCommand, Pwm, Wiring};
use hearthd_sdk::Problems;
use serde::Deserialize;

use crate::backend::{Backend, Curve};

/// The `config` table of a light.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    backend: BackendName,
    gpio: Option<Gpio>,
    led: Option<Led>,
    pwm: Option<Pwm>,
    command: Option<OutputCommand>,
    zigbee2mqtt: Option<Zigbee2Mqtt>,
    tasmota: Option<Tasmota>,
    shelly: Option<Shelly>,
    esphome: Option<Esphome>,
    wled: Option<Wled>,
    topics: Option<Topics>,
    /// The folder that `/sys`, `/dev` and `/proc` are looked up in.
    pub(crate) root: Root,
    /// Whether the light can be dimmed.
    pub(crate) brightness: bool,
    /// How the light follows the brightness: `perceptual` for `pwm` by default, `linear` for `led`.
    curve: Option<Curve>,
    /// The color temperatures that the light can take, if it can take any.
    pub(crate) color_temperature: Option<Kelvin>,
    /// Whether the light has colors.
    pub(crate) color: bool,
    /// `restore` where it is not given; of no use to an MQTT device.
    pub(crate) power_on: Option<PowerOn>,
    pub(crate) after_absence: AfterAbsence,
}

/// The backends that a configuration can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BackendName {
    #[default]
    Simulated,
    Gpio,
    Led,
    Pwm,
    Command,
    Zigbee2mqtt,
    Tasmota,
    Shelly,
    Esphome,
    Wled,
    Topics,
}

/// A range of color temperatures in kelvin.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kelvin {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl Kelvin {
    pub(crate) fn contains(self, kelvin: u16) -> bool {
        (self.min..=self.max).contains(&kelvin)
    }
}

/// What the light does once the machine was without power; a daemon that starts anew leaves the light as it was.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PowerOn {
    Off,
    On,
    /// It takes the state again that the hub last set.
    #[default]
    Restore,
}

/// What the light does once it learns that another acted while the hub was away.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AfterAbsence {
    /// Nothing.
    #[default]
    Keep,
    /// It takes the state again that the hub last set.
    Restore,
    /// It switches off.
    Off,
}

impl BackendName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Gpio => "gpio",
            Self::Led => "led",
            Self::Pwm => "pwm",
            Self::Command => "command",
            Self::Zigbee2mqtt => "zigbee2mqtt",
            Self::Tasmota => "tasmota",
            Self::Shelly => "shelly",
            Self::Esphome => "esphome",
            Self::Wled => "wled",
            Self::Topics => "topics",
        }
    }
}

impl Config {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if let Some(Kelvin { min, max }) = self.color_temperature
            && (min == 0 || min >= max)
        {
            let message = format!("{min} is not a least value (1 or more, and below max, {max})");
            problems.add("color_temperature.min", message);
        }
        self.check_tables(problems);
        let backend = self.backend.as_str();
        if self.backend == BackendName::Gpio && self.brightness {
            problems.add("brightness", "a GPIO line is on or off; pwm and led can dim");
        }
        let one_channel =
            matches!(self.backend, BackendName::Gpio | BackendName::Led | BackendName::Pwm);
        let colors =
            [("color_temperature", self.color_temperature.is_some()), ("color", self.color)];
        for (key, _) in colors.into_iter().filter(|(_, given)| *given && one_channel) {
            problems.add(key, format!("{backend} has one color; command can do it"));
        }
        self.check_remote(problems);
        if self.curve.is_some() && !matches!(self.backend, BackendName::Led | BackendName::Pwm) {
            problems.add("curve", format!("not used by backend = \"{backend}\""));
        }
        let found = match (self.wiring(), &self.command) {
            (Some(wiring), _) => wiring.problems(),
            (None, Some(command)) => {
                let values = ["power", "brightness", "color_temperature", "color", "color_mode"];
                command.problems(&values)
            }
            (None, None) => Vec::new(),
        };
        for (place, message) in found {
            problems.add(place, message);
        }
    }

    /// Checks that the backend's table is there, and no other.
    fn check_tables(&self, problems: &mut Problems) {
        let tables = [
            (BackendName::Gpio, self.gpio.is_some()),
            (BackendName::Led, self.led.is_some()),
            (BackendName::Pwm, self.pwm.is_some()),
            (BackendName::Command, self.command.is_some()),
            (BackendName::Zigbee2mqtt, self.zigbee2mqtt.is_some()),
            (BackendName::Tasmota, self.tasmota.is_some()),
            (BackendName::Shelly, self.shelly.is_some()),
            (BackendName::Esphome, self.esphome.is_some()),
            (BackendName::Wled, self.wled.is_some()),
            (BackendName::Topics, self.topics.is_some()),
        ];
        for (name, given) in tables {
            let (table, backend) = (name.as_str(), self.backend.as_str());
            if given && name != self.backend {
                problems.add(table, format!("not used by backend = \"{backend}\""));
            } else if !given && name == self.backend {
                problems.add(table, format!("backend = \"{backend}\" needs this table"));
            }
        }
    }

    /// Checks the table of an MQTT device, and what the light shall have against what the device can have.
    fn check_remote(&self, problems: &mut Problems) {
        let Some(backend) = self.remote() else { return };
        for (place, message) in backend.problems() {
            problems.add(place, message);
        }
        let name = self.backend.as_str();
        let wanted = [
            ("backend", Property::Power, true),
            ("brightness", Property::Brightness, self.brightness),
            ("color_temperature", Property::ColorTemperature, self.color_temperature.is_some()),
            ("color", Property::Color, self.color),
        ];
        for (key, property, _) in wanted.into_iter().filter(|(_, _, wanted)| *wanted) {
            if !backend.has(property) {
                let what = property.as_str();
                problems.add(key, format!("the {name} device of this table has no {what}"));
            }
        }
        if self.power_on.is_some() {
            problems
                .add("power_on", format!("not used by backend = \"{name}\": the device decides"));
        }
    }

    /// Returns whether the light says which of color and color temperature it shows: it has both.
    pub(crate) fn has_color_mode(&self) -> bool {
        self.color && self.color_temperature.is_some()
    }

    /// Returns the MQTT device that the backend names, if it is one.
    pub(crate) fn remote(&self) -> Option<hearthd_confirm::Backend> {
        use hearthd_confirm::Backend;
        match self.backend {
            BackendName::Simulated
            | BackendName::Gpio
            | BackendName::Led
            | BackendName::Pwm
            | BackendName::Command => None,
            BackendName::Zigbee2mqtt => self.zigbee2mqtt.clone().map(Backend::Zigbee2Mqtt),
            BackendName::Tasmota => self.tasmota.clone().map(Backend::Tasmota),
            BackendName::Shelly => self.shelly.clone().map(Backend::Shelly),
            BackendName::Esphome => self.esphome.clone().map(Backend::Esphome),
            BackendName::Wled => self.wled.clone().map(Backend::Wled),
            BackendName::Topics => self.topics.clone().map(Box::new).map(Backend::Topics),
        }
    }

    /// Returns whether a change can be told how long to take.
    pub(crate) fn has_transition(&self) -> bool {
        match self.remote() {
            Some(backend) => backend.has_transition(),
            None => self.brightness,
        }
    }

    /// Returns the output that the backend names, if it is one.
    fn wiring(&self) -> Option<Wiring> {
        match self.backend {
            BackendName::Gpio => self.gpio.clone().map(Wiring::Gpio),
            BackendName::Led => self.led.clone().map(Wiring::Led),
            BackendName::Pwm => self.pwm.clone().map(Wiring::Pwm),
            _ => None,
        }
    }

    /// Returns whether a lamp is there that can fail.
    pub(crate) fn has_hardware(&self) -> bool {
        self.backend != BackendName::Simulated && self.remote().is_none()
    }

    /// Makes the backend; it touches no hardware yet.
    pub(crate) fn backend(&self, device: &str) -> Backend {
        let curve = self.curve.unwrap_or(match self.backend {
            BackendName::Pwm => Curve::Perceptual,
            _ => Curve::Linear,
        });
        match (self.wiring(), &self.command) {
            (Some(wiring), _) => {
                let output = Output::new(wiring, self.root.clone(), format!("hearthd {device}"));
                Backend::Output(output, curve)
            }
            (None, Some(command)) => Backend::Command(command.clone()),
            (None, None) => Backend::Simulated,
        }
    }
}
