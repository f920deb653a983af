//! From a device's answer to the broker's PUBACK for the response.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Hub, events::Untold};
use crate::{
    Answer, Change, JournalRecord, Message, Notice, Now, PublishId, Reason, RequestId, RequestKey,
    Status,
    absence::rfc3339,
    journal::{Durability, Entry, EntryId},
    outbox::{FIRST_STATUS, Kind, REPEATED},
    record::{LONGEST_VERBATIM, Reply},
    requests::{Origin, Pending, Purpose},
};

/// The status of the answer before, and when it was given, on the wall clock.
pub(super) type First = (u16, Duration);

/// An answer that may not go out before the store holds it, and the state that it tells of.
#[derive(Debug)]
pub(super) struct Unpublished {
    pub(super) needs: u64,
    pub(super) origin: Origin,
    pub(super) answer: Answer,
}

impl Unpublished {
    /// The connection is gone, and its deliveries cannot be acknowledged any more.
    pub(super) fn disconnected(&mut self) {
        self.origin.deliveries.clear();
    }
}

impl Hub {
    /// Takes a device's answer; one that comes after the deadline changes nothing.
    pub(super) fn on_answered(&mut self, now: Now, id: RequestId, answer: Answer) {
        // What an accepted request has to say is part of what is under way.
        if answer.status != Status::Accepted {
            self.end_publications_of(id);
        }
        match self.requests.remove(id, true) {
            Some(pending) => {
                if matches!(pending.purpose, Purpose::Execute) {
                    self.note_under_way(now, id, &pending, &answer);
                }
                self.conclude(now, pending, &answer);
            }
            None => self.notice(Notice::LateAnswer { request: id }),
        }
    }

    /// Answers a request whose deadline has come: 408 where the device has it, 409 `queued` where it still waited for
    /// its turn.
    pub(super) fn time_out(&mut self, now: Now, id: RequestId) {
        let Some(mut pending) = self.requests.remove(id, false) else { return };
        self.end_publications_of(id);
        if !pending.handed && pending.origin.durability == Durability::Answer {
            // After a crash, its redelivery would be carried out.
            self.must_survive(&mut pending.origin);
        }
        let answer = if pending.handed {
            let allowed = pending.deadline.saturating_sub(pending.arrived).as_millis();
            let text = format!("`{}` did not answer within {allowed} ms", pending.device);
            Answer::failure(Status::Timeout, text)
        } else {
            let text =
                format!("its turn at `{}` did not come in time; not carried out", pending.device);
            Answer::conflict(Reason::Queued, &text)
        };
        self.conclude(now, pending, &answer);
    }

    /// Makes what a device has said the answer to a request, by what it was asked for.
    fn conclude(&mut self, now: Now, pending: Pending, answer: &Answer) {
        match pending.purpose {
            Purpose::Execute => self.finish(now, pending, answer),
            Purpose::ReadBack => {
                let answer = indeterminate(&pending, answer);
                self.finish(now, pending, &answer);
            }
            Purpose::Verify { record, is_repeat } => {
                self.on_verified(now, pending.origin, *record, answer, is_repeat);
            }
        }
    }

    /// Returns whether an answer has not left the hub yet, and is still true.
    pub(super) fn is_on_its_way(&self, entry: EntryId) -> bool {
        self.journal.get(entry).is_some_and(|known| {
            let waits = |next: &Unpublished| next.origin.entry == Some(entry);
            (self.unpublished.iter().any(waits)
                || known.publish.is_some_and(|publish| self.outbox.contains(publish)))
                && self.superseded(entry, &known.record).is_none()
        })
    }

