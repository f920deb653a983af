//! From a device's answer to the response that the broker has.

use std::{sync::Arc, time::Duration};

use super::Hub;
use crate::{
    Answer, Change, Notice, Now, PublishId, RequestId, RequestKey, Status,
    journal::{Durability, Entry, EntryId},
    outbox::Kind,
    requests::{Origin, Pending},
};

/// An answer that may not go out before the store holds it.
#[derive(Debug)]
pub(super) struct Unpublished {
    needs: u64,
    origin: Origin,
    answer: Answer,
}

impl Unpublished {
    pub(super) fn disconnected(&mut self) {
        self.origin.deliveries.clear();
    }
}

impl Hub {
    pub(super) fn on_answered(&mut self, now: Now, id: RequestId, answer: Answer) {
        match self.requests.remove(id) {
            Some(pending) if pending.read_back => {
                let answer = indeterminate(&pending, &answer);
                self.finish(now, pending, &answer);
            }
            Some(pending) => self.finish(now, pending, &answer),
            None => self.notice(Notice::LateAnswer { request: id }),
        }
    }

    pub(super) fn time_out(&mut self, now: Now, id: RequestId) {
        let Some(pending) = self.requests.remove(id) else { return };
        let allowed = pending.deadline.saturating_sub(pending.arrived).as_millis();
        let text = format!("`{}` did not answer within {allowed} ms", pending.device);
        let mut answer = Answer::failure(Status::Timeout, text);
        if pending.read_back {
            answer = indeterminate(&pending, &answer);
        }
        self.finish(now, pending, &answer);
    }

    /// Sends the first answer again; the request is not executed twice.
    pub(super) fn answer_again(&mut self, origin: Origin, entry: EntryId) {
        let waiting = |unpublished: &&mut Unpublished| unpublished.origin.entry == Some(entry);
        if let Some(unpublished) = self.unpublished.iter_mut().find(waiting) {
            unpublished.origin.deliveries.extend(origin.deliveries);
            unpublished.origin.reply.wait_until(origin.reply.expires);
            return;
        }
        let Some(known) = self.journal.get(entry) else { return };
        let (revision, publish) = (known.revision, known.publish);
        let Some(answer) = known.record.answer.clone() else { return };
        self.hold(&origin, revision);
        let attach = |id| self.outbox.attach(id, &origin.deliveries, origin.reply.expires);
        if !publish.is_some_and(attach) {
            self.publish_response(origin, &answer);
        }
    }

    /// Answers a request: at once, or as soon as the store holds the answer.
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
        self.notice(Notice::RequestAnswered { device, property, status, elapsed });
        if let Some(entry) = origin.entry {
            self.journal.answer(entry, answer, origin.reply.expires, self.forget_at());
        }
        if let Some(RequestKey::Guard { guard, correlation_data }) = &origin.key {
            self.wills.note_guarded(guard, correlation_data);
            self.store_memory();
        }
        let Some(needs) = self.store_answer(&origin) else {
            return self.publish_response(origin, answer);
        };
        if origin.durability == Durability::Intent {
            self.unpublished.push_back(Unpublished { needs, origin, answer: answer.clone() });
        } else {
            self.hold(&origin, needs);
            self.publish_response(origin, answer);
        }
    }

    /// Stores an answer where it must survive a crash; returns the revision that holds it.
    fn store_answer(&mut self, origin: &Origin) -> Option<u64> {
        if origin.durability == Durability::Nothing {
            return None;
        }
        let entry = self.journal.get_mut(origin.entry?)?;
        entry.revision = self.revision + 1;
        let record = entry.record.clone();
        let awaited = origin.durability == Durability::Intent;
        Some(self.store(if awaited { Change::Record(record) } else { Change::Answer(record) }))
    }

    /// Publishes the answers that the store holds now.
    pub(super) fn publish_stored(&mut self) {
        while self.unpublished.front().is_some_and(|next| next.needs <= self.stored) {
            let Some(next) = self.unpublished.pop_front() else { break };
            self.publish_response(next.origin, &next.answer);
        }
    }

    /// The prefix of an earlier connection may have been another: answers to its topics go nowhere.
    pub(super) fn drop_foreign_responses(&mut self) {
        let prefix = self.prefix().cloned();
        let mut outbox = std::mem::take(&mut self.outbox);
        let out_of_bounds =
            |topic: &str| self.check_response_topic(prefix.as_ref(), topic).is_err();
        let dropped = outbox.take_responses(out_of_bounds);
        self.outbox = outbox;
        for (id, kind, topic) in dropped {
            self.let_go(id, kind);
            self.notice(Notice::MessageDropped { topic });
        }
    }

    /// Publishes the answers of an earlier life that the broker may not have.
    pub(super) fn publish_undelivered(&mut self, now: Now) {
        for id in self.journal.undelivered() {
            let waits = self.unpublished.iter().any(|next| next.origin.entry == Some(id));
            let Some(entry) = self.journal.get(id).filter(|_| !waits) else { continue };
            let record = &entry.record;
            let (Some(answer), false) =
                (record.answer.clone(), record.reply.is_over(now.monotonic))
            else {
                continue;
            };
            let origin = origin_of(id, entry);
            self.publish_response(origin, &answer);
        }
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
    pub(super) fn mark_delivered(&mut self, entry: EntryId, publish: Option<PublishId>) {
        let Some(entry) = self.journal.get_mut(entry) else { return };
        if publish.is_some() && entry.publish != publish {
            return;
        }
        if std::mem::replace(&mut entry.record.delivered, true) {
            return;
        }
        if entry.durability != Durability::Nothing {
            let record = entry.record.clone();
            self.store(Change::Record(record));
        }
    }

    fn finish(&mut self, now: Now, pending: Pending, answer: &Answer) {
        let Pending { device, property, arrived, origin, .. } = pending;
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

    fn publish_response(&mut self, origin: Origin, answer: &Answer) {
        let Origin { key, entry, reply, deliveries, .. } = origin;
        let Some(mut response) = reply.response(answer) else {
            return self.finish_deliveries(&deliveries);
        };
        // A request of this connection was checked when it came; others may have come under another prefix.
        if deliveries.is_empty()
            && let Some(connection) = self.connection()
            && self.check_response_topic(connection.prefix.as_ref(), &response.topic).is_err()
        {
            if let Some(entry) = entry {
                self.mark_delivered(entry, None);
            }
            return self.notice(Notice::MessageDropped { topic: response.topic });
        }
        if key.as_ref().is_some_and(RequestKey::is_guard) {
            let itself = ("client_id".into(), self.config.client_id.clone());
            response.user_properties.push(itself);
        }
        let publish = self.send(response, Kind::Response { entry, deliveries }, reply.expires);
        if let Some(entry) = entry.and_then(|entry| self.journal.get_mut(entry)) {
            entry.publish = publish.or(entry.publish);
        }
    }
}

fn origin_of(id: EntryId, entry: &Entry) -> Origin {
    let Entry { record, durability, .. } = entry;
    Origin {
        key: Some(record.key.clone()),
        entry: Some(id),
        content: record.content,
        reply: record.reply.clone(),
        durability: *durability,
        deliveries: Vec::new(),
    }
}

/// Says that nobody knows whether a request was carried out, with the state that was read instead.
fn indeterminate(pending: &Pending, read: &Answer) -> Answer {
    let text = "indeterminate: the hub ended while it had this request, and cannot know whether it was \
                carried out; the value is the state now";
    let state = read.status.is_success().then(|| String::from_utf8_lossy(&read.payload));
    Answer::failure(Status::Conflict, text).about(&pending.property, state.as_deref())
}
