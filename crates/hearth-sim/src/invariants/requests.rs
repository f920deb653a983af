//! One execution, one answer, and no PUBACK before it.

use std::{rc::Rc, time::Duration};

use hearth_core::{Message, Request};

use super::Invariant;
use crate::{
    broker::Letter,
    ledger::{Asked, Given, Handed},
    link::Life,
    report::Reached,
    world::{World, home::FENCE_TIMEOUT, network::show_message},
};

impl World {
    /// Notes what the hub is given: a request, its fence, another hub's will.
    pub(crate) fn note_handed(&mut self, letter: &Rc<Letter>, dup: bool) {
        let (now, life, setup) = (self.now, self.life, self.setup.clone());
        let Some(connection) = self.connection_mut() else { return };
        let message = &letter.message;
        let armed = connection.will.as_ref().and_then(|w| w.message.correlation_data.as_ref());
        if message.topic.ends_with("response/hub/fence")
            && message.correlation_data.as_ref() == armed
        {
            connection.fence_is_back = true;
        }
        let resumed = connection.connack.as_ref().is_some_and(|connack| connack.session_present);
        let given_up = connection.subscribed_at.is_some_and(|at| at + FENCE_TIMEOUT <= now);
        let stale = resumed
            && letter.accepted < connection.connected_at
            && !connection.fence_is_back
            && !given_up
            && message.expiry.is_none()
            && !setup.executes_stale
            && !setup.habits.reorders;
        let link = connection.id;
        if message.topic.ends_with("attic/presence")
            && let Some(correlation_data) = &message.correlation_data
        {
            self.neighbour.handed.insert(correlation_data.clone());
        }
        let Some(index) = letter.asked else { return };
        self.reach(if dup { Reached::Redelivered } else { Reached::Requests });
        let asked = &mut self.ledger.asked[index];
        if asked.settled.take_if(|at| *at + REDELIVERY <= now).is_some() {
            asked.begin_anew();
        }
        // Of many the last ones are remembered: what is asked again may be new to the hub, what is delivered again is not.
        asked.ambiguous |= setup.flooded && !dup && asked.first_handed.is_some();
        let first = &mut asked.first_handed;
        if first.is_none_or(|first| first.life != life) {
            *first = Some(Handed { life, link, stale });
        }
    }

    /// A device is told to carry a request out.
    pub(crate) fn check_execution(&mut self, request: &Request) {
        let waiting = self.devices.waiting(self.now, self.life.daemon, &request.device);
        let room = waiting < self.setup.queue || request.payload.is_empty();
        self.require(room, Invariant::Bounded, || {
            format!("`{}` has {waiting} requests, and gets one more", request.device)
        });
        if *request.device == *crate::devices::BOILER && *request.property == *"valve" {
            return self.check_guard(request);
        }
        let Some(index) = self.ledger.identify(&request.payload) else { return };
        self.reach(Reached::Executed);
        let this = self.life;
        let link = self.connection().map(|connection| connection.id);
        let flooded = self.setup.flooded;
        let asked = &mut self.ledger.asked[index];
        let stale = asked.executions.is_empty()
            && asked.is_strict()
            && asked
                .first_handed
                .is_some_and(|first| first.stale && first.life == this && Some(first.link) == link);
        // At QoS 0 nothing is promised, and a full journal remembers nothing.
        let unrecorded = flooded && !asked.is_at_least_once();
        let twice = !unrecorded && asked.executed_too_often(this);
        let unstored = !asked.idempotent && asked.is_strict() && !self.store.holds(&asked.message);
        let refused = asked.message.retain
            || (asked.is_strict()
                && asked.answers.iter().any(|answer| answer.denies() && answer.binds(this)));
        let allowed = asked.allowed;
        let idempotent = asked.idempotent;
        asked.executions.push(this);
        if !asked.is_at_least_once() {
            // The hub remembers it from its answer on, which the network may deliver much later.
            asked.settled.get_or_insert(self.now);
        }
        self.require(allowed, Invariant::AllowedTopic, || {
            format!("request {index} is executed, whose Response Topic is forbidden")
        });
        self.require(!refused, Invariant::RefusedNotExecuted, || {
            format!("request {index} is executed after it was refused")
        });
        self.require(!stale, Invariant::StaleNotExecuted, || {
            format!("request {index} waited while the hub was away, and is executed")
        });
        self.require(!unstored, Invariant::StoredFirst, || {
            format!("request {index} is executed, and a crash would make it be executed again")
        });
        self.require(!twice, Invariant::ExecutedOnce, || {
            let kind = if idempotent { "idempotent" } else { "not idempotent" };
            format!("request {index} ({kind}) is executed again")
        });
    }