    /// Sends the first answer again, as long as it is true; the request is not executed twice.
    pub(super) fn answer_again(&mut self, now: Now, origin: Origin, entry: EntryId) {
        let waiting = |unpublished: &&mut Unpublished| unpublished.origin.entry == Some(entry);
        if let Some(unpublished) = self.unpublished.iter_mut().find(waiting) {
            unpublished.origin.deliveries.extend(origin.deliveries);
            unpublished.origin.reply.wait_until(origin.reply.expires);
            return;
        }
        let Some(known) = self.journal.get(entry) else { return };
        let (revision, publish, record) = (known.revision, known.publish, known.record.clone());
        self.hold(&origin, revision);
        if let Some(publish) = publish.filter(|_| self.superseded(entry, &record).is_none())
            && self.outbox.attach(publish, &origin.deliveries, origin.reply.expires)
        {
            return;
        }
        self.give_first_answer(now, origin, entry, &record, true);
    }

    /// Publishes the first answer to a request, as long as it is true; it is marked where that is a repeat.
    pub(super) fn give_first_answer(
        &mut self,
        now: Now,
        origin: Origin,
        entry: EntryId,
        record: &JournalRecord,
        is_repeat: bool,
    ) {
        let Some(answer) = &record.answer else { return };
        let first = first_answer(now, record);
        match self.superseded(entry, record) {
            Some(superseded) => self.publish_response(origin, &superseded, first),
            None => self.publish_response(origin, answer, first.filter(|_| is_repeat)),
        }
    }

    /// Stores what a device should remember; in no hurry, unless an answer tells of it.
    pub(super) fn on_saved(&mut self, device: String, state: Bytes) {
        let revision = self.store(Change::Device { device: device.clone(), state });
        self.saves.insert(device, revision);
    }

    /// Returns what to say in place of an answer that is not true any more; `record` is what the journal has, or had, of
    /// its request.
    pub(super) fn superseded(&self, entry: EntryId, record: &JournalRecord) -> Option<Answer> {
        let first = record.answer.as_ref()?.status.code();
        let (property, value) = self.values.superseded(record, entry)?;
        let at = record.answered_at.map(rfc3339).unwrap_or_default();
        let text = format!(
            "it was answered {first} at {at}, and `{property}` has been set otherwise since; \
             the value is the state now"
        );
        let value = value.map(|value| String::from_utf8_lossy(&value).into_owned());
        Some(Answer::conflict(Reason::Superseded, &text).about(&property, value.as_deref()))
    }

    /// Answers a request: at once, or as soon as the store holds the answer and the state that it tells of.
    pub(super) fn respond(
        &mut self,
        now: Now,
        origin: Origin,
        answer: &Answer,
        device: Arc<str>,
        property: Arc<str>,
        arrived: Duration,
    ) {
        let (status, elapsed) = (answer.status.code(), now.monotonic - arrived);
        let saved = self.saves.get(&*device).copied();
        let failure = self.failure(now, &origin, answer);
        self.notice(Notice::RequestAnswered { device, property, status, elapsed, failure });
        if let Some(entry) = origin.entry {
            let forget_at = self.forget_at();
            self.journal.answer(entry, answer, now.unix, origin.reply.expires, forget_at);
            if let Some(known) = self.journal.get(entry).filter(|known| !known.reads) {
                self.values.answered(&known.record, entry);
            }
        }
        if let Some(RequestKey::Guard { guard, correlation_data }) = &origin.key {
            self.wills.note_guarded(guard, correlation_data);
            self.store_memory();
        }
        let awaited = saved.is_some() || origin.durability == Durability::Intent;
        let record = self.store_answer(&origin, awaited);
        if saved.is_some_and(|saved| saved > self.awaited) {
            self.store(Change::Await);
        }
        match record.max(saved) {
            Some(needs) if awaited => {
                self.unpublished.push_back(Unpublished { needs, origin, answer: answer.clone() });
            }
            Some(needs) => {
                self.hold(&origin, needs);
                self.publish_response(origin, answer, None);
            }
            None => self.publish_response(origin, answer, None),
        }
    }

