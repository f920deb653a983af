//! An answer that was given before its device began anew is given again only once the device was read.
//!
//! After a restart a device may have forgotten what it was told, and the hub knows of it only what the journal says.

use super::{
    Hub, Phase,
    responding::{first_answer, origin_of},
};
use crate::{
    Answer, JournalRecord, Now, Reason, Status,
    absence::rfc3339,
    journal::EntryId,
    requests::{Origin, Purpose},
};

impl Hub {
    /// Returns whether an answer gives a value of which the device has not told since it began.
    pub(super) fn must_verify(&self, entry: EntryId) -> bool {
        self.journal.get(entry).is_some_and(|known| {
            // A guard's answer is about the will that it has consumed; one on its way, of the time when it was made.
            !known.record.key.is_guard()
                && self.values.is_doubtful(&known.record)
                && !self.is_on_its_way(entry)
        })
    }

    /// Has the device read, so that its first answer is given only if it is true.
    pub(super) fn verify(&mut self, now: Now, entry: EntryId, origin: Origin, is_repeat: bool) {
        let Some(known) = self.journal.get(entry) else { return };
        let record = Box::new(known.record.clone());
        self.read(now, entry, origin, Purpose::Verify { record, is_repeat });
    }

    /// Gives the first answer to a request, or what is true in its place, now that the device was read, or could not be.
    pub(super) fn on_verified(
        &mut self,
        now: Now,
        origin: Origin,
        record: JournalRecord,
        read: &Answer,
        is_repeat: bool,
    ) {
        let Some(entry) = origin.entry else { return };
        let forget_at = self.forget_at();
        self.journal.settle(entry, forget_at);
        if !is_definite(read.status) {
            self.leave_in_doubt(now, origin, &record, read);
            if !is_repeat {
                self.leave_others_in_doubt(now, &record, read);
            }
            return;
        }
        if read.status == Status::Ok {
            self.values.read(&record, read);
        }
        // What is under way may have ended while the device was read.
        let known = self.journal.get(entry).map(|known| known.record.clone());
        if is_repeat && known.is_some() {
            self.answer_again(now, origin, entry);
        } else {
            self.give_first_answer(now, origin, entry, &known.unwrap_or(record), is_repeat);
        }
        if !is_repeat && matches!(self.phase, Phase::Online(_)) {
            self.publish_undelivered(now);
        }
    }

    /// Says that nobody can tell whether the first answer to a request is still true.
    fn leave_in_doubt(&mut self, now: Now, origin: Origin, record: &JournalRecord, read: &Answer) {
        let Some((code, at)) = first_answer(now, record) else { return };
        let text = format!(
            "it was answered {code} at {}, and what the device is since it began anew could not be read: \
             {} {}",
            rfc3339(at),
            read.status.code(),
            String::from_utf8_lossy(&read.payload)
        );
        let answer = Answer::conflict(Reason::Indeterminate, &text).about(&record.property, None);
        self.publish_response(origin, &answer, Some((code, at)));
    }

    /// Says the same of whatever else was answered about a property, where the broker may not have had it.
    fn leave_others_in_doubt(&mut self, now: Now, about: &JournalRecord, read: &Answer) {
        for id in self.undelivered(now) {
            let Some(entry) = self.journal.get(id) else { continue };
            let record = &entry.record;
            if record.device == about.device
                && record.property == about.property
                && self.must_verify(id)
            {
                let (origin, record) = (origin_of(id, entry), record.clone());
                self.leave_in_doubt(now, origin, &record, read);
            }
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
