//! Packets on their way, and how the broker handles them.

use std::{rc::Rc, time::Duration};

use hearthd_core::{Generation, Message};

use super::{World, lossy};
use crate::{
    broker::{Effect, Letter, Source},
    fates::Said,
    link::{HubId, Life, Link, LinkId, ToBroker},
    report::Reached,
};

impl World {
    /// Delivers every packet that arrives now.
    pub(super) fn move_packets(&mut self) {
        let ids: Vec<_> = self.links.iter().map(|link| (link.life.hub, link.id)).collect();
        let now = self.now;
        for (hub, id) in ids {
            while let Some(packet) = self.link_mut(id).and_then(|link| link.take_up(now)) {
                self.note("broker", || format!("[{id}] gets {}", show(&packet)));
                self.broker.receive(now, id, packet, &mut self.rng);
                self.carry_out_effects();
            }
            while let Some(packet) = self.link_mut(id).and_then(|link| link.take_down(now)) {
                self.hub_gets(hub, id, packet);
            }
        }
        self.links.retain(|link| !link.is_over());
    }

    /// Opens a connection from a hub's daemon.
    pub(super) fn open_link(&mut self, hub: HubId) -> LinkId {
        self.next_link += 1;
        let life = self.hub(hub).life;
        self.links.push(Link::new(self.next_link, life));
        self.next_link
    }

    /// Returns a connection, if it is still known.
    pub(super) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// Sends a packet to the broker, which arrives after the time that the network takes.
    pub(super) fn send_to_broker(&mut self, id: LinkId, packet: ToBroker) {
        let at = self.now + self.transit();
        if let Some(link) = self.link_mut(id) {
            link.send_up(at, packet);
        }
    }

    /// Returns how long a packet takes now.
    pub(super) fn transit(&mut self) -> Duration {
        self.latency + Duration::from_micros(self.rng.u64(..1_000))
    }

    /// Nothing passes on any connection of a hub; each end notices by its own time-out.
    pub(super) fn fall_silent(&mut self, hub: HubId) {
        let hub_notices = self.now + Duration::from_millis(self.rng.u64(20_000..40_000));
        let broker_notices = self.now + BROKER_KEEP_ALIVE;
        for link in self.links.iter_mut().filter(|link| link.life.hub == hub) {
            link.fall_silent(hub_notices, broker_notices);
        }
    }

    /// Carries out what the broker has decided: packets, and ends of connections.
    pub(super) fn carry_out_effects(&mut self) {
        while let Some(effect) = self.broker.effects.pop_front() {
            let at = self.now + self.transit();
            match effect {
                Effect::Send(id, packet) => {
                    if let Some(link) = self.link_mut(id) {
                        link.send_down(at, packet);
                    }
                }
                Effect::Close(id) => {
                    if let Some(link) = self.link_mut(id) {
                        link.close_broker(at);
                    }
                }
                Effect::Published(letter) => self.on_published(&letter),
                Effect::Refused(message) => self.note_refused(&message),
                Effect::Acknowledged(hub, letter) => self.check_acknowledged(hub, &letter),
                Effect::SessionLost(hub) => {
                    self.note("broker", || format!("the session of {} is lost", hub.client_id()));
                    self.reach(Reached::SessionsLost);
                    self.hub_mut(hub).fates.session_lost();
                }
            }
        }
    }

    /// A message is with the broker: everyone who wants it gets it.
    fn on_published(&mut self, letter: &Rc<Letter>) {
        let message = &letter.message;
        self.note_guarded_presence(message);
        self.overhear(message, letter.source);
        match letter.source {
            Source::Hub(hub, id) => {
                if is_own_response(&message.topic, hub, "fence") {
                    self.hub_mut(hub).fence_passed = self.now;
                }
                let life = self.links.iter().find(|link| link.id == id).map(|link| link.life);
                self.note_answer(message, life.unwrap_or(self.hub(hub).life));
                self.note_acknowledgement(letter);
            }
            Source::Will(hub) => self.on_will(hub, message, false),
            Source::StrayWill(hub) => self.on_will(hub, message, true),
            Source::Other(_) => {
                self.note("client", || format!("publishes {}", show_message(message)));
                self.note_acknowledgement(letter);
                if let Some(index) = letter.asked {
                    self.check_served(message, index);
                    self.responder_sees(message, index);
                }
            }
        }
    }

    fn on_will(&mut self, hub: HubId, message: &Message, stray: bool) {
        self.note("broker", || format!("publishes the will: {}", show_message(message)));
        self.reach(Reached::WillsFired);
        let session = self.broker.session(hub);
        let wanted = session.is_some_and(|session| session.wants(&message.topic));
        let fates = &mut self.hub_mut(hub).fates;
        if let Some(fate) = generation_of(message).and_then(|g| fates.get_mut(g)) {
            fate.published += 1;
            // The hub may have left the old prefix by now, and nobody queues it.
            fate.exempt |= stray && !wanted;
            fate.stray |= stray;
        }
        self.guardians_see(message);
    }

