//! From no connection to `online` and back: the will is fixed before the prefix is known (MQTT 3.1.2.5, 3.2.2.3.15).

use std::time::Duration;

use super::{Hub, Next, Phase};
use crate::{
    Connack, Disconnection, Fatal, Generation, Message, Notice, Now, Output, Will,
    absence::rfc3339, backoff::part_of, token::Purpose, topic::Prefix,
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

    /// CONNACK has come: learns the prefix, goes on with this connection, or ends it because its will is the wrong
    /// one.
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
            self.doubt_announcements();
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
            self.judge_bridges();
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

    /// The connection has ended: forgets what belongs to it, and plans the next attempt.
    pub(super) fn on_disconnected(&mut self, now: Now, cause: Disconnection) {
        self.suspect_publish(now, &cause);
        let unanswered = self.filters.unanswered_of_devices();
        self.suspect_filters(&unanswered);
        self.forget_deliveries();
        self.disconnect_bridges();
        self.filters.disconnected();
        self.subscribed.clear();
        self.serving.disconnected();
        self.announcing.disconnected(cause == Disconnection::Requested);
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
            Phase::Waiting { .. } | Phase::Storing { .. } | Phase::Connecting { armed: None } => {
                self.wait(now, None, cause);
            }
            Phase::Subscribing(_) | Phase::Online(_) => self.wait_with_others(now, cause),
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
                self.keep_doubts();
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

    /// Sends CONNECT with the will of this generation, which the store holds by now.
    pub(super) fn connect_armed(&mut self, generation: Generation) {
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
        self.wait_longer(now, unused, cause, Duration::ZERO);
    }

    /// Waits after a connection that other hubs may have lost at the same moment, because their node has ended.
    fn wait_with_others(&mut self, now: Now, cause: Disconnection) {
        let mut spread = self.config.reconnect_spread;
        if !spread.is_zero() {
            let [high, low, ..] = (self.entropy.0)();
            spread = part_of(spread, u16::from_be_bytes([high, low]));
        }
        self.wait_longer(now, None, cause, spread);
    }

    fn wait_longer(
        &mut self,
        now: Now,
        unused: Option<Generation>,
        cause: Disconnection,
        spread: Duration,
    ) {
        let [.., random] = (self.entropy.0)();
        let takeover = matches!(cause, Disconnection::ByBroker { reason_code: TAKEN_OVER, .. });
        if takeover {
            self.notice(Notice::ClientIdShared);
        }
        let retry_in =
            if takeover { self.backoff.after_takeover(random) } else { self.backoff.next(random) };
        let retry_in = retry_in + spread;
        self.phase = Phase::Waiting { until: now.monotonic + retry_in, unused };
        self.notice(Notice::Offline { cause, retry_in });
    }

    /// Sends DISCONNECT with reason code 0x00 (MQTT 3.14.2.1), which deletes this will at the broker.
    pub(super) fn disconnect(&mut self, next: Next, will: Option<Generation>) {
        self.phase = Phase::Disconnecting { next, will };
        self.outputs.push_back(Output::Disconnect);
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// DISCONNECT reason code of a session taken over (MQTT 3.14.2.1).
const TAKEN_OVER: u8 = 0x8E;
/// CONNACK reason codes that the will may be the cause of (MQTT 3.2.2.2).
const WILL_REFUSALS: [u8; 6] = [0x87, 0x90, 0x97, 0x99, 0x9A, 0x9B];
/// How long a connection must have held before the next attempts count anew.
const HELD: Duration = Duration::from_secs(60);
/// How often in a row CONNACK may contradict itself before the hub waits.
const CONTRADICTIONS: u32 = 2;
