//! An answer that was given before its device began anew is given again only once the device was read.
//!
//! After a restart a device may have forgotten what it was told, and the hub knows of it only what the journal says.

use std::time::Duration;

use super::{Hub, Phase, responding::origin_of};
use crate::{
    Answer, JournalRecord, Now, Reason, Status,
    absence::rfc3339,
    journal::EntryId,
    requests::{Origin, Pending, Purpose},
};

impl Hub {
    /// Returns whether an answer gives a value of which the device has not told since it began.
    pub(super) fn must_verify(&self, entry: EntryId) -> bool {
        let doubtful = self.journal.get(entry).is_some_and(|known| {
            // A guard's answer is about the will that it has consumed.
            !known.record.key.is_guard() && self.values.is_doubtful(&known.record)
        });
        // An answer on its way is of the time when it was made; what is said in its place is of now.
        doubtful && (!self.is_on_its_way(entry) || self.superseded(entry).is_some())
    }

    /// Has the device read, so that its first answer is given only if it is true.
    pub(super) fn verify(&mut self, now: Now, entry: EntryId, origin: Origin, is_repeat: bool) {
        let Some(known) = self.journal.get(entry) else { return };
        let record = Box::new(known.record.clone());
        self.read(now, entry, origin, Purpose::Verify { record, is_repeat });
    }

    /// Gives the first answer to a request, or what is true in its place, now that the device was read, or could not be.
    pub(super) fn on_verified(&mut self, now: Now, pending: Pending, read: &Answer) {
        let Pending { origin, property, purpose, .. } = pending;
        let (Some(entry), Purpose::Verify { record, is_repeat }) = (origin.entry, purpose) else {
            return;
        };
        let Some(answer) = record.answer.clone() else { return };
        let first = (answer.status.code(), record.answered_at.unwrap_or(now.unix));
        let forget_at = self.forget_at();
        self.journal.settle(entry, forget_at);
        if !is_definite(read.status) {
            let answer = in_doubt(first, &property, read);
            self.publish_response(origin, &answer, Some(first));
            if !is_repeat {
                self.leave_in_doubt(now, &record, read);
            }
            return;
        }
        if read.status == Status::Ok {
            self.values.read(&record, read);
        }
        if self.journal.get(entry).is_none() {
            match self.superseded_by_now(entry, &record) {
                Some(superseded) => self.publish_response(origin, &superseded, Some(first)),
                None => self.publish_response(origin, &answer, is_repeat.then_some(first)),
            }
        } else if is_repeat {
            self.answer_again(now, origin, entry);
        } else {
            self.answer_late(now, origin, entry);
        }
        if !is_repeat && matches!(self.phase, Phase::Online(_)) {
            self.publish_undelivered(now);
        }
    }

    /// Says of whatever else was answered about a property that it is in doubt, where the broker may not have had it.
    fn leave_in_doubt(&mut self, now: Now, about: &JournalRecord, read: &Answer) {
        for id in self.journal.undelivered() {
            let Some(entry) = self.journal.get(id).filter(|_| self.must_verify(id)) else {
                continue;
            };
            let record = &entry.record;
            let is_same = record.device == about.device && record.property == about.property;
            let Some(answer) = record.answer.as_ref().filter(|_| is_same) else { continue };
            let first = (answer.status.code(), record.answered_at.unwrap_or(now.unix));
            let (origin, answer) = (origin_of(id, entry), in_doubt(first, &record.property, read));
            self.publish_response(origin, &answer, Some(first));
        }
    }
}

/// Says that nobody can tell whether an answer, given with this status at this time, is still true.
fn in_doubt((code, at): (u16, Duration), property: &str, read: &Answer) -> Answer {
    let text = format!(
        "it was answered {code} at {}, and what the device is since it began anew could not be read: \
         {} {}",
        rfc3339(at),
        read.status.code(),
        String::from_utf8_lossy(&read.payload)
    );
    Answer::conflict(Reason::Indeterminate, &text).about(property, None)
}

/// Returns whether an answer tells a state, or that none can ever be read there.
fn is_definite(status: Status) -> bool {
    match status {
        Status::Ok
        | Status::NoContent
        | Status::BadRequest
        | Status::NotFound
        | Status::UnsupportedContentType
        | Status::Unprocessable => true,
        Status::Accepted
        | Status::Timeout
        | Status::Conflict
        | Status::Busy
        | Status::Failed
        | Status::Unavailable => false,
    }
}
