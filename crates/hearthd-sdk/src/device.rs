//! The trait that a plugin author implements, and how it answers.

use std::error::Error;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::mqtt::{Message, PublishError, Topics};
use crate::{Absence, Changes, Context, Property};

/// One kind of device; a value of the type is one device.
///
/// Calls on one device never overlap, but may come from different threads (T1). Each should return within milliseconds.
/// Do longer work on a thread of the device, and answer with [`Context::defer`]. A panic in any of them ends only this
/// device, and the hub creates it anew.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kind of device",
    label = "`hearthd_sdk::Device` is not implemented for it",
    note = "write `impl hearthd_sdk::Device for {Self}` with its properties, `create` and `set`"
)]
pub trait Device: Sized + Send + 'static {
    /// The name for `plugin = "..."` in the hub's configuration.
    const KIND: &'static str;

    /// The names of properties that a device declares with some tables and not with others.
    ///
    /// [`set`](Self::set) may ask its changes for them in any case; any other name that is not declared is a mistake.
    const OPTIONAL: &'static [&'static str] = &[];

    /// The device's `config` table; it should deny unknown fields.
    type Config: DeserializeOwned;

    /// Reports problems of a configuration that its types do not find; does no I/O.
    fn check(_config: &Self::Config, _problems: &mut Problems) {}

    /// Declares the properties of a device with this configuration; does no I/O.
    fn properties(config: &Self::Config) -> Vec<Property>;

    /// Returns whether a device with this configuration may add devices of its own while it runs, with
    /// [`Context::children`]; does no I/O. `hearthd check` says so.
    fn may_add(_config: &Self::Config) -> bool {
        false
    }

    /// Makes a device and publishes the state of every readable property.
    ///
    /// `saved` is what [`save`](Self::save) last returned, before a restart of the hub or of the device; `None` the
    /// first time.
    ///
    /// # Errors
    ///
    /// The device cannot be created now, for example because its hardware is missing. The hub tries again with
    /// back-off, and requesters get 503 with the message.
    fn create(
        config: Self::Config,
        context: Context,
        saved: Option<&[u8]>,
    ) -> Result<Self, Failure>;

    /// Applies all changes or none, and publishes every property whose state changed.
    ///
    /// The values are allowed by the declarations of [`properties`](Self::properties) (C0). Reads do not come here: the
    /// hub answers them with the last published state.
    ///
    /// # Errors
    ///
    /// The changes are not applied: the requester gets the status and message of the [`Failure`].
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure>;

    /// Handles a timer that [`Context::set_timer`] armed.
    fn timer(&mut self, _id: u32) {}

    /// Handles a call of [`Context::wake`].
    fn wake(&mut self) {}

    /// Handles the outcome of the hub's will (MQTT 3.1.2.5) after the hub was away (A1).
    ///
    /// It may be called again for one generation, when late evidence changes the outcome.
    fn absence(&mut self, _absence: &Absence) {}

    /// Declares the MQTT topics that a device with this configuration uses itself, and the devices that it asks or follows;
    /// does no I/O.
    ///
    /// `hearthd check` and `hearthd plugin check` print them, and the hub holds the device to them.
    fn topics(_config: &Self::Config) -> Topics {
        Topics::none()
    }

    /// Handles a message on a topic that the device listens to, or a state that it follows.
    ///
    /// The device does not hear what it or another device of the hub publishes, states that it follows aside. 64 messages or 1 MiB may wait for it:
    /// of more, the oldest are lost.
    fn message(&mut self, _message: &Message) {}

    /// Handles what became of a message that [`Context::send`] has taken on: comes once for each.
    ///
    /// Where a reply was expected, it is that, and comes with its payload; where another device was asked, it is that
    /// device's answer, and [`Response::read`](crate::mqtt::Response::read) reads it; else that the broker has the message.
    fn outcome(&mut self, _token: u64, _result: Result<&[u8], PublishError>) {}

    /// Handles that there is a connection to the broker, with all that the device listens to, or none any more.
    ///
    /// At first there is none. What the broker has retained comes after `true`, each time.
    fn link(&mut self, _up: bool) {}

    /// Handles that a child which was added is none after all (N6): another device has its ID, because of a reload of
    /// the hub's configuration, or because the hub found it only after [`Children::add`](crate::Children::add).
    fn child_refused(&mut self, _name: &str, _reason: &str) {}

    /// Returns the state that the next [`create`](Self::create) of this device gets, in a form of the author's choice.
    ///
    /// The hub calls it after every call, so that the state survives a power cut too; keep it cheap. If the result has
    /// changed, the hub stores it before it gives an answer that tells of it.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }
}

/// The configuration of a kind that has none: an empty table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// How a device answers changes that it accepts.
///
/// The answer goes to the request's Response Topic with its Correlation Data (MQTT 3.3.2.3.5, 3.3.2.3.6), and
/// carries the state that the device last published of every property that the request named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The changes are applied.
    Done,
    /// A [`Deferred`](crate::Deferred) taken during this call answers.
    Later,
}

/// Why a device does not do what a request asks.
///
/// The requester reads the status and the message in the user properties `__stat` and `__stMsg` of the answer
/// (MQTT 3.3.2.3.7), and in its JSON payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    /// Reports that the device tried and failed (status 500).
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Failed, message: message.into() }
    }

    /// Reports that the values are not acceptable (status 422).
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Invalid, message: message.into() }
    }

    /// Reports that the requester should try again later (status 429).
    pub fn busy(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Busy, message: message.into() }
    }

    /// Reports that the device cannot reach its hardware or service (status 503).
    ///
    /// If that lasts, call [`Context::unreachable`] as well.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Unreachable, message: message.into() }
    }

    /// Says that nobody can tell whether the changes are, or will yet be, applied (status 409, reason `indeterminate`).
    pub fn indeterminate(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Indeterminate, message: message.into() }
    }

    /// Returns the kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the message for the requester.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// Not an `Error` itself, else this would overlap with `From<T> for T`.
impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    /// Turns any error, a boxed one or a text into [`Failure::failed`], so that `?` works in every method of a device.
    ///
    /// The message is the error's, then those of its sources.
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // Some errors repeat their source.
            if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
            source = error.source();
        }
        Self::failed(message)
    }
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The device tried and failed.
    Failed,
    /// The values are not acceptable.
    Invalid,
    /// The device is busy.
    Busy,
    /// The device cannot reach its hardware or service.
    Unreachable,
    /// Nobody can tell what became of the changes.
    Indeterminate,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place, such as `pid.kp` or `rooms[2].name`; empty for the table as a whole.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// All problems of a configuration.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.list.push(Problem { path: path.into(), message: message.into() });
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

/// Reads a configuration and checks it.
pub(crate) fn read_config<D: Device>(json: &[u8]) -> Result<D::Config, Vec<Problem>> {
    let json = if json.is_empty() { b"{}" } else { json };
    let whole = |message: String| vec![Problem { path: String::new(), message }];
    let table: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| whole(error.to_string()))?;
    if !table.is_object() {
        return Err(whole("a table is expected".to_owned()));
    }
    let config: D::Config = serde_path_to_error::deserialize(table).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![Problem { path, message: error.inner().to_string() }]
    })?;
    let mut problems = Problems::default();
    D::check(&config, &mut problems);
    match problems.into_list() {
        list if list.is_empty() => Ok(config),
        list => Err(list),
    }
}
