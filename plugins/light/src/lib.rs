//! The light: a switch, and where the lamp can do it a brightness, a color temperature and a color.
//!
//! A brightness above 0 switches on and 0 switches off, unless the same command sets `power` as well.
//!
//! There are two kinds, which have the properties in common. A wired light drives a line of the
//! machine or runs a program: its state is what it should show. A remote one is an MQTT
//! device: its state is what the device says that it is, and a command is answered once the device has confirmed it.

mod backend;
mod color;
mod config;
mod ramp;
mod remote;
mod state;
mod wired;

use hearthd_sdk::mqtt::{Message, PublishError, Topics};
use hearthd_sdk::{Absence, Answer, Changes, Context, Device, Failure, Problems, Property};

pub use crate::config::Config;
use crate::config::Kelvin;
use crate::remote::RemoteLight;
use crate::state::{ColorMode, MAX_TRANSITION};
use crate::wired::Wired;

hearthd_sdk::export!(Light);

/// A light.
#[derive(Debug)]
pub struct Light(Kind);

#[derive(Debug)]
enum Kind {
    Wired(Box<Wired>),
    Remote(Box<RemoteLight>),
}

impl Device for Light {
    const KIND: &'static str = "light";
    const OPTIONAL: &'static [&'static str] =
        &["brightness", "transition", "color_temperature", "color"];
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &Config) -> Vec<Property> {
        let mut properties = vec![Property::switch("power").title("Power")];
        if config.brightness {
            let brightness = Property::integer("brightness").range(0, 100);
            properties.push(brightness.unit("%").title("Brightness"));
        }
        if config.has_transition() {
            let transition = Property::number("transition").range(0, MAX_TRANSITION).step(0.1);
            properties.push(transition.unit("s").title("Transition"));
        }
        if let Some(Kelvin { min, max }) = config.color_temperature {
            let color_temperature = Property::integer("color_temperature").range(min, max);
            properties.push(color_temperature.unit("K").title("Color temperature"));
        }
        if config.color {
            properties.push(Property::text("color").title("Color"));
        }
        if config.has_color_mode() {
            let color_mode = Property::choice("color_mode", &ColorMode::VALUES);
            properties.push(color_mode.title("Color mode").read_only());
        }
        if config.has_hardware() {
            properties.push(Property::text("alert").title("Alert").read_only());
        }
        properties
    }

    fn topics(config: &Config) -> Topics {
        config.remote().as_ref().map_or_else(Topics::none, hearthd_remote::topics)
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self(match config.remote() {
            Some(backend) => {
                Kind::Remote(Box::new(RemoteLight::new(config, backend, context, saved)))
            }
            None => Kind::Wired(Box::new(Wired::new(config, context, saved))),
        }))
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        match &mut self.0 {
            Kind::Wired(light) => light.set(changes).map(|()| Answer::Done),
            Kind::Remote(light) => light.set(changes),
        }
    }

    fn timer(&mut self, id: u32) {
        match &mut self.0 {
            Kind::Wired(light) => light.timer(id),
            Kind::Remote(light) => light.timer(),
        }
    }

    fn absence(&mut self, absence: &Absence) {
        match &mut self.0 {
            Kind::Wired(light) => light.absence(absence),
            Kind::Remote(light) => light.absence(absence),
        }
    }

    fn link(&mut self, up: bool) {
        if let Kind::Remote(light) = &mut self.0 {
            light.link(up);
        }
    }

    fn message(&mut self, message: &Message) {
        if let Kind::Remote(light) = &mut self.0 {
            light.message(message);
        }
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        if let Kind::Remote(light) = &mut self.0 {
            light.outcome(token, result);
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(match &self.0 {
            Kind::Wired(light) => light.save(),
            Kind::Remote(light) => light.save(),
        })
    }
}
