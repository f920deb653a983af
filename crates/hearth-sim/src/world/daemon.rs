//! The model of the driver: it performs what the hub wants, and tells it what happens.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use hearth_core::{
    Answer, Connack, Delivery, DeliveryId, Disconnection, Hub, Input, Message, Notice, Output,
    PublishId, QoS, Record, Request, Will,
};

use super::{Timer, World, home::CLIENT_ID, network::show_message};
use crate::{
    broker::Letter,
    invariants::Invariant,
    link::{LinkId, ToBroker, ToHub},
    report::Reached,
    store::Damage,
};

/// One life of the daemon.
pub(crate) struct Daemon {
    hub: Hub,
    pub(crate) link: Option<Connection>,
    next_delivery: u64,
    inputs: VecDeque<Input>,
    /// SIGTERM has come; the next life begins this long after the end.
    pub(super) away: Option<Duration>,
}

/// The connection in use, as the driver knows it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: LinkId,
    /// Whether the broker could be reached at all.
    reachable: bool,
    pub(crate) will: Option<Will>,
    pub(crate) connack: Option<Connack>,
    pub(crate) connected_at: Duration,
    pub(crate) subscribed_at: Option<Duration>,
    pub(crate) fence_is_back: bool,
    /// Deliveries without PUBACK, in the order of arrival.
    pub(crate) unacknowledged: VecDeque<Handed>,
    pub(crate) publishing: BTreeMap<u16, PublishId>,
    last_packet_id: u16,
}

/// A message that the hub was given.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) id: DeliveryId,
    pub(crate) packet_id: u16,
    pub(crate) letter: Rc<Letter>,
}

impl Daemon {
    /// Returns when the hub wants to be woken, on its own clock.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.hub.poll_timeout()
    }
}

impl World {
    pub(super) fn start_daemon(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.life.daemon += 1;
        self.note("hub", || "starts".into());
        if std::mem::take(&mut self.rebooted) {
            for record in self.store.records.values_mut() {
                record.reply.expires = record.reply.expires.map(|_| Duration::ZERO);
            }
        }
        let records: Vec<Record> = self.store.records.values().cloned().collect();
        let mut rng = self.rng.fork();
        let entropy = move || rng.u128(..).to_be_bytes();
        let kept = hearth_core::Kept {
            memory: self.store.memory.clone(),
            journal: records,
            served: self.store.served.values().cloned().collect(),
        };
        let hub = Hub::new(self.hub_config(), kept, entropy);
        self.daemon =
            Some(Daemon { hub, link: None, next_delivery: 0, inputs: VecDeque::new(), away: None });
        self.feed(Input::Elapsed);
        let states: Vec<_> = self.devices.states.clone().into_iter().collect();
        for ((device, property), payload) in states {
            self.report(&device, &property, payload);
        }
    }

    /// The daemon is killed: what it has not stored and not sent is gone.
    pub(super) fn kill_daemon(
        &mut self,
        durable: usize,
        up: usize,
        devices_survive: bool,
        damage: Damage,
    ) -> bool {
        let Some(daemon) = self.daemon.take() else { return false };
        let now = self.now;
        if let Some(connection) = daemon.link
            && let Some(link) = self.link_mut(connection.id)
        {
            link.cut(now, up, 0);
            link.close_hub(now);
        }
        self.close_store(durable, damage);
        self.devices.daemon_gone(devices_survive);
        true
    }

