//! A model of an MQTT 5 broker: what it keeps, what it loses, and what the standard leaves open.

mod client;
mod habits;
mod limits;
mod session;

use std::{collections::BTreeMap, collections::VecDeque, rc::Rc, time::Duration};

use hearthd_core::{Connack, Message, QoS, SENDER_ACCOUNT, SENDER_CLIENT_ID, Will};

use crate::ledger::{VIA, identity};
use crate::link::{HubId, LinkId, ToBroker, ToHub};
pub(crate) use client::Client;
pub(crate) use habits::{Habits, Takeover, WillFate};
use limits::Limits;
pub(crate) use limits::Matter;
pub(crate) use session::Session;

/// A message that the broker has accepted.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) message: Message,
    pub(crate) accepted: Duration,
    /// The request that it is, in the ledger.
    pub(crate) asked: Option<usize>,
    pub(crate) source: Source,
}

/// What the broker has done, for the world to carry out or to note.
#[derive(Debug)]
pub(crate) enum Effect {
    Send(LinkId, ToHub),
    Close(LinkId),
    /// A message is with the broker, and on its way to every other client that wants it.
    Published(Rc<Letter>),
    /// A hub's PUBACK for a message has come.
    Acknowledged(HubId, Rc<Letter>),
    SessionLost(HubId),
    /// A message of a hub is not accepted.
    Refused(Message),
}

/// Who published a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Hub(HubId, LinkId),
    Will(HubId),
    /// A will that should have been cancelled.
    StrayWill(HubId),
    /// Another client, by name.
    Other(&'static str),
}

impl Source {
    /// Returns the account and the client identifier that a broker vouches for.
    pub(crate) fn sender(self) -> (&'static str, &'static str) {
        match self {
            Self::Hub(hub, _) | Self::Will(hub) | Self::StrayWill(hub) => (HOME, hub.client_id()),
            Self::Other(name) => (name, name),
        }
    }
}

/// The account of the hubs.
const HOME: &str = "home";

/// The broker. Its owner passes what happens, and carries out the effects.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) habits: Habits,
    pub(crate) up: bool,
    pub(crate) response_information: Option<String>,
    pub(crate) receive_maximum: u16,
    /// One for each hub, in their order.
    pub(crate) clients: Vec<Client>,
    pub(crate) retained: BTreeMap<String, Rc<Letter>>,
    pub(crate) effects: VecDeque<Effect>,
}

