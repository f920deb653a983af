//! The phone of a home: asks the hub one line after the other, acknowledges every other will, and hears everything.

use std::{collections::BTreeMap, io::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnectReturnCode, Filter, Packet, PubAck, PubAckReason, Publish, PublishProperties,
        Subscribe, SubscribeReasonCode,
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Stage,
    core_hub::until,
    home::{Asked, DEVICE, HUB, Home, LINE},
    socket::{Introduction, Socket},
};
use crate::Message;

/// A phone.
pub(super) struct Phone {
    home: Arc<Home>,
    nodes: [u16; 2],
    turn: usize,
    /// One request in this time.
    every: Duration,
    next_ask: Instant,
    asked: u32,
    /// Acknowledgements of wills without PUBACK, by Packet Identifier.
    acknowledging: BTreeMap<u16, String>,
    subscribed: bool,
}

impl Phone {
    pub(super) fn new(home: Arc<Home>, ports: [u16; 2], every: Duration) -> Self {
        let nodes = home.nodes_of_phone(ports);
        let next_ask = Instant::now();
        let acknowledging = BTreeMap::new();
        Self { home, nodes, turn: 0, every, next_ask, asked: 0, acknowledging, subscribed: false }
    }

    /// Runs until the fleet ends, over as many connections as it takes.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) {
        while *stage.borrow() != Stage::Over {
            if self.connection(stage.clone()).await.is_ok() {
                return;
            }
            self.turn += 1;
            self.subscribed = false;
            self.acknowledging.clear();
            sleep(Duration::from_millis(fastrand::u64(500..PAUSE_MS))).await;
        }
    }

    async fn connection(&mut self, mut stage: watch::Receiver<Stage>) -> Result<(), Error> {
        let home = self.home.clone();
        let as_whom =
            Introduction { home: &home.name, client_id: "phone", session_expiry: 0, will: None };
        let mut socket = Socket::open(self.nodes[self.turn % 2], as_whom).await?;
        loop {
            let now = *stage.borrow();
            let asks = self.subscribed && now == Stage::Asking;
            let repeats = self.subscribed && now != Stage::Over;
            let next_ask = asks.then_some(self.next_ask);
            let next_repeat = if repeats { self.next_repeat() } else { None };
            let ping_at = socket.ping_at;
            tokio::select! {
                packet = socket.next() => self.on_packet(&mut socket, packet?).await?,
                () = until(next_ask) => self.ask(&mut socket).await?,
                () = until(next_repeat) => self.repeat(&mut socket).await?,
                () = until(Some(ping_at)) => socket.ping().await?,
                changed = stage.changed() => {
                    if changed.is_err() || *stage.borrow() == Stage::Over {
                        return Ok(());
                    }
                    // Not all at once.
                    let most = u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
                    self.next_ask = Instant::now() + Duration::from_millis(fastrand::u64(..=most));
                }
            }
        }
    }

    async fn on_packet(&mut self, socket: &mut Socket, packet: Packet) -> Result<(), Error> {
        match packet {
            Packet::ConnAck(connack) => {
                let information = connack.properties.and_then(|all| all.response_information);
                if connack.code != ConnectReturnCode::Success
                    || information.as_deref() != Some(&self.home.name)
                {
                    return Err(Error::other("no prefix"));
                }
                let filter = Filter {
                    path: self.home.topic("#"),
                    qos: QoS::AtLeastOnce,
                    nolocal: true,
                    ..Filter::default()
                };
                let pkid = socket.packet_id();
                let filters = vec![filter];
                let subscribe = Subscribe { pkid, filters, properties: None };
                socket.send(&Packet::Subscribe(subscribe)).await
            }
            Packet::SubAck(suback) => {
                let granted = |code: &_| matches!(code, SubscribeReasonCode::Success(_));
                self.subscribed = suback.return_codes.iter().all(granted);
                if self.subscribed { Ok(()) } else { Err(Error::other("not subscribed")) }
            }
            Packet::PubAck(puback) => {
                if let Some(generation) = self.acknowledging.remove(&puback.pkid)
                    && matches!(
                        puback.reason,
                        PubAckReason::Success | PubAckReason::NoMatchingSubscribers
                    )
                {
                    self.home.facts().wills.entry(generation).or_default().confirmed = true;
                }
                Ok(())
            }
            Packet::Publish(publish) => {
                let pkid = publish.pkid;
                let message = Message::from(publish);
                if let Some(acknowledgement) = self.on_message(&message) {
                    self.acknowledge(socket, acknowledgement).await?;
                }
                if pkid == 0 {
                    return Ok(());
                }
                socket.send(&Packet::PubAck(PubAck::new(pkid, None))).await
            }
            Packet::Disconnect(_) => Err(Error::other("the node disconnects")),
            _ => Ok(()),
        }
    }

    /// Notes a message; returns the will that it is, if it should be acknowledged.
    fn on_message(&mut self, message: &Message) -> Option<Message> {
        let home = self.home.clone();
        let mut facts = home.facts();
        let Some(topic) = message.topic.strip_prefix(&format!("{}/", home.name)) else {
            facts.foreign.push(message.topic.clone());
            return None;
        };
        let text = message.text();
        if topic == RESPONSE {
            self.note_answer(&mut facts, message, &text);
        } else if topic == format!("hub/{HUB}/absence") {
            if let Ok(absence) = message.json()
                && let (Some(generation), Some(outcome)) =
                    (absence["generation"].as_str(), absence["outcome"].as_str())
            {
                facts.outcomes.insert(generation.to_owned(), outcome.to_owned());
            }
        } else if topic == format!("hub/{HUB}/presence") {
            // What the hub says itself as it ends has no Response Topic.
            if message.response_topic.is_some()
                && let Some(data) = &message.correlation_data
            {
                let generation = generation_name(data);
                let is_new = !facts.wills.contains_key(&generation);
                let will = facts.wills.entry(generation).or_default();
                if is_new && !message.retain && (home.number / 2).is_multiple_of(2) {
                    will.acknowledged = true;
                    return Some(message.clone());
                }
            }
        } else if (topic.starts_with("cmnd/") || topic == format!("state/{DEVICE}/{LINE}"))
            && !text.is_empty()
            && !text.starts_with(&home.name)
        {
            facts.foreign.push(format!("{}: {text}", message.topic));
        }
        None
    }

    fn note_answer(&self, facts: &mut super::home::Facts, message: &Message, text: &str) {
        let data = message.correlation_data.clone().unwrap_or_default();
        let id = String::from_utf8_lossy(&data).into_owned();
        let status = message.status().unwrap_or(0);
        let crossed = status == 200 && text != id;
        match facts.asked.get_mut(&id) {
            Some(asked) if !crossed => {
                asked.answered.get_or_insert((asked.at.elapsed(), status));
            }
            Some(_) | None => facts.foreign.push(format!("answer {id}: {status} {text}")),
        }
    }

    async fn acknowledge(&mut self, socket: &mut Socket, will: Message) -> Result<(), Error> {
        let (Some(topic), Some(data)) = (will.response_topic, will.correlation_data) else {
            return Ok(());
        };
        let pkid = socket.packet_id();
        self.acknowledging.insert(pkid, generation_name(&data));
        let properties = PublishProperties {
            correlation_data: Some(data),
            user_properties: vec![("client_id".into(), "phone".into())],
            ..PublishProperties::default()
        };
        socket.send(&publish(topic, pkid, "seen".into(), properties)).await
    }

    async fn ask(&mut self, socket: &mut Socket) -> Result<(), Error> {
        self.next_ask = Instant::now() + self.every;
        self.asked += 1;
        let id = format!("{}:{}", self.home.name, self.asked);
        let asked = Asked { at: Instant::now(), sent: 1, answered: None };
        self.home.facts().asked.insert(id.clone(), asked);
        self.send_request(socket, &id, false).await
    }

    /// Returns when the first request without an answer is due to be repeated.
    fn next_repeat(&self) -> Option<Instant> {
        let facts = self.home.facts();
        let open = facts.asked.values().filter(|asked| asked.answered.is_none());
        open.map(|asked| asked.at + REPEAT_AFTER * asked.sent).min()
    }

    async fn repeat(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let due: Vec<_> = {
            let mut facts = self.home.facts();
            let now = Instant::now();
            let due = facts.asked.iter_mut().filter(|(_, asked)| {
                asked.answered.is_none() && asked.at + REPEAT_AFTER * asked.sent <= now
            });
            due.map(|(id, asked)| {
                // A phone that was away does not make up for what it has missed.
                let periods = asked.at.elapsed().as_secs() / REPEAT_AFTER.as_secs();
                asked.sent = u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(1);
                id.clone()
            })
            .collect()
        };
        for id in due {
            self.send_request(socket, &id, true).await?;
        }
        Ok(())
    }

    async fn send_request(&self, socket: &mut Socket, id: &str, again: bool) -> Result<(), Error> {
        let topic = self.home.topic(&format!("cmnd/{DEVICE}/{LINE}"));
        let properties = PublishProperties {
            response_topic: Some(self.home.topic(RESPONSE)),
            correlation_data: Some(Bytes::copy_from_slice(id.as_bytes())),
            message_expiry_interval: Some(EXPIRY_SECONDS),
            user_properties: if again { vec![("retry".into(), "1".into())] } else { Vec::new() },
            ..PublishProperties::default()
        };
        let pkid = socket.packet_id();
        socket.send(&publish(topic, pkid, Bytes::copy_from_slice(id.as_bytes()), properties)).await
    }
}

fn publish(topic: String, pkid: u16, payload: Bytes, properties: PublishProperties) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.into(),
        pkid,
        payload,
        properties: Some(properties),
    })
}

/// What the hub names a generation in public: the beginning of the will's Correlation Data.
fn generation_name(data: &[u8]) -> String {
    String::from_utf8_lossy(&data[..data.len().min(8)]).into_owned()
}

const RESPONSE: &str = "response/phone/1";
/// Between two connections, so that two thousand phones do not come back in one second.
const PAUSE_MS: u64 = 10_000;
const REPEAT_AFTER: Duration = Duration::from_secs(5);
const EXPIRY_SECONDS: u32 = 120;