    /// Tells the daemon to end in order.
    pub(super) fn shut_down(&mut self, away: Duration) {
        let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.away.is_none()) else {
            return;
        };
        daemon.away = Some(away);
        self.reach(Reached::Shutdowns);
        self.feed(Input::Shutdown);
    }

    /// A device reports a state.
    pub(super) fn report(&mut self, device: &str, property: &str, payload: bytes::Bytes) {
        let key = (device.to_owned(), property.to_owned());
        self.devices.states.insert(key, payload.clone());
        self.feed(Input::State {
            device: device.to_owned(),
            property: property.to_owned(),
            payload,
            content_type: hearth_core::ContentType::Text,
            retain: true,
        });
    }

    pub(super) fn wake_hub(&mut self) {
        let now = self.now - self.booted_at;
        let due = self.daemon.as_ref().and_then(Daemon::next_due);
        if due.is_some_and(|due| due <= now) {
            self.feed(Input::Elapsed);
        }
    }

    /// Passes one input to the hub, and performs all that it wants.
    pub(super) fn feed(&mut self, input: Input) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.inputs.push_back(input);
        while let Some(daemon) = &mut self.daemon
            && let Some(input) = daemon.inputs.pop_front()
        {
            let clocks = hearth_core::Now {
                monotonic: self.now - self.booted_at,
                unix: self.unix + self.now,
            };
            daemon.hub.handle(clocks, input);
            while let Some(output) = self.daemon.as_mut().and_then(|d| d.hub.poll_output()) {
                self.perform(output);
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { will } => self.connect(will),
            Output::Disconnect => {
                self.note("hub", || "disconnects".into());
                if let Some(connection) = self.take_connection() {
                    self.note_disconnecting(&connection);
                    self.send_to_broker(connection.id, ToBroker::Disconnect);
                    self.close_hub_end(connection.id);
                }
                self.queue(Input::Disconnected(Disconnection::Requested));
            }
            Output::Subscribe(subscriptions) => self.send(ToBroker::Subscribe(subscriptions)),
            Output::Unsubscribe(filters) => self.send(ToBroker::Unsubscribe(filters)),
            Output::Publish { id, message } => self.publish(id, message),
            Output::Acknowledge(delivery) => self.acknowledge(delivery),
            Output::Store { revision, change } => {
                self.check_change(&change);
                self.store.write(self.now, revision, change);
            }
            Output::Execute(request) => self.execute(request),
            Output::Absence(absence) => self.check_absence(&absence),
            Output::Notice(notice) => self.on_notice(&notice),
            Output::Stopped(result) => {
                self.note("hub", || format!("stops: {result:?}"));
                if result.is_err() {
                    self.reach(Reached::Required);
                }
                let away = self.daemon.as_ref().and_then(|daemon| daemon.away);
                self.kill_daemon(usize::MAX, usize::MAX, true, Damage::None);
                self.after(away.unwrap_or(Duration::from_secs(5)), Timer::StartDaemon);
            }
        }
    }

    fn connect(&mut self, will: Option<Will>) {
        if let Some(will) = &will {
            self.check_connect(will);
        }
        let id = self.open_link();
        let at = self.now;
        let reachable = self.network_up && self.broker.up;
        let receive_maximum = self.client_receive_maximum;
        if reachable {
            self.send_to_broker(id, ToBroker::Connect { will: will.clone(), receive_maximum });
        } else if let Some(link) = self.link_mut(id) {
            link.close_broker(at);
        }
        let connection = Connection {
            id,
            reachable,
            will,
            connack: None,
            connected_at: at,
            subscribed_at: None,
            fence_is_back: false,
            unacknowledged: VecDeque::new(),
            publishing: BTreeMap::new(),
            last_packet_id: 0,
        };
        if let Some(daemon) = &mut self.daemon {
            daemon.link = Some(connection);
        }
        self.after(CONNECT_TIMEOUT, Timer::ConnectTimeout(id));
    }

    pub(super) fn give_attempt_up(&mut self, id: LinkId) {
        let waits = |c: &Connection| c.id == id && c.connack.is_none();
        if self.connection().is_some_and(waits) {
            self.lose_connection(Disconnection::Lost { error: "no CONNACK in time".into() });
        }
    }

    fn publish(&mut self, id: PublishId, message: Message) {
        self.check_publish(&message);
        self.check_size(&message);
        let Some(connection) = self.connection_mut() else { return };
        let packet_id = if message.qos == QoS::AtLeastOnce {
            connection.last_packet_id = connection.last_packet_id.checked_add(1).unwrap_or(1);
            connection.publishing.insert(connection.last_packet_id, id);
            connection.last_packet_id
        } else {
            0
        };
        self.check_window();
        self.send(ToBroker::Publish { packet_id, message });
        if packet_id == 0 {
            self.queue(Input::Published { id, reason_code: 0 });
        }
    }

    fn acknowledge(&mut self, delivery: DeliveryId) {
        let front = self.connection_mut().and_then(|c| c.unacknowledged.pop_front());
        let in_order = front.as_ref().is_some_and(|handed| handed.id == delivery);
        self.require(in_order, Invariant::PubackInOrder, || {
            format!("PUBACK for {delivery:?}, but {:?} is next", front.as_ref().map(|h| h.id))
        });
        if let Some(handed) = front {
            self.check_evidence_stored(&handed.letter.message);
            if let Some(index) = handed.letter.asked {
                self.ledger.asked[index].settled = Some(self.now);
            }
            self.send(ToBroker::Puback(handed.packet_id));
        }
    }

    fn execute(&mut self, request: Request) {
        self.note("hub", || {
            let Request { device, property, payload, .. } = &request;
            format!("executes {device}/{property} \"{}\"", super::lossy(payload))
        });
        self.check_execution(&request);
        if *request.device == *CLIENT_ID {
            let answer = Answer::text("the devices");
            return self.queue(Input::Answered { request: request.id, answer });
        }
        self.devices.execute(self.now, self.life.daemon, request, &mut self.rng);
    }

    pub(super) fn hub_gets(&mut self, id: LinkId, packet: ToHub) {
        if self.connection().is_none_or(|connection| connection.id != id) {
            return;
        }
        match packet {
            ToHub::Connack(connack) => {
                self.note("hub", || format!("[{id}] gets {connack:?}"));
                if let Some(connection) = self.connection_mut() {
                    connection.connack = Some(connack.clone());
                }
                if connack.session_present {
                    self.reach(Reached::Resumed);
                }
                self.feed(Input::Connected(connack));
            }
            ToHub::Refused(reason_code) => {
                self.reach(Reached::Refused);
                self.lose_connection(Disconnection::Refused { reason_code });
            }
            ToHub::Suback(reason_codes) => {
                let now = self.now;
                if let Some(connection) = self.connection_mut() {
                    connection.subscribed_at = Some(now);
                }
                let refusals = reason_codes.iter().filter(|code| **code >= FAILURE).count();
                self.feed(Input::Subscribed { reason_codes });
                self.check_noticed(refusals);
            }
            ToHub::Publish { packet_id, letter, dup, expiry } => {
                self.hand_over(packet_id, letter, dup, expiry);
            }
            ToHub::Puback(packet_id, reason_code) => {
                let id = self.connection_mut().and_then(|c| c.publishing.remove(&packet_id));
                if let Some(id) = id {
                    self.feed(Input::Published { id, reason_code });
                    self.check_noticed(usize::from(reason_code >= FAILURE));
                }
            }
            ToHub::Disconnect(reason_code) => {
                let reason_string = None;
                self.lose_connection(Disconnection::ByBroker { reason_code, reason_string });
            }
            ToHub::End => {
                let reached = self.connection().is_none_or(|connection| connection.reachable);
                let error = String::new();
                self.lose_connection(if reached {
                    Disconnection::Lost { error }
                } else {
                    Disconnection::Unreachable { error }
                });
            }
        }
    }

    fn hand_over(&mut self, packet_id: u16, letter: Rc<Letter>, dup: bool, expiry: Option<u32>) {
        let message = Message { dup, expiry, ..letter.message.clone() };
        self.note("hub", || format!("gets {packet_id} {}", show_message(&message)));
        self.note_handed(&letter, dup);
        let Some(daemon) = &mut self.daemon else { return };
        let Some(connection) = &mut daemon.link else { return };
        daemon.next_delivery += 1;
        let id = DeliveryId(daemon.next_delivery);
        let delivery = (packet_id != 0).then_some(Delivery { id, packet_id });
        if delivery.is_some() {
            connection.unacknowledged.push_back(Handed { id, packet_id, letter });
        }
        self.feed(Input::Received { message, delivery });
    }

    /// The connection in use is gone.
    fn lose_connection(&mut self, cause: Disconnection) {
        self.note("hub", || format!("loses the connection: {cause:?}"));
        if let Some(connection) = self.take_connection() {
            self.close_hub_end(connection.id);
        }
        self.feed(Input::Disconnected(cause));
    }

    fn close_hub_end(&mut self, id: LinkId) {
        let at = self.now + self.transit();
        if let Some(link) = self.link_mut(id) {
            link.close_hub(at);
        }
    }

    fn on_notice(&mut self, notice: &Notice) {
        self.note("hub", || format!("{notice:?}"));
        match notice {
            Notice::Online { .. } => {
                self.reach(Reached::Connections);
                if self.connection().is_some_and(|connection| !connection.fence_is_back) {
                    self.reach(Reached::FenceGivenUp);
                }
            }
            Notice::LateAnswer { .. } => self.reach(Reached::Late),
            Notice::RequestDropped { .. } => self.reach(Reached::Dropped),
            Notice::PresenceRestored { .. } => self.reach(Reached::PresenceRestored),
            Notice::Guarding { .. } => self.reach(Reached::Guarded),
            Notice::ReceiveMaximumExceeded { .. } => self.reach(Reached::Left),
            Notice::QueueFull { topic } => {
                // The answers to a flood may fill half the queue, and those at QoS 0 get no more.
                self.require(self.setup.flooded, Invariant::Bounded, || {
                    format!("no room for {topic}")
                });
                self.reach(Reached::QueueFull);
                self.ledger.note_undeliverable(topic);
            }
            Notice::PrefixLearned { .. }
            | Notice::ResponseInformationRefused { .. }
            | Notice::WillRefused { .. }
            | Notice::Offline { .. }
            | Notice::RequestAnswered { .. } => {}
            Notice::SubscriptionRefused { .. } => {
                self.reach(Reached::SubscriptionRefused);
                self.refusals_noticed += 1;
            }
            Notice::SubscriptionWeakened { .. }
            | Notice::SubscriptionUnanswered { .. }
            | Notice::RequestFailed { .. }
            | Notice::EvidenceIgnored { .. }
            | Notice::Rival { .. }
            | Notice::RivalGone { .. }
            | Notice::ClientIdShared
            | Notice::ExpiryAdded { .. }
            | Notice::TakenBack { .. } => {}
            Notice::PublishRefused { .. } => self.refusals_noticed += 1,
            Notice::MessageDropped { topic } => self.note_dropped(topic),
        }
    }

    fn send(&mut self, packet: ToBroker) {
        if let Some(id) = self.connection().map(|connection| connection.id) {
            self.send_to_broker(id, packet);
        }
    }

    /// What the driver has to say comes after what the hub wants done.
    fn queue(&mut self, input: Input) {
        if let Some(daemon) = &mut self.daemon {
            daemon.inputs.push_back(input);
        }
    }

    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.daemon.as_ref()?.link.as_ref()
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.daemon.as_mut()?.link.as_mut()
    }

    fn take_connection(&mut self) -> Option<Connection> {
        self.daemon.as_mut()?.link.take()
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const FAILURE: u8 = 0x80;
/// How long the driver waits for CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
