//! One hub's machine: its core, its store, its one device, and the driver between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Answer, ContentType, Delivery, DeliveryId, DevicePolicy, Disconnection, Hub, HubConfig, Input,
    Message, Now, Output, PropertyState, PublishId, QoS, Request, RequestId, topic::Templates,
};
use hearthd_packets::{puback_code, read_connack, read_message, subscribe_code};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet};

use super::{Event, Who, World, ms, wire};
use crate::store::{self, Damage, Store};

/// A hub across its lives.
pub(super) struct HubSide {
    index: usize,
    core: Option<Hub>,
    life: u64,
    store: Store,
    link: Option<Link>,
    inputs: VecDeque<Input>,
    /// SIGTERM has come; the next life begins this long after the end.
    away: Option<Duration>,
    /// What the device has.
    pub(super) power: &'static str,
    pub(super) line: String,
}

/// The connection in use, as the driver knows it.
#[derive(Debug)]
struct Link {
    id: u64,
    generation: Option<String>,
    is_connected: bool,
    publishing: BTreeMap<u16, PublishId>,
    last_packet_id: u16,
    /// Deliveries without PUBACK, in the order of arrival.
    unacknowledged: VecDeque<(DeliveryId, u16)>,
    next_delivery: u64,
}

impl HubSide {
    /// Makes the machine of a hub, which does not run yet.
    pub(super) fn new(index: usize) -> Self {
        let mut store = Store::default();
        store.latency = ms(4);
        Self {
            index,
            core: None,
            life: 0,
            store,
            link: None,
            inputs: VecDeque::new(),
            away: None,
            power: "OFF",
            line: String::new(),
        }
    }

    /// Returns when the hub's core or its store has something to do.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let core = self.core.as_ref()?;
        [core.poll_timeout(), self.store.next_due()].into_iter().flatten().min()
    }

    /// Returns the generation of the will that a connection was opened with.
    pub(super) fn generation_of(&self, link: u64) -> Option<String> {
        self.link.as_ref().filter(|it| it.id == link)?.generation.clone()
    }

    /// Returns the hub's one device.
    pub(super) fn device(&self) -> String {
        device(self.index)
    }

    /// Returns the hub's client ID.
    pub(super) fn client_id(&self) -> String {
        format!("hearthd-{}", self.index)
    }

    fn config(&self) -> HubConfig {
        let policy = DevicePolicy {
            properties: BTreeSet::from(["power".to_owned(), "line".to_owned()]),
            not_idempotent: BTreeSet::from(["line".to_owned()]),
            ..DevicePolicy::new(Duration::from_secs(5))
        };
        HubConfig {
            client_id: self.client_id(),
            topics: Templates::default(),
            allow_bridges: Vec::new(),
            allow_responses: Vec::new(),
            require_response_information: true,
            fallback_prefix: None,
            will_delay: WILL_DELAY,
            settle: ms(300),
            fence_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(20),
            reconnect_spread: Duration::ZERO,
            grace: Duration::from_secs(5),
            devices: BTreeMap::from([(self.device(), policy)]),
            guards: Vec::new(),
            broker: "broker".into(),
            redelivery: REMEMBERED,
            receive_maximum: RECEIVE_MAXIMUM,
            deadline: Duration::from_secs(5),
            queue: 64,
            max_payload: 64 * 1024,
            discovery: None,
        }
    }
}

