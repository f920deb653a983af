//! Sends requests like any requester: Response Information, its own response topic, Correlation Data.

mod following;
mod responder;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use hearthd_core::{
    Message, QoS,
    topic::{Prefix, PrefixError, check_name},
};
use tokio::time::Instant;

use crate::{
    client::connection::{self, Connection, ConnectionError},
    config::{Config, ResponseInformation},
    random::random_bytes,
};
use responder::{Breadth, Known};

pub(crate) use following::follow;
pub(crate) use responder::Away;

/// What to ask, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Device ID, or the hub's client ID.
    pub device: String,
    /// Property or verb.
    pub property: String,
    /// Payload; empty reads.
    pub payload: Bytes,
    /// How long to wait.
    pub timeout: Duration,
    /// Whether to wait for the answers of several responders until the time is over.
    pub all: bool,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The message as it came.
    pub message: Message,
}

impl Response {
    /// Returns `__stat`, or 200 where a foreign responder gives none.
    pub(crate) fn status(&self) -> u16 {
        self.message.user_property("__stat").and_then(|status| status.parse().ok()).unwrap_or(200)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no connection, or not any more.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The configuration requires Response Information, and the broker's cannot be used.
    #[error("the broker's Response Information cannot be used: {0}")]
    ResponseInformation(#[from] PrefixError),
    /// The configuration requires Response Information, and the broker offers none.
    #[error(
        "the broker offers no Response Information, and the configuration has `required = true`"
    )]
    NoResponseInformation,
    /// The hub that serves the device is away: the request was not sent.
    #[error(transparent)]
    Away(#[from] Away),
    /// Nobody takes requests for the device.
    #[error("nobody serves `{device}`{hint}")]
    NoResponder {
        /// Device ID.
        device: String,
        /// What to look at, for people.
        hint: String,
    },
    /// No answer came in time.
    #[error("no answer on {topic} within {timeout:?}{hint}")]
    NoAnswer {
        /// The topic that was asked on.
        topic: String,
        /// How long there was no answer.
        timeout: Duration,
        /// What to look at, for people.
        hint: String,
    },
}

/// Returns how long to wait for a device: longer than its deadline, so that its hub's 408 is still heard.
pub(crate) fn default_timeout(config: &Config, device: &str) -> Duration {
    let own = config.devices.get(device).map(|device| device.deadline);
    own.unwrap_or(config.requests.deadline) + BEYOND_DEADLINE
}

/// Checks a device ID or a property from the command line.
///
/// # Errors
/// Where it cannot be one level of a topic name.
pub(crate) fn check_level(level: &str) -> Result<(), &'static str> {
    if level.contains('/') {
        return Err("contains `/`");
    }
    check_name(level)
}

/// Asks once, and waits for the answer, or for all of them.
///
/// A device whose hub is away is not asked: the request would wait at the broker and be carried out late.
///
/// # Errors
/// Where no answer came, with the reason.
pub(crate) async fn ask(config: &Config, question: &Question) -> Result<Vec<Response>, AskError> {
    let deadline = Instant::now() + question.timeout;
    let (mut asking, known) = Asking::begin(config, question, deadline).await?;
    let answers = match known {
        Known::Away(away) => Err(away.into()),
        known => asking.exchange(question, &known).await,
    };
    asking.connection.end().await;
    answers
}

/// A connection that is ready to ask.
struct Asking<'c> {
    config: &'c Config,
    connection: Connection,
    prefix: Option<Prefix>,
    response_topic: String,
    deadline: Instant,
}

impl<'c> Asking<'c> {
    /// Connects, and finds out who serves the device.
    ///
    /// Some brokers end the connection over a filter that they do not grant: then less is looked at, in another one.
    async fn begin(
        config: &'c Config,
        question: &Question,
        deadline: Instant,
    ) -> Result<(Self, Known), AskError> {
        for breadth in [Breadth::AllDevices, Breadth::OneDevice] {
            let mut asking = Self::connect(config, deadline).await?;
            if let Ok(known) = asking.find(&question.device, breadth).await {
                return Ok((asking, known));
            }
        }
        Ok((Self::connect(config, deadline).await?, Known::Hidden))
    }

