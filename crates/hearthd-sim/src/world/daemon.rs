//! The model of the driver: it performs the hub's outputs, and passes it events.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Answer, Connack, DeliveryId, Disconnection, Hub, Input, Message, Output, PublishId, QoS,
    Request, Subscription, Will,
};

use super::{Timer, World, announcing::is_announcement};
use crate::{
    broker::Letter,
    invariants::{Invariant, Said},
    link::{HubId, LinkId, ToBroker},
    report::Reached,
    store::Damage,
};

/// One life of the daemon.
pub(crate) struct Daemon {
    hub: Hub,
    /// What its configuration says; that of the machine counts from the next life on.
    pub(crate) receive_maximum: u16,
    pub(crate) link: Option<Connection>,
    pub(super) next_delivery: u64,
    inputs: VecDeque<Input>,
    /// It has been online in this life.
    pub(crate) was_online: bool,
    /// SIGTERM has come; the next life begins this long after the end.
    pub(super) away: Option<Duration>,
}

/// The connection in use, as the driver knows it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: LinkId,
    /// Whether the broker could be reached at all.
    pub(super) reachable: bool,
    pub(crate) will: Option<Will>,
    pub(crate) connack: Option<Connack>,
    pub(crate) connected_at: Duration,
    /// The filters of the SUBSCRIBE that has no SUBACK, and those whose refusal has been told.
    pub(super) asking: Vec<Subscription>,
    pub(crate) told: BTreeSet<String>,
    /// When the hub had all SUBACKs that it waits for at first: then the fence is sent.
    pub(crate) subscribed_at: Option<Duration>,
    /// When its fence came back.
    pub(crate) fence_back_at: Option<Duration>,
    /// When the hub said `online`, and with what Correlation Data.
    pub(crate) online_since: Option<Duration>,
    pub(crate) said: Option<Bytes>,
    /// Deliveries without PUBACK, in the order of arrival.
    pub(crate) unacknowledged: VecDeque<Handed>,
    pub(crate) publishing: BTreeMap<u16, PublishId>,
    /// Which hub the last message on each topic of a state has named.
    pub(crate) shown: BTreeMap<String, Option<String>>,
    /// How many messages at QoS 0 have come that are not for devices.
    pub(crate) at_once: usize,
    /// The hub has left messages to another connection: it has not looked at them.
    pub(crate) has_left: bool,
    /// What was announced on it last, by topic, and which of the messages are announcements.
    pub(crate) announced: BTreeMap<String, Said>,
    pub(crate) announcing: BTreeSet<PublishId>,
    /// Announcements were refused on it: they are tried again much later.
    pub(crate) announces_later: bool,
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
    /// Starts a hub's daemon with what its store has.
    pub(super) fn start_daemon(&mut self, hub: HubId) {
        let now = self.now;
        let machine = self.hub_mut(hub);
        if machine.daemon.is_some() {
            return;
        }
        machine.life.daemon += 1;
        machine.begun_at = now;
        if std::mem::take(&mut machine.rebooted) {
            for record in machine.store.records.values_mut() {
                record.reply.expires = record.reply.expires.map(|_| Duration::ZERO);
            }
        }
        if machine.store.memory.key.is_none() {
            machine.fates.key_lost();
        }
        let kept = machine.store.kept();
        self.note(hub.client_id(), || "starts".into());
        let mut rng = self.rng.fork();
        let mut starts = rng.clone();
        let entropy = move || rng.u128(..).to_be_bytes();
        self.note_announcements(hub);
        let config = self.hub_config(hub);
        let receive_maximum = config.receive_maximum;
        let core = Hub::new(config, kept, entropy);
        self.hub_mut(hub).daemon = Some(Daemon {
            hub: core,
            receive_maximum,
            link: None,
            next_delivery: 0,
            inputs: VecDeque::new(),
            was_online: false,
            away: None,
        });
        self.feed(hub, Input::Elapsed);
        self.begin_bridges(hub, |_| true);
        self.begin_devices(hub, &mut starts);
    }

    /// The daemon is killed: what it has not stored and not sent is gone.
    pub(super) fn kill_daemon(
        &mut self,
        hub: HubId,
        durable: usize,
        up: usize,
        devices_survive: bool,
        damage: Damage,
    ) -> bool {
        let machine = self.hub_mut(hub);
        let Some(daemon) = machine.daemon.take() else { return false };
        let now = self.now;
        if let Some(connection) = daemon.link
            && let Some(link) = self.link_mut(connection.id)
        {
            link.cut(now, up, 0);
            link.close_hub(now);
        }
        self.close_store(hub, durable, damage);
        self.devices.daemon_gone(hub, devices_survive);
        if !devices_survive {
            self.devices_forget(hub, damage);
        }
        true
    }

    /// Tells the daemon to end in order.
    pub(super) fn shut_down(&mut self, hub: HubId, away: Duration) {
        let daemon = self.hub_mut(hub).daemon.as_mut();
        let Some(daemon) = daemon.filter(|daemon| daemon.away.is_none()) else { return };
        daemon.away = Some(away);
        self.reach(Reached::Shutdowns);
        self.feed(hub, Input::Shutdown);
    }

    /// Lets the core do what is due, by the clock of its machine.
    pub(super) fn wake_hub(&mut self, hub: HubId) {
        let machine = self.hub(hub);
        let now = self.now - machine.booted_at;
        let due = machine.daemon.as_ref().and_then(Daemon::next_due);
        if due.is_some_and(|due| due <= now) {
            self.feed(hub, Input::Elapsed);
        }
    }

    /// Passes one input to the hub, and performs all that it wants.
    pub(super) fn feed(&mut self, hub: HubId, input: Input) {
        self.queue(hub, input);
        let now = self.now;
        loop {
            let machine = self.hub_mut(hub);
            let clocks =
                hearthd_core::Now { monotonic: now - machine.booted_at, unix: machine.unix + now };
            let Some(daemon) = &mut machine.daemon else { return };
            let Some(input) = daemon.inputs.pop_front() else { return self.check_bridges(hub) };
            let listener = self.listener(hub, &input);
            let Some(daemon) = &mut self.hub_mut(hub).daemon else { return };
            daemon.hub.handle(clocks, input);
            while let Some(output) = self.next_output(hub) {
                self.perform(hub, output);
            }
            listener.into_iter().for_each(|listener| self.check_heard(hub, listener));
        }
    }

    fn next_output(&mut self, hub: HubId) -> Option<Output> {
        self.hub_mut(hub).daemon.as_mut()?.hub.poll_output()
    }

    fn perform(&mut self, hub: HubId, output: Output) {
        match output {
            Output::Connect { will } => self.connect(hub, will),
            Output::Protest => self.require(false, Invariant::Answered, || {
                "no broker of the simulation breaks the standard so".into()
            }),
            Output::Disconnect => {
                self.note(hub.client_id(), || "disconnects".into());
                if let Some(connection) = self.hub_mut(hub).take_connection() {
                    self.note_disconnecting(hub, &connection);
                    self.send_to_broker(connection.id, ToBroker::Disconnect);
                    self.close_hub_end(connection.id);
                }
                self.queue(hub, Input::Disconnected(Disconnection::Requested));
            }
            Output::Subscribe(subscriptions) => {
                if let Some(connection) = self.connection_mut(hub) {
                    connection.asking.clone_from(&subscriptions);
                }
                self.send(hub, ToBroker::Subscribe(subscriptions));
            }
            Output::Unsubscribe(filters) => self.send(hub, ToBroker::Unsubscribe(filters)),
            Output::Publish { id, message } => self.publish(hub, id, message),
            Output::Acknowledge(delivery) => self.acknowledge(hub, delivery),
            Output::Store { revision, change } => {
                self.check_change(hub, &change);
                let now = self.now;
                self.hub_mut(hub).store.write(now, revision, change);
            }
            Output::Execute(request) => self.execute(hub, request),
            Output::Bridge { device, output } => self.on_bridge(hub, &device, output),
            Output::Absence(absence) => self.check_absence(hub, &absence),
            Output::Notice(notice) => self.on_notice(hub, &notice),
            Output::Stopped(result) => {
                self.note(hub.client_id(), || format!("stops: {result:?}"));
                if result.is_err() {
                    self.reach(Reached::Required);
                }
                let away = self.hub(hub).daemon.as_ref().and_then(|daemon| daemon.away);
                self.kill_daemon(hub, usize::MAX, usize::MAX, true, Damage::None);
                self.after(away.unwrap_or(Duration::from_secs(5)), Timer::StartDaemon(hub));
            }
        }
    }

    fn connect(&mut self, hub: HubId, will: Option<Will>) {
        if let Some(will) = &will {
            self.check_connect(hub, will);
        }
        let id = self.open_link(hub);
        let at = self.now;
        let machine = self.hub(hub);
        let reachable = machine.network_up && self.broker.up;
        let receive_maximum = machine.client_receive_maximum;
        if reachable {
            let connect = ToBroker::Connect { hub, will: will.clone(), receive_maximum };
            self.send_to_broker(id, connect);
        } else if let Some(link) = self.link_mut(id) {
            link.close_broker(at);
        }
        let connection = Connection {
            id,
            reachable,
            will,
            connack: None,
            connected_at: at,
            asking: Vec::new(),
            told: BTreeSet::new(),
            subscribed_at: None,
            fence_back_at: None,
            online_since: None,
            said: None,
            unacknowledged: VecDeque::new(),
            publishing: BTreeMap::new(),
            shown: BTreeMap::new(),
            has_left: false,
            at_once: 0,
            announced: BTreeMap::new(),
            announcing: BTreeSet::new(),
            announces_later: false,
            last_packet_id: 0,
        };
        if let Some(daemon) = &mut self.hub_mut(hub).daemon {
            daemon.link = Some(connection);
        }
        self.after(CONNECT_TIMEOUT, Timer::ConnectTimeout(hub, id));
    }

    /// The driver does not wait for CONNACK any longer.
    pub(super) fn give_attempt_up(&mut self, hub: HubId, id: LinkId) {
        let waits = |c: &Connection| c.id == id && c.connack.is_none();
        if self.connection(hub).is_some_and(waits) {
            self.lose_connection(hub, Disconnection::Lost { error: "no CONNACK in time".into() });
        }
    }

    fn publish(&mut self, hub: HubId, id: PublishId, message: Message) {
        self.check_publish(hub, &message);
        self.check_announcement(hub, &message);
        self.check_bridged(hub, &message);
        self.check_asked(hub, &message);
        self.check_size(hub, &message);
        self.check_truth(hub, &message);
        self.check_status(hub, &message);
        self.check_repeated(hub, &message);
        self.check_under_way(hub, &message);
        self.check_taking_back(hub, &message);
        let Some(connection) = self.connection_mut(hub) else { return };
        if is_announcement(hub, &message.topic) {
            connection.announcing.insert(id);
        }
        let packet_id = if message.qos == QoS::AtLeastOnce {
            connection.last_packet_id = connection.last_packet_id.checked_add(1).unwrap_or(1);
            connection.publishing.insert(connection.last_packet_id, id);
            connection.last_packet_id
        } else {
            0
        };
        self.check_window(hub);
        self.send(hub, ToBroker::Publish { packet_id, message });
        if packet_id == 0 {
            self.queue(hub, Input::Published { id, reason_code: 0 });
        }
    }

    fn acknowledge(&mut self, hub: HubId, delivery: DeliveryId) {
        let front = self.connection_mut(hub).and_then(|c| c.unacknowledged.pop_front());
        let in_order = front.as_ref().is_some_and(|handed| handed.id == delivery);
        self.require(in_order, Invariant::PubackInOrder, || {
            format!("PUBACK for {delivery:?}, but {:?} is next", front.as_ref().map(|h| h.id))
        });
        if let Some(handed) = front {
            self.check_evidence_stored(hub, &handed.letter);
            if let Some(index) = handed.letter.asked {
                let asked = &self.ledger.asked[index];
                if self.had_since(hub, asked.device, asked.first_sent) {
                    self.ledger.asked[index].settled.insert(hub, self.now);
                }
            }
            self.send(hub, ToBroker::Puback(handed.packet_id));
        }
    }

    fn execute(&mut self, hub: HubId, request: Request) {
        self.note(hub.client_id(), || {
            let Request { device, property, payload, .. } = &request;
            format!("executes {device}/{property} \"{}\"", super::lossy(payload))
        });
        self.check_execution(hub, &request);
        if *request.device == *hub.client_id() {
            let answer = Answer::text("the devices");
            return self.queue(hub, Input::Answered { request: request.id, answer });
        }
        let life = self.hub(hub).life;
        self.send_for(hub, &request);
        self.ask_for(hub, &request);
        self.devices.execute(self.now, life, request, &mut self.rng);
    }

    /// Sends a packet on the hub's connection, if there is one.
    pub(super) fn send(&mut self, hub: HubId, packet: ToBroker) {
        if let Some(id) = self.connection(hub).map(|connection| connection.id) {
            self.send_to_broker(id, packet);
        }
    }

    /// What the driver has to say comes after what the hub wants done.
    pub(super) fn queue(&mut self, hub: HubId, input: Input) {
        if let Some(daemon) = &mut self.hub_mut(hub).daemon {
            daemon.inputs.push_back(input);
        }
    }
}

/// How long the driver waits for CONNACK.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
