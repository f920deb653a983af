//! Evidence about the hub's own wills: copies of them, and acknowledgements.
//!
//! Everybody may publish on these topics. A message counts only if it contains what only a client that has seen the
//! will can know, and only after the connection that carried the will has ended.

use super::{Connection, Hub, Phase, events::excerpt, storing::take_stored};
use crate::{
    Absence, Acknowledgement, DeliveryId, Generation, Message, Notice, Now, Output, token::Purpose,
    wills::Trace,
};

impl Hub {
    /// Takes a message to the Response Topic of the hub's wills; it counts only with the generation of a will that
    /// may have been published.
    pub(super) fn on_will_answer(
        &mut self,
        now: Now,
        message: &Message,
        delivery: Option<DeliveryId>,
    ) {
        match self.wills.trace(message, self.generation()) {
            Trace::Will(generation) => {
                let answer = self.acknowledgement(message);
                let (unknown, mut changed) = self.note_unknown_connection(generation);
                let (news, upgraded) = self.wills.acknowledge(generation, &answer);
                changed.extend(upgraded);
                self.note_evidence(news || unknown, changed, delivery);
            }
            Trace::Stranger => self.on_stranger(delivery),
            Trace::Premature => {
                let reason = "it answers a will that the broker has not published";
                self.ignore(now, message, reason, delivery);
            }
            Trace::Own(_) | Trace::Foreign => {
                self.ignore(now, message, "it answers no will of this hub", delivery);
            }
        }
    }

    /// Takes a message on the hub's own presence topic: a copy of its will, the echo of its `online`, or what
    /// somebody else says in its name.
    pub(super) fn on_own_presence(
        &mut self,
        now: Now,
        message: &Message,
        delivery: Option<DeliveryId>,
    ) {
        let current = self.generation();
        let offline = &message.payload[..] == b"offline";
        let trace = self.wills.trace(message, current);
        // Everybody can read its token: what else it says must be the hub's own words, too.
        let is_own_online = &message.payload[..] == b"online"
            && message.user_property("hub") == Some(&self.config.client_id)
            && current.is_some_and(|g| trace == Trace::Own(g));
        match trace {
            Trace::Will(generation) if offline => {
                let resumed = self.connection().is_some_and(|connection| connection.resumed);
                let (unknown, mut changed) = self.note_unknown_connection(generation);
                let (news, upgraded) = self.wills.saw_will(generation, resumed);
                changed.extend(upgraded);
                self.note_evidence(news || unknown, changed, delivery);
            }
            Trace::Own(_) => self.acknowledge_now(delivery),
            Trace::Stranger => {
                self.look_for_namesake(message);
                self.on_stranger(delivery);
            }
            Trace::Premature => {
                let reason = "it is no copy of the will, which the broker has not published";
                self.ignore(now, message, reason, delivery);
            }
            Trace::Will(_) | Trace::Foreign => {
                self.look_for_namesake(message);
                self.ignore(now, message, "it is neither of this hub nor its will", delivery);
            }
        }
        let is_current = message.topic == self.own_presence_topic(self.prefix());
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if is_own_online {
            connection.echoed = true;
            self.presence.has_been_online = true;
        } else if connection.echoed && is_current {
            self.displaced();
        }
    }

    /// Only a session that was subscribed before this connection returns this.
    pub(super) fn on_session(&mut self, message: &Message) {
        let Some(generation) = self.own_generation(message, Purpose::Session) else { return };
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if generation == connection.generation {
            connection.resumed = true;
            self.note_expiry(message);
        }
    }

    /// Notes whether a message of the hub that went out without an expiry has one now.
    pub(super) fn note_expiry(&mut self, message: &Message) {
        let added = message.expiry.is_some();
        if self.wills.note_expiry(added) {
            self.store_memory();
            self.notice(Notice::ExpiryAdded { added });
        }
    }

    /// Returns the generation of the connection in use where a message is this hub's own, for this purpose: by its
    /// token, and by the broker's word where that vouches for senders.
    pub(super) fn own_generation(&self, message: &Message, purpose: Purpose) -> Option<Generation> {
        let connection = self.connection()?;
        let vouched = !connection.vouches
            || message.sender(true).is_some_and(|sender| {
                sender.client_id.is_none_or(|id| id == self.config.client_id)
            });
        let generation = connection.generation;
        (vouched && self.wills.carries(message, generation, purpose)).then_some(generation)
    }

