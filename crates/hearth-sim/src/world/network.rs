//! Packets on their way, and what the broker does with them.

use std::{rc::Rc, time::Duration};

use hearth_core::{Generation, Message};

use super::{World, lossy};
use crate::{
    broker::{Effect, Letter, Source},
    invariants::Invariant,
    link::{Life, Link, LinkId, ToBroker},
    report::Reached,
};

impl World {
    /// Delivers every packet that arrives now.
    pub(super) fn move_packets(&mut self) {
        let ids: Vec<LinkId> = self.links.iter().map(|link| link.id).collect();
        let now = self.now;
        for id in ids {
            while let Some(packet) = self.link_mut(id).and_then(|link| link.take_up(now)) {
                self.note("broker", || format!("[{id}] gets {}", show(&packet)));
                self.broker.receive(now, id, packet, &mut self.rng);
                self.carry_out_effects();
            }
            while let Some(packet) = self.link_mut(id).and_then(|link| link.take_down(now)) {
                self.hub_gets(id, packet);
            }
        }
        self.links.retain(|link| !link.is_over());
    }

    /// Opens a connection from the daemon.
    pub(super) fn open_link(&mut self) -> LinkId {
        self.next_link += 1;
        self.links.push(Link::new(self.next_link, self.life));
        self.next_link
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

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

    /// Nothing passes on any connection; each end notices by its own time-out.
    pub(super) fn fall_silent(&mut self) {
        let hub_notices = self.now + Duration::from_millis(self.rng.u64(20_000..40_000));
        let broker_notices = self.now + BROKER_KEEP_ALIVE;
        for link in &mut self.links {
            link.fall_silent(hub_notices, broker_notices);
        }
    }

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
                Effect::Published(letter, source) => self.on_published(&letter, source),
                Effect::Refused(message) => self.note_refused(&message),
                Effect::Acknowledged(letter) => self.check_acknowledged(&letter),
                Effect::SessionLost => {
                    self.note("broker", || "the session is lost".into());
                    self.reach(Reached::SessionsLost);
                    self.fates.session_lost();
                }
            }
        }
    }

    /// A message is with the broker: everyone who wants it gets it.
    fn on_published(&mut self, letter: &Rc<Letter>, source: Source) {
        let message = &letter.message;
        let session = self.broker.session.as_ref();
        let wanted = session.is_some_and(|session| session.wants(&message.topic));
        match source {
            Source::Hub(id) => {
                let life = self.links.iter().find(|link| link.id == id).map(|link| link.life);
                self.note_answer(message, life.unwrap_or(self.life));
            }
            Source::Will | Source::StrayWill => {
                self.note("broker", || format!("publishes the will: {}", show_message(message)));
                self.reach(Reached::WillsFired);
                let generation = generation_of(message);
                if let Some(fate) = generation.and_then(|g| self.fates.get_mut(g)) {
                    fate.published += 1;
                    // The hub may have left the old prefix by now, and nobody queues it.
                    fate.exempt |= source == Source::StrayWill && !wanted;
                    fate.stray |= source == Source::StrayWill;
                }
                self.guardians_see(message);
            }
            Source::Other => {
                self.note("client", || format!("publishes {}", show_message(message)));
                let generation = generation_of(message);
                if let Some(fate) = generation.and_then(|g| self.fates.get_mut(g)) {
                    let responder = message.user_property("client_id").unwrap_or_default();
                    fate.acknowledgements.push((responder.to_owned(), message.payload.clone()));
                    self.reach(Reached::Acknowledgements);
                }
            }
        }
    }

    /// The broker has the hub's answer to a request, or to another hub's will.
    fn note_answer(&mut self, message: &Message, life: Life) {
        if let Some(index) = self.ledger.answered_by(message) {
            self.check_answer(index, message, life);
        } else if message.topic.ends_with("/attic/will") {
            let known = self.neighbour.note_answer(message);
            self.require(known, Invariant::TrueOutcome, || {
                format!("an answer to a will that was never published: {}", show_message(message))
            });
        }
    }
}

pub(crate) fn generation_of(message: &Message) -> Option<Generation> {
    Generation::from_correlation_data(message.correlation_data.as_deref()?)
}

pub(crate) fn show_message(message: &Message) -> String {
    let mut text = format!("{} \"{}\"", message.topic, lossy(&message.payload));
    if let Some(status) = message.user_property("__stat") {
        text += &format!(" stat {status}");
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
