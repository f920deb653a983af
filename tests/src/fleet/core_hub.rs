//! The core of a hub with no more than it needs: a socket, a store that forgets nothing while it runs, and one device.
//!
//! It costs the cluster what a real hub with one device does, and the machine a fraction, so many fit into a process.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::Error,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hearthd_core::{
    Answer, ContentType, Delivery, DeliveryId, DevicePolicy, Disconnection, Hub, HubConfig, Input,
    Kept, Message, Now, Output, PropertyState, PublishId, QoS, Request, Will, topic::Templates,
};
use hearthd_packets::{
    connect_code, disconnect_code, puback_code, read_connack, read_message, subscribe_code,
    write_filter, write_message, write_qos, write_will,
};
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck, Publish, Subscribe,
    Unsubscribe,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Stage,
    home::{DEVICE, HUB, Home, LINE},
    socket::{Introduction, KEEP_ALIVE, PATIENCE, RECEIVE_MAXIMUM, Socket},
};

/// A hub that is the core alone.
pub(super) struct CoreHub {
    home: Arc<Home>,
    nodes: [u16; 2],
    core: Hub,
    began: Instant,
    inputs: VecDeque<Input>,
    /// Which of the nodes is in use, or tried next.
    address: usize,
    /// The last connection got its CONNACK.
    connected: bool,
    link: Option<Link>,
    next_delivery: u64,
    /// What the device has written last.
    line: String,
}

struct Link {
    socket: Socket,
    /// When CONNACK must have come.
    give_up: Option<Instant>,
    publishing: BTreeMap<u16, PublishId>,
    unacknowledged: VecDeque<(DeliveryId, u16)>,
}

impl CoreHub {
    pub(super) fn new(home: Arc<Home>, ports: [u16; 2]) -> Self {
        let entropy = || fastrand::u128(..).to_be_bytes();
        Self {
            nodes: home.nodes_of_hub(ports),
            core: Hub::new(config(ports), Kept::default(), entropy),
            began: Instant::now(),
            inputs: VecDeque::new(),
            address: 0,
            connected: true,
            link: None,
            next_delivery: 0,
            line: String::new(),
            home,
        }
    }

    /// Runs until the fleet ends.
    pub(super) async fn run(mut self, mut stage: watch::Receiver<Stage>) {
        self.inputs.push_back(Input::Elapsed);
        self.report("status", "ready");
        self.report(LINE, "");
        let mut stopping = false;
        loop {
            while let Some(input) = self.inputs.pop_front() {
                let now = self.now();
                self.core.handle(now, input);
                while let Some(output) = self.core.poll_output() {
                    if matches!(output, Output::Stopped(_)) {
                        return;
                    }
                    if let Err(error) = self.perform(output).await {
                        self.lose(&error);
                    }
                }
            }
            let due = self.core.poll_timeout().map(|due| self.began + due);
            let ping_at = self.link.as_ref().map(|link| link.socket.ping_at);
            let give_up = self.link.as_ref().and_then(|link| link.give_up);
            tokio::select! {
                packet = next_packet(&mut self.link) => match packet {
                    Ok(packet) => self.on_packet(packet),
                    Err(error) => self.lose(&error),
                },
                () = until(due) => self.inputs.push_back(Input::Elapsed),
                () = until(ping_at) => {
                    if let Some(link) = &mut self.link && let Err(error) = link.socket.ping().await {
                        self.lose(&error);
                    }
                }
                () = until(give_up) => {
                    self.lose(&Error::other("no CONNACK"));
                }
                changed = stage.changed(), if !stopping => {
                    stopping = changed.is_err() || *stage.borrow() == Stage::Over;
                    if stopping {
                        self.inputs.push_back(Input::Shutdown);
                    }
                }
            }
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: self.began.elapsed(), unix }
    }

    fn lose(&mut self, error: &Error) {
        if self.link.take().is_some() {
            let error = error.to_string();
            self.inputs.push_back(Input::Disconnected(Disconnection::Lost { error }));
        }
    }