    /// The boiler's valve is shut at most once for each of the other hub's wills.
    fn check_guard(&mut self, request: &Request) {
        if request.payload.is_empty() {
            return;
        }
        self.neighbour.shut += 1;
        let (shut, handed) = (self.neighbour.shut, self.neighbour.handed.len());
        self.require(shut <= handed || self.life.store > 0, Invariant::ExecutedOnce, || {
            format!("the valve is shut {shut} times for {handed} wills")
        });
    }

    /// The broker has an answer to a request.
    pub(crate) fn check_answer(&mut self, index: usize, message: &Message, life: Life) {
        let status = message.user_property("__stat").and_then(|status| status.parse().ok());
        let Some(status) = status else {
            let detail = || format!("without a status: {}", show_message(message));
            return self.require(false, Invariant::OneAnswer, detail);
        };
        let (payload, at) = (message.payload.clone(), self.now);
        let unrecorded = self.setup.flooded && matches!(status, 409 | 429 | 503);
        let forgotten = unrecorded || self.ledger.has_forgotten(life);
        let given = Given { status, payload, life, at, forgotten };
        self.reach(Reached::Answers);
        self.reach(Reached::status(status, given.denies()));
        if given.says("too many answers wait") {
            self.reach(Reached::JournalFull);
        }
        if given.says("cannot be written") {
            self.reach(Reached::NotStored503);
        }
        let asked = &mut self.ledger.asked[index];
        let strict = asked.is_strict() && asked.sets;
        if asked.answers.iter().any(|known| known.says_the_same_as(&given)) {
            self.counts.add(Reached::Repeats);
        }
        let contradicted = asked.answers.iter().find(|known| {
            let crashed_between = asked.idempotent && known.life != given.life;
            !known.says_the_same_as(&given)
                && !crashed_between
                && known.binds(life)
                && !given.is_substitute()
                && !known.is_substitute()
        });
        let contradicted = contradicted.filter(|_| strict).cloned();
        let executed = asked.executions.iter().any(|execution| {
            let known = !asked.idempotent || execution.daemon == life.daemon;
            known && execution.store == life.store
        });
        let denied = strict && executed && given.denies() && !given.forgotten;
        asked.answers.push(given);
        if !asked.is_at_least_once() {
            asked.settled.get_or_insert(self.now);
        }
        self.require(contradicted.is_none(), Invariant::OneAnswer, || {
            let known = contradicted.map(|known| known.status).unwrap_or_default();
            format!("request {index} had {known}, and now {}", show_message(message))
        });
        self.require(!denied, Invariant::RefusedNotExecuted, || {
            format!("request {index} was executed, and now {}", show_message(message))
        });
    }

    /// The hub's PUBACK for a request: the broker must have the answer.
    pub(crate) fn check_acknowledged(&mut self, letter: &Rc<Letter>) {
        let Some(index) = letter.asked else { return };
        let offered = self.broker.session.as_ref().and_then(|session| session.offered.clone());
        let prefix = self.resolve(offered.as_deref());
        let asked = &self.ledger.asked[index];
        let ours = asked.prefix.as_deref() == prefix.as_ref().map(|prefix| prefix.as_str());
        let owed = ours
            && asked.allowed
            && !asked.ambiguous
            && !asked.undeliverable
            && asked.message.response_topic.is_some()
            && !asked.is_over(letter.accepted, self.now);
        let answered = !owed || !asked.answers.is_empty();
        self.require(answered, Invariant::Answered, || {
            format!("PUBACK for request {index}, which has no answer")
        });
    }
}

/// How long after its PUBACK the hub remembers a request: a requester may send it again so long.
pub(crate) const REDELIVERY: Duration = Duration::from_secs(60);

impl Asked {
    /// Whether the hub can tell this request from all others, and may be given it again.
    fn is_strict(&self) -> bool {
        !self.ambiguous && self.is_at_least_once()
    }

    /// The hub has forgotten the request: what comes now is another one.
    fn begin_anew(&mut self) {
        self.executions.clear();
        self.answers.clear();
        self.answer_durable = false;
        self.first_handed = None;
    }

    /// Whether the request may not be executed (again).
    fn executed_too_often(&self, this: Life) -> bool {
        if self.ambiguous {
            return false;
        }
        self.executions.iter().any(|before| {
            let forgiven = before.daemon != this.daemon
                && (!self.is_at_least_once() || (self.idempotent && !self.answer_durable));
            before.store == this.store && !forgiven
        })
    }
}
