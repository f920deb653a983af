//! A light that is an MQTT device: its state is what the device says that it is.

use hearthd_confirm::{Backend, Readings, Switch, Value, Wanted};
use hearthd_remote::{Decided, News, Remote};
use hearthd_sdk::mqtt::{Message, PublishError};
use hearthd_sdk::{Absence, Answer, Changes, Context, Failure};
use serde::{Deserialize, Serialize};

use crate::color::Rgb;
use crate::config::{AfterAbsence, Config, Kelvin};
use crate::state::{ColorMode, MAX_TRANSITION, number};

/// The timer of what is waited for.
const TIMER: u32 = 2;

/// A light that is an MQTT device.
#[derive(Debug)]
pub(crate) struct RemoteLight {
    config: Config,
    context: Context,
    remote: Remote,
    known: Known,
}

/// What the device last said of itself, and what it was last told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    power: Option<bool>,
    brightness: Option<u8>,
    color_temperature: Option<u16>,
    color: Option<Rgb>,
    color_mode: Option<ColorMode>,
    /// Seconds that a change takes.
    transition: f64,
    told: Told,
    /// The generation of the last absence that the light acted on.
    handled: Option<String>,
}

/// What the device was last told, and has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Told {
    power: Option<bool>,
    brightness: Option<u8>,
    color_temperature: Option<u16>,
    color: Option<Rgb>,
}

impl RemoteLight {
    pub(crate) fn new(
        config: Config,
        backend: Backend,
        context: Context,
        saved: Option<&[u8]>,
    ) -> Self {
        let mut known: Known = match saved.map(serde_json::from_slice) {
            Some(Ok(known)) => known,
            Some(Err(error)) => {
                tracing::warn!(%error, "the saved state is not readable");
                Known::default()
            }
            None => Known::default(),
        };
        known.transition = known.transition.clamp(0.0, MAX_TRANSITION);
        let remote = Remote::new(backend, context.clone(), TIMER);
        let light = Self { config, context, remote, known };
        light.publish(&Known::default());
        if light.config.has_transition() {
            light.context.publish("transition", light.known.transition);
        }
        light
    }

