//! A model of an MQTT 5 broker: what it keeps, what it loses, and what the standard leaves open.

mod limits;
mod session;

use std::{collections::BTreeMap, collections::VecDeque, rc::Rc, time::Duration};

use hearth_core::{Connack, Message, QoS, Subscription, Will, topic::TopicFilter};

use crate::link::{LinkId, ToBroker, ToHub};
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
}

/// How this broker does what the standard leaves open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether Packet Identifiers count up; otherwise the lowest free one is taken.
    pub(crate) counts_packet_ids: bool,
    /// Whether order holds only within a topic (MQTT 4.6).
    pub(crate) reorders: bool,
    /// Whether it sends a client more than that client's Receive Maximum, as Mosquitto 2.0.11 does on a resumed session.
    pub(crate) overruns: bool,
    pub(crate) takeover: Takeover,
    pub(crate) session_expiry: Duration,
}

/// What becomes of a pending will when its client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// It is cancelled, as the standard says.
    Cancels,
    /// It is published at once.
    Publishes,
    /// It is published a second later.
    PublishesLate,
}

/// What a restart of the broker does to wills that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WillFate {
    Lost,
    Published,
    Kept,
}

/// What the broker has done, for the world to carry out or to note.
#[derive(Debug)]
pub(crate) enum Effect {
    Send(LinkId, ToHub),
    Close(LinkId),
    /// A message is with the broker, and on its way to every other client that wants it.
    Published(Rc<Letter>, Source),
    /// The hub's PUBACK for a message has come.
    Acknowledged(Rc<Letter>),
    SessionLost,
    /// A message of the hub is not accepted.
    Refused(Message),
}

/// Who published a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Hub(LinkId),
    Will,
    /// A will that should have been cancelled.
    StrayWill,
    Other,
}

/// The broker. Its owner passes what happens, and carries out the effects.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) habits: Habits,
    pub(crate) up: bool,
    pub(crate) response_information: Option<String>,
    pub(crate) receive_maximum: u16,
    /// The next so many attempts are refused, with this reason code.
    pub(crate) refusals: (u8, u32),
    pub(crate) limits: Limits,
    /// PUBACKs that are held up.
    withheld: Vec<(LinkId, ToHub)>,
    pub(crate) session: Option<Session>,
    pub(crate) retained: BTreeMap<String, Rc<Letter>>,
    /// A will that comes out although its client is back.
    stray: Option<(Duration, Message)>,
    /// The wills that are published when the broker is up again.
    postponed: Vec<Message>,
    pub(crate) effects: VecDeque<Effect>,
}

