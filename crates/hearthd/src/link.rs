//! One connection to the broker, and the only file that names rumqttc.
//!
//! rumqttc 0.25 loses messages when its event loop lives longer than a connection. A [`Link`] is one
//! connection: a fresh client, dropped on any error. It sends nothing by itself but PINGREQ, keeps no
//! message, and never blocks; what has to be sent again is its user's to remember.

use std::{
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    path::Path,
    sync::Arc,
    time::Duration,
};

use hearth_core::{
    Connack, Delivery, DeliveryId, Disconnection, Message, PublishId, QoS, Subscription, Will,
};
use rumqttc::{
    NetworkOptions, Outgoing, TlsConfiguration, Transport,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError,
        mqttbytes::{
            QoS as WireQoS,
            v5::{
                ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Filter,
                LastWill, LastWillProperties, Packet, PubAckReason, Publish, PublishProperties,
                RetainForwardRule, SubscribeReasonCode,
            },
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::config::{Broker, Tls};

/// What one CONNECT says.
#[derive(Clone, Debug)]
pub struct ConnectOptions<'c> {
    /// Where to, and as whom.
    pub broker: &'c Broker,
    /// The client identifier.
    pub client_id: &'c str,
    /// Whether the session of an earlier connection is wanted; if not, none is kept either.
    pub keep_session: bool,
    /// The will.
    pub will: Option<&'c Will>,
}

/// What a connection yields.
#[derive(Debug)]
pub enum LinkEvent {
    /// CONNACK accepted the connection.
    Connected(Connack),
    /// SUBACK.
    Subscribed(Vec<u8>),
    /// PUBLISH.
    Received(Message, Option<Delivery>),
    /// PUBACK, or the packet is written where it is QoS 0.
    Published(PublishId, u8),
    /// The connection is over.
    Closed(Disconnection),
}

/// One connection.
pub struct Link {
    client: AsyncClient,
    /// The one task that polls rumqttc: its poll must not be cancelled, or packets are lost.
    _poller: JoinSet<()>,
    events: mpsc::Receiver<Result<Event, Disconnection>>,
    /// Handed over, no packet identifier yet, in order.
    unnumbered: VecDeque<PublishId>,
    /// By packet identifier.
    unacknowledged: BTreeMap<u16, PublishId>,
    /// What PUBACK needs to know of each message.
    deliveries: BTreeMap<u64, Publish>,
    next_delivery: u64,
    disconnecting: bool,
    /// When a connection that does not take DISCONNECT is dropped.
    give_up: Instant,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("in_flight", &self.unacknowledged.len())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Starts a connection, inside a tokio runtime; [`Link::next`] tells how it goes.
    ///
    /// `first_delivery` keeps delivery IDs of one connection apart from those of the last.
    ///
    /// # Errors
    /// Where a TLS file cannot be used.
    pub fn open(options: &ConnectOptions<'_>, first_delivery: u64) -> Result<Self, String> {
        let broker = options.broker;
        let mut mqtt = MqttOptions::new(options.client_id, &broker.host, broker.port);
        mqtt.set_clean_start(!options.keep_session)
            .set_keep_alive(broker.keep_alive)
            .set_manual_acks(true)
            .set_outgoing_inflight_upper_limit(IN_FLIGHT_LIMIT)
            .set_connection_timeout(CONNECT_TIMEOUT.as_secs())
            .set_connect_properties(connect_properties(options));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        mqtt.set_network_options(network);
        if let Some(username) = &broker.username {
            let password = broker.password.as_ref().map_or("", |password| password.expose());
            mqtt.set_credentials(username, password);
        }
        if let Some(tls) = &broker.tls {
            mqtt.set_transport(Transport::tls_with_config(tls_configuration(tls)?));
        }
        if let Some(will) = options.will {
            mqtt.set_last_will(last_will(will));
        }
        let (client, event_loop) = AsyncClient::new(mqtt, REQUEST_CAPACITY);
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        let mut poller = JoinSet::new();
        poller.spawn(poll(event_loop, broker.keep_alive, sender));
        Ok(Self {
            client,
            _poller: poller,
            events,
            unnumbered: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            next_delivery: first_delivery,
            disconnecting: false,
            give_up: Instant::now(),
        })
    }

    /// Waits for the next event. Cancelling the wait loses nothing.
    pub async fn next(&mut self) -> LinkEvent {
        loop {
            let received = if self.disconnecting {
                timeout_at(self.give_up, self.events.recv()).await.ok().flatten()
            } else {
                self.events.recv().await
            };
            let event = match received {
                Some(received) => self.read(received),
                None => {
                    let error = "the connection has ended".to_owned();
                    Some(LinkEvent::Closed(Disconnection::Lost { error }))
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Returns the next event, if it is there already.
    pub fn try_next(&mut self) -> Option<LinkEvent> {
        loop {
            let received = self.events.try_recv().ok()?;
            let event = self.read(received);
            if event.is_some() {
                return event;
            }
        }
    }

    fn read(&mut self, received: Result<Event, Disconnection>) -> Option<LinkEvent> {
        match received {
            Ok(Event::Incoming(packet)) => self.on_incoming(packet),
            Ok(Event::Outgoing(packet)) => self.on_outgoing(&packet),
            Err(cause) => Some(LinkEvent::Closed(cause)),
        }
    }

    /// Hands over one SUBSCRIBE; nothing else may be in flight.
    ///
    /// # Errors
    /// Where the link's queue is full: a broken invariant of its user.
    pub fn subscribe(&mut self, subscriptions: &[Subscription]) -> Result<(), LinkFull> {
        let filters = subscriptions.iter().map(|subscription| {
            let mut filter = Filter::new(&subscription.filter, WireQoS::AtLeastOnce);
            filter.preserve_retain = true;
            filter.retain_forward_rule = if subscription.retained {
                RetainForwardRule::OnEverySubscribe
            } else {
                RetainForwardRule::Never
            };
            filter
        });
        self.client.try_subscribe_many(filters).map_err(|_| LinkFull)
    }

    /// Hands over UNSUBSCRIBE packets; nobody waits for their acknowledgements.
    ///
    /// # Errors
    /// Where the link's queue is full: a broken invariant of its user.
    pub fn unsubscribe(&mut self, filters: &[String]) -> Result<(), LinkFull> {
        filters
            .iter()
            .try_for_each(|filter| self.client.try_unsubscribe(filter).map_err(|_| LinkFull))
    }

    /// Hands over one PUBLISH.
    ///
    /// # Errors
    /// Where the link's queue is full: a broken invariant of its user.
    pub fn publish(&mut self, id: PublishId, message: Message) -> Result<(), LinkFull> {
        let qos = match message.qos {
            QoS::AtMostOnce => WireQoS::AtMostOnce,
            QoS::AtLeastOnce => WireQoS::AtLeastOnce,
        };
        let Message { topic, payload, retain, .. } = message;
        let properties = PublishProperties {
            payload_format_indicator: message.utf8.then_some(1),
            message_expiry_interval: message.expiry,
            topic_alias: None,
            response_topic: message.response_topic,
            correlation_data: message.correlation_data,
            user_properties: message.user_properties,
            subscription_identifiers: Vec::new(),
            content_type: message.content_type,
        };
        self.client
            .try_publish_with_properties(topic, qos, retain, payload, properties)
            .map_err(|_| LinkFull)?;
        self.unnumbered.push_back(id);
        Ok(())
    }

    /// Hands over one PUBACK; one of an earlier connection is ignored.
    ///
    /// # Errors
    /// Where the link's queue is full: a broken invariant of its user.
    pub fn acknowledge(&mut self, delivery: DeliveryId) -> Result<(), LinkFull> {
        match self.deliveries.remove(&delivery.0) {
            Some(publish) => self.client.try_ack(&publish).map_err(|_| LinkFull),
            None => Ok(()),
        }
    }

    /// Hands over DISCONNECT 0x00; [`Link::next`] then yields [`LinkEvent::Closed`]: as requested where it was written.
    ///
    /// # Errors
    /// Where the link's queue is full: a broken invariant of its user.
    pub fn disconnect(&mut self) -> Result<(), LinkFull> {
        self.disconnecting = true;
        self.give_up = Instant::now() + DISCONNECT_TIMEOUT;
        self.client.try_disconnect().map_err(|_| LinkFull)
    }

    /// Returns the first delivery ID that this connection has not used.
    pub fn next_delivery(&self) -> u64 {
        self.next_delivery
    }

    fn on_incoming(&mut self, packet: Packet) -> Option<LinkEvent> {
        match packet {
            Packet::ConnAck(connack) => Some(LinkEvent::Connected(read_connack(connack))),
            Packet::SubAck(suback) => Some(LinkEvent::Subscribed(
                suback.return_codes.iter().map(subscribe_code).collect(),
            )),
            Packet::PubAck(puback) => {
                let id = self.unacknowledged.remove(&puback.pkid)?;
                Some(LinkEvent::Published(id, puback_code(puback.reason)))
            }
            Packet::Publish(publish) => Some(self.on_publish(publish)),
            _ => None,
        }
    }

    fn on_publish(&mut self, publish: Publish) -> LinkEvent {
        let (qos, packet_id) = (publish.qos, publish.pkid);
        let delivery = (qos != WireQoS::AtMostOnce).then(|| {
            let id = self.next_delivery;
            self.next_delivery += 1;
            self.deliveries.insert(id, Publish { qos, pkid: packet_id, ..Publish::default() });
            Delivery { id: DeliveryId(id), packet_id }
        });
        LinkEvent::Received(read_message(publish), delivery)
    }

    fn on_outgoing(&mut self, packet: &Outgoing) -> Option<LinkEvent> {
        match packet {
            Outgoing::Publish(0) => {
                Some(LinkEvent::Published(self.unnumbered.pop_front()?, SUCCESS))
            }
            Outgoing::Publish(pkid) => {
                let id = self.unnumbered.pop_front()?;
                self.unacknowledged.insert(*pkid, id);
                None
            }
            Outgoing::Disconnect if self.disconnecting => {
                Some(LinkEvent::Closed(Disconnection::Requested))
            }
            _ => None,
        }
    }
}

/// Polls rumqttc until the connection ends.
///
/// A peer that says nothing for one and a half keep alive intervals is given up, as a broker does (MQTT 3.1.2.10):
/// rumqttc sends PINGREQ once in an interval, so a peer that is there says something.
async fn poll(
    mut event_loop: EventLoop,
    keep_alive: Duration,
    events: mpsc::Sender<Result<Event, Disconnection>>,
) {
    let mut patience = CONNECT_TIMEOUT;
    let mut last_inbound = Instant::now();
    let mut connected = false;
    loop {
        let event = match timeout_at(last_inbound + patience, event_loop.poll()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error)) if !connected && never_left(&error) => {
                Err(Disconnection::Unreachable { error: describe(&error) })
            }
            Ok(Err(error)) => Err(disconnection(error)),
            Err(_) => Err(Disconnection::Lost { error: "the broker does not answer".into() }),
        };
        if let Ok(Event::Incoming(packet)) = &event {
            last_inbound = Instant::now();
            if let Packet::ConnAck(connack) = packet {
                connected = true;
                patience = agreed_keep_alive(connack).unwrap_or(keep_alive).mul_f32(1.5);
            }
        }
        if matches!(&event, Ok(Event::Outgoing(packet)) if is_of_no_use(packet)) {
            continue;
        }
        let last = matches!(event, Err(_) | Ok(Event::Outgoing(Outgoing::Disconnect)));
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

/// Returns whether nobody asks when such a packet was written.
fn is_of_no_use(packet: &Outgoing) -> bool {
    !matches!(packet, Outgoing::Publish(_) | Outgoing::Disconnect)
}

/// Returns Server Keep Alive, which overrides the client's (MQTT 3.2.2.3.14).
fn agreed_keep_alive(connack: &ConnAck) -> Option<Duration> {
    let seconds = connack.properties.as_ref()?.server_keep_alive.filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

/// Returns whether a failed attempt ended before CONNECT was written: no name, no route, nobody listens, no TLS.
fn never_left(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Tls(_) => true,
        ConnectionError::Io(error) => !matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut
        ),
        _ => false,
    }
}

fn disconnection(error: ConnectionError) -> Disconnection {
    match error {
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            Disconnection::Refused { reason_code: connect_code(code) }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            Disconnection::ByBroker { reason_code: disconnect_code(reason_code), reason_string }
        }
        other => Disconnection::Lost { error: describe(&other) },
    }
}

/// The link's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFull;

fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::Timeout(_) => "the broker does not answer".into(),
        ConnectionError::MqttState(StateError::Io(error)) => error.to_string(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection".into()
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker does not answer PINGREQ".into()
        }
        other => other.to_string(),
    }
}

fn connect_properties(options: &ConnectOptions<'_>) -> ConnectProperties {
    let expiry = if options.keep_session { options.broker.session_expiry } else { Duration::ZERO };
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX));
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(MAX_PACKET_SIZE);
    properties.request_response_info = Some(1);
    properties.request_problem_info = Some(1);
    properties
}

