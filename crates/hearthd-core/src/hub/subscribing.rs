//! From CONNACK to the fence: whose session it is, and what it is subscribed to.

use std::collections::BTreeSet;

use super::{Connection, Fence, Hub, Phase, bridging::REPLY};
use crate::{
    Connack, Generation, Message, Now, Output, QoS, Subscriber, Subscription,
    outbox::{Kind, Taken, Window},
    token::Purpose,
    topic::Prefix,
};

impl Hub {
    /// CONNACK has come for the right will: subscribe, once the store holds what this does to the evidence.
    ///
    /// `doubt` says that a missing copy of an earlier will may still be evidence. From SUBSCRIBE on, the session looks
    /// like the one of before even where it is not.
    pub(super) fn join_session(
        &mut self,
        now: Now,
        generation: Generation,
        prefix: Option<Prefix>,
        connack: &Connack,
        doubt: bool,
    ) {
        self.wills.begin_connection(generation);
        let window = Window::new(connack);
        let served = self.note_served();
        let subscribe_after = if doubt {
            self.wills.set_unproven(connack.session_present);
            self.store_memory()
        } else {
            served.unwrap_or(self.stored)
        };
        self.phase = Phase::Subscribing(Connection {
            generation,
            prefix: prefix.clone(),
            session_present: connack.session_present,
            wildcards: connack.wildcards,
            vouches: connack.vouches,
            retains: connack.limits.retain,
            puback_timeout: self.puback_timeout(connack),
            resumed: false,
            watched: true,
            subscribe_after: Some(subscribe_after),
            window,
            fence: Fence::Unsent,
            echoed: false,
            since: now.monotonic,
        });
        let wanted = self.subscriptions(prefix.as_ref(), connack.wildcards);
        self.subscribed = filters_of(wanted.clone());
        self.filters.ask(wanted);
        self.drop_foreign_responses();
        if connack.session_present {
            self.ask_session(window);
        }
        self.subscribe_when_stored(now);
    }

    /// Sends SUBSCRIBE once the store holds what it makes of the evidence.
    pub(super) fn subscribe_when_stored(&mut self, now: Now) {
        let stored = self.stored;
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if connection.subscribe_after.take_if(|needs| *needs <= stored).is_some() {
            self.send_filters(now);
        }
    }

    /// Publishes to the hub itself before it subscribes: that comes back only if the session was subscribed before.
    ///
    /// Session Present does not tell: an attempt whose CONNACK was lost may have made the session anew.
    fn ask_session(&mut self, window: Window) {
        let probe = self.own_message("session", Purpose::Session);
        self.send(probe, Kind::Connection, None);
        match self.outbox.take(self.clock, window, &self.denied.aside) {
            Some(Taken::Publish(id, message)) => {
                self.outputs.push_back(Output::Publish { id, message });
            }
            Some(Taken::Dropped(_, _, topic) | Taken::LeftOut(_, _, topic)) => {
                self.notice(crate::Notice::MessageDropped { topic });
            }
            None => {}
        }
    }

    /// Every SUBACK has come: the hub answers, and sends its fence.
    pub(super) fn all_subscribed(&mut self, now: Now) {
        let Phase::Subscribing(connection) = &self.phase else { return };
        let mut connection = connection.clone();
        if connection.watched {
            self.wills.mark_subscribed(connection.generation);
        }
        self.store_memory();
        connection.fence = Fence::Sent {
            until: now.monotonic + self.config.fence_timeout,
            latest: now.monotonic + self.config.fence_timeout * FENCE_PATIENCE,
        };
        self.leave_what_is_not_served();
        self.send_fence();
        self.phase = Phase::Online(connection);
        // Somebody waits for these; a state that the broker ends the connection over must not keep them back.
        self.publish_undelivered(now);
        self.publish_everything();
        self.join_bridges(now);
        self.tell_lost(now);
    }

    /// Called once the fence is decided: clears `unproven`.
    pub(super) fn note_proof(&mut self) {
        if self.wills.memory().unproven {
            self.wills.set_unproven(false);
            self.store_memory();
        }
    }

