//! What a device does after the answer that it has accepted it, such as a shutter that moves.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Hub, events::Untold};
use crate::{
    Answer, Change, Notice, Now, Reason, RequestId, Status,
    journal::{Durability, EntryId},
    record::{LONGEST_VERBATIM, Reply},
    requests::Pending,
};

/// The requests that are under way, in the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct UnderWay(BTreeMap<RequestId, Accepted>);

/// One request that is under way.
#[derive(Debug)]
struct Accepted {
    device: Arc<str>,
    property: Arc<str>,
    /// The beginning of the payload.
    excerpt: Bytes,
    correlation_data: Option<Bytes>,
    entry: Option<EntryId>,
}

impl UnderWay {
    /// Returns the oldest request of a device that has as many as it may have.
    fn crowded_out(&self, device: &str) -> Option<RequestId> {
        let mut of_device = self.0.iter().filter(|(_, accepted)| *accepted.device == *device);
        let (oldest, _) = of_device.next()?;
        (of_device.count() + 1 >= MOST).then_some(*oldest)
    }

    /// Returns the requests of devices that are no more.
    fn of_gone(&self, is_there: impl Fn(&str) -> bool) -> Vec<RequestId> {
        let gone = self.0.iter().filter(|(_, accepted)| !is_there(&accepted.device));
        gone.map(|(id, _)| *id).collect()
    }
}

impl Hub {
    /// Keeps what the end of a request is told with, if it is answered that it is under way; of too many of one device the
    /// oldest gives way.
    pub(super) fn note_under_way(
        &mut self,
        now: Now,
        id: RequestId,
        pending: &Pending,
        answer: &Answer,
    ) {
        if answer.status != Status::Accepted {
            return;
        }
        if let Some(oldest) = self.under_way.crowded_out(&pending.device) {
            self.on_ended(now, oldest, &Answer::conflict(Reason::Indeterminate, CROWDED));
        }
        let Pending { device, property, origin, excerpt, .. } = pending;
        let accepted = Accepted {
            device: device.clone(),
            property: property.clone(),
            // The request's payload itself is not held until the end.
            excerpt: Bytes::copy_from_slice(excerpt),
            correlation_data: told(&origin.reply),
            entry: origin.entry,
        };
        self.under_way.0.insert(id, accepted);
    }

    /// A request that was under way has come to its end: repeats are answered with that from now on.
    pub(super) fn on_ended(&mut self, now: Now, id: RequestId, answer: &Answer) {
        let Some(Accepted { device, property, excerpt, correlation_data, entry }) =
            self.under_way.0.remove(&id)
        else {
            return self.notice(Notice::LateAnswer { request: id });
        };
        if let Some(entry) = entry {
            self.change_accepted(now, entry, answer);
        }
        let ended =
            Untold { device, property, payload: &excerpt, was_accepted: true, correlation_data };
        if answer.status.is_success() {
            self.clear_problem(&ended.device);
            self.tell_done(now, &ended, answer);
        } else {
            self.tell_failed(now, &ended, answer);
        }
    }

    /// Ends what removed devices had under way: nobody can tell any more how it ends.
    pub(super) fn end_under_way_of_gone(&mut self, now: Now) {
        let gone = self.under_way.of_gone(|device| self.config.devices.contains_key(device));
        let answer = Answer::conflict(Reason::Indeterminate, REMOVED);
        for id in gone {
            self.on_ended(now, id, &answer);
        }
    }

    /// Tells of what was under way when an earlier life of the daemon ended.
    pub(super) fn tell_lost(&mut self, now: Now) {
        for entry in self.journal.take_lost() {
            let revision = self.revision + 1;
            let Some(known) = self.journal.get_mut(entry) else { continue };
            known.revision = revision;
            let record = known.record.clone();
            let Some(answer) = record.answer.clone() else { continue };
            let (device, property) = (record.device.clone(), record.property.clone());
            let correlation_data = told(&record.reply);
            // The next life has not to tell of it again.
            self.store(Change::Answer(record));
            // What was asked for is not kept.
            let lost =
                Untold { device, property, payload: b"", was_accepted: true, correlation_data };
            self.tell_failed(now, &lost, &answer);
        }
    }

    /// Keeps the end of a request in the place of the answer that it is under way.
    fn change_accepted(&mut self, now: Now, entry: EntryId, answer: &Answer) {
        let Some(known) = self.journal.get(entry) else { return };
        let accepted = known.record.answer.as_ref();
        if accepted.is_none_or(|answer| answer.status != Status::Accepted) {
            return;
        }
        let is_stored = known.durability != Durability::Nothing;
        self.journal.change(entry, |record| {
            record.answer = Some(answer.clone());
            record.answered_at = Some(now.unix);
        });
        if let Some(known) = self.journal.get(entry) {
            self.values.ended(&known.record, entry);
            let record = &known.record;
            if let Some(end) = self.response_to(Some(&record.key), &record.reply, answer) {
                self.outbox.tell_end(entry, &end);
            }
        }
        let revision = self.revision + 1;
        if let Some(known) = self.journal.get_mut(entry).filter(|_| is_stored) {
            known.revision = revision;
            let record = known.record.clone();
            self.store(Change::Answer(record));
        }
        // The first answer may still wait for the store: then this one takes its place.
        let waiting = self.unpublished.iter_mut().find(|it| it.origin.entry == Some(entry));
        if let Some(waiting) = waiting {
            waiting.answer = answer.clone();
            waiting.needs = if is_stored { revision } else { waiting.needs };
        }
    }
}

/// Returns the Correlation Data that the end is told with: what is long could be as large as a packet.
fn told(reply: &Reply) -> Option<Bytes> {
    reply.correlation_data.clone().filter(|data| data.len() <= LONGEST_VERBATIM)
}

/// How many requests of one device may be under way.
const MOST: usize = 16;
/// What is said of the oldest one where there are more.
const CROWDED: &str =
    "too many requests of the device are under way, and nobody can know how this one ends";
/// What is said of a request that was under way when its device was removed.
const REMOVED: &str =
    "the device was removed while it was under way, and nobody can know how it has ended";
