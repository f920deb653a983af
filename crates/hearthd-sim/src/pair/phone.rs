//! Phones that ask, and a watcher: clients with persistent sessions, which themselves lose nothing.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use hearthd_core::{Message, QoS, Subscriber, Subscription};
use hearthd_packets::read_message;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, SubscribeReasonCode};

use super::{Event, Who, World, hub, ms, wire};

/// The phone that watches the presence of hubs, and acknowledges some wills.
pub(super) const WATCHER: usize = 0;

/// A client.
#[derive(Debug)]
pub(super) struct Phone {
    index: usize,
    filter: String,
    pub(super) link: Option<u64>,
    is_connected: bool,
    /// The broker has confirmed the session.
    has_session: bool,
    /// SUBACK has come, in whatever connection.
    pub(super) subscribed_at: Option<Duration>,
    last_packet_id: u16,
    /// What has no PUBACK.
    publishing: VecDeque<Publishing>,
    pub(super) asleep_until: Duration,
    asked: u32,
    /// All that came with RETAIN set.
    pub(super) retained: Vec<Message>,
}

/// A message of a phone that has no PUBACK yet.
#[derive(Debug)]
struct Publishing {
    packet_id: u16,
    message: Message,
    was_sent: bool,
    what: What,
}

/// What a message is.
#[derive(Debug)]
enum What {
    Request(String),
    Acknowledgement(String),
}

impl Phone {
    /// Makes a phone; one of them is the watcher of the hubs' wills.
    pub(super) fn new(index: usize) -> Self {
        let filter = match index {
            WATCHER => "home/hub/+/presence".to_owned(),
            _ => response_topic(index),
        };
        Self::with_filter(index, filter)
    }

    /// Makes a client with one subscription.
    pub(super) fn with_filter(index: usize, filter: String) -> Self {
        Self {
            index,
            filter,
            link: None,
            is_connected: false,
            has_session: false,
            subscribed_at: None,
            last_packet_id: 1,
            publishing: VecDeque::new(),
            asleep_until: Duration::ZERO,
            asked: 0,
            retained: Vec::new(),
        }
    }

    fn publish(&mut self, message: Message, what: What) -> Option<Packet> {
        loop {
            // 1 is that of SUBSCRIBE.
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(2);
            let id = self.last_packet_id;
            if !self.publishing.iter().any(|it| it.packet_id == id) {
                break;
            }
        }
        let (packet_id, was_sent) = (self.last_packet_id, self.is_connected);
        let packet = wire::publish(&message, packet_id);
        self.publishing.push_back(Publishing { packet_id, message, was_sent, what });
        was_sent.then_some(packet)
    }
}

