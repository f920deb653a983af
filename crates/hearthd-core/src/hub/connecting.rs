//! From nothing to `online` and back: the will is fixed before the prefix is known (MQTT 3.1.2.5, 3.2.2.3.15).

use std::time::Duration;

use super::{Connection, Fence, Hub, Next, Phase, admitting::not_stored};
use crate::{
    Connack, Disconnection, Fatal, Generation, Message, Notice, Now, Output, PublishId, Will,
    absence::rfc3339, outbox::Kind, token::Purpose, topic::Prefix, wills::View,
};

impl Hub {
    /// Connects with the stored prefix's will, or without one to learn the prefix.
    pub(super) fn begin_attempt(&mut self, now: Now, unused: Option<Generation>) {
        if self.stopping.is_some() {
            return self.stop(Ok(()));
        }
        let Some(known) = self.wills.known_prefix().cloned() else {
            if let Some(generation) = unused {
                self.wills.forget(generation);
            }
            self.phase = Phase::Connecting { armed: None };
            self.outputs.push_back(Output::Connect { will: None });
            return;
        };
        if let Some(generation) = unused {
            return self.connect_armed(generation);
        }
        let random = (self.entropy.0)();
        let generation = self.wills.open(random, known.prefix, rfc3339(now.unix));
        let revision = self.store_memory();
        self.phase = Phase::Storing { revision, generation };
    }

    pub(super) fn on_stored(&mut self, now: Now, revision: u64) {
        self.stored = revision;
        self.saves.retain(|_, saved| *saved > revision);
        self.release_requests(now);
        self.publish_stored();
        self.publish_unserved();
        let (done, waiting) = std::mem::take(&mut self.unstored)
            .into_iter()
            .partition(|(needs, _)| *needs <= revision);
        self.unstored = waiting;
        let done: Vec<(u64, crate::DeliveryId)> = done;
        for (_, delivery) in done {
            self.acknowledge(delivery);
        }
        self.acknowledge_evidence();
        match self.phase {
            Phase::Storing { revision: needs, generation } if needs <= revision => {
                self.connect_armed(generation);
            }
            Phase::Closing { revision: needs, ref result } if needs <= revision => {
                let result = result.clone();
                self.stop(result);
            }
            Phase::Subscribing(_) | Phase::Online(_) => self.subscribe_when_stored(now),
            _ => {}
        }
    }

    /// Goes on without the store, but for requests whose intent it would have to hold.
    pub(super) fn on_store_failed(&mut self, now: Now, revision: u64, error: String) {
        let answer = not_stored(&error);
        self.store_failure = Some(error);
        for id in self.requests.take_unstored() {
            self.on_answered(now, id, answer.clone());
        }
        self.on_stored(now, revision);
    }