    /// Somebody has said something in the name of a will: a guardian, or who calls itself one.
    fn note_acknowledgement(&mut self, letter: &Letter) {
        let message = &letter.message;
        let Some(generation) = generation_of(message) else { return };
        let now = self.now;
        let by_guardian = letter.source.sender().0.starts_with("guardian");
        let responder = self.responder_of(letter);
        for hub in self.hub_ids() {
            let is_answer = is_own_response(&message.topic, hub, "will");
            let session = self.broker.session(hub);
            let kept = session.is_some_and(|session| session.keeps(&message.topic));
            let Some(fate) = self.hub_mut(hub).fates.get_mut(generation) else { continue };
            if is_answer {
                let responder = responder.clone();
                let payload = message.payload.clone();
                let as_asked = fate.response_topic.as_ref() == Some(&message.topic);
                let said = Said { responder, payload, at: now, as_asked, by_guardian, kept };
                fate.acknowledgements.push(said);
                self.reach(Reached::Acknowledgements);
            }
        }
    }

    /// Returns the name that a hub knows whoever answers a will by: what the broker vouches for, or what it says itself.
    pub(crate) fn responder_of(&self, letter: &Letter) -> String {
        let (account, client_id) = letter.source.sender();
        if !self.broker.habits.vouches {
            letter.message.user_property("client_id").unwrap_or_default().to_owned()
        } else if account == client_id {
            account.to_owned()
        } else {
            format!("{account} ({client_id})")
        }
    }

    /// The broker has a hub's answer to a request, or to the will of a hub that it guards.
    fn note_answer(&mut self, message: &Message, life: Life) {
        if let Some(index) = self.ledger.answered_by(message) {
            self.check_answer(index, message, life);
        } else {
            self.note_guard_answer(message, life.hub);
        }
    }
}

/// Whether a topic is the hub's own response topic for a purpose, below whatever prefix.
pub(crate) fn is_own_response(topic: &str, hub: HubId, purpose: &str) -> bool {
    let client = topic.strip_suffix(purpose).and_then(|rest| rest.strip_suffix('/'));
    client
        .and_then(|rest| rest.strip_suffix(hub.client_id()))
        .is_some_and(|rest| rest == "response/" || rest.ends_with("/response/"))
}

/// Whether a topic is the presence of a client, below whatever prefix.
pub(crate) fn is_presence(topic: &str, client_id: &str) -> bool {
    let client = topic.strip_suffix("/presence").and_then(|rest| rest.strip_suffix(client_id));
    client.is_some_and(|rest| rest == "hub/" || rest.ends_with("/hub/"))
}

/// Returns the generation in a message's Correlation Data, if it is one.
pub(crate) fn generation_of(message: &Message) -> Option<Generation> {
    Generation::from_correlation_data(message.correlation_data.as_deref()?)
}

/// Writes a message for the trace.
pub(crate) fn show_message(message: &Message) -> String {
    let mut text = format!("{} \"{}\"", message.topic, lossy(&message.payload));
    if let Some(status) = message.user_property("__stat") {
        text += &format!(" stat {status}");
    }
    for name in ["reason", "retry", "repeated", "__propVal", "hub"] {
        if let Some(value) = message.user_property(name) {
            text += &format!(" {name} {value}");
        }
    }
    if let Some(correlation_data) = &message.correlation_data {
        text += &format!(" corr {}", lossy(correlation_data));
    }
    if let Some(topic) = &message.response_topic {
        text += &format!(" -> {topic}");
    }
    if let Some(expiry) = message.expiry {
        text += &format!(" expiry {expiry}");
    }
    for (flag, name) in [(message.retain, " retained"), (message.dup, " dup")] {
        text += if flag { name } else { "" };
    }
    text
}

fn show(packet: &ToBroker) -> String {
    match packet {
        ToBroker::Connect { will: Some(will), .. } => {
            format!("CONNECT, will {}", show_message(&will.message))
        }
        ToBroker::Connect { will: None, .. } => "CONNECT without a will".into(),
        ToBroker::Subscribe(subscriptions) => {
            let filters: Vec<_> = subscriptions.iter().map(|s| s.filter.as_str()).collect();
            format!("SUBSCRIBE {}", filters.join(", "))
        }
        ToBroker::Unsubscribe(filters) => format!("UNSUBSCRIBE {}", filters.join(", ")),
        ToBroker::Publish { packet_id, message } => {
            format!("PUBLISH {packet_id} {}", show_message(message))
        }
        ToBroker::Puback(packet_id) => format!("PUBACK {packet_id}"),
        ToBroker::Disconnect => "DISCONNECT".into(),
        ToBroker::End => "the end of the connection".into(),
    }
}

/// One and a half times the keep alive (MQTT 3.1.2.10).
const BROKER_KEEP_ALIVE: Duration = Duration::from_secs(30);
