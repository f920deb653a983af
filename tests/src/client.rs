//! A small MQTT 5 client: a fresh rumqttc for each connection, with everything that came in kept.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rumqttc::NetworkOptions;
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{
            ConnectProperties, Filter, Packet, PubAckReason, Publish, PublishProperties,
            SubscribeReasonCode,
        },
    },
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::{Doing, Failure, Result};

/// How to get into a broker on this machine.
#[derive(Clone, Debug)]
pub struct Access {
    /// TCP port on 127.0.0.1.
    pub port: u16,
    /// User name and password.
    pub login: Option<(String, String)>,
}

impl Access {
    /// Returns the arguments that every mosquitto client takes.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-h".into(), "127.0.0.1".into(), "-p".into()];
        arguments.push(self.port.to_string());
        if let Some((name, password)) = &self.login {
            arguments.extend(["-u".into(), name.clone(), "-P".into(), password.clone()]);
        }
        arguments
    }
}

/// An application message with the properties that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// QoS 1 where true, else QoS 0.
    pub at_least_once: bool,
    /// RETAIN.
    pub retain: bool,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Payload Format Indicator.
    pub payload_format: Option<u8>,
    /// User Properties in order.
    pub user_properties: Vec<(String, String)>,
}

impl Message {
    /// Makes a QoS 1 message.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            at_least_once: true,
            ..Self::default()
        }
    }

    /// Makes it a request.
    #[must_use]
    pub fn respond_to(mut self, topic: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.response_topic = Some(topic.into());
        self.correlation_data = Some(data.into());
        self
    }

    /// Adds a user property.
    #[must_use]
    pub fn with_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }

    /// Returns the payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// Returns the first user property of this name.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.user_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.property("__stat")?.parse().ok()
    }

    /// Returns the payload as JSON.
    ///
    /// # Errors
    /// Where it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.payload).doing(format!("payload `{}`", self.text()))
    }

    fn properties(self) -> PublishProperties {
        PublishProperties {
            payload_format_indicator: self.payload_format,
            message_expiry_interval: self.expiry,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data,
            user_properties: self.user_properties,
            content_type: self.content_type,
            ..PublishProperties::default()
        }
    }
}

impl From<Publish> for Message {
    fn from(publish: Publish) -> Self {
        let properties = publish.properties.unwrap_or_default();
        Self {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload,
            at_least_once: publish.qos == QoS::AtLeastOnce,
            retain: publish.retain,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            expiry: properties.message_expiry_interval,
            content_type: properties.content_type,
            payload_format: properties.payload_format_indicator,
            user_properties: properties.user_properties,
        }
    }
}

/// One connection to a broker; dropping it cuts the link.
#[derive(Debug)]
pub struct Client {
    client: AsyncClient,
    seen: mpsc::UnboundedReceiver<Seen>,
    backlog: VecDeque<Message>,
    response_information: Option<String>,
    task: JoinHandle<()>,
}

impl Client {
    /// Connects with Clean Start and asks for Response Information.
    ///
    /// # Errors
    /// Where the broker cannot be reached or refuses.
    pub async fn connect(access: &Access, client_id: &str) -> Result<Self> {
        Self::open(access, client_id, None).await
    }

    /// Connects likewise, but to the session of the last connection where there is one, and leaves one behind.
    ///
    /// # Errors
    /// Where the broker cannot be reached or refuses.
    pub async fn resume(access: &Access, client_id: &str) -> Result<Self> {
        Self::open(access, client_id, Some(SESSION_EXPIRY)).await
    }