    pub(super) fn on_connected(&mut self, now: Now, connack: &Connack) {
        let Phase::Connecting { armed } = self.phase else { return };
        if connack.receive_maximum == 0 {
            self.notice(Notice::ProtocolError { what: "CONNACK with a Receive Maximum of 0" });
            // The will stays: the broker publishes it after such an end.
            self.phase = Phase::Disconnecting { next: Next::Wait, will: None };
            return self.outputs.push_back(Output::Protest);
        }
        self.note_lacks(connack);
        let doubt = armed.is_some_and(|generation| self.wills.has_subscribed_past(generation));
        if !connack.session_present {
            self.on_session_lost();
        }
        let prefix = match self.resolve_prefix(connack.response_information.as_deref()) {
            Ok(prefix) => prefix,
            Err(fatal) => {
                return self.disconnect(Next::Stop(Err(fatal)), armed);
            }
        };
        let known = self.wills.known_prefix().map(|known| known.prefix.clone());
        if known.as_ref() != Some(&prefix) {
            self.notice(Notice::PrefixLearned { prefix: prefix.clone() });
            self.wills.learn(prefix.clone());
            self.outbox.forget_states();
        }
        match armed {
            Some(generation) if known == Some(prefix.clone()) => {
                self.contradictions = 0;
                self.wills.mark_connected(generation);
                self.join_session(now, generation, prefix, connack, doubt);
            }
            Some(_) => {
                self.contradictions += 1;
                let give_way = self.contradictions > CONTRADICTIONS;
                self.disconnect(if give_way { Next::Wait } else { Next::Reconnect }, armed);
            }
            None => self.disconnect(Next::Reconnect, None),
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Now, cause: Disconnection) {
        self.suspect_publish(now, &cause);
        self.forget_deliveries();
        self.filters.disconnected();
        self.subscribed.clear();
        self.serving.disconnected();
        self.presence.disconnected();
        if matches!(cause, Disconnection::ByBroker { reason_code: TAKEN_OVER, .. }) {
            // What the session had queued went to whoever took it over.
            self.wills.session_lost();
            self.store_memory();
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Stopped);
        if let Phase::Online(connection) = &phase
            && now.monotonic >= connection.since + HELD
        {
            self.backoff.reset();
        }
        match phase {
            Phase::Disconnecting { next, will } => self.after_disconnect(now, next, will, cause),
            // The link is gone already.
            closing @ Phase::Closing { .. } => self.phase = closing,
            Phase::Stopped => {}
            _ if self.stopping.is_some() => self.stop(Ok(())),
            Phase::Connecting { armed: Some(generation) } => {
                self.on_attempt_failed(now, generation, cause);
            }
            Phase::Waiting { .. }
            | Phase::Storing { .. }
            | Phase::Connecting { armed: None }
            | Phase::Subscribing(_)
            | Phase::Online(_) => self.wait(now, None, cause),
        }
    }

    fn after_disconnect(
        &mut self,
        now: Now,
        next: Next,
        will: Option<Generation>,
        cause: Disconnection,
    ) {
        let gone = will.filter(|_| cause == Disconnection::Requested);
        if let Some(generation) = gone {
            self.wills.mark_clean(generation);
        }
        match next {
            Next::Stop(result) if gone.is_some() => {
                let revision = self.store_memory();
                self.phase = Phase::Closing { revision, result };
            }
            Next::Stop(result) => self.stop(result),
            Next::Reconnect => self.begin_attempt(now, None),
            Next::Wait => self.wait(now, None, cause),
        }
    }

    fn forget_deliveries(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
        self.has_left = false;
        self.deliveries.clear();
        self.unstored.clear();
        self.unstored_evidence.clear();
        self.held_wills.clear();
        for unpublished in &mut self.unpublished {
            unpublished.disconnected();
        }
        self.outbox.disconnected();
        self.requests.disconnected();
        self.journal.disconnected();
    }

    pub(super) fn on_published(&mut self, id: PublishId, reason_code: u8) {
        let refused = reason_code >= REFUSED;
        if PASSING_REFUSALS.contains(&reason_code)
            && let Some(topic) = self.outbox.put_off(id, self.clock)
        {
            self.acquit(&topic);
            return self.notice(Notice::PublishRefused { topic, reason_code });
        }
        let Some((kind, topic)) = self.outbox.remove(id) else { return };
        self.acquit(&topic);
        if refused {
            if kind == Kind::Clearing {
                // What cannot be cleared is left, and known to be there.
                self.leave_uncleared(&topic, PASSING_REFUSALS.contains(&reason_code));
            }
            self.notice(Notice::PublishRefused { topic, reason_code });
        }
        let farewell = kind == Kind::Farewell;
        self.let_go(id, kind);
        if farewell && refused {
            // The will says it instead, which a DISCONNECT would delete.
            return self.stop(Ok(()));
        }
        if let Phase::Online(connection) = &self.phase
            && farewell
        {
            let generation = connection.generation;
            self.disconnect(Next::Stop(Ok(())), Some(generation));
        }
    }

    pub(super) fn decide_when_due(&mut self, now: Now) {
        let Phase::Online(connection) = &self.phase else { return };
        if self.fence_due(connection).is_none_or(|due| due > now.monotonic) {
            return;
        }
        let (fence, generation) = (connection.fence, connection.generation);
        if matches!(fence, Fence::Settling { .. }) && self.wills.has_past(generation) {
            // The connection may have been dead meanwhile, and an acknowledgement be on its way.
            let until = now.monotonic + self.config.fence_timeout;
            self.set_fence(Fence::Confirming { until });
            return self.send_fence();
        }
        self.decide(now, matches!(fence, Fence::Settling { .. }));
    }

    fn set_fence(&mut self, fence: Fence) {
        if let Phase::Online(connection) = &mut self.phase {
            connection.fence = fence;
        }
    }

    /// Decides the outcomes; `confirmed` says that all has been seen that came by now.
    pub(super) fn decide(&mut self, now: Now, confirmed: bool) {
        let Phase::Online(connection) = &self.phase else { return };
        let fenced = connection.fence.is_back();
        let (resumed, watched) = (connection.resumed, connection.watched);
        let generation = connection.generation;
        let prefix = connection.prefix.clone();
        self.set_fence(Fence::Decided { fenced });
        if !fenced {
            self.notice(Notice::FenceGivenUp);
            self.pass_fence(now);
        }
        if !resumed && fenced {
            let forgotten = self.journal.session_lost();
            self.forget(forgotten);
        }
        self.note_proof();
        self.leave_past_prefixes();
        if !self.wills.has_past(generation) {
            return;
        }
        let view = View { resumed, fenced: confirmed, watched };
        let fresh_until = now.monotonic + self.config.will_delay + LATE;
        let decided = self.wills.decide(generation, view, &rfc3339(now.unix), fresh_until);
        self.store_memory();
        for absence in decided {
            self.publish_absence(prefix.as_ref(), &absence);
            self.outputs.push_back(Output::Absence(absence));
        }
    }

    /// Returns when the fence is given up, or the outcomes are decided.
    pub(super) fn fence_due(&self, connection: &Connection) -> Option<Duration> {
        match connection.fence {
            // It comes behind what is held; what was left has it come on the next connection.
            Fence::Sent { .. } if self.has_left || !self.held.is_empty() => None,
            Fence::Sent { until, .. } | Fence::Settling { until } | Fence::Confirming { until } => {
                Some(until)
            }
            Fence::Unsent | Fence::Decided { .. } => None,
        }
    }

    fn connect_armed(&mut self, generation: Generation) {
        let prefix = self.wills.known_prefix().and_then(|known| known.prefix.clone());
        let mut message = Message {
            correlation_data: Some(self.wills.token(generation, Purpose::Will)),
            response_topic: Some(self.own_response_topic(prefix.as_ref(), "will")),
            user_properties: self.introduction(generation),
            ..self.presence_message(prefix.as_ref(), "offline")
        };
        self.wills.memory().limits.apply(&mut message);
        let will = Will { message, delay: seconds(self.config.will_delay) };
        self.phase = Phase::Connecting { armed: Some(generation) };
        self.outputs.push_back(Output::Connect { will: Some(will) });
    }

    /// All that was queued has been seen, or is not waited for any longer.
    pub(super) fn pass_fence(&mut self, now: Now) {
        self.say_online(now);
        if let Some(connection) = self.connection() {
            let session_present = connection.session_present;
            self.notice(Notice::Online { session_present });
        }
        if self.fence_is_back() && self.wills.note_takes_its_own() {
            self.store_memory();
        }
        self.settle_journal(now);
        self.release_wills(now);
        self.begin_taking_back(now);
    }

    pub(super) fn own_presence_topic(&self, prefix: Option<&Prefix>) -> String {
        self.config.topics.presence.build(prefix, &[("client_id", &self.config.client_id)])
    }

    pub(super) fn own_response_topic(&self, prefix: Option<&Prefix>, purpose: &str) -> String {
        let values = [("client_id", self.config.client_id.as_str()), ("purpose", purpose)];
        self.config.topics.response.build(prefix, &values)
    }

    fn resolve_prefix(&mut self, offered: Option<&str>) -> Result<Option<Prefix>, Fatal> {
        let mut error = None;
        match offered.map(Prefix::parse) {
            Some(Ok(prefix)) => return Ok(Some(prefix)),
            Some(Err(refused)) => {
                error = Some(refused.to_string());
                self.notice(Notice::ResponseInformationRefused { error: refused.to_string() });
            }
            None => {}
        }
        if self.config.require_response_information {
            return Err(Fatal::ResponseInformationRequired { error });
        }
        Ok(self.config.fallback_prefix.clone())
    }

    fn on_attempt_failed(&mut self, now: Now, generation: Generation, cause: Disconnection) {
        if let Disconnection::Refused { reason_code, .. } = cause
            && WILL_REFUSALS.contains(&reason_code)
        {
            self.wills.forget(generation);
            self.wills.unlearn();
            self.learn_from_refusal(reason_code);
            self.notice(Notice::WillRefused { reason_code });
            return self.wait(now, None, cause);
        }
        match cause {
            Disconnection::Refused { .. } | Disconnection::Unreachable { .. } => {
                self.wait(now, Some(generation), cause);
            }
            // CONNACK may have been lost, and the broker may have the will.
            Disconnection::Lost { .. }
            | Disconnection::ByBroker { .. }
            | Disconnection::Requested => self.wait(now, None, cause),
        }
    }

    fn wait(&mut self, now: Now, unused: Option<Generation>, cause: Disconnection) {
        let [.., random] = (self.entropy.0)();
        let takeover = matches!(cause, Disconnection::ByBroker { reason_code: TAKEN_OVER, .. });
        if takeover {
            self.notice(Notice::ClientIdShared);
        }
        let retry_in =
            if takeover { self.backoff.after_takeover(random) } else { self.backoff.next(random) };
        self.phase = Phase::Waiting { until: now.monotonic + retry_in, unused };
        self.notice(Notice::Offline { cause, retry_in });
    }

    pub(super) fn disconnect(&mut self, next: Next, will: Option<Generation>) {
        self.phase = Phase::Disconnecting { next, will };
        self.outputs.push_back(Output::Disconnect);
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// DISCONNECT reason code of a session taken over (MQTT 3.14.2.1).
const TAKEN_OVER: u8 = 0x8E;
/// CONNACK reason codes that the will may be the cause of (MQTT 3.2.2.2).
const WILL_REFUSALS: [u8; 6] = [0x87, 0x90, 0x97, 0x99, 0x9A, 0x9B];
/// PUBACK reason codes that may be others later (MQTT 3.4.2.1): unspecified, implementation specific, quota exceeded.
const PASSING_REFUSALS: [u8; 3] = [0x80, 0x83, 0x97];
/// How long a connection must have held before the next attempts count anew.
const HELD: Duration = Duration::from_secs(60);
/// How long after an outcome that silence proved, beyond the delay of a will, news of an unknown connection may come.
const LATE: Duration = Duration::from_secs(60);
/// How often in a row CONNACK may contradict itself before the hub waits.
const CONTRADICTIONS: u32 = 2;
