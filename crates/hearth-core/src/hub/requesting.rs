//! From a request's arrival to its execution: the policies, the journal, the order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::de::IgnoredAny;

use super::{Hub, events::Failed, holding::Arrival};
use crate::{
    Answer, Change, Message, Now, Output, QoS, Reason, Record, Request, RequestId, RequestKey,
    Status,
    journal::{Durability, EntryId, Mark, Reply, Seen, fingerprint},
    requests::{Origin, Pending, Shares},
    topic::Prefix,
};

/// Why a request does not reach its device.
enum Refusal {
    /// It is answered so.
    Answer(Answer),
    /// It came before the fence, and an earlier life of the daemon may have carried it out.
    Indeterminate(RequestKey),
}

impl Hub {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        device: Arc<str>,
        property: Arc<str>,
        arrival: &Arrival,
    ) {
        let Arrival { message, delivery, at, size } = arrival;
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
        let key = RequestKey::of(&reply, *delivery, account, self.wills.key());
        let reads = reads(&property, message);
        let origin = Origin {
            entry: None,
            sender: account.map(Into::into).or_else(|| reply.response_topic.clone()),
            content: fingerprint(&message.topic, &message.payload),
            reply,
            durability: self.durability(&device, &property, message),
            reads,
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
        let again = reads || self.is_idempotent(&device, &property, message);
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
                // A state is read anew, unless what was read is still on its way.
                if origin.reads && !self.is_on_its_way(entry) {
                    return Some(origin);
                }
                self.bind(&mut origin, entry);
                self.answer_again(now, origin, entry);
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
            let failed = Failed { device, property, payload: &message.payload };
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
        let id = self.await_answer(now, device.clone(), property.clone(), origin, allowed, false);
        if *device == *self.config.client_id && *property == *"absences" {
            let absences = serde_json::to_value(&self.wills.memory().decided)
                .expect("an absence has only text keys");
            return self.on_answered(now, id, Answer::json(&absences));
        }
        let payload = message.payload.clone();
        let content_type = message.content_type.clone();
        let remaining = Duration::ZERO;
        let request = Request { id, device, property, payload, content_type, remaining };
        self.start(now, request, needs);
    }

    /// Reads the state for a request that an earlier life of the daemon may have carried out.
    pub(super) fn read_back(&mut self, now: Now, entry: EntryId, mut origin: Origin) {
        let Some(known) = self.journal.get_mut(entry) else { return };
        known.durability = Durability::Intent;
        let (device, property) = (known.record.device.clone(), known.record.property.clone());
        origin.durability = Durability::Intent;
        let policy = self.config.devices.get(&*device);
        let (exists, allowed) = (policy.is_some(), policy.map(|policy| policy.deadline));
        let allowed = allowed.unwrap_or(self.config.deadline);
        let id = self.await_answer(now, device.clone(), property.clone(), origin, allowed, true);
        if !exists {
            return self.on_answered(now, id, no_device(&device));
        }
        let property = if *property == *"set" { "get".into() } else { property };
        let (payload, remaining) = (bytes::Bytes::new(), Duration::ZERO);
        let request = Request { id, device, property, payload, content_type: None, remaining };
        self.start(now, request, None);
    }

    /// Notes that a device owes an answer; returns as what.
    fn await_answer(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        origin: Origin,
        allowed: Duration,
        read_back: bool,
    ) -> RequestId {
        let arrived = now.monotonic;
        // One that waits for its turn may do so as long as its requester, or as long as the device may take.
        let deadline = origin.reply.expires.unwrap_or(arrived + allowed);
        let entry = origin.entry;
        let handed = false;
        let pending =
            Pending { device, property, arrived, allowed, deadline, origin, handed, read_back };
        let id = self.requests.insert(pending);
        if let Some(entry) = entry.and_then(|entry| self.journal.get_mut(entry)) {
            entry.request = Some(id);
        }
        id
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

    fn start(&mut self, now: Now, request: Request, needs: Option<u64>) {
        let started = self.requests.start(request, needs, now.monotonic);
        self.outputs.extend(started.map(Output::Execute));
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
        let record = Record {
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

    /// Ties a request to its entry in the journal, which is forgotten only after the PUBACKs of its deliveries.
    fn bind(&mut self, origin: &mut Origin, entry: EntryId) {
        origin.entry = Some(entry);
        for &delivery in &origin.deliveries {
            if let Some(inbound) = self.inbound(delivery) {
                inbound.entries.push(entry);
                self.journal.delivered_again(entry);
            }
        }
    }

    pub(super) fn make_room(&mut self, key: &RequestKey) -> bool {
        let (forgotten, fits) = self.journal.make_room(key.sender());
        self.forget(forgotten);
        fits
    }

    /// Returns how much of a request must survive a crash.
    pub(super) fn durability(&self, device: &str, property: &str, message: &Message) -> Durability {
        let is_there = self.config.devices.contains_key(device);
        if !is_there || message.qos == QoS::AtMostOnce || reads(property, message) {
            Durability::Nothing
        } else if self.is_idempotent(device, property, message) {
            Durability::Answer
        } else {
            Durability::Intent
        }
    }

    /// Returns whether carrying a request out again does no harm.
    fn is_idempotent(&self, device: &str, property: &str, message: &Message) -> bool {
        let policy = self.config.devices.get(device);
        policy.is_none_or(|policy| policy.is_idempotent(property)) && !turns_over(&message.payload)
    }

    /// Decides whether a request may reach its device, and how long that may take.
    fn admit(
        &mut self,
        device: &str,
        message: &Message,
        origin: &Origin,
    ) -> Result<Duration, Refusal> {
        let refuse = |status, text: String| Err(Refusal::Answer(Answer::failure(status, text)));
        let (deadline, execute_stale) = if device == self.config.client_id {
            (self.config.deadline, true)
        } else if let Some(policy) = self.config.devices.get(device) {
            (policy.deadline, policy.execute_stale)
        } else {
            return Err(Refusal::Answer(no_device(device)));
        };
        if message.retain {
            return refuse(Status::BadRequest, "a retained request is not executed".into());
        }
        if message.payload.len() > self.config.max_payload {
            let (is, max) = (message.payload.len(), self.config.max_payload);
            let text = format!("the payload of {is} bytes is larger than the {max} allowed");
            return refuse(Status::BadRequest, text);
        }
        let stale = !self.is_dated(message) && !execute_stale && self.may_be_stale();
        if self.may_be_repeated(message, origin, stale)
            && let Some(key) = origin.key.clone()
            && self.make_room(&key)
        {
            return Err(Refusal::Indeterminate(key));
        }
        if stale {
            let text = "the request waited while the hub was away; send it again, or with a \
                        Message Expiry Interval";
            return Err(Refusal::Answer(Answer::conflict(Reason::Stale, text)));
        }
        if let (Some(error), Durability::Intent) = (&self.store_failure, origin.durability) {
            return Err(Refusal::Answer(not_stored(error)));
        }
        self.find_room(device, origin).map_err(Refusal::Answer)?;
        Ok(deadline)
    }

    /// Returns whether a request says itself how long it is wanted. Where the broker adds a Message Expiry Interval to
    /// whatever has none, that is only so if the requester has marked its own.
    fn is_dated(&self, message: &Message) -> bool {
        message.expiry.is_some()
            && (!self.wills.memory().adds_expiry || message.user_property("expiry").is_some())
    }

    /// Finds room for one more request, with its device and in the journal; the error is its answer.
    ///
    /// After an outage all that waited comes at once, and waits its turn; later, nobody may take what others need.
    pub(super) fn find_room(&mut self, device: &str, origin: &Origin) -> Result<(), Answer> {
        let window = usize::from(self.config.receive_maximum);
        let shares =
            self.has_passed_fence().then_some(Shares { device: window / 2, sender: window / 4 });
        let sender = origin.sender.as_ref();
        if let Some(text) = self.requests.refuse(device, sender, origin.size, shares) {
            return Err(Answer::failure(Status::Busy, text));
        }
        if origin.durability != Durability::Nothing
            && !origin.key.as_ref().is_none_or(|key| self.make_room(key))
        {
            let text = "too many answers wait for the broker already";
            return Err(Answer::failure(Status::Busy, text));
        }
        Ok(())
    }

    /// Returns whether an earlier life of the daemon may have carried a request out that the journal does not know.
    fn may_be_repeated(&self, message: &Message, origin: &Origin, stale: bool) -> bool {
        message.dup
            && match origin.durability {
                Durability::Nothing => false,
                // Its answer was not stored in time; it could be carried out again, but not that late.
                Durability::Answer => stale,
                // The journal would know it, unless the store was lost.
                Durability::Intent => !self.journal_is_complete && !self.fence_is_back(),
            }
    }

    /// Returns whether a request is considered at all; whatever keeps it from that is told.
    fn is_answerable(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        device: &Arc<str>,
        property: &Arc<str>,
        message: &Message,
        reply: &Reply,
    ) -> bool {
        let (mut status, mut remedy) = (Status::Timeout, None);
        let mut reason = reply.is_over(now.monotonic).then(|| "it had expired".to_owned());
        if let Some(topic) = &reply.response_topic
            && let Err(denied) = self.check_response_topic(prefix, topic, Some((device, property)))
        {
            status = Status::BadRequest;
            reason = Some(format!("its Response Topic {}", denied.reason));
            remedy = denied.may_be_allowed.then(|| format!("[responses] allow = [{topic:?}]"));
        }
        let Some(reason) = reason else { return true };
        let (device, property) = (device.clone(), property.clone());
        let failed = Failed { device, property, payload: &message.payload };
        let failed = Some((&failed, status.code()));
        self.tell_dropped(now, &message.topic, reason, remedy, failed);
        false
    }
}

pub(super) fn no_device(device: &str) -> Answer {
    Answer::failure(Status::NotFound, format!("there is no device `{device}`"))
}

/// Says that a request was not carried out, because nobody would know of it after a crash.
pub(super) fn not_stored(error: &str) -> Answer {
    let text = format!(
        "not carried out: the hub's state cannot be written ({error}), and without that the request \
         could be carried out twice"
    );
    Answer::failure(Status::Unavailable, text)
}

/// Returns whether a request sets nothing.
fn reads(property: &str, message: &Message) -> bool {
    message.payload.is_empty() || matches!(property, "get" | "describe")
}

/// Names the properties that a `set` sets.
fn names_in(payload: &[u8]) -> Vec<Arc<str>> {
    let values: BTreeMap<String, IgnoredAny> = serde_json::from_slice(payload).unwrap_or_default();
    values.into_keys().map(Into::into).collect()
}

/// Returns whether a payload may hold TOGGLE, the one value whose effect depends on the state.
fn turns_over(payload: &[u8]) -> bool {
    const TOGGLE: &[u8] = b"TOGGLE";
    // An escape in JSON may hide it.
    payload.contains(&b'\\')
        || payload.windows(TOGGLE.len()).any(|window| window.eq_ignore_ascii_case(TOGGLE))
}