    async fn open(access: &Access, client_id: &str, session_expiry: Option<u32>) -> Result<Self> {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", access.port);
        options.set_keep_alive(Duration::from_secs(20)).set_outgoing_inflight_upper_limit(64);
        options.set_clean_start(session_expiry.is_none());
        options.set_connect_properties(ConnectProperties {
            session_expiry_interval: session_expiry,
            request_response_info: Some(1),
            max_packet_size: Some(1024 * 1024),
            ..ConnectProperties::new()
        });
        let mut network = NetworkOptions::new();
        // Else each request waits for the peer's delayed TCP acknowledgement of the one before.
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some((name, password)) = &access.login {
            options.set_credentials(name, password);
        }
        let (client, events) = AsyncClient::new(options, 64);
        let (sender, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(poll(events, sender));
        let backlog = VecDeque::new();
        let mut client = Self { client, seen, backlog, response_information: None, task };
        let found = client.until("CONNACK", |seen| match seen {
            Seen::Connected(information) => Some(information.clone()),
            _ => None,
        });
        client.response_information = found.await.doing(format!("connect {client_id}"))?;
        Ok(client)
    }

    /// Returns the Response Information of CONNACK.
    pub fn response_information(&self) -> Option<&str> {
        self.response_information.as_deref()
    }

    /// Subscribes at QoS 1 and waits for SUBACK.
    ///
    /// # Errors
    /// Where the broker refuses or is silent.
    pub async fn subscribe(&mut self, filter: &str) -> Result<()> {
        self.subscribe_at(filter, QoS::AtLeastOnce).await
    }

    /// Subscribes likewise at QoS 0, which costs the broker no state.
    ///
    /// # Errors
    /// Where the broker refuses or is silent.
    pub async fn overhear(&mut self, filter: &str) -> Result<()> {
        self.subscribe_at(filter, QoS::AtMostOnce).await
    }

    async fn subscribe_at(&mut self, filter: &str, qos: QoS) -> Result<()> {
        let wanted = Filter::new(filter, qos);
        self.client.try_subscribe_many([wanted]).doing(format!("subscribe {filter}"))?;
        let granted = self.until("SUBACK", |seen| match seen {
            Seen::Subscribed(granted) => Some(*granted),
            _ => None,
        });
        let granted = granted.await.doing(format!("subscribe {filter}"))?;
        if granted { Ok(()) } else { Err(Failure::new(format!("{filter}: refused"))) }
    }

    /// Publishes, and waits for PUBACK where it is QoS 1.
    ///
    /// # Errors
    /// Where the broker refuses, disconnects or is silent.
    pub async fn publish(&mut self, message: Message) -> Result<()> {
        let (topic, retain) = (message.topic.clone(), message.retain);
        let at_least_once = message.at_least_once;
        let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let payload = message.payload.clone();
        let what = format!("publish on {topic}");
        let properties = message.properties();
        self.client
            .try_publish_with_properties(topic, qos, retain, payload, properties)
            .doing(&what)?;
        if at_least_once {
            let accepted = self.until("PUBACK", |seen| match seen {
                Seen::Acknowledged(accepted) => Some(accepted.clone()),
                _ => None,
            });
            accepted.await.doing(&what)?.doing(&what)?;
        }
        Ok(())
    }

    /// Takes the first message that fits, among those that came before and those to come.
    ///
    /// # Errors
    /// Where none came before the deadline; the error lists what came instead.
    pub async fn expect(
        &mut self,
        what: &str,
        deadline: Duration,
        fits: impl Fn(&Message) -> bool,
    ) -> Result<Message> {
        let end = Instant::now() + deadline;
        let mut looked_at = 0;
        loop {
            if let Some(index) = self.backlog.iter().skip(looked_at).position(&fits) {
                let found = self.backlog.remove(looked_at + index);
                return found.doing("the message that was just found");
            }
            looked_at = self.backlog.len();
            match tokio::time::timeout_at(end, self.seen.recv()).await {
                Ok(Some(Seen::Message(message))) => self.backlog.push_back(message),
                Ok(Some(Seen::Ended(error))) => return Err(Failure(format!("{what}: {error}"))),
                Ok(Some(_)) => {}
                Ok(None) => return Err(Failure(format!("{what}: the connection has ended"))),
                Err(_) => {
                    let instead = self.summary();
                    let text = format!("{what}: not seen within {deadline:?}; seen: {instead}");
                    return Err(Failure(text));
                }
            }
        }
    }

    /// Waits for a message on this topic.
    ///
    /// # Errors
    /// As [`Client::expect`].
    pub async fn expect_on(&mut self, topic: &str) -> Result<Message> {
        self.expect(topic, PATIENCE, |message| message.topic == topic).await
    }

    /// Publishes a request and waits for the message on its Response Topic with its Correlation Data.
    ///
    /// The caller has subscribed to the Response Topic.
    ///
    /// # Errors
    /// Where no response comes.
    pub async fn request(&mut self, request: Message) -> Result<Message> {
        let topic = request.response_topic.clone().doing("a request has a Response Topic")?;
        let data = request.correlation_data.clone();
        let what = format!("the response to {} on {topic}", request.topic);
        self.publish(request).await?;
        let fits = |m: &Message| m.topic == topic && m.correlation_data == data;
        self.expect(&what, PATIENCE, fits).await
    }

    /// Takes everything that came so far, after what was sent before has come back round.
    ///
    /// # Errors
    /// Where the broker does not return the marker on `topic`, which must be subscribed to.
    pub async fn drain(&mut self, topic: &str) -> Result<Vec<Message>> {
        self.publish(Message::new(topic, "marker")).await?;
        self.expect(topic, PATIENCE, |m| m.topic == topic && &m.payload[..] == b"marker").await?;
        Ok(self.backlog.drain(..).collect())
    }

    async fn until<T>(&mut self, what: &str, pick: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = tokio::time::timeout_at(end, self.seen.recv())
                .await
                .doing(format!("no {what} within {PATIENCE:?}"))?
                .doing("the connection has ended")?;
            if let Some(found) = pick(&seen) {
                return Ok(found);
            }
            match seen {
                Seen::Message(message) => self.backlog.push_back(message),
                Seen::Ended(error) => return Err(Failure(error)),
                Seen::Connected(_) | Seen::Subscribed(_) | Seen::Acknowledged(_) => {}
            }
        }
    }