    pub(crate) fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let power = changes.switch("power").map(Switch::from);
        let brightness = number(changes, "brightness")?;
        let color_temperature = number(changes, "color_temperature")?;
        let color = changes.text("color").map(Rgb::read).transpose()?.map(Into::into);
        let transition = changes.number("transition").unwrap_or(self.known.transition);
        let wanted =
            Wanted { power, brightness, color_temperature, color, transition, setpoint: None };
        if wanted == (Wanted { transition, ..Wanted::default() }) {
            self.set_transition(transition);
            return Ok(Answer::Done);
        }
        let deferred = self.context.defer();
        let news = self.remote.command(wanted, changes.deadline(), Some(deferred));
        self.take(news);
        Ok(Answer::Later)
    }

    pub(crate) fn timer(&mut self) {
        let news = self.remote.timer();
        self.take(news);
    }

    pub(crate) fn link(&mut self, up: bool) {
        let news = self.remote.link(up);
        self.take(news);
    }

    pub(crate) fn message(&mut self, message: &Message) {
        let news = self.remote.message(message);
        self.take(news);
    }

    pub(crate) fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        let news = self.remote.outcome(token, result);
        self.take(news);
    }

    pub(crate) fn absence(&mut self, absence: &Absence) {
        let again = self.known.handled.as_ref() == Some(&absence.generation);
        if again || !absence.somebody_acted() {
            return;
        }
        self.known.handled = Some(absence.generation.clone());
        let transition = self.known.transition;
        let wanted = match self.config.after_absence {
            AfterAbsence::Keep => return,
            AfterAbsence::Restore => self.known.told.wanted(transition),
            AfterAbsence::Off => {
                Wanted { power: Some(Switch::Off), transition, ..Wanted::default() }
            }
        };
        if wanted == (Wanted { transition, ..Wanted::default() }) {
            return;
        }
        let news = self.remote.command(wanted, None, None);
        self.take(news);
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&self.known).expect("it holds nothing but numbers and text")
    }

    fn take(&mut self, news: Vec<News>) {
        for one in news {
            match one {
                News::State(readings) => self.learn(&readings),
                News::Decided(decided) => self.decide(decided),
            }
        }
    }

    /// Publishes what a command has led to, then answers it.
    fn decide(&mut self, decided: Decided) {
        if let Some(confirmed) = &decided.confirmed {
            let wanted = &decided.wanted;
            self.learn(confirmed);
            self.set_transition(wanted.transition);
            self.known.told.note(wanted, self.known.power);
            let before = self.known.clone();
            self.known.color_mode = mode_of_command(wanted).or(self.known.color_mode);
            if wanted.brightness == Some(0) && self.known.power == Some(false) {
                self.known.brightness = Some(0);
            }
            self.publish(&before);
        }
        decided.answer();
    }

    /// Takes over what the device says, and publishes what is new.
    fn learn(&mut self, readings: &Readings) {
        let before = self.known.clone();
        for value in readings.values() {
            match value {
                Value::Power(on) => self.known.power = Some(on),
                Value::Brightness(percent) => {
                    // It is on: what rounds to nothing is the least there is.
                    self.known.brightness = Some((percent.round() as u8).clamp(1, 100));
                }
                Value::ColorTemperature(kelvin) => {
                    let Some(Kelvin { min, max }) = self.config.color_temperature else { continue };
                    self.known.color_temperature = Some((kelvin.round() as u16).clamp(min, max));
                }
                Value::Color(color) => self.known.color = Some(color.into()),
                Value::Setpoint(_) => {}
            }
        }
        self.known.color_mode = mode_of(readings).or(self.known.color_mode);
        self.publish(&before);
    }

    fn set_transition(&mut self, transition: f64) {
        let same = self.known.transition.total_cmp(&transition).is_eq();
        self.known.transition = transition;
        if !same && self.config.has_transition() {
            self.context.publish("transition", transition);
        }
    }

    /// Publishes what is known, and differs from what was before.
    fn publish(&self, before: &Known) {
        let Known { power, brightness, color_temperature, color, color_mode, .. } = &self.known;
        if let Some(on) = power.filter(|_| *power != before.power) {
            self.context.publish("power", on);
        }
        if let Some(percent) = brightness.filter(|_| *brightness != before.brightness)
            && self.config.brightness
        {
            self.context.publish("brightness", percent);
        }
        if let Some(kelvin) = color_temperature
            && *color_temperature != before.color_temperature
            && self.config.color_temperature.is_some_and(|range| range.contains(*kelvin))
        {
            self.context.publish("color_temperature", *kelvin);
        }
        if let Some(color) = color.filter(|_| *color != before.color)
            && self.config.color
        {
            self.context.publish("color", color.to_string());
        }
        if let Some(mode) = color_mode.filter(|_| *color_mode != before.color_mode)
            && self.config.has_color_mode()
        {
            self.context.publish("color_mode", mode.as_str());
        }
    }
}

/// Returns what a device shows once it has done a command.
fn mode_of_command(wanted: &Wanted) -> Option<ColorMode> {
    if wanted.color.is_some() {
        Some(ColorMode::Color)
    } else {
        wanted.color_temperature.map(|_| ColorMode::ColorTemperature)
    }
}

/// Returns what a device shows, where it reports one of both: the other one is then out of use.
fn mode_of(readings: &Readings) -> Option<ColorMode> {
    let has = |is: fn(&Value) -> bool| readings.values().any(|value| is(&value));
    match (
        has(|value| matches!(value, Value::ColorTemperature(_))),
        has(|value| matches!(value, Value::Color(_))),
    ) {
        (true, false) => Some(ColorMode::ColorTemperature),
        (false, true) => Some(ColorMode::Color),
        (true, true) | (false, false) => None,
    }
}

impl Told {
    fn note(&mut self, wanted: &Wanted, power: Option<bool>) {
        self.power = power.or(self.power);
        self.brightness = wanted.brightness.filter(|percent| *percent > 0).or(self.brightness);
        if wanted.color_temperature.is_some() || wanted.color.is_some() {
            self.color_temperature = wanted.color_temperature;
            self.color = wanted.color.map(Into::into);
        }
    }

    fn wanted(&self, transition: f64) -> Wanted {
        let is_on = self.power != Some(false);
        Wanted {
            power: self.power.map(Switch::from),
            brightness: self.brightness.filter(|_| is_on),
            color_temperature: self.color_temperature.filter(|_| is_on),
            color: self.color.filter(|_| is_on).map(Into::into),
            transition,
            setpoint: None,
        }
    }
}
