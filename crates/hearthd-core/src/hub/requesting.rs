//! From a request's arrival to its execution: the policies, the journal, the order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    Hub,
    admitting::{Refusal, no_device, reads},
    bridging::VIA,
    events::{Untold, beginning},
    holding::Arrival,
};
use crate::{
    Absence, Answer, Change, JournalRecord, Message, Now, Output, Request, RequestId, RequestKey,
    Status,
    journal::{Durability, EntryId, Mark, Seen},
    record::{Reply, fingerprint},
    requests::{Origin, Pending, Purpose},
    topic::Prefix,
};

/// What a request waits for.
struct Wait {
    /// How long the device may take.
    allowed: Duration,
    /// The revision that the store must hold first.
    needs: Option<u64>,
    purpose: Purpose,
    /// See [`Pending::excerpt`].
    excerpt: Bytes,
}

impl Hub {
    /// Takes a request: finds out whether it is a repeat, whether it may be carried out, and hands it to its device
    /// or answers it.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        device: Arc<str>,
        property: Arc<str>,
        arrival: &Arrival,
    ) {
        let Arrival { message, delivery, at, size, .. } = arrival;
        if self.stopping.is_some() {
            // Left unacknowledged: the session keeps it for the hub's next life.
            return;
        }
        let reply = Reply::to(message, *at);
        if !self.is_answerable(now, prefix, &device, &property, message, &reply) {
            return self.acknowledge_now(delivery.map(|delivery| delivery.id));
        }
        let vouches = self.connection().is_some_and(|connection| connection.vouches);
        let account = message.sender(vouches).map(|sender| sender.account);
        let content = fingerprint(&message.topic, &message.payload);
        let key = RequestKey::of(&reply, *delivery, account, content, self.wills.key());
        let reads = reads(&property, message);
        let again = reads || self.is_idempotent(&device, &property, message);
        let durability = self.durability(&device, message, reads, again);
        let origin = Origin {
            entry: None,
            sender: account.map(Into::into).or_else(|| reply.response_topic.clone()),
            content,
            reply,
            durability,
            reads,
            via: message.user_property(VIA).map(Into::into),
            deliveries: delivery.iter().map(|delivery| delivery.id).collect(),
            size: *size,
            key,
        };
        let mark = if message.dup {
            Mark::Redelivered
        } else if message.user_property("retry").is_some() {
            Mark::Repeated
        } else {
            Mark::None
        };
        if let Some(origin) = self.repeat(now, origin, mark, again) {
            self.take_on(now, device, property, message, origin);
        }
    }

    /// Answers a request that is known already; returns one that is new, or may be carried out again.
    pub(super) fn repeat(
        &mut self,
        now: Now,
        mut origin: Origin,
        mark: Mark,
        again: bool,
    ) -> Option<Origin> {
        let Some(key) = &origin.key else { return Some(origin) };
        match self.journal.seen(key, origin.content, mark, again) {
            Seen::Never => return Some(origin),
            Seen::InProgress(entry, request) => {
                self.bind(&mut origin, entry);
                self.requests.attach(request, origin);
            }
            Seen::Answered(entry) => {
                // A state is read anew, unless what was read is still on its way, and still so.
                if origin.reads && !self.is_on_its_way(entry) {
                    return Some(origin);
                }
                self.bind(&mut origin, entry);
                if self.must_verify(entry) {
                    self.verify(now, entry, origin, true);
                } else {
                    self.answer_again(now, origin, entry);
                }
            }
            Seen::Intended(entry) => {
                self.bind(&mut origin, entry);
                self.read_back(now, entry, origin);
            }
        }
        None
    }

    fn take_on(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        message: &Message,
        mut origin: Origin,
    ) {
        match self.admit(&device, message, &origin) {
            Ok(allowed) => {
                self.execute(now, device, property, message, origin, allowed);
            }
            Err(Refusal::Answer(answer)) => {
                self.tell_if_unanswered(now, &device, &property, message, &origin, &answer);
                self.refuse(now, device, property, origin, &answer);
            }
            Err(Refusal::Indeterminate(key)) => {
                let entry = self.remember(device, property, message, key, &mut origin);
                self.read_back(now, entry, origin);
            }
        }
    }

    /// A refusal that goes to no requester goes to whoever watches the device.
    fn tell_if_unanswered(
        &mut self,
        now: Now,
        device: &Arc<str>,
        property: &Arc<str>,
        message: &Message,
        origin: &Origin,
        answer: &Answer,
    ) {
        if origin.reply.response_topic.is_none() {
            let (device, property) = (device.clone(), property.clone());
            let failed = Untold::new(device, property, &message.payload);
            self.tell_failed(now, &failed, answer);
        }
    }

    /// Carries out what is admitted, in the time allowed; the answer may be there at once.
    pub(super) fn execute(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        message: &Message,
        mut origin: Origin,
        allowed: Duration,
    ) {
        let mut needs = None;
        if let Some(key) = origin.key.clone()
            && self.make_room(&key)
        {
            let entry = self.remember(device.clone(), property.clone(), message, key, &mut origin);
            if origin.durability == Durability::Intent
                && let Some(known) = self.journal.get(entry)
            {
                let intent = known.record.clone();
                needs = Some(self.store(Change::Record(intent)));
            }
        }
        let excerpt = message.payload.slice_ref(beginning(&message.payload));
        let wait = Wait { allowed, needs, purpose: Purpose::Execute, excerpt };
        let (id, remaining) =
            self.await_answer(now, device.clone(), property.clone(), origin, wait);
        if *device == *self.config.client_id && *property == *"absences" {
            let decided = self.wills.memory().decided.iter();
            let absences = decided.map(Absence::facts).collect();
            return self.on_answered(now, id, Answer::json(&absences));
        }
        let payload = message.payload.clone();
        let content_type = message.content_type.clone();
        let request =
            |remaining| Request { id, device, property, payload, content_type, remaining };
        match remaining {
            Some(remaining) => self.outputs.push_back(Output::Execute(request(remaining))),
            None => self.requests.queue(request(Duration::ZERO), needs),
        }
    }

    /// Reads the state for a request that an earlier life of the daemon may have carried out.
    pub(super) fn read_back(&mut self, now: Now, entry: EntryId, mut origin: Origin) {
        self.must_survive(&mut origin);
        self.read(now, entry, origin, Purpose::ReadBack);
    }

    /// Has the answer to a request wait for the store.
    pub(super) fn must_survive(&mut self, origin: &mut Origin) {
        origin.durability = Durability::Intent;
        if let Some(known) = origin.entry.and_then(|entry| self.journal.get_mut(entry)) {
            known.durability = Durability::Intent;
        }
    }

    /// Has a device read what a request of the journal has set.
    pub(super) fn read(&mut self, now: Now, entry: EntryId, origin: Origin, purpose: Purpose) {
        let Some(known) = self.journal.get(entry) else { return };
        let (device, property) = (known.record.device.clone(), known.record.property.clone());
        let policy = self.config.devices.get(&*device);
        let (exists, allowed) = (policy.is_some(), policy.map(|policy| policy.deadline));
        let allowed = allowed.unwrap_or(self.config.deadline);
        let wait = Wait { allowed, needs: None, purpose, excerpt: Bytes::new() };
        let (id, remaining) =
            self.await_answer(now, device.clone(), property.clone(), origin, wait);
        if !exists {
            return self.on_answered(now, id, no_device(&device));
        }
        let property = if *property == *"set" { "get".into() } else { property };
        let payload = Bytes::new();
        let request =
            |remaining| Request { id, device, property, payload, content_type: None, remaining };
        match remaining {
            Some(remaining) => self.outputs.push_back(Output::Execute(request(remaining))),
            None => self.requests.queue(request(Duration::ZERO), None),
        }
    }

    /// Notes that a device owes an answer; returns as what, and how long it may take where it can begin at once.
    fn await_answer(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        origin: Origin,
        wait: Wait,
    ) -> (RequestId, Option<Duration>) {
        let Wait { allowed, needs, purpose, excerpt } = wait;
        let (arrived, expires) = (now.monotonic, origin.reply.expires);
        let handed = needs.is_none() && self.requests.has_turn(&device);
        let due = arrived + allowed;
        let deadline = match expires {
            Some(expires) if handed => expires.min(due),
            // One that waits for its turn may do so as long as its requester, or as long as the device may take.
            Some(expires) => expires,
            None => due,
        };
        let entry = origin.entry;
        let pending = Pending {
            device,
            property,
            arrived,
            allowed,
            deadline,
            origin,
            handed,
            excerpt,
            purpose,
        };
        let id = self.requests.insert(pending);
        if let Some(entry) = entry {
            self.journal.begin(entry, id);
        }
        (id, handed.then(|| deadline.saturating_sub(arrived)))
    }

    /// Answers a request that does not reach its device.
    pub(super) fn refuse(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        mut origin: Origin,
        answer: &Answer,
    ) {
        // What is refused for what it says is refused again; what is refused for its time might be carried out.
        let passing =
            matches!(answer.status, Status::Conflict | Status::Busy | Status::Unavailable);
        match origin.key.clone().filter(|_| passing && origin.durability != Durability::Nothing) {
            Some(key) if self.make_room(&key) => {
                origin.durability = Durability::Intent;
                self.remember_refused(device.clone(), property.clone(), key, &mut origin);
            }
            Some(_) | None => (origin.key, origin.durability) = (None, Durability::Nothing),
        }
        self.respond(now, origin, answer, device, property, now.monotonic);
    }

    /// Enters a request in the journal.
    fn remember(
        &mut self,
        device: Arc<str>,
        property: Arc<str>,
        message: &Message,
        key: RequestKey,
        origin: &mut Origin,
    ) -> EntryId {
        let names = if *property == *"set" { names_in(&message.payload) } else { Vec::new() };
        self.enter(device, property, key, names, origin)
    }

    /// Likewise one that was not carried out.
    fn remember_refused(
        &mut self,
        device: Arc<str>,
        property: Arc<str>,
        key: RequestKey,
        origin: &mut Origin,
    ) {
        self.enter(device, property, key, Vec::new(), origin);
    }

    fn enter(
        &mut self,
        device: Arc<str>,
        property: Arc<str>,
        key: RequestKey,
        names: Vec<Arc<str>>,
        origin: &mut Origin,
    ) -> EntryId {
        let record = JournalRecord {
            key,
            content: origin.content,
            device,
            property,
            reply: origin.reply.clone(),
            answer: None,
            delivered: false,
            answered_at: None,
            names,
        };
        let entry = self.journal.insert(record, origin.durability, origin.reads);
        self.bind(origin, entry);
        entry
    }

    /// Links a request to its entry in the journal, which is forgotten only after the PUBACKs of its deliveries.
    fn bind(&mut self, origin: &mut Origin, entry: EntryId) {
        origin.entry = Some(entry);
        for &delivery in &origin.deliveries {
            if let Some(inbound) = self.inbound(delivery) {
                inbound.entries.push(entry);
                self.journal.delivered_again(entry);
            }
        }
    }

    /// Makes room in the journal for a request of this sender; returns whether there is room.
    pub(super) fn make_room(&mut self, key: &RequestKey) -> bool {
        let (forgotten, fits) = self.journal.make_room(key.sender());
        self.forget(forgotten);
        fits
    }
}

/// Names the properties that a `set` sets.
fn names_in(payload: &[u8]) -> Vec<Arc<str>> {
    let values: BTreeMap<String, IgnoredAny> = serde_json::from_slice(payload).unwrap_or_default();
    values.into_keys().map(Into::into).collect()
}
