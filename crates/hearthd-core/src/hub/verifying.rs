//! An answer that was given before its device began anew is given again only once the device was read.
//!
//! After a restart a device may have forgotten what it was told, and the hub knows of it only what the journal says.

use super::Hub;
use crate::{
    Answer, Now, Reason, Status,
    absence::rfc3339,
    journal::EntryId,
    requests::{Origin, Pending, Purpose},
};

impl Hub {
    /// Returns whether an answer gives a value of which the device has not told since it began.
    pub(super) fn must_verify(&self, entry: EntryId) -> bool {
        !self.is_on_its_way(entry)
            && self.journal.get(entry).is_some_and(|known| {
                // A guard's answer is about the will that it has consumed.
                !known.record.key.is_guard() && self.values.is_doubtful(&known.record)
            })
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
            let (code, at) = (first.0, rfc3339(first.1));
            let text = format!(
                "it was answered {code} at {at}, and what the device is since it began anew could \
                 not be read: {} {}",
                read.status.code(),
                String::from_utf8_lossy(&read.payload)
            );
            let answer = Answer::conflict(Reason::Indeterminate, &text).about(&property, None);
            return self.publish_response(origin, &answer, Some(first));
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
    }
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