impl Broker {
    /// Makes a broker that is up and knows nobody.
    pub(crate) fn new(habits: Habits, response_information: Option<String>, hubs: usize) -> Self {
        Self {
            habits,
            up: true,
            response_information,
            receive_maximum: u16::MAX,
            clients: HubId::all(hubs).map(Client::new).collect(),
            retained: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// Returns what the broker has of a hub.
    pub(crate) fn client(&self, hub: HubId) -> &Client {
        &self.clients[hub.0]
    }

    /// Returns what the broker has of a hub, for a change.
    pub(crate) fn client_mut(&mut self, hub: HubId) -> &mut Client {
        &mut self.clients[hub.0]
    }

    /// Returns a hub's session, while there is one.
    pub(crate) fn session(&self, hub: HubId) -> Option<&Session> {
        self.client(hub).session.as_ref()
    }

    /// Takes in a packet from a hub.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        link: LinkId,
        packet: ToBroker,
        rng: &mut fastrand::Rng,
    ) {
        if let ToBroker::Connect { hub, will, receive_maximum } = packet {
            self.connect(now, hub, link, will, receive_maximum);
            return self.flush(now, rng);
        }
        let habits = self.habits;
        let nobody = habits.tells_of_nobody && self.has_no_subscriber(&packet);
        let Self { clients, effects, retained, .. } = self;
        let Some(client) = clients.iter_mut().find(|client| client.uses(link)) else { return };
        let (hub, Some(session)) = (client.hub, &mut client.session) else { return };
        match packet {
            ToBroker::Connect { .. } => {}
            ToBroker::Subscribe(asked) if habits.one_filter_at_a_time && asked.len() > 1 => {}
            ToBroker::Subscribe(subscriptions) => {
                let limits = &mut client.limits;
                let codes =
                    limits.refuse_subscriptions(&subscriptions, session, habits.wildcards, link);
                session.subscribe(subscriptions, &codes, retained);
                effects.push_back(Effect::Send(link, ToHub::Suback(codes)));
            }
            ToBroker::Unsubscribe(filters) => session.unsubscribe(&filters),
            ToBroker::Publish { packet_id, message } => {
                let refused = client.limits.refuse_publish(&message, hub, link);
                if message.qos == QoS::AtLeastOnce {
                    let success = if nobody { NO_SUBSCRIBER } else { 0 };
                    let puback = ToHub::Puback(packet_id, refused.unwrap_or(success));
                    client.acknowledge(link, puback, effects);
                }
                match refused {
                    Some(_) => effects.push_back(Effect::Refused(message)),
                    None => {
                        let asked =
                            message.user_property(VIA).and_then(|_| identity(&message.payload));
                        self.publish(now, message, asked, Source::Hub(hub, link));
                    }
                }
            }
            ToBroker::Puback(packet_id) => {
                let acknowledged = session.acknowledged(packet_id);
                effects.extend(acknowledged.map(|letter| Effect::Acknowledged(hub, letter)));
            }
            ToBroker::Disconnect => {
                session.will = None;
                self.disconnected(now, hub, link);
            }
            ToBroker::End => self.disconnected(now, hub, link),
        }
        self.flush(now, rng);
    }

    /// Accepts a message from whomever, and hands it to everyone who wants it.
    pub(crate) fn publish(
        &mut self,
        now: Duration,
        message: Message,
        asked: Option<usize>,
        source: Source,
    ) {
        let mut message = message;
        if self.habits.adds_expiry {
            message.expiry.get_or_insert(Habits::ADDED_EXPIRY);
        }
        if self.habits.vouches {
            let stamps = [SENDER_ACCOUNT, SENDER_CLIENT_ID];
            message.user_properties.retain(|(name, _)| !stamps.contains(&name.as_str()));
        }
        let letter = Rc::new(Letter { message, accepted: now, asked, source });
        if letter.message.retain {
            let topic = &letter.message.topic;
            if letter.message.payload.is_empty() {
                self.retained.remove(topic);
            } else {
                self.retained.insert(topic.clone(), Rc::clone(&letter));
            }
        }
        for client in &mut self.clients {
            client.offer(&letter);
        }
        self.effects.push_back(Effect::Published(letter));
    }

    /// Another client connects with a hub's client ID, takes what is queued, and leaves.
    pub(crate) fn take_over(&mut self, now: Duration, hub: HubId, clean: bool) {
        let expiry = self.habits.session_expiry;
        let Self { clients, effects, .. } = self;
        let client = &mut clients[hub.0];
        client.close(Some(TAKEN_OVER), effects);
        let Some(session) = &mut client.session else { return };
        session.forget_messages();
        session.will_due = session.will.is_some().then_some(now);
        session.expires = Some(now + expiry);
        if clean {
            self.end_session(now, hub);
        } else {
            self.return_of_client(now, hub);
        }
    }

    /// An administrator removes a session, or the broker forgets it.
    pub(crate) fn lose_session(&mut self, now: Duration, hub: HubId) {
        let Self { clients, effects, .. } = self;
        clients[hub.0].close(None, effects);
        if self.session(hub).is_some() {
            self.end_session(now, hub);
        }
    }

    /// The broker goes down; `announced` says so to the hubs.
    pub(crate) fn stop(
        &mut self,
        now: Duration,
        announced: bool,
        keeps_session: bool,
        keeps_retained: bool,
        wills: WillFate,
    ) {
        self.up = false;
        let Self { clients, effects, .. } = self;
        for client in clients {
            let farewell = announced.then_some(SERVER_SHUTTING_DOWN);
            if let Some(session) = client.close(farewell, effects) {
                session.will_due = session.will.as_ref().map(|will| now + delay_of(will));
                session.expires = Some(now + self.habits.session_expiry);
            }
            if client.stop(keeps_session, wills) {
                effects.push_back(Effect::SessionLost(client.hub));
            }
        }
        if !keeps_retained {
            self.retained.clear();
        }
    }

    /// Comes up again, and publishes the wills that were due meanwhile.
    pub(crate) fn start(&mut self, now: Duration) {
        self.up = true;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let (hub, postponed) = (client.hub, std::mem::take(&mut client.postponed));
            for will in postponed {
                self.publish(now, will, None, Source::Will(hub));
            }
        }
    }

