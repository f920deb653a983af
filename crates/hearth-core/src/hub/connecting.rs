//! From nothing to `online` and back: the will is fixed before the prefix is known (MQTT 3.1.2.5, 3.2.2.3.15).

use super::{Connection, Fence, Hub, Next, Phase};
use crate::{
    Connack, Disconnection, Fatal, Generation, Message, Notice, Now, Output, PublishId, QoS,
    Subscription, Will,
    absence::rfc3339,
    outbox::{Kind, Taken, Window, whole_seconds},
    topic::Prefix,
    wills::View,
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
        let generation = Generation((self.entropy.0)());
        self.wills.open(generation, known.prefix, rfc3339(now.unix));
        let revision = self.store_memory();
        self.phase = Phase::Storing { revision, generation };
    }

    pub(super) fn on_stored(&mut self, now: Now, revision: u64) {
        self.stored = revision;
        for request in self.requests.released(revision, now.monotonic) {
            self.outputs.push_back(Output::Execute(request));
        }
        self.publish_stored();
        let (done, waiting) = std::mem::take(&mut self.unstored)
            .into_iter()
            .partition(|(needs, _)| *needs <= revision);
        self.unstored = waiting;
        let done: Vec<(u64, crate::DeliveryId)> = done;
        for (_, delivery) in done {
            self.acknowledge(delivery);
        }
        match self.phase {
            Phase::Storing { revision: needs, generation } if needs <= revision => {
                self.connect_armed(generation);
            }
            Phase::Closing { revision: needs } if needs <= revision => {
                self.disconnect(Next::Stop(Ok(())));
            }
            _ => {}
        }
    }

    pub(super) fn on_connected(&mut self, connack: &Connack) {
        let Phase::Connecting { armed } = self.phase else { return };
        if !connack.session_present {
            self.on_session_lost();
        }
        let prefix = match self.resolve_prefix(connack.response_information.as_deref()) {
            Ok(prefix) => prefix,
            Err(fatal) => {
                self.mark_disconnected(armed);
                return self.disconnect(Next::Stop(Err(fatal)));
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
                self.subscribe(generation, prefix, connack);
            }
            Some(_) => {
                self.contradictions += 1;
                self.mark_disconnected(armed);
                let give_way = self.contradictions > CONTRADICTIONS;
                self.disconnect(if give_way { Next::Wait } else { Next::Reconnect });
            }
            None => self.disconnect(Next::Reconnect),
        }
    }

    pub(super) fn on_subscribed(&mut self, now: Now, reason_codes: &[u8]) {
        let Phase::Subscribing(connection) = &self.phase else { return };
        let mut connection = connection.clone();
        let filters = self.subscriptions(connection.prefix.as_ref());
        let mut granted = reason_codes.len() == filters.len();
        for (subscription, &reason_code) in filters.into_iter().zip(reason_codes) {
            if reason_code >= REFUSED {
                granted = false;
                let filter = subscription.filter;
                self.notice(Notice::SubscriptionRefused { filter, reason_code });
            }
        }
        if granted {
            self.wills.mark_subscribed(connection.generation);
        }
        let unproven = !connection.resumed && self.wills.has_subscribed_past(connection.generation);
        self.wills.set_unproven(unproven);
        self.store_memory();
        connection.fence = Fence::Sent {
            until: now.monotonic + self.config.fence_timeout,
            latest: now.monotonic + self.config.fence_timeout * FENCE_PATIENCE,
        };
        self.backoff.reset();
        let fence = self.own_message("fence");
        self.send(fence, Kind::Connection, None);
        self.publish_everything(&connection);
        self.phase = Phase::Online(connection);
        self.publish_undelivered(now);
    }

    pub(super) fn on_disconnected(&mut self, now: Now, cause: Disconnection) {
        self.forget_deliveries();
        if matches!(cause, Disconnection::ByBroker { reason_code: TAKEN_OVER, .. }) {
            // What the session had queued went to whoever took it over.
            self.wills.session_lost();
            self.store_memory();
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Stopped);
        match phase {
            Phase::Disconnecting(Next::Reconnect) => self.begin_attempt(now, None),
            Phase::Disconnecting(Next::Stop(result)) => self.stop(result),
            Phase::Closing { .. } => self.stop(Ok(())),
            Phase::Stopped => {}
            _ if self.stopping.is_some() => self.stop(Ok(())),
            Phase::Connecting { armed: Some(generation) } => {
                self.on_attempt_failed(now, generation, cause);
            }
            Phase::Waiting { .. }
            | Phase::Storing { .. }
            | Phase::Connecting { armed: None }
            | Phase::Subscribing(_)
            | Phase::Online(_)
            | Phase::Disconnecting(Next::Wait) => self.wait(now, None, cause),
        }
    }

    fn forget_deliveries(&mut self) {
        self.deliveries.clear();
        self.unstored.clear();
        self.held_wills.clear();
        for unpublished in &mut self.unpublished {
            unpublished.disconnected();
        }
        self.outbox.disconnected();
        self.requests.disconnected();
        self.journal.disconnected();
    }

    pub(super) fn on_published(&mut self, id: PublishId, reason_code: u8) {
        let Some((kind, topic)) = self.outbox.remove(id) else { return };
        if reason_code >= REFUSED {
            self.notice(Notice::PublishRefused { topic, reason_code });
        }
        let farewell = kind == Kind::Farewell;
        self.let_go(id, kind);
        if let Phase::Online(connection) = &self.phase
            && farewell
        {
            self.wills.mark_clean(connection.generation);
            let revision = self.store_memory();
            self.phase = Phase::Closing { revision };
        }
    }

    pub(super) fn decide_when_due(&mut self, now: Now) {
        let Phase::Online(connection) = &mut self.phase else { return };
        let fenced = match connection.fence {
            Fence::Settling { until } if until <= now.monotonic => true,
            Fence::Sent { until, .. } if until <= now.monotonic => false,
            _ => return,
        };
        connection.fence = Fence::Decided { fenced };
        let (session_present, resumed) = (connection.session_present, connection.resumed);
        let generation = connection.generation;
        let prefix = connection.prefix.clone();
        if !fenced {
            self.pass_fence(now);
        }
        if session_present && !resumed && fenced {
            let forgotten = self.journal.session_lost();
            self.forget(forgotten);
        }
        self.note_proof();
        self.leave_past_prefixes();
        if !self.wills.has_past(generation) {
            return;
        }
        let view = View { resumed, fenced };
        let decided = self.wills.decide(generation, view, &rfc3339(now.unix));
        self.store_memory();
        for absence in decided {
            self.publish_absence(prefix.as_ref(), &absence);
            self.outputs.push_back(Output::Absence(absence));
        }
    }

    /// Says `online` again where the broker has just published the will of a hub that is here.
    pub(super) fn restore_presence(&mut self) {
        let Phase::Online(connection) = &self.phase else { return };
        let message = self.online(&connection.clone());
        self.send(message, Kind::Connection, None);
        self.notice(Notice::PresenceRestored);
    }

    fn connect_armed(&mut self, generation: Generation) {
        let prefix = self.wills.known_prefix().and_then(|known| known.prefix.clone());
        let message = Message {
            correlation_data: Some(generation.0.to_vec().into()),
            response_topic: Some(self.own_response_topic(prefix.as_ref(), "will")),
            user_properties: self.introduction(generation),
            ..self.presence(prefix.as_ref(), "offline")
        };
        let will = Will { message, delay: seconds(self.config.will_delay) };
        self.phase = Phase::Connecting { armed: Some(generation) };
        self.outputs.push_back(Output::Connect { will: Some(will) });
    }

    fn subscribe(&mut self, generation: Generation, prefix: Option<Prefix>, connack: &Connack) {
        self.wills.begin_connection();
        let subscriptions = self.subscriptions(prefix.as_ref());
        let window = Window::new(connack.receive_maximum, connack.maximum_packet_size);
        self.phase = Phase::Subscribing(Connection {
            generation,
            prefix,
            session_present: connack.session_present,
            resumed: false,
            window,
            fence: Fence::Unsent,
            echoed: false,
        });
        self.drop_foreign_responses();
        if connack.session_present {
            self.ask_session(window);
        }
        self.outputs.push_back(Output::Subscribe(subscriptions));
    }

    /// Publishes to the hub itself before it subscribes: that comes back only if the session was subscribed before.
    ///
    /// Session Present does not tell: an attempt whose CONNACK was lost may have made the session anew.
    fn ask_session(&mut self, window: Window) {
        let probe = self.own_message("session");
        self.send(probe, Kind::Connection, None);
        if let Some(Taken::Publish(id, message)) = self.outbox.take(self.clock, window) {
            self.outputs.push_back(Output::Publish { id, message });
        }
    }

    /// Makes a message of this connection to the hub itself.
    fn own_message(&self, purpose: &str) -> Message {
        let (generation, prefix) = match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => {
                (Some(connection.generation), connection.prefix.as_ref())
            }
            _ => (None, None),
        };
        Message {
            topic: self.own_response_topic(prefix, purpose),
            qos: QoS::AtLeastOnce,
            correlation_data: generation.map(|generation| generation.0.to_vec().into()),
            expiry: Some(whole_seconds(self.config.fence_timeout)),
            ..Message::default()
        }
    }

    /// It is clear whose session this is, or too late to learn it.
    pub(super) fn note_proof(&mut self) {
        if self.wills.memory().unproven {
            self.wills.set_unproven(false);
            self.store_memory();
        }
    }

    fn on_session_lost(&mut self) {
        self.wills.session_lost();
        self.wills.take_past();
        let forgotten = self.journal.session_lost();
        self.forget(forgotten);
    }

    /// Ends what the session is subscribed to under earlier prefixes, once their wills are decided.
    fn leave_past_prefixes(&mut self) {
        let now = self.subscriptions(self.prefix());
        let past = self.wills.take_past();
        let filters: Vec<String> = past
            .iter()
            .flat_map(|past| self.subscriptions(past.prefix.as_ref()))
            .filter(|subscription| !now.contains(subscription))
            .map(|subscription| subscription.filter)
            .collect();
        if !filters.is_empty() {
            self.store_memory();
            self.outputs.push_back(Output::Unsubscribe(filters));
        }
    }

    fn subscriptions(&self, prefix: Option<&Prefix>) -> Vec<Subscription> {
        let topics = &self.config.topics;
        let request = topics.request.build(prefix, &[("device", "+"), ("property", "+")]);
        let presence = topics.presence.build(prefix, &[("client_id", &self.config.client_id)]);
        let mut subscriptions = vec![
            Subscription { filter: request, retained: false },
            Subscription { filter: self.own_response_topic(prefix, "+"), retained: false },
            Subscription { filter: presence, retained: true },
        ];
        for guard in &self.config.guards {
            let filter = guard.presence.build(prefix, &[]);
            if subscriptions.iter().all(|other| other.filter != filter) {
                subscriptions.push(Subscription { filter, retained: true });
            }
        }
        subscriptions
    }

    /// All that was queued has been seen, or is not waited for any longer.
    pub(super) fn pass_fence(&mut self, now: Now) {
        self.say_online();
        self.settle_journal(now);
        self.release_wills(now);
    }

    /// Says `online`: after the fence, so that whoever hears it and asks is never taken for stale.
    fn say_online(&mut self) {
        let Phase::Online(connection) = &self.phase else { return };
        let session_present = connection.session_present;
        let online = self.online(&connection.clone());
        self.send(online, Kind::Connection, None);
        self.notice(Notice::Online { session_present });
    }

    /// Publishes all states where the broker may not have them.
    fn publish_everything(&mut self, connection: &Connection) {
        let states: Vec<_> = self.states.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for ((device, property), state) in states {
            self.publish_state(connection.prefix.as_ref(), &device, &property, &state);
        }
    }

    fn online(&self, connection: &Connection) -> Message {
        Message {
            correlation_data: Some(connection.generation.0.to_vec().into()),
            user_properties: self.introduction(connection.generation),
            ..self.presence(connection.prefix.as_ref(), "online")
        }
    }

    pub(super) fn presence(&self, prefix: Option<&Prefix>, payload: &'static str) -> Message {
        let client_id = [("client_id", self.config.client_id.as_str())];
        Message {
            topic: self.config.topics.presence.build(prefix, &client_id),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            utf8: true,
            content_type: Some("text/plain".into()),
            ..Message::default()
        }
    }

    fn own_response_topic(&self, prefix: Option<&Prefix>, purpose: &str) -> String {
        let values = [("client_id", self.config.client_id.as_str()), ("purpose", purpose)];
        self.config.topics.response.build(prefix, &values)
    }

    fn introduction(&self, generation: Generation) -> Vec<(String, String)> {
        vec![
            ("client_id".into(), self.config.client_id.clone()),
            ("connected_at".into(), self.connected_at(generation)),
        ]
    }

    fn connected_at(&self, generation: Generation) -> String {
        let open = &self.wills.memory().open;
        open.iter()
            .find(|will| will.generation == generation)
            .map(|will| will.connected_at.clone())
            .unwrap_or_default()
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
        if let Disconnection::Refused { reason_code } = cause
            && WILL_REFUSALS.contains(&reason_code)
        {
            self.wills.forget(generation);
            self.wills.unlearn();
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
        let random = (self.entropy.0)()[0];
        let takeover = matches!(cause, Disconnection::ByBroker { reason_code: TAKEN_OVER, .. });
        let retry_in =
            if takeover { self.backoff.after_takeover(random) } else { self.backoff.next(random) };
        self.phase = Phase::Waiting { until: now.monotonic + retry_in, unused };
        self.notice(Notice::Offline { cause, retry_in });
    }

    fn mark_disconnected(&mut self, armed: Option<Generation>) {
        if let Some(generation) = armed {
            self.wills.mark_clean(generation);
        }
    }

    pub(super) fn disconnect(&mut self, next: Next) {
        self.phase = Phase::Disconnecting(next);
        self.outputs.push_back(Output::Disconnect);
    }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// DISCONNECT reason code of a session taken over (MQTT 3.14.2.1).
const TAKEN_OVER: u8 = 0x8E;
/// CONNACK reason codes that the will may be the cause of (MQTT 3.2.2.2).
const WILL_REFUSALS: [u8; 6] = [0x87, 0x90, 0x97, 0x99, 0x9A, 0x9B];
/// How many times its time-out the fence may take while the broker still delivers what it has queued.
const FENCE_PATIENCE: u32 = 6;
/// How often in a row CONNACK may contradict itself before the hub waits.
const CONTRADICTIONS: u32 = 2;
