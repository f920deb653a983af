//! Asks as any requester would: Response Information, a response topic of its own, Correlation Data.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use hearth_core::{
    Connack, Disconnection, Message, PublishId, QoS, Subscription,
    topic::{Prefix, PrefixError},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::Config,
    link::{ConnectOptions, Link, LinkEvent, LinkFull},
    notice,
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
    /// The broker refuses the account.
    #[error("the broker refuses: {0}")]
    NotAuthorized(String),
    /// The broker cannot be reached, or left.
    #[error("no connection to the broker: {0}")]
    Unavailable(String),
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

impl From<LinkFull> for AskError {
    fn from(_: LinkFull) -> Self {
        Self::Unavailable("the link's queue is full".into())
    }
}

/// Asks once, and waits for the answer, or for all of them.
///
/// # Errors
/// Where no answer came, with the reason.
pub async fn ask(config: &Config, question: &Question) -> Result<Vec<Response>, AskError> {
    let deadline = Instant::now() + question.timeout;
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has a source of randomness");
    let suffix = u32::from_be_bytes([random[0], random[1], random[2], random[3]]);
    let client_id = format!("{}-cli-{suffix:08x}", config.broker.client_id);
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: &client_id,
        keep_session: false,
        will: None,
    };
    let link = Link::open(&options, 0).map_err(AskError::Unavailable)?;
    let mut asking = Asking { link, deadline, correlation_data: random.to_vec().into() };
    let connack = asking.connected().await?;
    let prefix = match connack.response_information.as_deref().map(Prefix::parse) {
        Some(parsed) => Some(parsed?),
        None => config.response_information.fallback.clone(),
    };
    let values = [("client_id", client_id.as_str()), ("purpose", "request")];
    let response_topic = config.topics.response.build(prefix.as_ref(), &values);
    asking.subscribe(&response_topic).await?;
    let values = [("device", question.device.as_str()), ("property", question.property.as_str())];
    let topic = config.topics.request.build(prefix.as_ref(), &values);
    let answers = asking.exchange(question, topic, response_topic).await;
    // The answer is there; a broker that does not take DISCONNECT changes nothing.
    if asking.link.disconnect().is_ok() {
        while !matches!(asking.link.next().await, LinkEvent::Closed(_)) {}
    }
    answers
}

struct Asking {
    link: Link,
    deadline: Instant,
    correlation_data: Bytes,
}

impl Asking {
    async fn connected(&mut self) -> Result<Connack, AskError> {
        match self.next().await? {
            Some(LinkEvent::Connected(connack)) => Ok(connack),
            Some(_) | None => Err(AskError::Unavailable("the broker does not answer".into())),
        }
    }

    async fn subscribe(&mut self, filter: &str) -> Result<(), AskError> {
        self.link.subscribe(&[Subscription { filter: filter.to_owned(), retained: false }])?;
        match self.next().await? {
            Some(LinkEvent::Subscribed(codes)) if codes.iter().all(|code| *code < 0x80) => Ok(()),
            Some(LinkEvent::Subscribed(_)) => {
                Err(AskError::NotAuthorized(format!("a subscription to {filter}")))
            }
            Some(_) | None => Err(AskError::Unavailable("the broker does not answer".into())),
        }
    }

    async fn exchange(
        &mut self,
        question: &Question,
        topic: String,
        response_topic: String,
    ) -> Result<Vec<Response>, AskError> {
        let expiry = u32::try_from(question.timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        let request = Message {
            topic: topic.clone(),
            payload: question.payload.clone(),
            qos: QoS::AtLeastOnce,
            expiry: Some(expiry),
            response_topic: Some(response_topic),
            correlation_data: Some(self.correlation_data.clone()),
            ..Message::default()
        };
        self.link.publish(PublishId(1), &request)?;
        let mut answers = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(event) = self.next().await? {
            match event {
                LinkEvent::Published(_, NO_MATCHING_SUBSCRIBERS) => {
                    return Err(AskError::NoResponder(topic));
                }
                LinkEvent::Published(_, code) if code >= 0x80 => {
                    return Err(AskError::NotAuthorized(format!("a request on {topic}")));
                }
                LinkEvent::Received(message, delivery) => {
                    if let Some(delivery) = delivery {
                        self.link.acknowledge(delivery.id)?;
                    }
                    let ours = message.correlation_data.as_ref() == Some(&self.correlation_data);
                    let content = (message.payload.clone(), message.user_properties.clone());
                    if ours && (!message.dup || seen.insert(content)) {
                        answers.push(Response { message });
                    }
                    if ours && !question.all {
                        break;
                    }
                }
                LinkEvent::Connected(_)
                | LinkEvent::Subscribed(_)
                | LinkEvent::Published(..)
                | LinkEvent::Closed(_) => {}
            }
        }
        if answers.is_empty() {
            return Err(AskError::NoAnswer(topic, question.timeout));
        }
        Ok(answers)
    }

    /// Waits for the next event; none when the time is over.
    async fn next(&mut self) -> Result<Option<LinkEvent>, AskError> {
        match timeout_at(self.deadline, self.link.next()).await {
            Err(_) => Ok(None),
            Ok(LinkEvent::Closed(cause)) => Err(refusal(&cause)),
            Ok(event) => Ok(Some(event)),
        }
    }
}

fn refusal(cause: &Disconnection) -> AskError {
    let text = notice::describe(cause);
    match cause {
        Disconnection::Refused { reason_code: 0x85..=0x87 | 0x8A | 0x8C } => {
            AskError::NotAuthorized(text)
        }
        _ => AskError::Unavailable(text),
    }
}

/// PUBACK: the broker knows of no subscriber (MQTT 3.4.2.1).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