    fn on_packet(&mut self, packet: Packet) {
        let Some(link) = &mut self.link else { return };
        let input = match packet {
            Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => {
                self.connected = true;
                link.give_up = None;
                Input::Connected(read_connack(connack, SESSION_EXPIRY))
            }
            Packet::ConnAck(connack) => {
                self.link = None;
                Input::Disconnected(Disconnection::Refused {
                    reason_code: connect_code(connack.code),
                    reason_string: None,
                    server_reference: None,
                })
            }
            Packet::Publish(publish) => {
                let delivery = (publish.pkid != 0).then(|| {
                    self.next_delivery += 1;
                    let id = DeliveryId(self.next_delivery);
                    link.unacknowledged.push_back((id, publish.pkid));
                    Delivery { id, packet_id: publish.pkid }
                });
                Input::Received { message: read_message(publish), delivery }
            }
            Packet::PubAck(puback) => {
                let Some(id) = link.publishing.remove(&puback.pkid) else { return };
                Input::Published { id, reason_code: puback_code(puback.reason) }
            }
            Packet::SubAck(suback) => Input::Subscribed {
                reason_codes: suback.return_codes.iter().map(subscribe_code).collect(),
            },
            Packet::Disconnect(disconnect) => {
                self.link = None;
                Input::Disconnected(Disconnection::ByBroker {
                    reason_code: disconnect_code(disconnect.reason_code),
                    reason_string: None,
                    server_reference: None,
                })
            }
            _ => return,
        };
        self.inputs.push_back(input);
    }

    async fn perform(&mut self, output: Output) -> Result<(), Error> {
        match output {
            Output::Connect { will } => self.connect(will.as_ref()).await,
            Output::Disconnect | Output::Protest => {
                let goodbye = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
                let sent = self.send(&Packet::Disconnect(goodbye)).await;
                self.link = None;
                let cause = match sent {
                    Ok(()) => Disconnection::Requested,
                    Err(error) => Disconnection::Lost { error: error.to_string() },
                };
                self.inputs.push_back(Input::Disconnected(cause));
            }
            Output::Subscribe(subscriptions) => {
                let filters = subscriptions.iter().map(write_filter).collect();
                let Some(pkid) = self.packet_id() else { return Ok(()) };
                return self
                    .send(&Packet::Subscribe(Subscribe { pkid, filters, properties: None }))
                    .await;
            }
            Output::Unsubscribe(filters) => {
                let Some(pkid) = self.packet_id() else { return Ok(()) };
                return self
                    .send(&Packet::Unsubscribe(Unsubscribe { pkid, filters, properties: None }))
                    .await;
            }
            Output::Publish { id, message } => return self.publish(id, message).await,
            Output::Acknowledge(delivery) => {
                let Some(link) = &mut self.link else { return Ok(()) };
                let front = link.unacknowledged.pop_front();
                if let Some((_, packet_id)) = front.filter(|(id, _)| *id == delivery) {
                    return self.send(&Packet::PubAck(PubAck::new(packet_id, None))).await;
                }
            }
            Output::Store { revision, .. } => self.inputs.push_back(Input::Stored { revision }),
            Output::Execute(request) => self.execute(request),
            Output::Bridge { .. } | Output::Absence(_) | Output::Notice(_) | Output::Stopped(_) => {
            }
        }
        Ok(())
    }

    async fn connect(&mut self, will: Option<&Will>) {
        if !self.connected {
            self.address += 1;
        }
        self.connected = false;
        let as_whom = Introduction {
            home: &self.home.name,
            client_id: HUB,
            session_expiry: SESSION_EXPIRY,
            will: will.map(write_will),
        };
        let port = self.nodes[self.address % self.nodes.len()];
        match Socket::open(port, as_whom).await {
            Ok(socket) => {
                self.home.facts().reached.push(Instant::now());
                self.link = Some(Link {
                    socket,
                    give_up: Some(Instant::now() + PATIENCE),
                    publishing: BTreeMap::new(),
                    unacknowledged: VecDeque::new(),
                });
            }
            Err(error) => {
                let error = error.to_string();
                self.inputs.push_back(Input::Disconnected(Disconnection::Unreachable { error }));
            }
        }
    }