impl World<'_> {
    /// Starts the hub with what its store has.
    pub(super) fn start_hub(&mut self, hub: usize) {
        if self.hubs[hub].core.is_some() {
            return;
        }
        self.note(format!("hub {hub} starts"));
        let mut rng = self.rng.fork();
        let side = &mut self.hubs[hub];
        side.life += 1;
        side.away = None;
        side.inputs.clear();
        let entropy = move || rng.u128(..).to_be_bytes();
        side.core = Some(Hub::new(side.config(), side.store.kept(), entropy));
        self.feed_hub(hub, Input::Elapsed);
        self.report(hub, "power");
        self.report(hub, "line");
    }

    /// The daemon is killed: what it has not stored and not sent is gone.
    pub(super) fn kill_hub(&mut self, hub: usize) {
        if self.hubs[hub].core.is_none() {
            return;
        }
        self.count("a hub is killed");
        let away = match self.rng.u8(..3) {
            0 => ms(self.rng.u64(..90_000)),
            _ => ms(self.rng.u64(..3_000)),
        };
        self.end_hub(hub, away);
    }

    /// Has the hub end in order, and come back later.
    pub(super) fn stop_hub(&mut self, hub: usize) {
        let away = ms(self.rng.u64(..30_000));
        let side = &mut self.hubs[hub];
        if side.core.is_none() || side.away.is_some() {
            return;
        }
        side.away = Some(away);
        self.count("a hub stops");
        self.feed_hub(hub, Input::Shutdown);
    }

    fn end_hub(&mut self, hub: usize, away: Duration) {
        self.note(format!("hub {hub} ends"));
        let durable = self.rng.usize(..20);
        let side = &mut self.hubs[hub];
        side.core = None;
        side.inputs.clear();
        side.store.crash(durable, Damage::None);
        if let Some(link) = side.link.take() {
            let some = ms(self.rng.u64(..20));
            let late = if self.rng.u8(..4) == 0 { ms(self.rng.u64(..20_000)) } else { ms(1) };
            if let Some(it) = self.links.get_mut(&link.id) {
                it.client_open = false;
                it.cut_at.get_or_insert(self.now + some);
            }
            self.after(some + late, Event::BrokerSeesEnd(link.id));
        }
        self.after(away, Event::HubStarts(hub));
    }

    /// Lets store and core do what is due.
    pub(super) fn wake_hub(&mut self, hub: usize) {
        let now = self.now;
        let side = &mut self.hubs[hub];
        if side.core.is_none() {
            return;
        }
        if side.store.next_due().is_some_and(|due| due <= now)
            && let Some(store::Event::Stored { revision, .. }) = side.store.on_time(now)
        {
            self.feed_hub(hub, Input::Stored { revision });
        }
        let due = self.hubs[hub].core.as_ref().and_then(Hub::poll_timeout);
        if due.is_some_and(|due| due <= now) {
            self.feed_hub(hub, Input::Elapsed);
        }
    }

    /// The hub notices that its connection has ended.
    pub(super) fn hub_loses(&mut self, hub: usize, link: u64) {
        let side = &mut self.hubs[hub];
        if side.link.take_if(|it| it.id == link).is_some() {
            let error = "the connection ended".to_owned();
            self.feed_hub(hub, Input::Disconnected(Disconnection::Lost { error }));
        }
    }

    /// The hub does not wait for CONNACK any longer.
    pub(super) fn give_attempt_up(&mut self, hub: usize, link: u64) {
        let waits = |it: &Link| it.id == link && !it.is_connected;
        if self.hubs[hub].link.as_ref().is_some_and(waits) {
            self.close_client_end(link);
            self.hub_loses(hub, link);
        }
    }

    /// Gives the core a packet.
    pub(super) fn hub_receives(&mut self, hub: usize, link: u64, packet: Packet) {
        let Some(it) = self.hubs[hub].link.as_mut().filter(|it| it.id == link) else { return };
        let input = match packet {
            Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => {
                it.is_connected = true;
                Input::Connected(read_connack(connack, wire::SESSION_EXPIRY))
            }
            Packet::ConnAck(connack) => {
                return self.violate(format!("a hub is refused: {:?}", connack.code));
            }
            Packet::Publish(publish) => {
                let delivery = (publish.pkid != 0).then(|| {
                    it.next_delivery += 1;
                    let id = DeliveryId(it.next_delivery);
                    it.unacknowledged.push_back((id, publish.pkid));
                    Delivery { id, packet_id: publish.pkid }
                });
                Input::Received { message: read_message(publish), delivery }
            }
            Packet::PubAck(puback) => {
                let Some(id) = it.publishing.remove(&puback.pkid) else {
                    return self.violate("PUBACK for nothing that the hub has sent");
                };
                let reason_code = puback_code(puback.reason);
                if reason_code >= 0x80 {
                    return self
                        .violate(format!("a hub's message is refused: {:?}", puback.reason));
                }
                Input::Published { id, reason_code }
            }
            Packet::SubAck(suback) => Input::Subscribed {
                reason_codes: suback.return_codes.iter().map(subscribe_code).collect(),
            },
            _ => return,
        };
        self.feed_hub(hub, input);
    }

    /// Gives the core its device's answer, unless the hub was started anew meanwhile.
    pub(super) fn device_answers(
        &mut self,
        hub: usize,
        life: u64,
        request: RequestId,
        answer: Answer,
    ) {
        if self.hubs[hub].life == life {
            self.feed_hub(hub, Input::Answered { request, answer });
        }
    }

    fn report(&mut self, hub: usize, property: &str) {
        let side = &self.hubs[hub];
        let payload = if property == "power" { side.power } else { &side.line };
        let input = Input::State(PropertyState {
            device: side.device(),
            property: property.to_owned(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            content_type: ContentType::Text,
            retain: true,
            details: Vec::new(),
        });
        self.feed_hub(hub, input);
    }

    /// Passes one input to the hub, and performs all that it wants.
    fn feed_hub(&mut self, hub: usize, input: Input) {
        self.hubs[hub].inputs.push_back(input);
        let now = Now { monotonic: self.now, unix: Duration::from_secs(1_700_000_000) + self.now };
        loop {
            let side = &mut self.hubs[hub];
            let (Some(core), Some(input)) = (&mut side.core, side.inputs.pop_front()) else {
                return;
            };
            core.handle(now, input);
            while let Some(output) = self.hubs[hub].core.as_mut().and_then(Hub::poll_output) {
                self.perform_of_hub(hub, output);
            }
        }
    }

    fn perform_of_hub(&mut self, hub: usize, output: Output) {
        match output {
            Output::Connect { will } => self.connect_hub(hub, will),
            Output::Disconnect | Output::Protest => {
                if let Some(link) = self.hubs[hub].link.take() {
                    let goodbye = rumqttc::v5::mqttbytes::v5::Disconnect::new(
                        rumqttc::v5::mqttbytes::v5::DisconnectReasonCode::NormalDisconnection,
                    );
                    self.client_writes(link.id, &Packet::Disconnect(goodbye));
                    self.close_client_end(link.id);
                }
                self.hubs[hub].inputs.push_back(Input::Disconnected(Disconnection::Requested));
            }
            Output::Subscribe(subscriptions) => {
                let packet = wire::subscribe(1, &subscriptions);
                self.send(hub, &packet);
            }
            Output::Unsubscribe(filters) => {
                let packet = wire::unsubscribe(2, &filters);
                self.send(hub, &packet);
            }
            Output::Publish { id, message } => self.publish(hub, id, &message),
            Output::Acknowledge(delivery) => {
                let Some(link) = &mut self.hubs[hub].link else { return };
                let front = link.unacknowledged.pop_front();
                match front.filter(|(id, _)| *id == delivery) {
                    Some((_, packet_id)) => self.send(hub, &wire::puback(packet_id)),
                    None => self.violate("the hub's PUBACKs are out of order"),
                }
            }
            Output::Store { revision, change } => {
                let now = self.now;
                self.hubs[hub].store.write(now, revision, change);
            }
            Output::Execute(request) => self.execute(hub, request),
            // No device of this home uses topics of its own.
            Output::Bridge { .. } => {}
            Output::Absence(absence) => {
                let facts = absence.facts();
                let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
                self.note(format!("hub {hub}: {} was {}", text("generation"), text("outcome")));
                self.ledger.told(&text("generation"), &text("outcome"));
                self.count("an outcome");
            }
            Output::Notice(notice) => self.note(format!("hub {hub}: {notice:?}")),
            Output::Stopped(result) => {
                if let Err(error) = result {
                    self.violate(format!("a hub gives up: {error:?}"));
                }
                let away = self.hubs[hub].away.unwrap_or(ms(1_000));
                self.end_hub(hub, away);
            }
        }
    }

    fn connect_hub(&mut self, hub: usize, will: Option<hearthd_core::Will>) {
        if !self.broker.is_up() {
            let error = "nobody listens".to_owned();
            let input = Input::Disconnected(Disconnection::Unreachable { error });
            return self.hubs[hub].inputs.push_back(input);
        }
        let id = self.open_link(Who::Hub(hub));
        let generation = will.as_ref().and_then(|will| {
            let data = will.message.correlation_data.as_deref()?;
            std::str::from_utf8(data).ok().map(str::to_owned)
        });
        let side = &mut self.hubs[hub];
        side.link = Some(Link {
            id,
            generation,
            is_connected: false,
            publishing: BTreeMap::new(),
            last_packet_id: 2,
            unacknowledged: VecDeque::new(),
            next_delivery: 0,
        });
        let connect = wire::connect(&side.client_id(), will.as_ref(), 1024);
        self.client_writes(id, &connect);
        self.after(Duration::from_secs(10), Event::AttemptOver(hub, id));
    }

    fn publish(&mut self, hub: usize, id: PublishId, message: &Message) {
        let Some(link) = &mut self.hubs[hub].link else { return };
        let mut packet_id = 0;
        if message.qos == QoS::AtLeastOnce {
            // 1 and 2 are those of SUBSCRIBE and UNSUBSCRIBE.
            link.last_packet_id = link.last_packet_id.checked_add(1).unwrap_or(3);
            packet_id = link.last_packet_id;
            link.publishing.insert(packet_id, id);
        }
        self.send(hub, &wire::publish(message, packet_id));
        if packet_id == 0 {
            self.hubs[hub].inputs.push_back(Input::Published { id, reason_code: 0 });
        }
    }

    fn execute(&mut self, hub: usize, request: Request) {
        let Request { id, device, property, payload, .. } = request;
        let side = &mut self.hubs[hub];
        let life = side.life;
        let text = String::from_utf8_lossy(&payload).into_owned();
        if *device != *side.device() {
            let answer = Answer::text("the hub");
            return side.inputs.push_back(Input::Answered { request: id, answer });
        }
        let answer = if &*property == "power" {
            match text.as_str() {
                "ON" => side.power = "ON",
                "OFF" => side.power = "OFF",
                _ => {}
            }
            side.power.to_owned()
        } else {
            if !text.is_empty() {
                self.ledger.executed(&text, self.now);
                self.hubs[hub].line.clone_from(&text);
            }
            self.hubs[hub].line.clone()
        };
        self.note(format!("hub {hub} executes {property} {text}"));
        self.report(hub, &property);
        let takes = ms(self.rng.u64(..200));
        let answer = Answer::text(answer);
        self.after(takes, Event::DeviceAnswers { hub, life, request: id, answer });
    }

    fn send(&mut self, hub: usize, packet: &Packet) {
        if let Some(link) = self.hubs[hub].link.as_ref().map(|link| link.id) {
            self.client_writes(link, packet);
        }
    }
}

pub(super) fn device(hub: usize) -> String {
    format!("lamp-{hub}")
}

/// How long a hub remembers a request after its PUBACK.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);
const RECEIVE_MAXIMUM: u16 = 1024;
/// Requests of one account that a hub works on at a time; all phones have one account. More are answered 429.
pub(super) const SHARE_OF_SENDER: usize = RECEIVE_MAXIMUM as usize / 4;
pub(super) const WILL_DELAY: Duration = Duration::from_secs(10);
