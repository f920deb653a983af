//! One execution, one answer, and no PUBACK before it.

use std::{rc::Rc, time::Duration};

use hearthd_core::{Message, QoS, Request};

use super::Invariant;
use crate::{
    broker::{Letter, Source},
    ledger::{Asked, Given, Handed, Ledger, VIA},
    link::{HubId, Life},
    plan::Setup,
    report::Reached,
    world::{
        HubMachine, World,
        home::FENCE_TIMEOUT,
        network::{is_own_response, is_presence, show_message},
    },
};

impl World {
    /// Notes what the hub is given: a request, its fence, another hub's will.
    pub(crate) fn note_handed(
        &mut self,
        hub: HubId,
        letter: &Rc<Letter>,
        packet_id: u16,
        dup: bool,
    ) {
        let (now, life) = (self.now, self.hub(hub).life);
        let Setup { executes_stale, flooded, habits, .. } = self.setup;
        // What the hub has learned of the broker.
        let adds_expiry = self.hub(hub).store.latest().adds_expiry;
        let Self { hubs, ledger: Ledger { asked, .. }, .. } = self;
        let Some(connection) = hubs[hub.0].connection_mut() else { return };
        let message = &letter.message;
        if letter.source == Source::Hub(hub, connection.id)
            && is_own_response(&message.topic, hub, "fence")
        {
            connection.fence_back_at.get_or_insert(now);
        }
        let resumed = connection.connack.as_ref().is_some_and(|connack| connack.session_present);
        let given_up = connection.subscribed_at.is_some_and(|at| at + FENCE_TIMEOUT <= now);
        let stale = resumed
            && letter.accepted < connection.connected_at
            && connection.fence_back_at.is_none()
            && !given_up
            && letter.asked.is_some_and(|index| asked[index].message.expiry.is_none())
            && message.expiry.is_none_or(|_| adds_expiry)
            && !executes_stale
            && !habits.reorders;
        let link = connection.id;
        if let Some(guarding) = &mut self.hub_mut(hub).guarding
            && is_presence(&message.topic, guarding.watched)
            && let Some(correlation_data) = &message.correlation_data
        {
            guarding.handed.insert(correlation_data.clone());
        }
        let Some(index) = letter.asked else { return };
        self.reach(if dup { Reached::Redelivered } else { Reached::Requests });
        // Also what is held until a device is there that comes later.
        self.note_copy(index, letter, link, dup);
        let asked = &self.ledger.asked[index];
        if !self.had_since(hub, asked.device, asked.first_sent) {
            return self.reach(Reached::Stray);
        }
        // What a hub is given of a device that it does not have, it does not judge.
        let stale = stale && self.has_since(hub, asked.device, now);
        let asked = &mut self.ledger.asked[index];
        asked.downgraded |= packet_id == 0 && asked.message.qos == QoS::AtLeastOnce;
        if let Some(settled) = asked.settled.get(&hub).copied().filter(|at| *at + REDELIVERY <= now)
        {
            asked.begin_anew(hub, settled);
        }
        // Of many the last ones are remembered: what is asked again may be new to the hub, what is delivered again is not.
        let many = flooded || asked.hostile;
        asked.ambiguous |= many && !dup && !asked.first_handed.is_empty();
        let handed = Handed { life, link, at: now, stale };
        asked.last_handed.insert(hub, now);
        let first = asked.first_handed.entry(hub).or_insert(handed);
        if first.life != life {
            *first = handed;
        }
    }