impl World<'_> {
    /// Connects a phone, once it is awake and the broker is up.
    pub(super) fn connect_phone(&mut self, phone: usize) {
        let it = &self.phones[phone];
        if it.link.is_some() {
            return;
        }
        if !self.broker.is_up() || (it.asleep_until > self.now && !self.calm) {
            let pause = ms(self.rng.u64(200..1_000));
            return self.after(pause, Event::PhoneConnects(phone));
        }
        let link = self.open_link(Who::Phone(phone));
        self.phones[phone].link = Some(link);
        self.client_writes(link, &wire::connect(&format!("phone-{phone}"), None, 20));
    }

    /// A phone notices that its connection has ended, and connects again soon.
    pub(super) fn phone_loses(&mut self, phone: usize, link: u64) {
        let it = &mut self.phones[phone];
        if it.link.take_if(|it| *it == link).is_some() {
            it.is_connected = false;
            let pause = ms(self.rng.u64(50..2_000));
            self.after(pause, Event::PhoneConnects(phone));
        }
    }

    /// Takes a packet for a phone.
    pub(super) fn phone_receives(&mut self, phone: usize, link: u64, packet: Packet) {
        if self.phones[phone].link != Some(link) {
            return;
        }
        match packet {
            Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => {
                self.phone_is_connected(phone, link, connack.session_present);
            }
            Packet::ConnAck(connack) => {
                self.violate(format!("a phone is refused: {:?}", connack.code));
            }
            Packet::SubAck(suback) => {
                let granted =
                    |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                if suback.return_codes.iter().all(granted) {
                    self.phones[phone].subscribed_at.get_or_insert(self.now);
                } else {
                    self.violate(format!("a subscription is refused: {suback:?}"));
                }
            }
            Packet::PubAck(puback) => {
                let it = &mut self.phones[phone].publishing;
                let Some(place) = it.iter().position(|it| it.packet_id == puback.pkid) else {
                    return;
                };
                let Some(published) = it.remove(place) else { return };
                // 0x10: nobody has ever subscribed to it.
                let taken = puback.reason == PubAckReason::Success;
                if !taken {
                    self.count("a message refused");
                }
                match published.what {
                    What::Request(key) => self.ledger.request_taken(&key, taken),
                    What::Acknowledgement(generation) => {
                        self.ledger.acknowledged(&generation, taken)
                    }
                }
            }
            Packet::Publish(publish) => {
                if publish.pkid != 0 {
                    self.after(ms(5), Event::PhoneAcknowledges(phone, link, publish.pkid));
                }
                self.phone_reads(phone, read_message(publish));
            }
            _ => {}
        }
    }

    fn phone_is_connected(&mut self, phone: usize, link: u64, session_present: bool) {
        let it = &mut self.phones[phone];
        it.is_connected = true;
        if std::mem::replace(&mut it.has_session, true) && !session_present {
            return self.violate(format!("the session of phone {phone} is lost"));
        }
        let mut packets = Vec::new();
        if it.subscribed_at.is_none() {
            let filter = it.filter.clone();
            let subscriber = Subscriber::Hub;
            let all = [Subscription { filter, retained: true, no_local: false, subscriber }];
            packets.push(wire::subscribe(1, &all));
        }
        for publishing in &mut it.publishing {
            let dup = std::mem::replace(&mut publishing.was_sent, true);
            if let (true, What::Request(key)) = (dup, &publishing.what) {
                self.ledger.asked_again(self.now, key);
            }
            let message = Message { dup, ..publishing.message.clone() };
            packets.push(wire::publish(&message, publishing.packet_id));
        }
        for packet in packets {
            self.client_writes(link, &packet);
        }
    }

    fn phone_reads(&mut self, phone: usize, message: Message) {
        let data = message.correlation_data.as_deref().unwrap_or_default();
        let name = String::from_utf8_lossy(data).into_owned();
        if message.retain {
            self.phones[phone].retained.push(message.clone());
        }
        if phone != WATCHER {
            if message.topic == response_topic(phone) {
                self.count("an answer");
                self.note(format!(
                    "phone {phone} has {name}: {:?} {:?}",
                    message.user_property("__stat"),
                    message.user_property("reason")
                ));
                self.ledger.answered(&name, &message);
            }
            return;
        }
        let (b"offline", Some(topic)) = (&message.payload[..], message.response_topic) else {
            return;
        };
        self.note(format!("the watcher sees the will {name}"));
        self.count("a will seen");
        self.ledger.seen(&name);
        if self.rng.bool() {
            self.ledger.acknowledging(&name);
            let acknowledgement = Message {
                topic,
                payload: Bytes::from_static(b"looked after"),
                qos: QoS::AtLeastOnce,
                correlation_data: message.correlation_data,
                ..Message::default()
            };
            self.publish_of(phone, acknowledgement, What::Acknowledgement(name));
        }
    }

    /// A phone asks one of the hubs for something.
    pub(super) fn ask(&mut self, phone: usize) {
        if self.phones[phone].publishing.len() >= MOST_WAITING {
            return;
        }
        let hub = self.rng.usize(..self.hubs.len());
        let it = &mut self.phones[phone];
        it.asked += 1;
        let key = format!("{}-{}", it.index, it.asked);
        let line = self.rng.bool();
        let (property, payload) = match (line, self.rng.bool()) {
            (true, _) => ("line", key.clone()),
            (false, true) => ("power", "ON".to_owned()),
            (false, false) => ("power", "OFF".to_owned()),
        };
        let message = Message {
            topic: format!("home/cmnd/{}/{property}", hub::device(hub)),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            response_topic: Some(response_topic(phone)),
            correlation_data: Some(key.clone().into()),
            ..Message::default()
        };
        self.ledger.asked(&key, line);
        self.count("a request");
        self.publish_of(phone, message, What::Request(key));
    }

    fn publish_of(&mut self, phone: usize, message: Message, what: What) {
        let it = &mut self.phones[phone];
        let packet = it.publish(message, what);
        if let (Some(link), Some(packet)) = (it.link, packet) {
            self.client_writes(link, &packet);
        }
    }
}

fn response_topic(phone: usize) -> String {
    format!("home/response/phone-{phone}/answers")
}

/// What a phone keeps at most, so that a run ends.
const MOST_WAITING: usize = 300;