    fn acknowledgement(&self, message: &Message) -> Acknowledgement {
        let vouches = self.connection().is_some_and(|connection| connection.vouches);
        let vouched = message.sender(vouches).map(|sender| match sender.client_id {
            Some(client_id) if client_id != sender.account => {
                format!("{} ({client_id})", sender.account)
            }
            Some(_) | None => sender.account.to_owned(),
        });
        let claimed = || {
            let names = ["client_id", "__srcId", "x-mqtt-client-id"];
            names.iter().find_map(|name| message.user_property(name)).map(str::to_owned)
        };
        let is_vouched = vouched.is_some();
        let responder = vouched.or_else(claimed);
        Acknowledgement {
            responder: responder.map(|name| excerpt(name.as_bytes(), LONGEST_NAME)),
            vouched: is_vouched,
            payload: excerpt(&message.payload, LONGEST_ANSWER),
            status: message.user_property("__stat").and_then(|status| status.parse().ok()),
            before_fence: !self.fence_is_back(),
        }
    }

    /// A will was published whose CONNACK the memory may not know of; returns whether that is news, and what it changes.
    fn note_unknown_connection(&mut self, generation: Generation) -> (bool, Vec<Absence>) {
        match self.generation().filter(|_| !self.wills.knows(generation)) {
            Some(current) => self.wills.doubt_silence(current, self.clock),
            None => (false, Vec::new()),
        }
    }

    /// There was a connection that the memory does not know: what came to it may be forgotten.
    fn on_stranger(&mut self, delivery: Option<DeliveryId>) {
        let Some(current) = self.generation() else { return self.acknowledge_now(delivery) };
        let (news, changed) = self.wills.doubt_silence(current, self.clock);
        self.note_evidence(news, changed, delivery);
    }

    /// Stores new evidence before its delivery is acknowledged, and tells of a changed outcome.
    pub(super) fn note_evidence(
        &mut self,
        news: bool,
        changed: Vec<Absence>,
        delivery: Option<DeliveryId>,
    ) {
        if news {
            self.evidence = self.store_memory();
        }
        // Another copy may tell what the store does not hold yet.
        self.unstored_evidence.extend(delivery.map(|delivery| (self.evidence, delivery)));
        self.acknowledge_evidence();
        for absence in changed {
            if let Phase::Online(connection) = &self.phase {
                let prefix = connection.prefix.clone();
                self.publish_absence(prefix.as_ref(), &absence);
            }
            self.outputs.push_back(Output::Absence(absence));
        }
    }

    /// Acknowledges the evidence that the store holds. What it cannot hold stays with the broker until that has `online`,
    /// which names this connection: the next life would take the silence of the session for an outcome otherwise.
    pub(super) fn acknowledge_evidence(&mut self) {
        if self.store_failure.is_some() && !self.presence.is_told {
            return;
        }
        for delivery in take_stored(&mut self.unstored_evidence, self.stored) {
            self.acknowledge(delivery);
        }
    }

    /// Drops what claims to be evidence and cannot be.
    fn ignore(
        &mut self,
        now: Now,
        message: &Message,
        reason: &'static str,
        delivery: Option<DeliveryId>,
    ) {
        // An empty presence tells nothing, and is told as displaced where it matters.
        if !message.payload.is_empty()
            && let Some(more) = self.told.ignored.tell(now.monotonic)
        {
            let topic = message.topic.clone();
            self.notice(Notice::EvidenceIgnored { topic, reason, more });
        }
        self.acknowledge_now(delivery);
    }

    fn generation(&self) -> Option<Generation> {
        self.connection().map(|connection| connection.generation)
    }

    /// Somebody else was `online` as this hub while its connection was gone: it uses the same client ID. Who says so
    /// while the connection lives does not, or there would be none.
    fn look_for_namesake(&mut self, message: &Message) {
        let echoed = self.connection().is_some_and(|Connection { echoed, .. }| *echoed);
        if &message.payload[..] == b"online" && !echoed && self.presence.has_been_online {
            self.saw_namesake();
        }
    }
}

/// How many bytes are kept of an answer to a will, and of the name of whoever gave it.
const LONGEST_ANSWER: usize = 256;
const LONGEST_NAME: usize = 64;