    async fn publish(&mut self, id: PublishId, message: Message) -> Result<(), Error> {
        if message.payload == "online" {
            self.home.facts().online.push(Instant::now());
        }
        let (dup, qos, retain) = (message.dup, message.qos, message.retain);
        let Some(link) = &mut self.link else { return Ok(()) };
        let mut pkid = 0;
        if qos == QoS::AtLeastOnce {
            pkid = link.socket.packet_id();
            link.publishing.insert(pkid, id);
        } else {
            self.inputs.push_back(Input::Published { id, reason_code: 0 });
        }
        let (topic, payload, properties) = write_message(message);
        let properties = Some(properties);
        let (topic, qos) = (topic.into(), write_qos(qos));
        self.send(&Packet::Publish(Publish { dup, qos, retain, topic, pkid, payload, properties }))
            .await
    }

    fn execute(&mut self, request: Request) {
        let text = String::from_utf8_lossy(&request.payload).into_owned();
        let answer = if *request.device == *DEVICE && *request.property == *LINE {
            if !text.is_empty() {
                self.home.facts().executed.push(text.clone());
                self.line = text;
                let line = self.line.clone();
                self.report(LINE, &line);
            }
            Answer::text(self.line.clone())
        } else {
            Answer::text("the core alone")
        };
        self.inputs.push_back(Input::Answered { request: request.id, answer });
    }

    fn report(&mut self, property: &str, value: &str) {
        self.inputs.push_back(Input::State(PropertyState {
            device: DEVICE.to_owned(),
            property: property.to_owned(),
            payload: Bytes::copy_from_slice(value.as_bytes()),
            content_type: ContentType::Text,
            retain: true,
            details: Vec::new(),
        }));
    }

    fn packet_id(&mut self) -> Option<u16> {
        Some(self.link.as_mut()?.socket.packet_id())
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), Error> {
        match &mut self.link {
            Some(link) => link.socket.send(packet).await,
            None => Ok(()),
        }
    }
}

fn config(ports: [u16; 2]) -> HubConfig {
    let policy = DevicePolicy {
        properties: BTreeSet::from([LINE.to_owned()]),
        not_idempotent: BTreeSet::from([LINE.to_owned()]),
        ..DevicePolicy::new(Duration::from_secs(5))
    };
    HubConfig {
        client_id: HUB.to_owned(),
        topics: Templates::default(),
        allow_bridges: Vec::new(),
        allow_responses: Vec::new(),
        require_response_information: true,
        fallback_prefix: None,
        will_delay: WILL_DELAY,
        settle: Duration::from_millis(300),
        fence_timeout: Duration::from_secs(30),
        keep_alive: KEEP_ALIVE,
        reconnect_spread: RECONNECT_SPREAD,
        grace: Duration::from_secs(5),
        devices: BTreeMap::from([(DEVICE.to_owned(), policy)]),
        guards: Vec::new(),
        broker: format!("{ports:?}"),
        redelivery: Duration::from_secs(60),
        receive_maximum: RECEIVE_MAXIMUM,
        deadline: Duration::from_secs(5),
        queue: 64,
        max_payload: 64 * 1024,
        discovery: None,
    }
}

async fn next_packet(link: &mut Option<Link>) -> Result<Packet, Error> {
    match link {
        Some(link) => link.socket.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

const SESSION_EXPIRY: u32 = 7 * 24 * 3600;
/// Longer than a hub takes to reach another node, and longer than a node is dead before the other publishes its wills.
pub(super) const WILL_DELAY: Duration = Duration::from_secs(60);
/// As `config/fleet/hearthd.toml` has it.
pub(super) const RECONNECT_SPREAD: Duration = Duration::from_secs(40);