    fn summary(&self) -> String {
        let lines = self.backlog.iter().map(|m| {
            let text: String = m.text().chars().take(80).collect();
            format!("\n  {} {text:?}", m.topic)
        });
        let all: String = lines.collect();
        if all.is_empty() { "nothing".into() } else { all }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long a client waits for what should take milliseconds, on a machine that may be busy with anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a broker keeps the session of a client that resumes, in seconds.
const SESSION_EXPIRY: u32 = 3600;

#[derive(Debug)]
enum Seen {
    Connected(Option<String>),
    Subscribed(bool),
    Acknowledged(std::result::Result<(), String>),
    Message(Message),
    Ended(String),
}

async fn poll(mut events: EventLoop, seen: mpsc::UnboundedSender<Seen>) {
    loop {
        let next = match events.poll().await {
            Ok(Event::Incoming(packet)) => read(packet),
            Ok(Event::Outgoing(_)) => None,
            Err(error) => Some(Seen::Ended(error.to_string())),
        };
        let Some(next) = next else { continue };
        let ended = matches!(next, Seen::Ended(_));
        if seen.send(next).is_err() || ended {
            return;
        }
    }
}

fn read(packet: Packet) -> Option<Seen> {
    match packet {
        Packet::ConnAck(connack) => {
            Some(Seen::Connected(connack.properties.and_then(|all| all.response_information)))
        }
        Packet::SubAck(suback) => Some(Seen::Subscribed(
            suback.return_codes.iter().all(|c| matches!(c, SubscribeReasonCode::Success(_))),
        )),
        Packet::PubAck(puback) => Some(Seen::Acknowledged(match puback.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            refusal => Err(format!("{refusal:?}")),
        })),
        Packet::Publish(publish) => Some(Seen::Message(publish.into())),
        Packet::Disconnect(disconnect) => {
            Some(Seen::Ended(format!("the broker disconnects: {:?}", disconnect.reason_code)))
        }
        _ => None,
    }
}
