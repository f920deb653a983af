//! One connection to the broker, and the only module that names rumqttc.
//!
//! rumqttc 0.25 loses messages when its event loop lives longer than a connection. A [`Link`] is one
//! connection: a fresh client, dropped on any error. It sends nothing by itself but PINGREQ, keeps no
//! message, and never blocks; what has to be sent again is its user's to remember.

mod connect;
mod packets;
mod poll;
mod relay;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hearthd_core::{
    Connack, Delivery, DeliveryId, Disconnection, Message, PublishId, Subscription, Will,
};
use hearthd_packets::{
    puback_code, read_connack, read_message, subscribe_code, write_filter, write_message,
    write_qos, write_will,
};
use rumqttc::{
    NetworkOptions, Outgoing, Transport,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS as WireQoS,
            v5::{Packet, Publish},
        },
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::config::Broker;
use connect::{asked_expiry, connect_properties, tls_configuration};
use poll::{Ended, Polled, Poller, QueuedPacket, Receipt, Relaying, Waiting};
use relay::Relay;

/// What one CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions<'c> {
    /// Where to, and as whom.
    pub broker: &'c Broker,
    /// The client identifier.
    pub client_id: &'c str,
    /// Whether the session of an earlier connection is wanted; if not, none is kept either.
    pub keep_session: bool,
    /// The will.
    pub will: Option<&'c Will>,
    /// Whether the last connection failed so that a [`Link::wants_relay`] helps.
    pub relayed: bool,
}

/// What a connection yields.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// CONNACK accepted the connection.
    Connected(Connack),
    /// SUBACK, and the Reason String in it.
    Subscribed(Vec<u8>, Option<String>),
    /// PUBLISH.
    Received(Message, Option<Delivery>),
    /// PUBLISH that could not be read: it is refused, so that it does not come again.
    Unreadable {
        /// The topic, as far as it can be read.
        topic: String,
        /// What is wrong with it.
        error: String,
    },
    /// PUBACK and the Reason String in it, or the packet is written where it is QoS 0.
    Published(PublishId, u8, Option<String>),
    /// The connection is over.
    Closed(Disconnection),
}

/// One connection.
pub(crate) struct Link {
    client: AsyncClient,
    /// What goes out between messages: a PUBACK at most for each message that the broker has in flight, and DISCONNECT.
    packets: mpsc::UnboundedSender<QueuedPacket>,
    /// The one task that polls rumqttc: its poll must not be cancelled, or packets are lost.
    _poller: JoinSet<()>,
    events: mpsc::Receiver<Polled>,
    /// Handed over, no packet identifier yet, in order.
    unnumbered: VecDeque<PublishId>,
    /// By packet identifier.
    unacknowledged: BTreeMap<u16, PublishId>,
    /// What has come and is not acknowledged.
    deliveries: BTreeMap<u64, Receipt>,
    next_delivery: u64,
    /// Session Expiry Interval as CONNECT announces it.
    asked_expiry: u32,
    disconnecting: bool,
    wants_relay: bool,
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
    pub(crate) fn open(options: &ConnectOptions<'_>, first_delivery: u64) -> Result<Self, String> {
        let broker = options.broker;
        let relay = options.relayed.then(Relay::name);
        let host = relay.as_ref().unwrap_or(&broker.host);
        let mut mqtt = MqttOptions::new(options.client_id, host, broker.port);
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
        let tls = broker.tls.as_ref().map(tls_configuration).transpose()?;
        match (&relay, &tls) {
            (Some(_), _) => mqtt.set_transport(Transport::Unix),
            (None, Some(tls)) => mqtt.set_transport(Transport::tls_with_config(tls.clone())),
            (None, None) => &mut mqtt,
        };
        if let Some(will) = options.will {
            mqtt.set_last_will(write_will(will));
        }
        let (client, event_loop) = AsyncClient::new(mqtt, REQUEST_CAPACITY);
        let (sender, events) = mpsc::channel(EVENT_CAPACITY);
        let (packets, waiting) = mpsc::unbounded_channel();
        let waiting = Waiting { client: client.clone(), packets: waiting };
        let relaying = relay.map(|name| Relaying { name, tls });
        let poller =
            Poller { event_loop, waiting, broker: broker.clone(), relaying, events: sender };
        let mut tasks = JoinSet::new();
        tasks.spawn(poller.run());
        Ok(Self {
            client,
            packets,
            _poller: tasks,
            events,
            unnumbered: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            next_delivery: first_delivery,
            asked_expiry: asked_expiry(options),
            disconnecting: false,
            wants_relay: false,
            give_up: Instant::now(),
        })
    }