    /// Stores an answer where it must survive a crash; returns the revision that holds it, which may be `awaited` before
    /// it goes out.
    fn store_answer(&mut self, origin: &Origin, awaited: bool) -> Option<u64> {
        if origin.durability == Durability::Nothing {
            return None;
        }
        let entry = self.journal.get_mut(origin.entry?)?;
        entry.revision = self.revision + 1;
        let record = entry.record.clone();
        Some(self.store(if awaited { Change::Record(record) } else { Change::Answer(record) }))
    }

    /// Publishes the answers that the store holds now.
    pub(super) fn publish_stored(&mut self) {
        while self.unpublished.front().is_some_and(|next| next.needs <= self.stored) {
            let Some(next) = self.unpublished.pop_front() else { break };
            self.publish_response(next.origin, &next.answer, None);
        }
    }

    /// The prefix of an earlier connection may have been another: answers to its topics go nowhere.
    pub(super) fn drop_foreign_responses(&mut self) {
        let prefix = self.prefix().cloned();
        let mut outbox = std::mem::take(&mut self.outbox);
        let out_of_bounds = |topic: &str| !self.may_answer_to(prefix.as_ref(), topic);
        let dropped = outbox.take_responses(out_of_bounds);
        self.outbox = outbox;
        for (id, kind, topic) in dropped {
            self.let_go(id, kind, false);
            self.notice(Notice::MessageDropped { topic });
        }
    }

    /// Publishes the answers of an earlier life that the broker may not have.
    pub(super) fn publish_undelivered(&mut self, now: Now) {
        let mut verified = self.requests.verified_late();
        for id in self.undelivered(now) {
            let Some(entry) = self.journal.get(id) else { continue };
            let origin = origin_of(id, entry);
            if !self.must_verify(id) {
                let record = entry.record.clone();
                self.give_first_answer(now, origin, id, &record, false);
                continue;
            }
            // Once for all that was answered about it.
            let record = &entry.record;
            if verified.insert((record.device.clone(), record.property.clone())) {
                self.verify(now, id, Origin { sender: None, size: 0, ..origin }, false);
            }
        }
    }

    /// Lists the answers that the broker may not have, that do not wait for the store, and that somebody waits for.
    pub(super) fn undelivered(&self, now: Now) -> Vec<EntryId> {
        let mut undelivered = self.journal.undelivered();
        undelivered.retain(|id| {
            let waits = self.unpublished.iter().any(|next| next.origin.entry == Some(*id));
            let is_over = |entry: &Entry| entry.record.reply.is_over(now.monotonic);
            !waits && self.journal.get(*id).is_some_and(|entry| !is_over(entry))
        });
        undelivered
    }

    /// Answers the requests that an earlier life of the daemon may have carried out, and that did not come again;
    /// once the fence is back, nothing that came before it comes again.
    pub(super) fn settle_journal(&mut self, now: Now) {
        let fenced = self.fence_is_back();
        if fenced {
            self.journal_is_complete = true;
            self.journal.redelivered(now.monotonic + self.config.redelivery);
        }
        for id in self.journal.intended() {
            let Some(entry) = self.journal.get(id) else { continue };
            let reply = &entry.record.reply;
            if reply.response_topic.is_some() && !reply.is_over(now.monotonic) {
                let origin = origin_of(id, entry);
                self.read_back(now, id, origin);
            } else if fenced {
                self.journal.expire_at(id, now.monotonic + self.config.redelivery);
            }
        }
    }

    /// The broker has an answer, or nobody waits for it any more; `publish` says as which message, and only the last
    /// one counts.
    pub(super) fn mark_delivered(&mut self, id: EntryId, publish: Option<PublishId>) {
        let Some(entry) = self.journal.get(id) else { return };
        if publish.is_some() && entry.publish != publish {
            return;
        }
        if entry.record.delivered {
            return;
        }
        let stored = entry.durability != Durability::Nothing;
        self.journal.change(id, |record| {
            record.delivered = true;
            // Whoever asks again brings it along; as it is, it may be as large as a packet.
            record.reply.correlation_data.take_if(|data| data.len() > LONGEST_VERBATIM);
        });
        if let Some(entry) = self.journal.get(id).filter(|_| stored) {
            let record = entry.record.clone();
            self.store(Change::Record(record));
        }
    }