    async fn connect(config: &'c Config, deadline: Instant) -> Result<Self, AskError> {
        let client_id = connection::client_id(config, "cli");
        let options = connection::options(&config.broker, &client_id);
        let remaining = deadline.saturating_duration_since(Instant::now());
        let (mut connection, connack) = Connection::begin(&options, remaining).await?;
        let offered = connack.response_information.as_deref();
        let prefix = resolve_prefix(&config.response_information, offered)?;
        let values = [("client_id", client_id.as_str()), ("purpose", "request")];
        let response_topic = config.topics.response.build(prefix.as_ref(), &values);
        if connection.subscribe(&response_topic, false).await? >= REFUSED {
            let what = format!("a subscription to {response_topic}");
            return Err(ConnectionError::NotAuthorized(what).into());
        }
        Ok(Self { config, connection, prefix, response_topic, deadline })
    }

    /// Sends the request and collects its answers.
    async fn exchange(
        &mut self,
        question: &Question,
        known: &Known,
    ) -> Result<Vec<Response>, AskError> {
        let request = self.request(question);
        match self.connection.publish(&request).await? {
            NO_MATCHING_SUBSCRIBERS => {
                let device = question.device.clone();
                return Err(AskError::NoResponder { device, hint: known.hint_for_nobody() });
            }
            0..REFUSED => {}
            _ => {
                let what = format!("a request on {}", request.topic);
                return Err(ConnectionError::NotAuthorized(what).into());
            }
        }
        let answers = self.answers(&request, question.all).await?;
        if answers.is_empty() {
            let hint = known.hint_for_silence(&question.device);
            let timeout = question.timeout;
            return Err(AskError::NoAnswer { topic: request.topic, timeout, hint });
        }
        Ok(answers)
    }

    fn request(&self, question: &Question) -> Message {
        let values =
            [("device", question.device.as_str()), ("property", question.property.as_str())];
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let expiry = u32::try_from(remaining.as_secs()).unwrap_or(u32::MAX).max(1);
        Message {
            topic: self.config.topics.request.build(self.prefix.as_ref(), &values),
            payload: question.payload.clone(),
            qos: QoS::AtLeastOnce,
            expiry: Some(expiry),
            // Some brokers add an expiry to every message: this one is the requester's own.
            user_properties: vec![("expiry".into(), expiry.to_string())],
            response_topic: Some(self.response_topic.clone()),
            correlation_data: Some(random_bytes().to_vec().into()),
            ..Message::default()
        }
    }

    /// Waits for one answer, or for `all` until the time is over.
    ///
    /// A 404 may come from a hub that does not have the device: the right one may answer a moment later.
    async fn answers(
        &mut self,
        request: &Message,
        all: bool,
    ) -> Result<Vec<Response>, ConnectionError> {
        let mut answers: Vec<Response> = Vec::new();
        let mut end = self.deadline;
        loop {
            let message = match self.connection.receive_until(end).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(answers),
                // What has been answered stays so.
                Err(_) if !answers.is_empty() => return Ok(answers),
                Err(error) => return Err(error),
            };
            if message.topic != self.response_topic
                || message.correlation_data != request.correlation_data
            {
                continue;
            }
            let answer = Response { message };
            if all {
                answers.push(answer);
            } else if answer.status() != NOT_FOUND {
                return Ok(vec![answer]);
            } else if answers.is_empty() {
                answers.push(answer);
                end = end.min(Instant::now() + GRACE);
            }
        }
    }
}

/// Finds the prefix as the daemon does: Response Information that can be used, else the fallback unless it is required.
fn resolve_prefix(
    config: &ResponseInformation,
    offered: Option<&str>,
) -> Result<Option<Prefix>, AskError> {
    match offered.map(Prefix::parse) {
        Some(Ok(prefix)) => Ok(Some(prefix)),
        Some(Err(error)) if config.required => Err(error.into()),
        None if config.required => Err(AskError::NoResponseInformation),
        Some(Err(_)) | None => Ok(config.fallback.clone()),
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// PUBACK: the broker knows of no subscriber (MQTT 3.4.2.1).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// The status that says: not mine.
const NOT_FOUND: u16 = 404;
/// How long another responder may take after a 404.
const GRACE: Duration = Duration::from_millis(500);
/// What a 408 may take from the hub to here.
const BEYOND_DEADLINE: Duration = Duration::from_secs(2);
