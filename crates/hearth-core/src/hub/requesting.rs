//! From a request's arrival to its execution: the policies, the journal, the order.

use std::{sync::Arc, time::Duration};

use super::{Hub, holding::Arrival};
use crate::{
    Answer, Change, Delivery, Message, Notice, Now, Output, QoS, Record, Request, RequestId,
    RequestKey, Status,
    journal::{Durability, EntryId, Reply, Seen, fingerprint},
    requests::{Origin, Pending},
    topic::{self, Prefix},
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
        let Arrival { message, delivery, at, .. } = arrival;
        if self.stopping.is_some() {
            // Left unacknowledged: the session keeps it for the hub's next life.
            return;
        }
        let reply = Reply::to(message, *at);
        if let Err(reason) = self.check_request(now, prefix, &reply) {
            self.notice(Notice::RequestDropped { topic: message.topic.clone(), reason });
            return self.acknowledge_now(delivery.map(|delivery| delivery.id));
        }
        let origin = Origin {
            key: key(&reply, *delivery),
            entry: None,
            content: fingerprint(&message.topic, &message.payload),
            reply,
            durability: self.durability(&device, &property, message),
            deliveries: delivery.iter().map(|delivery| delivery.id).collect(),
        };
        if let Some(origin) = self.repeat(now, origin, message.dup) {
            self.take_on(now, device, property, message, origin);
        }
    }

    /// Answers a request that is known already; returns one that is not.
    pub(super) fn repeat(&mut self, now: Now, mut origin: Origin, dup: bool) -> Option<Origin> {
        let Some(key) = &origin.key else { return Some(origin) };
        match self.journal.seen(key, origin.content, dup) {
            Seen::Never => return Some(origin),
            Seen::InProgress(entry, request) => {
                self.bind(&mut origin, entry);
                self.requests.attach(request, origin);
            }
            Seen::Answered(entry) => {
                self.bind(&mut origin, entry);
                self.answer_again(origin, entry);
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
                self.refuse(now, device, property, origin, &answer);
            }
            Err(Refusal::Indeterminate(key)) => {
                let entry = self.remember(device, property, key, &mut origin);
                self.read_back(now, entry, origin);
            }
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
            && self.make_room()
        {
            let entry = self.remember(device.clone(), property.clone(), key, &mut origin);
            if origin.durability == Durability::Intent
                && let Some(known) = self.journal.get(entry)
            {
                let intent = known.record.clone();
                needs = Some(self.store(Change::Record(intent)));
            }
        }
        let (id, remaining) =
            self.await_answer(now, device.clone(), property.clone(), origin, allowed, false);
        if *device == *self.config.client_id && *property == *"absences" {
            let absences = serde_json::to_value(&self.wills.memory().decided)
                .expect("an absence has only text keys");
            return self.on_answered(now, id, Answer::json(&absences));
        }
        let payload = message.payload.clone();
        let content_type = message.content_type.clone();
        self.start(Request { id, device, property, payload, content_type, remaining }, needs);
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
        let (id, remaining) =
            self.await_answer(now, device.clone(), property.clone(), origin, allowed, true);
        if !exists {
            return self.on_answered(now, id, no_device(&device));
        }
        let property = if *property == *"set" { "get".into() } else { property };
        let payload = bytes::Bytes::new();
        self.start(Request { id, device, property, payload, content_type: None, remaining }, None);
    }

    /// Notes that a device owes an answer; returns as what, and within what time.
    fn await_answer(
        &mut self,
        now: Now,
        device: Arc<str>,
        property: Arc<str>,
        origin: Origin,
        allowed: Duration,
        read_back: bool,
    ) -> (RequestId, Duration) {
        let arrived = now.monotonic;
        let allowed = arrived + allowed;
        let deadline = origin.reply.expires.map_or(allowed, |expires| expires.min(allowed));
        let entry = origin.entry;
        let pending = Pending { device, property, arrived, deadline, origin, read_back };
        let id = self.requests.insert(pending);
        if let Some(entry) = entry.and_then(|entry| self.journal.get_mut(entry)) {
            entry.request = Some(id);
        }
        (id, deadline.saturating_sub(arrived))
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
            Some(key) if self.make_room() => {
                origin.durability = Durability::Intent;
                self.remember(device.clone(), property.clone(), key, &mut origin);
            }
            Some(_) | None => (origin.key, origin.durability) = (None, Durability::Nothing),
        }
        self.respond(now, origin, answer, device, property, now.monotonic);
    }

    fn start(&mut self, request: Request, needs: Option<u64>) {
        self.outputs.extend(self.requests.start(request, needs).map(Output::Execute));
    }

    /// Enters a request in the journal.
    fn remember(
        &mut self,
        device: Arc<str>,
        property: Arc<str>,
        key: RequestKey,
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
        };
        let entry = self.journal.insert(record, origin.durability);
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

    pub(super) fn make_room(&mut self) -> bool {
        let (forgotten, fits) = self.journal.make_room();
        self.forget(forgotten);
        fits
    }

    /// Returns how much of a request must survive a crash.
    pub(super) fn durability(&self, device: &str, property: &str, message: &Message) -> Durability {
        let Some(policy) = self.config.devices.get(device) else { return Durability::Nothing };
        let reads = message.payload.is_empty() || matches!(property, "get" | "describe");
        if message.qos == QoS::AtMostOnce || reads {
            Durability::Nothing
        } else if policy.is_idempotent(property) && !turns_over(&message.payload) {
            Durability::Answer
        } else {
            Durability::Intent
        }
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
        let stale = message.expiry.is_none() && !execute_stale && self.may_be_stale();
        if self.may_be_repeated(message, origin, stale)
            && let Some(key) = origin.key.clone()
            && self.make_room()
        {
            return Err(Refusal::Indeterminate(key));
        }
        if stale {
            let text = "stale: the request waited while the hub was away; send it again, \
                        or with a Message Expiry Interval";
            return refuse(Status::Conflict, text.into());
        }
        if let (Some(error), Durability::Intent) = (&self.store_failure, origin.durability) {
            return Err(Refusal::Answer(not_stored(error)));
        }
        self.find_room(device, origin.durability).map_err(Refusal::Answer)?;
        Ok(deadline)
    }

    /// Finds room for one more request, with its device and in the journal; the error is its answer.
    pub(super) fn find_room(&mut self, device: &str, durability: Durability) -> Result<(), Answer> {
        if self.requests.waiting(device) >= self.config.queue {
            let text = format!("{} requests wait for `{device}` already", self.config.queue);
            return Err(Answer::failure(Status::Busy, text));
        }
        if durability != Durability::Nothing && !self.make_room() {
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

    /// Finds what keeps a request from being considered at all.
    fn check_request(
        &self,
        now: Now,
        prefix: Option<&Prefix>,
        reply: &Reply,
    ) -> Result<(), String> {
        if let Some(topic) = &reply.response_topic {
            self.check_response_topic(prefix, topic)
                .map_err(|reason| format!("its Response Topic {reason}"))?;
        }
        if reply.is_over(now.monotonic) {
            return Err("it had expired".into());
        }
        Ok(())
    }
    /// Applies the Response Topic policy; the error completes "its Response Topic ...".
    pub(super) fn check_response_topic(
        &self,
        prefix: Option<&Prefix>,
        name: &str,
    ) -> Result<(), String> {
        topic::check_name(name)?;
        let topics = &self.config.topics;
        let own = topics
            .response
            .match_name(prefix, name)
            .is_some_and(|values| values.get("client_id") == Some(&self.config.client_id));
        if own || topics.request.match_name(prefix, name).is_some() {
            return Err(format!("`{name}` is one that the hub subscribes to"));
        }
        if topics.presence.match_name(prefix, name).is_some()
            || topics.absence.match_name(prefix, name).is_some()
        {
            return Err(format!("`{name}` tells of a hub's presence"));
        }
        match prefix {
            Some(prefix) if !prefix.contains(name) => {
                let allowed = self.config.allow_responses.iter().any(|f| f.matches(name));
                allowed.then_some(()).ok_or_else(|| {
                    format!("`{name}` is neither below the prefix `{prefix}` nor allowed")
                })
            }
            Some(_) | None => Ok(()),
        }
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

/// Names a request: as its sender does, else by what the broker does.
fn key(reply: &Reply, delivery: Option<Delivery>) -> Option<RequestKey> {
    match (&reply.response_topic, &reply.correlation_data) {
        (Some(response_topic), Some(correlation_data)) => Some(RequestKey::Correlated {
            response_topic: response_topic.clone(),
            correlation_data: correlation_data.clone(),
        }),
        _ => delivery.map(|delivery| RequestKey::Packet(delivery.packet_id)),
    }
}

/// Returns whether a payload may hold TOGGLE, the one value whose effect depends on the state.
fn turns_over(payload: &[u8]) -> bool {
    const TOGGLE: &[u8] = b"TOGGLE";
    payload.windows(TOGGLE.len()).any(|window| window.eq_ignore_ascii_case(TOGGLE))
}