    fn finish(&mut self, now: Now, pending: Pending, answer: &Answer) {
        let Pending { device, property, arrived, origin, excerpt, .. } = pending;
        let is_done = answer.status.is_success() && answer.status != Status::Accepted;
        if is_done && !origin.reads {
            self.clear_problem(&device);
        }
        if origin.reply.response_topic.is_none() && !answer.status.is_success() {
            let (device, property) = (device.clone(), property.clone());
            self.tell_failed(now, &Untold::new(device, property, &excerpt), answer);
        }
        self.respond(now, origin, answer, device, property, arrived);
    }

    /// Keeps deliveries from being acknowledged before the store holds a revision.
    fn hold(&mut self, origin: &Origin, revision: u64) {
        if revision <= self.stored {
            return;
        }
        for &delivery in &origin.deliveries {
            if let Some(inbound) = self.inbound(delivery) {
                inbound.holds += 1;
                self.unstored.push((revision, delivery));
            }
        }
    }

    /// Writes an answer to a request; none where it says of no Response Topic.
    pub(super) fn response_to(
        &self,
        key: Option<&RequestKey>,
        reply: &Reply,
        answer: &Answer,
    ) -> Option<Message> {
        let mut response = reply.response(answer)?;
        if key.is_some_and(RequestKey::is_guard) {
            let itself = ("client_id".into(), self.config.client_id.clone());
            response.user_properties.push(itself);
        }
        Some(response)
    }

    /// Publishes an answer; `first` is the status of the one before, and when it was given.
    pub(super) fn publish_response(
        &mut self,
        origin: Origin,
        answer: &Answer,
        first: Option<First>,
    ) {
        let Origin { key, entry, reply, deliveries, .. } = origin;
        let Some(mut response) = self.response_to(key.as_ref(), &reply, answer) else {
            return self.finish_deliveries(&deliveries);
        };
        if let Some((status, at)) = first {
            response.user_properties.push((REPEATED.into(), rfc3339(at)));
            response.user_properties.push((FIRST_STATUS.into(), status.to_string()));
        }
        // A request of this connection was checked when it came; others may have come under another prefix.
        if deliveries.is_empty()
            && let Some(connection) = self.connection()
            && !self.may_answer_to(connection.prefix.as_ref(), &response.topic)
        {
            if let Some(entry) = entry {
                self.mark_delivered(entry, None);
            }
            return self.notice(Notice::MessageDropped { topic: response.topic });
        }
        let publish = self.send(response, Kind::Response { entry, deliveries }, reply.expires);
        if let Some(entry) = entry.and_then(|entry| self.journal.get_mut(entry)) {
            entry.publish = publish.or(entry.publish);
        }
    }
}

/// Returns the status of the first answer to a request, and when it was given.
pub(super) fn first_answer(now: Now, record: &JournalRecord) -> Option<First> {
    let status = record.answer.as_ref()?.status.code();
    Some((status, record.answered_at.unwrap_or(now.unix)))
}

pub(super) fn origin_of(id: EntryId, entry: &Entry) -> Origin {
    let Entry { record, durability, reads, .. } = entry;
    Origin {
        key: Some(record.key.clone()),
        entry: Some(id),
        sender: record.key.sender().cloned(),
        reads: *reads,
        via: None,
        size: 0,
        content: record.content,
        reply: record.reply.clone(),
        durability: *durability,
        deliveries: Vec::new(),
    }
}

/// Says that nobody knows whether a request was carried out, with the state that was read instead.
fn indeterminate(pending: &Pending, read: &Answer) -> Answer {
    let text = "the hub ended while it had this request, and cannot know whether it was carried out; \
                the value is the state now";
    let state = read.status.is_success().then(|| String::from_utf8_lossy(&read.payload));
    Answer::conflict(Reason::Indeterminate, text).about(&pending.property, state.as_deref())
}
