//! Asks as any requester would: Response Information, a response topic of its own, Correlation Data.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use hearth_core::{
    Message, QoS,
    topic::{Prefix, PrefixError},
};

use crate::{
    config::Config,
    driver::random_bytes,
    link::ConnectOptions,
    visit::{self, Visit, VisitError},
};

/// What to ask, and for how long.
#[derive(Clone, Debug)]
pub struct Question {
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
pub struct Response {
    /// The message as it came.
    pub message: Message,
}

impl Response {
    /// Returns `__stat`, or 200 where a foreign responder gives none.
    pub fn status(&self) -> u16 {
        self.message.user_property("__stat").and_then(|status| status.parse().ok()).unwrap_or(200)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no connection, or not any more.
    #[error(transparent)]
    Visit(#[from] VisitError),
    /// The broker's Response Information cannot be used.
    #[error("the broker's Response Information cannot be used: {0}")]
    ResponseInformation(#[from] PrefixError),
    /// Nobody takes requests on this topic.
    #[error("nobody takes requests on {0}: is the daemon running?")]
    NoResponder(String),
    /// No answer came in time.
    #[error("no answer on {0} within {1:?}")]
    NoAnswer(String, Duration),
}

/// Asks once, and waits for the answer, or for all of them.
///
/// # Errors
/// Where no answer came, with the reason.
pub async fn ask(config: &Config, question: &Question) -> Result<Vec<Response>, AskError> {
    let random = random_bytes();
    let client_id = visit::client_id(config, "cli");
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: &client_id,
        keep_session: false,
        will: None,
    };
    let (mut visit, connack) = Visit::begin(&options, question.timeout).await?;
    let prefix = match connack.response_information.as_deref().map(Prefix::parse) {
        Some(parsed) => Some(parsed?),
        None => config.response_information.fallback.clone(),
    };
    let values = [("client_id", client_id.as_str()), ("purpose", "request")];
    let response_topic = config.topics.response.build(prefix.as_ref(), &values);
    if visit.subscribe(&response_topic, false).await? >= 0x80 {
        let what = format!("a subscription to {response_topic}");
        return Err(VisitError::NotAuthorized(what).into());
    }
    let values = [("device", question.device.as_str()), ("property", question.property.as_str())];
    let expiry = u32::try_from(question.timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    let request = Message {
        topic: config.topics.request.build(prefix.as_ref(), &values),
        payload: question.payload.clone(),
        qos: QoS::AtLeastOnce,
        expiry: Some(expiry),
        response_topic: Some(response_topic),
        correlation_data: Some(random.to_vec().into()),
        ..Message::default()
    };
    let answers = exchange(&mut visit, question, request).await;
    visit.end().await;
    answers
}

async fn exchange(
    visit: &mut Visit,
    question: &Question,
    request: Message,
) -> Result<Vec<Response>, AskError> {
    match visit.publish(&request).await? {
        NO_MATCHING_SUBSCRIBERS => return Err(AskError::NoResponder(request.topic)),
        0..0x80 => {}
        _ => {
            return Err(VisitError::NotAuthorized(format!("a request on {}", request.topic)).into());
        }
    }
    let mut answers = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(message) = visit.receive().await? {
        let ours = message.correlation_data == request.correlation_data;
        let content = (message.payload.clone(), message.user_properties.clone());
        if ours && (!message.dup || seen.insert(content)) {
            answers.push(Response { message });
        }
        if ours && !question.all {
            break;
        }
    }
    if answers.is_empty() {
        return Err(AskError::NoAnswer(request.topic, question.timeout));
    }
    Ok(answers)
}

/// PUBACK: the broker knows of no subscriber (MQTT 3.4.2.1).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