    /// Returns when [`Broker::on_time`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.clients.iter().filter(|_| self.up).filter_map(Client::next_due).min()
    }

    /// Does what is due: wills, ends of sessions, messages that were withheld.
    pub(crate) fn on_time(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        let due = |time: Option<Duration>| time.is_some_and(|time| time <= now);
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            let hub = client.hub;
            if let Some((_, message)) = client.stray.take_if(|(at, _)| *at <= now) {
                self.publish(now, message, None, Source::StrayWill(hub));
            }
            if self.session(hub).is_some_and(|session| due(session.will_due)) {
                self.fire(now, hub);
            }
            if self.session(hub).is_some_and(|session| due(session.expires)) {
                self.end_session(now, hub);
            }
        }
        self.flush(now, rng);
    }

    /// Hands each hub what its Receive Maximum allows.
    pub(crate) fn flush(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        if !self.up {
            return;
        }
        let sessions = self.clients.iter_mut().filter_map(|client| client.session.as_mut());
        for session in sessions {
            let Some(link) = session.link else { continue };
            while let Some(packet) = session.next_packet(now, &self.habits, rng) {
                self.effects.push_back(Effect::Send(link, packet));
            }
        }
    }

    /// Sends a hub the PUBACKs that were held up; none is any more.
    pub(crate) fn stop_withholding(&mut self, hub: HubId) {
        self.clients[hub.0].stop_withholding(&mut self.effects);
    }

    fn connect(
        &mut self,
        now: Duration,
        hub: HubId,
        link: LinkId,
        will: Option<Will>,
        client_receive_maximum: u16,
    ) {
        let Self { clients, effects, .. } = self;
        let client = &mut clients[hub.0];
        if client.refusals.1 > 0 {
            client.refusals.1 -= 1;
            effects.push_back(Effect::Send(link, ToHub::Refused(client.refusals.0)));
            effects.push_back(Effect::Close(link));
            return;
        }
        client.close(Some(TAKEN_OVER), effects);
        self.return_of_client(now, hub);
        let client = &mut self.clients[hub.0];
        let session_present = client.session.is_some();
        let session = client.session.get_or_insert_default();
        session.resume(link, will, client_receive_maximum);
        session.offered = self.response_information.clone();
        let maximum_packet_size = client.limits.maximum_packet_size;
        if maximum_packet_size.is_some() {
            client.limits.limited = Some(link);
        }
        let expiry = self.habits.session_expiry;
        let connack = Connack {
            session_present,
            response_information: self.response_information.clone(),
            receive_maximum: self.receive_maximum,
            maximum_packet_size,
            wildcards: self.habits.wildcards,
            vouches: self.habits.vouches,
            session_expiry: (expiry < Habits::ASKED_EXPIRY)
                .then(|| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)),
            ..Connack::default()
        };
        self.effects.push_back(Effect::Send(link, ToHub::Connack(connack)));
    }

    /// Whether nobody is subscribed to what a hub publishes: what tells of devices, mostly.
    fn has_no_subscriber(&self, packet: &ToBroker) -> bool {
        let ToBroker::Publish { message, .. } = packet else { return false };
        let answer = message.user_property("__stat").is_some();
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        !answer && !sessions.into_iter().any(|session| session.wants(&message.topic))
    }

    /// The client is back before its will was due.
    fn return_of_client(&mut self, now: Duration, hub: HubId) {
        let client = &mut self.clients[hub.0];
        let Some(will) = client.take_will() else { return };
        match self.habits.takeover {
            Takeover::Cancels if will.delay > 0 => {}
            Takeover::Cancels | Takeover::Publishes => {
                self.publish(now, will.message, None, Source::Will(hub));
            }
            Takeover::PublishesLate => {
                client.stray = Some((now + Duration::from_secs(1), will.message));
            }
        }
    }

    fn disconnected(&mut self, now: Duration, hub: HubId, link: LinkId) {
        let expires = now + self.habits.session_expiry;
        let Some(session) = &mut self.clients[hub.0].session else { return };
        session.link = None;
        session.will_due = session.will.as_ref().map(|will| now + delay_of(will));
        session.expires = Some(expires);
        self.effects.push_back(Effect::Close(link));
    }

    fn end_session(&mut self, now: Duration, hub: HubId) {
        self.fire(now, hub);
        self.clients[hub.0].session = None;
        self.effects.push_back(Effect::SessionLost(hub));
    }

    fn fire(&mut self, now: Duration, hub: HubId) {
        if let Some(will) = self.clients[hub.0].take_will() {
            self.publish(now, will.message, None, Source::Will(hub));
        }
    }
}

fn delay_of(will: &Will) -> Duration {
    Duration::from_secs(will.delay.into())
}

/// DISCONNECT reason codes (MQTT 3.14.2.1).
const SERVER_SHUTTING_DOWN: u8 = 0x8B;
const TAKEN_OVER: u8 = 0x8E;
/// PUBACK reason code of a message that nobody is subscribed to (MQTT 3.4.2.1).
const NO_SUBSCRIBER: u8 = 0x10;