    /// A device is told to carry a request out.
    pub(crate) fn check_execution(&mut self, hub: HubId, request: &Request) {
        let this = self.hub(hub).life;
        let waiting = self.devices.waiting(self.now, this, &request.device);
        let room = waiting < self.setup.queue || request.payload.is_empty();
        self.require(room, Invariant::Bounded, || {
            format!("`{}` has {waiting} requests, and gets one more", request.device)
        });
        let guarding = self.hub(hub).guarding.as_ref();
        if guarding.is_some_and(|guarding| *request.device == *guarding.device) {
            return self.check_guard(hub, request);
        }
        let Some(index) = self.ledger.identify(&request.payload) else { return };
        self.reach(Reached::Executed);
        let link = self.connection(hub).map(|connection| connection.id);
        let flooded = self.setup.flooded;
        let root = self.ledger.root_of(index);
        let course = &mut self.ledger.asked[root].course;
        course.executed.push(this);
        (course.number, course.ended) = (Some((this, request.id)), false);
        let asked = &mut self.ledger.asked[index];
        let stale = asked.executions.is_empty()
            && asked.is_strict()
            && asked
                .first_handed
                .get(&hub)
                .is_some_and(|first| first.stale && first.life == this && Some(first.link) == link);
        // At QoS 0 nothing is promised, and a full journal remembers nothing.
        let unrecorded = flooded && !asked.is_at_least_once();
        let twice = !unrecorded && asked.executed_too_often(this);
        let unstored =
            !asked.idempotent && asked.is_strict() && !self.hubs[hub.0].store.holds(&asked.message);
        let refused = asked.message.retain
            || (asked.is_strict()
                && asked.answers.iter().any(|answer| answer.denies() && answer.binds(this)));
        let allowed = asked.allowed;
        let idempotent = asked.idempotent;
        let waits = asked.message.user_property(VIA).unwrap_or_default();
        let in_circle = waits.split(',').any(|waits| waits == asked.device);
        asked.executions.push(this);
        if !asked.is_at_least_once() {
            // The hub remembers it from its answer on, which the network may deliver much later.
            asked.settled.entry(hub).or_insert(self.now);
        }
        self.require(allowed, Invariant::AllowedTopic, || {
            format!("request {index} is executed, whose Response Topic is forbidden")
        });
        self.require(!in_circle, Invariant::NoCircle, || {
            format!("request {index} is executed, for which its device waits")
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

    /// A guard's valve is shut at most once for each of the other hub's wills.
    fn check_guard(&mut self, hub: HubId, request: &Request) {
        let HubMachine { guarding, life, .. } = self.hub_mut(hub);
        let Some(guarding) = guarding else { return };
        if request.payload.is_empty() || *request.property != *"valve" {
            return;
        }
        guarding.shut += 1;
        let (shut, handed) = (guarding.shut, guarding.handed.len());
        let holds = shut <= handed || life.store > 0;
        self.require(holds, Invariant::ExecutedOnce, || {
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
        let reason = message.user_property("reason").map(str::to_owned);
        let doubts = message.user_property("first_status").is_some();
        let given = Given { status, reason, payload, life, at, forgotten, doubts };
        self.reach(Reached::Answers);
        self.reach(Reached::status(status, given.reason.as_deref()));
        if given.says("too many answers wait") {
            self.reach(Reached::JournalFull);
        }
        if given.says("cannot be written") {
            self.reach(Reached::NotStored503);
        }
        self.check_owner(index, &given, life);
        if status == 200
            && let Some(named) = self.ledger.identify(&given.payload)
        {
            self.note_told(life.hub, named, &given.payload);
        }
        self.check_read(index, message);
        self.check_reach_of_read(index, message);
        if status == 429 && message.user_property("repeated").is_none() {
            self.check_share(index, &given, life);
        }
        let asked = &mut self.ledger.asked[index];
        let strict = asked.is_strict() && asked.sets;
        if asked.answers.iter().any(|known| known.says_the_same_as(&given)) {
            self.counts.add(Reached::Repeats);
        }
        // Nobody can tell whether the first answer is still true.
        let is_in_doubt = given.is("indeterminate") && given.doubts;
        let contradicted = asked.answers.iter().find(|known| {
            let crashed_between = asked.idempotent && known.life != given.life;
            !known.says_the_same_as(&given)
                && !crashed_between
                && known.binds(life)
                && !given.is_substitute()
                && !known.is_substitute()
                // What was under way has come to its end.
                && known.status != 202
                // It says how the device is now, and the first answer as well.
                && !given.is("superseded")
                && !known.is("superseded")
                && !is_in_doubt
                && !(known.is("indeterminate") && known.doubts)
        });
        let contradicted = contradicted.filter(|_| strict).cloned();
        let executed = asked.executions.iter().any(|execution| {
            let known = !asked.idempotent || execution.daemon == life.daemon;
            known && execution.hub == life.hub && execution.store == life.store
        });
        let denied = strict && executed && given.denies() && !given.forgotten;
        asked.answers.push(given);
        if !asked.is_at_least_once() {
            asked.settled.entry(life.hub).or_insert(self.now);
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
    pub(crate) fn check_acknowledged(&mut self, hub: HubId, letter: &Rc<Letter>) {
        let Some(index) = letter.asked else { return };
        let offered = self.broker.session(hub).and_then(|session| session.offered.clone());
        let prefix = self.resolve(offered.as_deref());
        let asked = &self.ledger.asked[index];
        let ours = asked.prefix.as_deref() == prefix.as_ref().map(|prefix| prefix.as_str());
        let owed = ours
            && asked.allowed
            && !asked.ambiguous
            && !asked.undeliverable
            && asked.message.response_topic.is_some()
            && !asked.is_over(letter.accepted, self.now)
            && asked
                .first_handed
                .get(&hub)
                .is_some_and(|first| self.has_since(hub, asked.device, first.at));
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
    pub(super) fn is_strict(&self) -> bool {
        !self.ambiguous && self.is_at_least_once()
    }

    /// A hub has forgotten the request: what comes to it now is another one.
    fn begin_anew(&mut self, hub: HubId, settled: Duration) {
        self.settled.remove(&hub);
        self.executions.retain(|execution| execution.hub != hub);
        // An answer that came after the PUBACK may be the one that the new delivery waits for.
        self.answers.retain(|given| given.life.hub != hub || given.at > settled);
        for given in self.answers.iter_mut().filter(|given| given.life.hub == hub) {
            given.forgotten = true;
        }
        self.durable_at.retain(|durable| *durable != hub);
        self.first_handed.remove(&hub);
    }

    /// Whether the request may not be executed (again).
    fn executed_too_often(&self, this: Life) -> bool {
        if self.ambiguous {
            return false;
        }
        self.executions.iter().any(|before| {
            let forgiven = before.daemon != this.daemon
                && (!self.is_at_least_once()
                    || (self.idempotent && !self.durable_at.contains(&this.hub)));
            before.hub == this.hub && before.store == this.store && !forgiven
        })
    }
}
