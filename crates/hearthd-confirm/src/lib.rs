//! Decides whether an MQTT device did what it was told; performs nothing.
//!
//! A [`Confirmer`] is a state machine without I/O, clock or randomness, one for each device. Its driver feeds it one
//! [`Event`] at a time, performs the [`Output`]s that it then yields, and waits for the next event or for
//! [`Confirmer::poll_timeout`]. Every [`Command`] ends in exactly one [`Verdict`], at its deadline at the latest.
//!
//! What devices and bridges say is worth different things, so the [families](Backend) differ. The README of this crate has
//! a table of what each family's verdict rests on. Four things are never taken for a confirmation: the first state
//! after a command that a bridge passes on, a retained message, what a bridge says within two seconds of its start,
//! and the state of a group, whose members are read instead.
//!
//! ```
//! use std::time::Duration;
//! use hearthd_confirm::{Backend, Command, CommandId, Confirmer, Event, Message, Output, Tasmota, Wanted};
//!
//! let table: Tasmota = serde_json::from_str(r#"{"topic": "kitchen"}"#).unwrap();
//! let mut confirmer = Confirmer::new(Backend::Tasmota(table), 7);
//! let at = Duration::from_millis;
//! confirmer.handle(at(0), Event::Link { up: true });
//! let wanted = Wanted { power: Some(true.into()), ..Wanted::default() };
//! let command = Command { id: CommandId(1), wanted, deadline: at(5_000) };
//! confirmer.handle(at(0), Event::Command(command));
//! let published = std::iter::from_fn(|| confirmer.poll_output());
//! assert!(published.into_iter().any(
//!     |output| matches!(output, Output::Publish(set) if set.topic == "cmnd/kitchen/POWER" && set.payload == b"ON")
//! ));
//! let result = Message::live("stat/kitchen/RESULT", br#"{"POWER":"ON"}"#);
//! confirmer.handle(at(40), Event::Message(result));
//! let settled = confirmer.poll_timeout().unwrap();
//! confirmer.handle(settled, Event::Elapsed);
//! let verdict = std::iter::from_fn(|| confirmer.poll_output())
//!     .find_map(|output| if let Output::Verdict { verdict, .. } = output { Some(verdict) } else { None });
//! assert_eq!(verdict.map(|verdict| verdict.status()), Some(200));
//! ```

#![forbid(unsafe_code)]

mod alphabet;
mod availability;
mod color;
mod config;
mod confirmer;
mod device;
mod family;
mod goal;
mod group;
mod radio;
mod sensor;
mod target;
mod timestamp;
mod value;
mod verdict;

pub use alphabet::{
    Command, CommandId, Event, Message, Output, Publication, PublishError, QoS, Queued, Switch,
    Token, Wanted,
};
pub use availability::{Availability, Part};
pub use color::Color;
pub use config::{
    Available, Backend, DeclaredTopics, Esphome, EsphomeComponent, Problem, Read, Shelly, Tasmota,
    TopicValue, Topics, Wled, Zigbee2Mqtt,
};
pub use confirmer::Confirmer;
pub use radio::Radio;
pub use sensor::{Heard, Now, Reading, Sensor, SensorConfig, said_at};
pub use value::{Property, Readings, Value};
pub use verdict::{Doubt, Evidence, Verdict};