    /// The broker has a new session, with no subscription.
    pub(super) fn on_session_lost(&mut self) {
        self.wills.session_lost();
        self.wills.take_past();
        self.wills.note_takes_its_own();
        let forgotten = self.journal.session_lost();
        self.forget(forgotten);
    }

    /// Ends what the session is subscribed to under earlier prefixes, once their wills are decided.
    pub(super) fn leave_past_prefixes(&mut self) {
        let Some(connection) = self.connection() else { return };
        let wildcards = connection.wildcards;
        let now: BTreeSet<String> = filters_of(self.subscriptions(self.prefix(), wildcards));
        let past = self.wills.take_past();
        let mut filters = BTreeSet::new();
        for past in &past {
            let prefix = past.prefix.as_ref();
            filters.extend(filters_of(self.subscriptions(prefix, wildcards)));
            filters.extend(self.filters_of_leftovers(prefix, wildcards));
            filters.insert(self.filter_of_all_requests(prefix));
        }
        let filters: Vec<String> = filters.difference(&now).cloned().collect();
        if !filters.is_empty() {
            self.store_memory();
            self.send_unsubscribe(filters);
        }
    }

    /// Sends UNSUBSCRIBE, which has a filter at least (MQTT 3.10.3).
    pub(super) fn send_unsubscribe(&mut self, filters: Vec<String>) {
        if !filters.is_empty() {
            self.outputs.push_back(Output::Unsubscribe(filters));
        }
    }

    /// Names all that the hub is subscribed to; what tells of its wills comes first.
    fn subscriptions(&self, prefix: Option<&Prefix>, wildcards: bool) -> Vec<Subscription> {
        let plain = |filter: String| Subscription {
            filter,
            retained: false,
            no_local: false,
            subscriber: Subscriber::Hub,
        };
        let mut subscriptions: Vec<Subscription> = if wildcards {
            vec![plain(self.own_response_topic(prefix, "+"))]
        } else {
            PURPOSES.map(|purpose| plain(self.own_response_topic(prefix, purpose))).into()
        };
        let presence = self.own_presence_topic(prefix);
        subscriptions.push(Subscription {
            filter: presence,
            retained: true,
            no_local: false,
            subscriber: Subscriber::Hub,
        });
        subscriptions.extend(self.own_request_filters(prefix, wildcards).into_iter().map(plain));
        for (device, policy) in &self.config.devices {
            subscriptions.extend(self.device_subscriptions(
                prefix,
                wildcards,
                device,
                policy.properties.iter().map(String::as_str),
            ));
        }
        for guard in &self.config.guards {
            let filter = guard.presence.build(prefix, &[]);
            if subscriptions.iter().all(|other| other.filter != filter) {
                subscriptions.push(Subscription {
                    filter,
                    retained: true,
                    no_local: false,
                    subscriber: Subscriber::Hub,
                });
            }
        }
        subscriptions
    }

    /// Names what tells of the hub's own wills: their acknowledgements, and their copies.
    pub(super) fn evidence_filters(&self, prefix: Option<&Prefix>) -> [String; 3] {
        [
            self.own_response_topic(prefix, "+"),
            self.own_response_topic(prefix, "will"),
            self.own_presence_topic(prefix),
        ]
    }

    /// Makes a message of this connection to the hub itself.
    ///
    /// It has no expiry: one that comes back with one tells that the broker adds it.
    pub(super) fn own_message(&self, purpose: &str, token: Purpose) -> Message {
        let generation = self.connection().map(|connection| connection.generation);
        Message {
            topic: self.own_response_topic(self.prefix(), purpose),
            qos: QoS::AtLeastOnce,
            correlation_data: generation.map(|generation| self.wills.token(generation, token)),
            ..Message::default()
        }
    }
}

/// Returns the topic filters of subscriptions.
pub(super) fn filters_of(subscriptions: Vec<Subscription>) -> BTreeSet<String> {
    subscriptions.into_iter().map(|subscription| subscription.filter).collect()
}

/// What the hub listens to below its own response topic.
const PURPOSES: [&str; 5] = ["will", "fence", "session", "retained", REPLY];
/// How many times its time-out the fence may take while the broker still delivers what it has queued.
const FENCE_PATIENCE: u32 = 6;