    /// Waits for the next event. Cancelling the wait loses nothing.
    pub(crate) async fn next(&mut self) -> LinkEvent {
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

    /// Returns the next event, if one is available already.
    pub(crate) fn try_next(&mut self) -> Option<LinkEvent> {
        loop {
            let received = self.events.try_recv().ok()?;
            let event = self.read(received);
            if event.is_some() {
                return event;
            }
        }
    }

    fn read(&mut self, received: Polled) -> Option<LinkEvent> {
        match received {
            Polled::Event(Event::Incoming(packet)) => self.on_incoming(packet),
            Polled::Event(Event::Outgoing(packet)) => self.on_outgoing(&packet),
            Polled::Unreadable { topic, error } => Some(LinkEvent::Unreadable { topic, error }),
            Polled::Ended(Ended { cause, wants_relay }) => {
                self.wants_relay |= wants_relay;
                Some(LinkEvent::Closed(cause))
            }
        }
    }

    /// Hands over one SUBSCRIBE; nothing else may be in flight.
    ///
    /// # Errors
    /// Where the send queue is full: a broken invariant of its user.
    pub(crate) fn subscribe(&mut self, subscriptions: &[Subscription]) -> Result<(), LinkFull> {
        let filters = subscriptions.iter().map(write_filter);
        self.client.try_subscribe_many(filters).or_else(|_| self.is_over())
    }

    /// Sends UNSUBSCRIBE packets, and does not wait for UNSUBACK.
    ///
    /// # Errors
    /// Where the send queue is full: a broken invariant of its user.
    pub(crate) fn unsubscribe(&mut self, filters: &[String]) -> Result<(), LinkFull> {
        filters
            .iter()
            .try_for_each(|filter| self.client.try_unsubscribe(filter).or_else(|_| self.is_over()))
    }

    /// Hands over one PUBLISH.
    ///
    /// # Errors
    /// Where the send queue is full: a broken invariant of its user.
    pub(crate) fn publish(&mut self, id: PublishId, message: Message) -> Result<(), LinkFull> {
        let (qos, retain) = (write_qos(message.qos), message.retain);
        let (topic, payload, properties) = write_message(message);
        self.client
            .try_publish_with_properties(topic, qos, retain, payload, properties)
            .or_else(|_| self.is_over())?;
        self.unnumbered.push_back(id);
        Ok(())
    }

    /// What cannot be handed over may be too late: the next event says why, and no queue is full.
    fn is_over(&self) -> Result<(), LinkFull> {
        if self.events.is_closed() { Ok(()) } else { Err(LinkFull) }
    }

    /// Hands over one PUBACK; one of an earlier connection is ignored.
    ///
    /// Many come at once, and rumqttc writes each by itself: a message may overtake them.
    pub(crate) fn acknowledge(&mut self, delivery: DeliveryId) {
        if let Some(receipt) = self.deliveries.remove(&delivery.0) {
            // It fails where the connection is over, which the next event says.
            let _ = self.packets.send(QueuedPacket::Acknowledge(receipt));
        }
    }

    /// Hands over DISCONNECT 0x00; [`Link::next`] then yields [`LinkEvent::Closed`]: as requested where it was written.
    pub(crate) fn disconnect(&mut self) {
        self.disconnecting = true;
        self.give_up = Instant::now() + DISCONNECT_TIMEOUT;
        let _ = self.packets.send(QueuedPacket::Disconnect);
    }

    /// Ends the connection over a broker that breaks the standard: with DISCONNECT 0x82, which rumqttc cannot write, so the
    /// relay does that; without one it is closed at once. Either way the broker publishes the will.
    pub(crate) fn protest(&mut self) {
        self.disconnecting = true;
        self.wants_relay = true;
        self.give_up = Instant::now() + DISCONNECT_TIMEOUT;
        let _ = self.packets.send(QueuedPacket::Protest);
    }

    /// Returns whether the next connection should be relayed, once this one is over: that yields what the broker says with
    /// its refusal, reads on where rumqttc cannot, and lets [`Link::protest`] be heard.
    pub(crate) fn wants_relay(&self) -> bool {
        self.wants_relay
    }

    /// Returns the first delivery ID that this connection has not used.
    pub(crate) fn next_delivery(&self) -> u64 {
        self.next_delivery
    }

    fn on_incoming(&mut self, packet: Packet) -> Option<LinkEvent> {
        match packet {
            Packet::ConnAck(connack) => {
                Some(LinkEvent::Connected(read_connack(connack, self.asked_expiry)))
            }
            Packet::SubAck(suback) => Some(LinkEvent::Subscribed(
                suback.return_codes.iter().map(subscribe_code).collect(),
                suback.properties.and_then(|properties| properties.reason_string),
            )),
            Packet::PubAck(puback) => {
                let id = self.unacknowledged.remove(&puback.pkid)?;
                let words = puback.properties.and_then(|properties| properties.reason_string);
                Some(LinkEvent::Published(id, puback_code(puback.reason), words))
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
            self.deliveries.insert(id, Receipt { qos, packet_id });
            Delivery { id: DeliveryId(id), packet_id }
        });
        LinkEvent::Received(read_message(publish), delivery)
    }

    fn on_outgoing(&mut self, packet: &Outgoing) -> Option<LinkEvent> {
        match packet {
            Outgoing::Publish(0) => {
                Some(LinkEvent::Published(self.unnumbered.pop_front()?, SUCCESS, None))
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

/// The link's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkFull;

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
pub(crate) const RECEIVE_MAXIMUM: u16 = 1024;
/// Maximum Packet Size (MQTT 3.1.2.11.4): room for any request, so that a large one gets its refusal.
const MAX_PACKET_SIZE: u32 = 1024 * 1024;
