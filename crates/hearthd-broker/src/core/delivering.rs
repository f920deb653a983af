//! How messages and replies go out (MQTT 4.3, 4.6, 4.9).

use std::{collections::VecDeque, sync::Arc};

use super::{
    Broker, LinkId, NoticeKind, Now, Outgoing, Output,
    delivery::{Delivery, SENDER_ACCOUNT, SENDER_CLIENT_ID},
    journal::Key,
    link::PendingReply,
    session::{Entry, Progress, Session, SessionId},
};
use crate::{
    packet::{Ack, Answer, QoS, Reason, Reply, remove_reason_string},
    rights::Role,
};

/// What the next message of a session needs.
enum Next {
    /// It may go out.
    Send,
    /// It has ended.
    Drop,
    /// It is larger than the client takes (MQTT 3.1.2.11.4).
    TooLarge,
    /// It waits for acknowledgements, or for a batch.
    Wait,
    /// Its packet identifier has to be in the store first.
    Hold,
}

impl Broker {
    /// Queues a reply behind those before it.
    pub(super) fn reply(&mut self, now: Now, link: LinkId, reply: PendingReply) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.replies.push_back(reply);
        if state.replies.len() > self.limits.replies {
            let why = "too many packets wait for their reply";
            return self.fail(now, link, Reason::QuotaExceeded, why);
        }
        self.send_replies(now, link);
    }

    pub(super) fn reply_and_pump(&mut self, now: Now, link: LinkId) {
        self.send_replies(now, link);
        self.pump(now, link);
    }

    /// Sends the replies that wait for nothing any more.
    fn send_replies(&mut self, now: Now, link: LinkId) {
        loop {
            let Some(state) = self.links.get_mut(&link) else { return };
            let is_ready = |reply: &PendingReply| {
                let needless =
                    reply.publication.is_some_and(|it| !self.publications.contains_key(&it));
                needless || self.journal.has(reply.batch)
            };
            if !state.replies.front().is_some_and(is_ready) {
                return;
            }
            let Some(PendingReply { mut reply, retained, .. }) = state.replies.pop_front() else {
                return;
            };
            if matches!(reply, Reply::Puback(_)) {
                state.unacknowledged = state.unacknowledged.saturating_sub(1);
            }
            if !state.wants_reasons {
                remove_reason_string(&mut reply);
            }
            let session = state.session;
            let is_connack = matches!(reply, Reply::Connack(_));
            if !self.send(link, reply) {
                let why = "the client takes no packet as large as its reply";
                return self.fail(now, link, Reason::PacketTooLarge, why);
            }
            if is_connack {
                self.opened(now, link);
            }
            if !retained.is_empty()
                && let Some(session) = self.sessions.get_mut(&session)
            {
                let cursors = session.retained.iter_mut();
                for cursor in cursors.filter(|cursor| retained.contains(&cursor.filter)) {
                    cursor.ready = true;
                }
                self.pump(now, link);
            }
        }
    }

    /// Sends messages as long as the client takes them.
    pub(super) fn pump(&mut self, now: Now, link: LinkId) {
        while let Some(state) = self.links.get(&link) {
            if !state.open || state.unsent >= self.limits.unsent {
                return;
            }
            let id = state.session;
            self.pull_retained(now, id);
            let Some(entry) = self.sessions.get(&id).and_then(|session| session.queue.front())
            else {
                return;
            };
            match self.next_step(now, link, id, entry) {
                Next::Send => self.send_first(now, link, id),
                Next::Drop => drop(self.drop_first(now, id)),
                Next::TooLarge => {
                    if let Some(topic) = self.drop_first(now, id) {
                        let why = format!("a message on `{topic}` is larger than the client takes");
                        self.notice(id, NoticeKind::Dropped, why);
                    }
                }
                Next::Wait => return,
                Next::Hold => self.hold_next(now, link, id),
            }
        }
    }

    /// Decides about the first message of a session's queue; changes nothing.
    fn next_step(&self, now: Now, link: LinkId, id: SessionId, entry: &Entry) -> Next {
        let (state, session) = (&self.links[&link], &self.sessions[&id]);
        // What was sent once is sent again (MQTT 4.4); that nothing is left of its expiry tells its receiver.
        let begun = entry.progress == Progress::Sent;
        if entry.message.is_expired(now.monotonic) && !begun {
            return Next::Drop;
        }
        if entry.qos > QoS::AtMostOnce {
            if session.in_flight.len() >= state.window || !self.journal.has(entry.hold) {
                return Next::Wait;
            }
            // A QoS 2 message keeps its identifier for ever, or it would be taken for another one.
            if entry.needs_hold() {
                return Next::Hold;
            }
        }
        let delivery = self.delivery(now, id, entry);
        if delivery.size(state.version) > state.maximum_packet_size {
            return Next::TooLarge;
        }
        Next::Send
    }

    fn delivery(&self, now: Now, id: SessionId, entry: &Entry) -> Delivery {
        Delivery {
            message: entry.message.clone(),
            qos: entry.qos,
            dup: entry.progress == Progress::Sent,
            retain: entry.retain,
            packet_id: entry.packet_id,
            expiry: entry.message.remaining_expiry(now.monotonic),
            identifiers: entry.identifiers.clone(),
            vouched: self.sessions[&id].grant.role() == Some(Role::Hub),
        }
    }

    /// Sends the first message of the queue: QoS 0 is done with it, any other is in flight until its client acknowledges.
    fn send_first(&mut self, now: Now, link: LinkId, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(mut entry) = session.queue.pop_front() else { return };
        if entry.qos > QoS::AtMostOnce && entry.packet_id.is_none() {
            entry.packet_id = Some(session.take_packet_id());
        }
        let delivery = self.delivery(now, id, &entry);
        entry.progress = Progress::Sent;
        if entry.stored {
            // So that it is marked as a repeat after a restart.
            self.mark_lazily(now, Key::Entry(id, entry.number));
        }
        let session = self.sessions.get_mut(&id).expect("the session was just found");
        match entry.packet_id {
            Some(packet_id) => drop(session.in_flight.insert(packet_id, entry)),
            None => self.settle(now, id, &entry),
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.unsent += delivery.size(state.version);
        }
        let packet = Outgoing::Publish(delivery);
        self.outputs.push_back(Output::Send { link, packet });
    }

    pub(super) fn drop_first(&mut self, now: Now, id: SessionId) -> Option<Arc<str>> {
        let session = self.sessions.get_mut(&id)?;
        let entry = session.queue.pop_front()?;
        if let Some(packet_id) = entry.packet_id {
            session.packet_ids.remove(&packet_id);
        }
        self.settle(now, id, &entry);
        Some(entry.message.topic.clone())
    }

    /// Makes the packet identifiers of the next QoS 2 messages be stored before they are sent, in one batch.
    fn hold_next(&mut self, now: Now, link: LinkId, id: SessionId) {
        let Some(window) = self.links.get(&link).map(|state| state.window) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let room = window.saturating_sub(session.in_flight.len());
        let mut queue = std::mem::take(&mut session.queue);
        for entry in queue.iter_mut().take(room).filter(|entry| entry.needs_hold()) {
            let Some(session) = self.sessions.get_mut(&id) else { break };
            entry.packet_id = Some(session.take_packet_id());
            entry.hold = self.mark(now, Key::Entry(id, entry.number));
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.queue = queue;
        }
    }

    /// Moves the next retained messages of new subscriptions into the queue, while that is short.
    fn pull_retained(&mut self, now: Now, id: SessionId) {
        while let Some(session) = self.sessions.get_mut(&id) {
            if session.queue.len() >= RETAINED_AHEAD {
                return;
            }
            let Some(cursor) = session.retained.front_mut().filter(|cursor| cursor.ready) else {
                return;
            };
            let next = self.retained.next_matching(&cursor.filter, cursor.after.as_ref());
            let subscription = session.subscriptions.get(&cursor.filter).copied();
            let filter = cursor.filter.clone();
            let (Some(message), Some(subscription)) = (next, subscription) else {
                session.retained.pop_front();
                self.mark_cursor(now, id, filter);
                continue;
            };
            cursor.after = Some(message.topic.clone());
            let readable = session.grant.may_read(&message.topic);
            let goes = readable && !message.is_expired(now.monotonic);
            // In the same batch as the message, so that a restart neither leaves one out nor repeats it.
            self.mark_cursor(now, id, filter);
            if !goes {
                continue;
            }
            let entry = Self::retained_entry(message, &subscription);
            self.push_retained(now, id, entry);
        }
    }

    fn mark_cursor(&mut self, now: Now, id: SessionId, filter: Arc<str>) {
        if self.sessions.get(&id).is_some_and(Session::is_durable) {
            self.mark_lazily(now, Key::Cursor(id, filter));
        }
    }

    /// Queues a retained message; the queue is short, so it has room whatever else waits.
    fn push_retained(&mut self, now: Now, id: SessionId, mut entry: Entry) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.last_entry += 1;
        entry.number = session.last_entry;
        session.queued += entry.memory();
        session.giving_way += usize::from(entry.qos == QoS::AtMostOnce);
        self.queued += entry.memory();
        if entry.qos > QoS::AtMostOnce && session.is_durable() {
            entry.body = Some(self.hold_body(now, &entry.message, &mut None));
            self.mark(now, Key::Entry(id, entry.number));
        }
        let session = self.sessions.get_mut(&id).expect("the session was just found");
        session.queue.push_back(entry);
    }

    pub(super) fn puback(&mut self, now: Now, link: LinkId, ack: Ack) {
        self.complete(now, link, ack, |entry| entry.qos == QoS::AtLeastOnce);
    }

    pub(super) fn pubcomp(&mut self, now: Now, link: LinkId, ack: Ack) {
        self.complete(now, link, ack, |entry| entry.progress == Progress::Released);
    }

    /// Ends a delivery that the client acknowledged; what it does not have is ignored.
    fn complete(&mut self, now: Now, link: LinkId, ack: Ack, fits: impl Fn(&Entry) -> bool) {
        let Some(state) = self.links.get(&link) else { return };
        let id = state.session;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.in_flight.get(&ack.packet_id).is_some_and(fits) {
            return;
        }
        session.packet_ids.remove(&ack.packet_id);
        if let Some(entry) = session.in_flight.remove(&ack.packet_id) {
            self.settle(now, id, &entry);
        }
        self.pump(now, link);
    }

    /// Releases a QoS 2 message, once the store knows that the client has it (MQTT 4.3.3).
    pub(super) fn pubrec(&mut self, now: Now, link: LinkId, ack: Ack) {
        let Some(state) = self.links.get(&link) else { return };
        let id = state.session;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let packet_id = ack.packet_id;
        let answer = |reason| Reply::Pubrel(Answer { packet_id, reason, text: None });
        let known = session.in_flight.get_mut(&packet_id);
        let Some(entry) = known.filter(|entry| entry.qos == QoS::ExactlyOnce) else {
            if ack.reason < FAILURE {
                let unknown = answer(Reason::PacketIdentifierNotFound);
                self.reply(now, link, PendingReply::now(unknown));
            }
            return;
        };
        if ack.reason >= FAILURE {
            return self.complete(now, link, ack, |_| true);
        }
        entry.progress = Progress::Released;
        let (number, stored) = (entry.number, entry.body.is_some());
        let publication = entry.publication.take();
        self.acknowledged(publication);
        let batch = if stored { self.mark(now, Key::Entry(id, number)) } else { 0 };
        self.reply(now, link, PendingReply::after(answer(Reason::Success), batch));
    }

    /// Accounts for an entry that is gone.
    pub(super) fn settle(&mut self, now: Now, id: SessionId, entry: &Entry) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.queued -= entry.memory();
            session.giving_way -= usize::from(entry.qos == QoS::AtMostOnce);
        }
        self.queued -= entry.memory();
        self.acknowledged(entry.publication);
        let Some(number) = entry.body else { return };
        let key = Key::Entry(id, entry.number);
        if entry.stored {
            self.mark_lazily(now, key);
        } else {
            self.journal.forget(&key);
        }
        let Some(body) = self.bodies.get_mut(&number) else { return };
        body.holders -= 1;
        if body.holders > 0 {
            return;
        }
        let stored = body.stored;
        self.bodies.remove(&number);
        if stored {
            self.mark_lazily(now, Key::Body(number));
        } else {
            self.journal.forget(&Key::Body(number));
        }
    }

    /// Counts one receiver of a publication as done.
    fn acknowledged(&mut self, publication: Option<u64>) {
        let Some(number) = publication else { return };
        let Some(publication) = self.publications.get_mut(&number) else { return };
        publication.remaining = publication.remaining.saturating_sub(1);
        if publication.remaining == 0 {
            self.waiting.insert(publication.link);
            self.publications.remove(&number);
        }
    }

    /// Drops those messages of a queue that `goes` chooses; what is on its way stays.
    pub(super) fn drop_entries(
        &mut self,
        now: Now,
        id: SessionId,
        goes: impl Fn(&Entry, &crate::rights::Grant) -> bool,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let queue = std::mem::take(&mut session.queue);
        let (gone, kept): (VecDeque<Entry>, VecDeque<Entry>) = queue
            .into_iter()
            .partition(|entry| entry.packet_id.is_none() && goes(entry, &session.grant));
        session.queue = kept;
        for entry in gone {
            self.settle(now, id, &entry);
        }
    }
}

/// User properties that only the broker sets.
pub(super) const SENDERS: &[&str] = &[SENDER_ACCOUNT, SENDER_CLIENT_ID];
/// Reason codes from here on are failures.
const FAILURE: u8 = 0x80;
/// Retained messages in a queue that were not sent.
const RETAINED_AHEAD: usize = 32;
