//! The value of each property, as far as the hub knows; it shows whether the first answer to a request is still true.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    Answer, ContentType, JournalRecord, Status,
    journal::{EntryId, Journal},
};

/// The values that devices and their answers have told of.
#[derive(Debug, Default)]
pub(super) struct Values {
    known: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Known>>,
}

/// What the hub knows of one property.
#[derive(Debug, Default)]
struct Known {
    value: Option<Bytes>,
    /// The last request that has set it.
    set_by: Option<EntryId>,
    /// The value is what the device has told of, in this life of the daemon and since it began.
    is_told: bool,
}

impl Values {
    /// Takes up what an earlier life of the daemon has answered: devices may have forgotten it.
    pub(super) fn new(journal: &Journal) -> Self {
        let mut values = Self::default();
        journal.each(|id, record| values.answered(record, id));
        for property in values.known.values_mut().flat_map(BTreeMap::values_mut) {
            property.is_told = false;
        }
        values
    }

    /// A device tells the state of a property.
    pub(super) fn report(&mut self, device: &str, property: &str, value: Bytes) {
        let known = self.known(device, property);
        (known.value, known.is_told) = (Some(value), true);
    }

    /// A device has been read, for what a request has set.
    pub(super) fn read(&mut self, record: &JournalRecord, read: &Answer) {
        for (property, value) in claims(record, read) {
            if let Some(value) = value {
                self.report(&record.device, &property, value);
            }
        }
    }

    /// A device begins anew, and may have forgotten what it has told of.
    pub(super) fn doubt(&mut self, device: &str) {
        for property in self.known.get_mut(device).into_iter().flat_map(BTreeMap::values_mut) {
            property.is_told = false;
        }
    }

    /// Returns whether a repeat of a request would be told a value of which the device has not told since it began.
    pub(super) fn is_doubtful(&self, record: &JournalRecord) -> bool {
        let Some(answer) = record.answer.as_ref().filter(|answer| answer.status.is_success())
        else {
            return false;
        };
        let properties = self.known.get(&record.device);
        claims(record, answer).iter().any(|(property, claimed)| {
            match properties.and_then(|properties| properties.get(property)) {
                Some(known) => !known.is_told && (claimed.is_some() || known.value.is_some()),
                None => claimed.is_some(),
            }
        })
    }

    /// A request that sets something was carried out.
    pub(super) fn answered(&mut self, record: &JournalRecord, entry: EntryId) {
        let Some(answer) = record.answer.as_ref().filter(|answer| answer.status.is_success())
        else {
            return;
        };
        if *record.property != *"set" {
            let known = self.known(&record.device, &record.property);
            return known.set(entry, claim(answer), answer.status);
        }
        for (property, value) in claims(record, answer) {
            self.known(&record.device, &property).set(entry, value, answer.status);
        }
    }

    /// What a request has set is reached, after a while.
    pub(super) fn ended(&mut self, record: &JournalRecord, entry: EntryId) {
        let done = record.answer.as_ref().filter(|answer| answer.status.is_success());
        for (property, value) in done.into_iter().flat_map(|answer| claims(record, answer)) {
            let known = self.known(&record.device, &property);
            // What the device has told of itself may have come later.
            if known.set_by == Some(entry) && value.is_some() && !known.is_told {
                (known.value, known.is_told) = (value, true);
            }
        }
    }

    /// Returns the property whose state is not any more what the answer to this request says, with its value now.
    pub(super) fn superseded(
        &self,
        record: &JournalRecord,
        entry: EntryId,
    ) -> Option<(Arc<str>, Option<Bytes>)> {
        let answer = record.answer.as_ref().filter(|answer| answer.status.is_success())?;
        let properties = self.known.get(&record.device)?;
        claims(record, answer).into_iter().find_map(|(property, claimed)| {
            let known = properties.get(&property)?;
            let is_true = match (&claimed, &known.value) {
                (Some(claimed), Some(value)) => claimed == value,
                (None, _) | (_, None) => known.set_by.is_none_or(|last| last <= entry),
            };
            (!is_true).then(|| (property, known.value.clone()))
        })
    }

    /// Forgets the devices that are no more.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.known.retain(|device, _| is_there(device));
    }

    fn known(&mut self, device: &str, property: &str) -> &mut Known {
        let is_there = self.known.get(device).is_some_and(|known| known.contains_key(property));
        if !is_there {
            let properties = self.known.entry(device.into()).or_default();
            properties.insert(property.into(), Known::default());
        }
        let properties = self.known.get_mut(device);
        let known = properties.and_then(|properties| properties.get_mut(property));
        known.expect("it was just found or added")
    }
}

impl Known {
    fn set(&mut self, by: EntryId, value: Option<Bytes>, status: Status) {
        self.set_by = Some(by);
        // It is done, and nobody says what it is now.
        self.is_told &= status != Status::NoContent;
        if value.is_some() {
            (self.value, self.is_told) = (value, true);
        }
    }
}

/// Returns what an answer says that its request has set: the values, where it gives them.
fn claims(record: &JournalRecord, answer: &Answer) -> Vec<(Arc<str>, Option<Bytes>)> {
    if *record.property != *"set" {
        return vec![(record.property.clone(), claim(answer))];
    }
    let states: Option<Value> = match answer.content_type {
        ContentType::Json if answer.status != Status::Accepted => {
            serde_json::from_slice(&answer.payload).ok()
        }
        ContentType::Json | ContentType::Text => None,
    };
    let value = |name: &Arc<str>| match states.as_ref()?.get(&**name)? {
        Value::String(text) => Some(Bytes::from(text.clone())),
        other => Some(Bytes::from(other.to_string())),
    };
    record.names.iter().map(|name| (name.clone(), value(name))).collect()
}

/// Returns the value that the answer to a request for one property gives; while it is under way, that is none.
fn claim(answer: &Answer) -> Option<Bytes> {
    let is_final = answer.status != Status::Accepted;
    Some(answer.payload.clone()).filter(|payload| is_final && !payload.is_empty())
}