impl Broker {
    pub(crate) fn new(habits: Habits, response_information: Option<String>) -> Self {
        Self {
            habits,
            up: true,
            response_information,
            receive_maximum: u16::MAX,
            refusals: (0, 0),
            limits: Limits::default(),
            withheld: Vec::new(),
            session: None,
            retained: BTreeMap::new(),
            stray: None,
            postponed: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes in a packet from the hub.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        link: LinkId,
        packet: ToBroker,
        rng: &mut fastrand::Rng,
    ) {
        if let ToBroker::Connect { will, receive_maximum } = packet {
            self.connect(now, link, will, receive_maximum);
            return self.flush(now, rng);
        }
        let Some(session) = self.session.as_mut().filter(|session| session.link == Some(link))
        else {
            return;
        };
        match packet {
            ToBroker::Connect { .. } => {}
            ToBroker::Subscribe(mut subscriptions) => {
                let codes = self.limits.refuse_subscriptions(&mut subscriptions, link);
                let retained = session.subscribe(subscriptions, &self.retained);
                session.queue.extend(retained);
                self.effects.push_back(Effect::Send(link, ToHub::Suback(codes)));
            }
            ToBroker::Unsubscribe(filters) => session.unsubscribe(&filters),
            ToBroker::Publish { packet_id, message } => {
                let refused = self.limits.refuse_publish(&message, link);
                if message.qos == QoS::AtLeastOnce {
                    self.acknowledge(link, ToHub::Puback(packet_id, refused.unwrap_or(0)));
                }
                match refused {
                    Some(_) => self.effects.push_back(Effect::Refused(message)),
                    None => self.publish(now, message, None, Source::Hub(link)),
                }
            }
            ToBroker::Puback(packet_id) => {
                let acknowledged = session.acknowledged(packet_id);
                self.effects.extend(acknowledged.map(Effect::Acknowledged));
            }
            ToBroker::Disconnect => {
                session.will = None;
                self.disconnected(now, link);
            }
            ToBroker::End => self.disconnected(now, link),
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
        let letter = Rc::new(Letter { message, accepted: now, asked });
        if letter.message.retain {
            self.retained.insert(letter.message.topic.clone(), Rc::clone(&letter));
        }
        if let Some(session) = &mut self.session
            && session.wants(&letter.message.topic)
            && (letter.message.qos == QoS::AtLeastOnce || session.link.is_some())
        {
            session.queue.push_back(Rc::clone(&letter));
        }
        self.effects.push_back(Effect::Published(letter, source));
    }

    /// Another client connects with the hub's client ID, takes what is queued, and leaves.
    pub(crate) fn take_over(&mut self, now: Duration, clean: bool) {
        let Some(session) = &mut self.session else { return };
        if let Some(link) = session.link.take() {
            self.effects.push_back(Effect::Send(link, ToHub::Disconnect(TAKEN_OVER)));
            self.effects.push_back(Effect::Close(link));
        }
        session.forget_messages();
        session.will_due = session.will.is_some().then_some(now);
        session.expires = Some(now + self.habits.session_expiry);
        if clean {
            self.end_session(now);
        } else {
            self.return_of_client(now);
        }
    }

    /// An administrator removes the session, or the broker forgets it.
    pub(crate) fn lose_session(&mut self, now: Duration) {
        let Some(session) = &mut self.session else { return };
        if let Some(link) = session.link.take() {
            self.effects.push_back(Effect::Close(link));
        }
        self.end_session(now);
    }

    /// The broker goes down; `announced` says so to the hub.
    pub(crate) fn stop(
        &mut self,
        now: Duration,
        announced: bool,
        keeps_session: bool,
        keeps_retained: bool,
        wills: WillFate,
    ) {
        self.up = false;
        if let Some(session) = &mut self.session {
            if let Some(link) = session.link.take() {
                if announced {
                    let farewell = ToHub::Disconnect(SERVER_SHUTTING_DOWN);
                    self.effects.push_back(Effect::Send(link, farewell));
                }
                self.effects.push_back(Effect::Close(link));
                session.will_due = session.will.as_ref().map(|will| now + delay_of(will));
                session.expires = Some(now + self.habits.session_expiry);
            }
            if wills != WillFate::Kept || !keeps_session {
                let will = session.will.take().map(|will| will.message);
                session.will_due = None;
                self.postponed.extend(will.filter(|_| wills != WillFate::Lost));
            }
        }
        if !keeps_session && self.session.take().is_some() {
            self.effects.push_back(Effect::SessionLost);
        }
        if !keeps_retained {
            self.retained.clear();
        }
    }

    pub(crate) fn start(&mut self, now: Duration) {
        self.up = true;
        for will in std::mem::take(&mut self.postponed) {
            self.publish(now, will, None, Source::Will);
        }
    }

    /// Returns when [`Broker::on_time`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if !self.up {
            return None;
        }
        let session = self.session.as_ref();
        let will = session.and_then(|session| session.will_due);
        let expires = session.and_then(|session| session.expires);
        let stray = self.stray.as_ref().map(|(at, _)| *at);
        [will, expires, stray].into_iter().flatten().min()
    }

    pub(crate) fn on_time(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        if let Some((_, message)) = self.stray.take_if(|(at, _)| *at <= now) {
            self.publish(now, message, None, Source::StrayWill);
        }
        let due = |time: Option<Duration>| time.is_some_and(|time| time <= now);
        if let Some(session) = &mut self.session
            && due(session.will_due)
        {
            self.fire(now);
        }
        if self.session.as_ref().is_some_and(|session| due(session.expires)) {
            self.end_session(now);
        }
        self.flush(now, rng);
    }

