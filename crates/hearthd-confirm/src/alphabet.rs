//! All inputs and outputs of a confirmer. Nothing else can happen to it.

use std::time::Duration;

use crate::{Availability, Color, Evidence, Readings, Verdict};

/// An input of a confirmer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A command for the device.
    Command(Command),
    /// A message arrived on one of the topics that [`Backend::declared_topics`](crate::Backend::declared_topics) names.
    Message(Message),
    /// The answer to a publication with `reply` arrived; the driver matches it by Correlation Data (MQTT 4.10).
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
    /// Reads the device's state now; the result is an [`Output::Observed`].
    Refresh,
    /// The time of [`Confirmer::poll_timeout`](crate::Confirmer::poll_timeout) has come.
    Elapsed,
}

/// An output of a confirmer. The driver performs outputs in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Publish this, not retained.
    Publish(Publication),
    /// The verdict on a command; each command gets exactly one.
    Verdict {
        /// The command.
        command: CommandId,
        /// The answer.
        verdict: Verdict,
    },
    /// The device reported its state, asked or not.
    Observed {
        /// The values that it reported.
        readings: Readings,
        /// How good the evidence is; `None` for a claim, such as a retained message, that must not be published as a
        /// state.
        evidence: Option<Evidence>,
    },
    /// Whether the device can be reached has changed.
    Availability(Availability),
    /// The later outcome of a command whose verdict was that the device sleeps.
    Queued {
        /// The command.
        command: CommandId,
        /// The outcome.
        queued: Queued,
    },
}

/// A command for the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Names the command in [`Output::Verdict`].
    pub id: CommandId,
    /// The wanted values.
    pub wanted: Wanted,
    /// The latest time for the verdict, on the clock of [`Confirmer::handle`](crate::Confirmer::handle).
    pub deadline: Duration,
}

/// Identifies a command; the driver counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// The wanted values of a device; what is absent stays unchanged.
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

/// The wanted state of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Be off.
    Off,
    /// Be on.
    On,
    /// The opposite of the present state; sent as off or on, so that sending it twice does no harm.
    Toggle,
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// Whether the broker had it stored when this client subscribed.
    ///
    /// It is the RETAIN flag of a subscription *without* Retain As Published (MQTT 3.8.3.1, 3.3.1.3). With that option
    /// a fresh message that its sender wants retained has the flag too, and the confirmer would ignore the message.
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
    /// Identifies the publication in [`Event::Reply`] and [`Event::NotPublished`].
    pub token: Token,
    /// The command that it is for, if it is for one.
    pub command: Option<CommandId>,
    /// The topic name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service.
    pub qos: QoS,
    /// The Message Expiry Interval (MQTT 3.3.2.3.3): after it the effect is of no use.
    pub expiry: Duration,
    /// Whether to add a Response Topic and Correlation Data (MQTT 3.3.2.3.5, 3.3.2.3.6). The latter must have at most
    /// 16 bytes: Tasmota ends the connection if there are more.
    pub reply: bool,
}

/// Identifies a publication within one confirmer.
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

/// The outcome of a command that waited for its device to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It still waits.
    Pending,
    /// The device reported that it has carried the command out.
    Confirmed,
    /// It has waited longer than such a device sleeps; the device may still carry it out.
    Overdue,
}