fn tls_configuration(tls: &Tls) -> Result<TlsConfiguration, String> {
    let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| format!("read {}: {error}", file.display()))
    };
    // A second call finds the provider installed, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(ca_file) = &tls.ca_file else {
        if tls.client_auth.is_none() {
            return Ok(TlsConfiguration::default());
        }
        return Err("client certificates need `ca_file`".into());
    };
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(ca_file)?);
    if added == 0 {
        return Err(format!("{} holds no certificate", ca_file.display()));
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match &tls.client_auth {
        None => builder.with_no_client_auth(),
        Some((chain, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| format!("read {}: {error}", key_file.display()))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|error| format!("use {}: {error}", chain.display()))?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

fn last_will(will: &Will) -> LastWill {
    let message = &will.message;
    LastWill {
        topic: message.topic.clone().into(),
        message: message.payload.clone(),
        qos: WireQoS::AtLeastOnce,
        retain: message.retain,
        properties: Some(LastWillProperties {
            delay_interval: Some(will.delay),
            payload_format_indicator: message.utf8.then_some(1),
            message_expiry_interval: message.expiry,
            content_type: message.content_type.clone(),
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.clone(),
            user_properties: message.user_properties.clone(),
        }),
    }
}

fn read_connack(connack: ConnAck) -> Connack {
    let session_present = connack.session_present;
    match connack.properties {
        None => Connack { session_present, ..Connack::default() },
        Some(properties) => Connack {
            session_present,
            response_information: properties.response_information,
            receive_maximum: properties.receive_max.unwrap_or(u16::MAX),
            maximum_packet_size: properties.max_packet_size,
        },
    }
}

fn read_message(publish: Publish) -> Message {
    let properties = publish.properties.unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        qos: match publish.qos {
            WireQoS::AtMostOnce => QoS::AtMostOnce,
            WireQoS::AtLeastOnce | WireQoS::ExactlyOnce => QoS::AtLeastOnce,
        },
        retain: publish.retain,
        dup: publish.dup,
        utf8: properties.payload_format_indicator == Some(1),
        expiry: properties.message_expiry_interval,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        content_type: properties.content_type,
    }
}

fn subscribe_code(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
    }
}

fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => SUCCESS,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

fn connect_code(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => SUCCESS,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
        ConnectReturnCode::UnspecifiedError => 0x80,
    }
}

fn disconnect_code(code: DisconnectReasonCode) -> u8 {
    code as u8
}

const SUCCESS: u8 = 0;
/// rumqttc's table of messages in flight; the hub's window keeps well below it.
const IN_FLIGHT_LIMIT: u16 = 256;
/// What can wait to be written: a PUBACK for each Packet Identifier there is, what is in flight, and as many packets of a
/// connection's beginning and end. Only what does wait takes memory.
const REQUEST_CAPACITY: usize = u16::MAX as usize + 2 * IN_FLIGHT_LIMIT as usize;
/// Events that wait for the driver before the socket is read on.
const EVENT_CAPACITY: usize = 64;
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Receive Maximum (MQTT 3.1.2.11.3): brokers are known to lose messages above a small one.
pub const RECEIVE_MAXIMUM: u16 = 1024;
/// Maximum Packet Size (MQTT 3.1.2.11.4): room for any request, so that a large one gets its refusal.
const MAX_PACKET_SIZE: u32 = 1024 * 1024;