    /// Hands the hub what its Receive Maximum allows.
    pub(crate) fn flush(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        let Some(session) = &mut self.session else { return };
        let Some(link) = session.link.filter(|_| self.up) else { return };
        while let Some(packet) = session.next_packet(now, &self.habits, rng) {
            self.effects.push_back(Effect::Send(link, packet));
        }
    }

    /// Sends the PUBACKs that were held up; none is any more.
    pub(crate) fn stop_withholding(&mut self) {
        self.limits.withholds = false;
        let withheld = std::mem::take(&mut self.withheld);
        self.effects.extend(withheld.into_iter().map(|(link, puback)| Effect::Send(link, puback)));
    }

    fn acknowledge(&mut self, link: LinkId, puback: ToHub) {
        if self.limits.withholds {
            self.withheld.push((link, puback));
        } else {
            self.effects.push_back(Effect::Send(link, puback));
        }
    }

    fn connect(
        &mut self,
        now: Duration,
        link: LinkId,
        will: Option<Will>,
        client_receive_maximum: u16,
    ) {
        if self.refusals.1 > 0 {
            self.refusals.1 -= 1;
            self.effects.push_back(Effect::Send(link, ToHub::Refused(self.refusals.0)));
            self.effects.push_back(Effect::Close(link));
            return;
        }
        if let Some(old) = self.session.as_mut().and_then(|session| session.link.take()) {
            self.effects.push_back(Effect::Send(old, ToHub::Disconnect(TAKEN_OVER)));
            self.effects.push_back(Effect::Close(old));
        }
        self.return_of_client(now);
        let session_present = self.session.is_some();
        let session = self.session.get_or_insert_default();
        session.resume(link, will, client_receive_maximum);
        session.offered = self.response_information.clone();
        if self.limits.maximum_packet_size.is_some() {
            self.limits.limited = Some(link);
        }
        let connack = Connack {
            session_present,
            response_information: self.response_information.clone(),
            receive_maximum: self.receive_maximum,
            maximum_packet_size: self.limits.maximum_packet_size,
        };
        self.effects.push_back(Effect::Send(link, ToHub::Connack(connack)));
    }

    /// The client is back before its will was due.
    fn return_of_client(&mut self, now: Duration) {
        let Some(session) = &mut self.session else { return };
        session.will_due = None;
        let Some(will) = session.will.take() else { return };
        match self.habits.takeover {
            Takeover::Cancels if will.delay > 0 => {}
            Takeover::Cancels | Takeover::Publishes => {
                self.publish(now, will.message, None, Source::Will);
            }
            Takeover::PublishesLate => {
                self.stray = Some((now + Duration::from_secs(1), will.message));
            }
        }
    }

    fn disconnected(&mut self, now: Duration, link: LinkId) {
        let Some(session) = self.session.as_mut().filter(|session| session.link == Some(link))
        else {
            return;
        };
        session.link = None;
        session.will_due = session.will.as_ref().map(|will| now + delay_of(will));
        session.expires = Some(now + self.habits.session_expiry);
        self.effects.push_back(Effect::Close(link));
    }

    fn end_session(&mut self, now: Duration) {
        self.fire(now);
        self.session = None;
        self.effects.push_back(Effect::SessionLost);
    }

    fn fire(&mut self, now: Duration) {
        let Some(session) = &mut self.session else { return };
        session.will_due = None;
        if let Some(will) = session.will.take() {
            self.publish(now, will.message, None, Source::Will);
        }
    }
}

fn delay_of(will: &Will) -> Duration {
    Duration::from_secs(will.delay.into())
}

/// Returns whether a subscription matches a topic name.
fn matches(subscription: &Subscription, topic: &str) -> bool {
    TopicFilter::parse(&subscription.filter).is_ok_and(|filter| filter.matches(topic))
}

/// DISCONNECT reason codes (MQTT 3.14.2.1).
const SERVER_SHUTTING_DOWN: u8 = 0x8B;
const TAKEN_OVER: u8 = 0x8E;
