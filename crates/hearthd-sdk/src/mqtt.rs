//! MQTT topics of a device's own, through its hub: the extension `hearth.mqtt/1`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::{Context, Deferred, abi};

/// The topics that a device uses, beside those that the hub makes for it.
///
/// Each is a topic filter (MQTT 4.7.1) of 1,024 bytes at most, 64 in all, none with a leading `$`. What lies outside
/// of the hub's prefix the operator must allow as well, with `[bridges] allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    pairs: Vec<(&'static str, String)>,
}

impl Topics {
    /// No topics: the device does not use MQTT itself.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a topic that the device listens to, as any number of devices may.
    #[must_use]
    pub fn subscribe(self, filter: impl Into<String>) -> Self {
        self.with("subscribe", filter.into())
    }

    /// Adds a topic that this device alone publishes on: another one that declares it fails, and this one as well.
    #[must_use]
    pub fn publish(self, filter: impl Into<String>) -> Self {
        self.with("publish", filter.into())
    }

    /// Adds a topic that the device publishes on as others may that share it.
    #[must_use]
    pub fn share(self, filter: impl Into<String>) -> Self {
        self.with("share", filter.into())
    }

    /// Adds a device that this one may ask with [`Publication::ask`], by its ID; it may be of another hub of the home.
    ///
    /// Devices that ask each other in a circle fail.
    #[must_use]
    pub fn ask(self, device: impl Into<String>) -> Self {
        self.with("ask", device.into())
    }

    /// Adds a property of another device, whose state this one hears, as [`Device::message`](crate::Device::message) on the
    /// topic `DEVICE/PROPERTY`. The device may be of this hub or of another one of the home. There may be 256 of them,
    /// beside the 64 topics.
    #[must_use]
    pub fn follow(self, device: &str, property: &str) -> Self {
        self.with("follow", format!("{device}/{property}"))
    }

    fn with(mut self, purpose: &'static str, filter: String) -> Self {
        self.pairs.push((purpose, filter));
        self
    }

    pub(crate) fn pairs(&self) -> &[(&'static str, String)] {
        &self.pairs
    }
}

/// A message that has arrived on one of the device's topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name; of a state that the device follows, `DEVICE/PROPERTY`.
    pub topic: String,
    /// The payload, as it came.
    pub payload: Vec<u8>,
    /// Whether the broker had it stored when the hub subscribed (MQTT 3.3.1.3): how things were then, perhaps long ago.
    pub retained: bool,
}

/// The quality of service of a message (MQTT 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A message to publish.
///
/// It is at QoS 0, not retained, and wanted for ten seconds, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub(crate) token: u64,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) reply: bool,
    pub(crate) ask: bool,
    pub(crate) expiry: Duration,
    pub(crate) command: u64,
}

impl Publication {
    /// Makes a message for a topic name that the device has declared.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            token: 0,
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::default(),
            retain: false,
            reply: false,
            ask: false,
            expiry: Duration::from_secs(10),
            command: 0,
        }
    }

    /// Asks another device, as any requester would, to set one of its properties; [`Topics::ask`] must name the device.
    ///
    /// The property `set` takes a JSON object of several values, and `get` takes nothing and tells all states. The answer
    /// is the message's outcome: [`Response::read`] reads it. Say with [`belonging_to`](Self::belonging_to) for which
    /// request it is, so that no device waits for itself.
    pub fn ask(device: &str, property: &str, value: impl Into<Vec<u8>>) -> Self {
        let qos = QoS::AtLeastOnce;
        Self { ask: true, qos, ..Self::new(format!("{device}/{property}"), value) }
    }

    /// Names the message in [`Device::outcome`](crate::Device::outcome), with a number of the author's choice.
    #[must_use]
    pub fn token(self, token: u64) -> Self {
        Self { token, ..self }
    }

    /// Sets the quality of service.
    #[must_use]
    pub fn qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// Has the broker keep the message for whoever subscribes later (MQTT 3.3.1.3).
    #[must_use]
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    /// Asks for a reply: the hub adds a Response Topic and 16 bytes of Correlation Data (MQTT 4.10), and the reply is
    /// the message's outcome.
    #[must_use]
    pub fn expect_reply(self) -> Self {
        Self { reply: true, ..self }
    }

    /// Sets how long the message is wanted, its Message Expiry Interval (MQTT 3.3.2.3.3), and how long a reply is
    /// awaited; ten minutes at most.
    #[must_use]
    pub fn expiry(self, expiry: Duration) -> Self {
        Self { expiry, ..self }
    }

    /// Says for which request the message is: it leaves before that is answered or not at all, and its expiry is no
    /// more than what is left of the request's.
    #[must_use]
    pub fn belonging_to(self, request: &Deferred) -> Self {
        Self { command: request.token(), ..self }
    }
}

/// What another device has answered (Q7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Response {
    /// 200 or 204 where it has done what it was asked, 202 where that is under way, else why not: see the table of
    /// statuses in the hub's README.
    pub status: u16,
    /// The state, where it tells one.
    #[serde(default)]
    pub payload: String,
    /// What went wrong, for people.
    #[serde(default)]
    pub message: String,
    /// Why the status is 409 or 503, such as `indeterminate` or `unreachable`.
    #[serde(default)]
    pub reason: String,
}

impl Response {
    /// Reads the outcome of [`Publication::ask`]; one that cannot be read has the status 500.
    pub fn read(outcome: &[u8]) -> Self {
        serde_json::from_slice(outcome).unwrap_or_else(|error| Self {
            status: 500,
            message: format!("the answer cannot be read: {error}"),
            ..Self::default()
        })
    }

    /// Returns whether the device has done what it was asked.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Why a message came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection to the broker, or it was lost; or the request that the message is for has its answer.
    Gone,
    /// 16 messages of this device, or 256 KiB, are under way.
    Busy,
    /// The topic was not declared or is not allowed, or the broker refuses the message.
    Refused,
    /// Hub or broker take no message of this size.
    TooLarge,
    /// Its time was over before it left, or the request that it is for was answered; or no reply came in time.
    Late,
}

impl PublishError {
    /// Reads a status of the binary interface (Q2, Q4).
    pub(crate) fn read(status: i32) -> Self {
        match status {
            abi::ERR_GONE => Self::Gone,
            abi::ERR_BUSY => Self::Busy,
            abi::ERR_TOO_LARGE => Self::TooLarge,
            abi::ERR_FAILED => Self::Late,
            _ => Self::Refused,
        }
    }

    /// Returns the status that stands for it.
    pub(crate) fn status(self) -> i32 {
        match self {
            Self::Gone => abi::ERR_GONE,
            Self::Busy => abi::ERR_BUSY,
            Self::TooLarge => abi::ERR_TOO_LARGE,
            Self::Late => abi::ERR_FAILED,
            Self::Refused => abi::ERR_INVALID,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "there is no connection to the broker",
            Self::Busy => "too many messages of the device wait",
            Self::Refused => "the device may not publish there",
            Self::TooLarge => "the message is too large",
            Self::Late => "the message, or the reply to it, is too late",
        })
    }
}

impl std::error::Error for PublishError {}

impl Context {
    /// Publishes a message on a topic that [`Device::topics`](crate::Device::topics) declares.
    ///
    /// What becomes of it comes as [`Device::outcome`](crate::Device::outcome), once.
    ///
    /// # Errors
    ///
    /// Where it is not even taken on; then no outcome follows.
    pub fn send(&self, publication: &Publication) -> Result<(), PublishError> {
        match self.host().send(publication) {
            abi::OK => Ok(()),
            status => Err(PublishError::read(status)),
        }
    }
}
