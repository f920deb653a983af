//! Everything that can happen to a confirmer, and everything that it can want: nothing else exists.

use std::time::Duration;

use crate::{Availability, Color, Evidence, Readings, Verdict};

/// What happens to a confirmer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody wants something of the device.
    Command(Command),
    /// A message arrived on one of the topics that [`Backend::declared_topics`](crate::Backend::declared_topics) names.
    Message(Message),
    /// The answer to a publication that asked for one arrived, by its Correlation Data (MQTT 4.10).
    Reply {
        /// The token of the [`Publication`].
        token: Token,
        /// The answer's payload.
        payload: Vec<u8>,
    },
    /// A publication was not sent.
    NotPublished {
        /// The token of the [`Publication`].
        token: Token,
        /// Why not.
        error: PublishError,
    },
    /// The connection to the broker was made, with its subscriptions, or was lost.
    Link {
        /// Whether there is a connection now; there is none before the first of these events.
        up: bool,
    },
    /// Somebody wants to know the device's state as it is; what comes is an [`Output::Observed`].
    Refresh,
    /// The time of [`Confirmer::poll_timeout`](crate::Confirmer::poll_timeout) has come.
    Elapsed,
}

/// What a confirmer wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Publish this, not retained.
    Publish(Publication),
    /// The one answer to a command.
    Verdict {
        /// The command.
        command: CommandId,
        /// The answer.
        verdict: Verdict,
    },
    /// The device said something of its state, asked or not.
    Observed {
        /// What it said.
        readings: Readings,
        /// What it is worth; none is a claim that no property should be published by, such as a retained message.
        evidence: Option<Evidence>,
    },
    /// Whether the device can be reached has changed.
    Availability(Availability),
    /// What became of a command after its verdict said that it waits for the device to wake.
    Queued {
        /// The command.
        command: CommandId,
        /// What became of it.
        queued: Queued,
    },
}

/// Something that is wanted of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Names the command in [`Output::Verdict`].
    pub id: CommandId,
    /// What is wanted.
    pub wanted: Wanted,
    /// When the verdict must be there, on the clock of [`Confirmer::handle`](crate::Confirmer::handle).
    pub deadline: Duration,
}

/// Names a command; the driver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What is wanted of a device; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Whether it is on.
    pub power: Option<Switch>,
    /// 0 to 100 percent. 0 switches off, more switches on, unless `power` says off.
    pub brightness: Option<u8>,
    /// In kelvin, more than 0.
    pub color_temperature: Option<u16>,
    /// A color; not together with a color temperature.
    pub color: Option<Color>,
    /// How long the change takes, in seconds; 0 is at once.
    pub transition: f64,
    /// A radiator valve's own target, in degrees Celsius.
    pub setpoint: Option<f64>,
}

/// What a switch should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Be off.
    Off,
    /// Be on.
    On,
    /// Be what it is not; sent as off or on, so that sending it twice does no harm.
    Toggle,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Whether the broker had it stored when this client subscribed.
    ///
    /// It is the RETAIN flag of a subscription *without* Retain As Published (MQTT 3.8.3.1, 3.3.1.3). With that option
    /// a fresh message that its sender wants retained has the flag as well, and would be ignored here.
    pub retained: bool,
}

impl Message {
    /// Makes a message that was not retained.
    pub fn live(topic: &str, payload: &[u8]) -> Self {
        Self { topic: topic.to_owned(), payload: payload.to_vec(), retained: false }
    }

    /// Makes a message that the broker had stored.
    pub fn retained(topic: &str, payload: &[u8]) -> Self {
        Self { retained: true, ..Self::live(topic, payload) }
    }
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Names it in [`Event::Reply`] and [`Event::NotPublished`].
    pub token: Token,
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service.
    pub qos: QoS,
    /// The Message Expiry Interval (MQTT 3.3.2.3.3): after that nobody waits for what it causes.
    pub expiry: Duration,
    /// Whether to add a Response Topic and Correlation Data (MQTT 3.3.2.3.5, 3.3.2.3.6). At most 16 bytes of the latter:
    /// Tasmota ends the connection over more.
    pub reply: bool,
}

/// Names a publication within one confirmer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// The quality of service of a publication (MQTT 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QoS {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// Why a publication was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection to the broker.
    Gone,
    /// Too many messages of this device wait.
    Busy,
    /// The topic was not declared, or is not allowed.
    Refused,
    /// The broker takes no message of this size.
    TooLarge,
}

/// What became of a command that waited for its device to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It waits.
    Pending,
    /// The device has it, by its own word.
    Confirmed,
    /// It waits for longer than a device of its kind sleeps; it may still be taken.
    Overdue,
}
