//! From CONNACK to SUBACK: whose session it is, and what it is subscribed to.

use super::{Connection, Fence, Hub, Phase};
use crate::{
    Connack, Generation, Message, Notice, Now, Output, QoS, Subscription,
    outbox::{Kind, Taken, Window, whole_seconds},
    topic::Prefix,
};

impl Hub {
    /// CONNACK has come for the right will: subscribe, once the store holds what this does to the evidence.
    ///
    /// `doubt` says that a missing copy of an earlier will may still be evidence. From SUBSCRIBE on, the session looks
    /// like the one of before even where it is not.
    pub(super) fn join_session(
        &mut self,
        generation: Generation,
        prefix: Option<Prefix>,
        connack: &Connack,
        doubt: bool,
    ) {
        self.wills.begin_connection();
        let window = Window::new(connack.receive_maximum, connack.maximum_packet_size);
        let subscribe_after = if doubt {
            self.wills.set_unproven(connack.session_present);
            self.store_memory()
        } else {
            self.stored
        };
        self.phase = Phase::Subscribing(Connection {
            generation,
            prefix,
            session_present: connack.session_present,
            bare: self.session_is_bare,
            resumed: false,
            watched: false,
            subscribe_after: Some(subscribe_after),
            window,
            fence: Fence::Unsent,
            echoed: false,
        });
        self.drop_foreign_responses();
        if connack.session_present {
            self.ask_session(window);
        }
        self.subscribe_when_stored();
    }

    pub(super) fn subscribe_when_stored(&mut self) {
        let stored = self.stored;
        let Phase::Subscribing(connection) = &mut self.phase else { return };
        if connection.subscribe_after.take_if(|needs| *needs <= stored).is_none() {
            return;
        }
        let subscriptions = self.subscriptions(self.prefix());
        self.session_is_bare = false;
        self.outputs.push_back(Output::Subscribe(subscriptions));
    }

    /// Publishes to the hub itself before it subscribes: that comes back only if the session was subscribed before.
    ///
    /// Session Present does not tell: an attempt whose CONNACK was lost may have made the session anew.
    fn ask_session(&mut self, window: Window) {
        let probe = self.own_message("session");
        self.send(probe, Kind::Connection, None);
        match self.outbox.take(self.clock, window) {
            Some(Taken::Publish(id, message)) => {
                self.outputs.push_back(Output::Publish { id, message });
            }
            Some(Taken::Dropped(_, _, topic)) => self.notice(Notice::MessageDropped { topic }),
            None => {}
        }
    }

    pub(super) fn on_subscribed(&mut self, now: Now, reason_codes: &[u8]) {
        let Phase::Subscribing(connection) = &self.phase else { return };
        if connection.subscribe_after.is_some() {
            return;
        }
        let mut connection = connection.clone();
        let filters = self.subscriptions(connection.prefix.as_ref());
        let evidence = self.evidence_filters(connection.prefix.as_ref());
        connection.watched = reason_codes.len() == filters.len();
        for (subscription, &reason_code) in filters.into_iter().zip(reason_codes) {
            if reason_code >= REFUSED {
                let filter = subscription.filter;
                connection.watched &= !evidence.contains(&filter);
                self.notice(Notice::SubscriptionRefused { filter, reason_code });
            }
        }
        if connection.watched {
            self.wills.mark_subscribed(connection.generation);
        }
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

    /// It is clear whose session this is, or too late to learn it, and nothing more is concluded from what it delivers.
    pub(super) fn note_proof(&mut self) {
        if self.wills.memory().unproven {
            self.wills.set_unproven(false);
            self.store_memory();
        }
    }

    /// The broker has a new session, with no subscription.
    pub(super) fn on_session_lost(&mut self) {
        self.session_is_bare = true;
        self.wills.session_lost();
        self.wills.take_past();
        let forgotten = self.journal.session_lost();
        self.forget(forgotten);
    }

    /// Ends what the session is subscribed to under earlier prefixes, once their wills are decided.
    pub(super) fn leave_past_prefixes(&mut self) {
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
        let [response, presence] = self.evidence_filters(prefix);
        let mut subscriptions = vec![
            Subscription { filter: request, retained: false },
            Subscription { filter: response, retained: false },
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

    /// Names what tells of the hub's own wills: their acknowledgements, and their copies.
    fn evidence_filters(&self, prefix: Option<&Prefix>) -> [String; 2] {
        [self.own_response_topic(prefix, "+"), self.own_presence_topic(prefix)]
    }

    /// Publishes all states where the broker may not have them.
    fn publish_everything(&mut self, connection: &Connection) {
        let states: Vec<_> = self.states.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for ((device, property), state) in states {
            self.publish_state(connection.prefix.as_ref(), &device, &property, &state);
        }
    }

    /// Makes a message of this connection to the hub itself.
    fn own_message(&self, purpose: &str) -> Message {
        let generation = self.connection().map(|connection| connection.generation);
        Message {
            topic: self.own_response_topic(self.prefix(), purpose),
            qos: QoS::AtLeastOnce,
            correlation_data: generation.map(|generation| generation.0.to_vec().into()),
            expiry: Some(whole_seconds(self.config.fence_timeout)),
            ..Message::default()
        }
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// How many times its time-out the fence may take while the broker still delivers what it has queued.
const FENCE_PATIENCE: u32 = 6;
