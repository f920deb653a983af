//! How the hub removes filters and retained messages of devices and properties that no longer exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Hub, address::STATUS, serving::Serving};
use crate::{
    Change, Message, Notice, Now, PublishId, QoS, Subscriber, Subscription, outbox::Kind,
    token::Purpose,
};

/// The states that are looked at, and cleared where they are this hub's.
#[derive(Debug)]
pub(super) struct TakingBack {
    topics: BTreeMap<String, (Arc<str>, Arc<str>)>,
    stage: Stage,
    clearing: BTreeSet<PublishId>,
    cleared: usize,
}

/// How far the look for retained messages of one device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// SUBSCRIBE is on its way.
    Subscribing,
    /// What comes back behind the retained messages is on its way; given up at this time.
    Reading { until: Duration },
    /// It is back; late copies are waited for until this time.
    Settling { until: Duration },
    /// The broker has not acknowledged yet what clears them.
    Clearing,
}

impl Serving {
    /// Returns whether a topic is one that is being taken back.
    pub(super) fn takes_back(&self, topic: &str) -> bool {
        self.taking_back.as_ref().is_some_and(|taking_back| taking_back.topics.contains_key(topic))
    }

    /// What the broker does not show is not taken back on this connection; returns whether it was to be.
    pub(super) fn cannot_look_at(&mut self, topic: &str) -> bool {
        let taking_back = self.taking_back.as_mut();
        let left = taking_back.and_then(|taking_back| taking_back.topics.remove(topic));
        let was_looked_at = left.is_some();
        self.tried.extend(left);
        was_looked_at
    }

    /// Tries again in a while what was tried in vain.
    fn look_again(&mut self, now: Duration) {
        self.again = Some(now + TAKEN_BACK_AGAIN);
    }

    /// Returns when [`Hub::follow_up_taking_back`] has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.taking_back.as_ref().map(|taking_back| taking_back.stage) {
            Some(Stage::Reading { until } | Stage::Settling { until }) => Some(until),
            Some(Stage::Subscribing | Stage::Clearing) => None,
            None => self.again,
        }
    }
}

impl Hub {
    /// Begins to take back what is left of devices and properties that are no more, where nothing else is under way.
    pub(super) fn begin_taking_back(&mut self, now: Now) {
        if !self.has_passed_fence()
            || !self.filters.is_idle()
            || self.serving.taking_back.is_some()
            || self.stopping.is_some()
            || !self.connection().is_some_and(|connection| connection.retains)
        {
            return;
        }
        let prefix = self.prefix().cloned();
        let leftovers = self.leftovers();
        if leftovers.is_empty() {
            return;
        }
        let topic =
            |device: &str, property: &str| self.state_topic(prefix.as_ref(), device, property);
        let topics: BTreeMap<_, _> = leftovers
            .into_iter()
            .map(|(device, property)| (topic(&device, &property), (device, property)))
            .collect();
        let wanted = topics.keys().map(|filter| Subscription {
            filter: filter.clone(),
            retained: true,
            no_local: true,
            subscriber: Subscriber::Hub,
        });
        self.filters.ask(wanted.collect::<Vec<_>>());
        self.serving.taking_back = Some(TakingBack {
            topics,
            stage: Stage::Subscribing,
            clearing: BTreeSet::new(),
            cleared: 0,
        });
        self.send_filters(now);
    }

    /// Every SUBACK has come: asks for what comes behind the retained messages.
    pub(super) fn go_on_taking_back(&mut self, now: Now) {
        let until = now.monotonic + self.config.fence_timeout;
        match &mut self.serving.taking_back {
            None => self.begin_taking_back(now),
            Some(taking_back) if taking_back.stage == Stage::Subscribing => {
                taking_back.stage = Stage::Reading { until };
                self.serving.looks += 1;
                let probe = self.probe_of_look();
                self.send(probe, Kind::Connection, None);
            }
            Some(_) => {}
        }
    }

    /// Comes back behind the retained messages of this look.
    fn probe_of_look(&self) -> Message {
        let payload = self.serving.looks.to_string().into();
        Message { payload, ..self.own_message("retained", Purpose::Retained) }
    }

    /// The hub's own message is back, behind all that the broker has retained. What was left to another connection may be
    /// among that: then nothing follows, and the next connection looks again.
    pub(super) fn on_retained_seen(&mut self, now: Now, message: &Message) {
        let until = now.monotonic + self.config.settle;
        if !self.has_left
            && self.own_generation(message, Purpose::Retained).is_some()
            && message.payload[..] == *self.serving.looks.to_string().as_bytes()
            && let Some(taking_back) = &mut self.serving.taking_back
            && matches!(taking_back.stage, Stage::Reading { .. })
        {
            taking_back.stage = Stage::Settling { until };
        }
    }

    /// A state that may be another hub's by now is not cleared, also where the message that shows it waits to be taken
    /// in; the next look shows whose it is.
    pub(super) fn spare_state(&mut self, message: &Message) {
        if self.serving.takes_back(&message.topic)
            && message.user_property("hub") != Some(&self.config.client_id)
            && self.outbox.stop_clearing(|topic| topic == message.topic)
        {
            self.leave_uncleared(&message.topic, true);
        }
    }

    /// Clears a state that is this hub's own; another hub may have the device now.
    pub(super) fn on_leftover(&mut self, message: &Message) {
        let own = message.user_property("hub") == Some(&self.config.client_id);
        if !own || message.payload.is_empty() {
            return;
        }
        if self.held.iter().any(|newer| newer.message.topic == message.topic) {
            return self.leave_uncleared(&message.topic, true);
        }
        let clear = Message {
            topic: message.topic.clone(),
            qos: QoS::AtLeastOnce,
            retain: true,
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        let id = self.send(clear, Kind::Clearing, None);
        if let Some(taking_back) = &mut self.serving.taking_back {
            taking_back.clearing.extend(id);
            taking_back.cleared += 1;
        }
    }

    /// Leaves a state as it is: on this connection, or, where that may pass, until it is looked at `again`.
    pub(super) fn leave_uncleared(&mut self, topic: &str, again: bool) {
        let stage = self.serving.taking_back.as_ref().map(|taking_back| taking_back.stage);
        if self.serving.cannot_look_at(topic) && stage != Some(Stage::Clearing) {
            self.send_unsubscribe(vec![topic.to_owned()]);
        }
        if again {
            self.serving.look_again(self.clock);
        }
    }

    /// Goes on with what is being taken back, where its time has come.
    pub(super) fn follow_up_taking_back(&mut self, now: Now) {
        let Some(taking_back) = &mut self.serving.taking_back else {
            if self.serving.again.take_if(|again| *again <= now.monotonic).is_some() {
                self.serving.tried.clear();
                self.begin_taking_back(now);
            }
            return;
        };
        match taking_back.stage {
            Stage::Reading { until } if until <= now.monotonic => {
                self.stop_taking_back();
                self.serving.look_again(now.monotonic);
            }
            Stage::Settling { until } if until <= now.monotonic => {
                taking_back.stage = Stage::Clearing;
                let filters = taking_back.topics.keys().cloned().collect();
                self.send_unsubscribe(filters);
                // Nobody waits for UNSUBACK: the broker has acted on what came before this once it acknowledges it.
                let probe = self.probe_of_look();
                let id = self.send(probe, Kind::Connection, None);
                if let Some(taking_back) = &mut self.serving.taking_back {
                    taking_back.clearing.extend(id);
                }
                self.conclude_taking_back(now);
            }
            Stage::Clearing => self.conclude_taking_back(now),
            Stage::Subscribing | Stage::Reading { .. } | Stage::Settling { .. } => {}
        }
    }

    /// Has the store forget what the broker has cleared.
    fn conclude_taking_back(&mut self, now: Now) {
        let Some(taking_back) = &self.serving.taking_back else { return };
        if !self.outbox.has_settled(&taking_back.clearing) {
            return;
        }
        let Some(taken) = self.stop_taking_back_of() else { return };
        if taken.cleared > 0 {
            self.notice(Notice::TakenBack { topics: taken.cleared });
        }
        let mut devices = BTreeSet::new();
        // Also where nothing was there to be cleared: an earlier connection may have cleared it.
        let gone: BTreeSet<_> = taken.topics.values().map(|(device, _)| device).collect();
        for device in gone {
            self.tell_taken_back(device);
        }
        for (device, property) in taken.topics.into_values() {
            if let Some(row) = self.serving.rows.get_mut(&device) {
                row.properties.remove(&property);
                devices.insert(device);
            }
        }
        for device in devices {
            let Some(row) = self.serving.rows.get(&device) else { continue };
            let served = row.served(&device);
            if served.properties.is_empty() && served.filters.is_empty() {
                self.serving.rows.remove(&device);
                self.store(Change::Unserved(device));
            } else {
                self.store_served(served);
            }
        }
        self.begin_taking_back(now);
    }

    /// Whoever has the device now may have published a state at the very time when it was cleared: it is told, and
    /// publishes it again.
    fn tell_taken_back(&mut self, device: &str) {
        let values = [("device", device), ("property", STATUS)];
        let message = Message {
            topic: self.config.topics.state.build(self.prefix(), &values),
            qos: QoS::AtLeastOnce,
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        self.send(message, Kind::Event, None);
    }

    /// Ends the look without clearing anything more.
    pub(super) fn stop_taking_back(&mut self) {
        self.outbox.stop_clearing(|_| true);
        self.stop_taking_back_of();
    }

    /// Ends the look at leftovers; on this connection they are not looked at again.
    fn stop_taking_back_of(&mut self) -> Option<TakingBack> {
        let taken = self.serving.taking_back.take()?;
        self.serving.tried.extend(taken.topics.values().cloned());
        let filters: Vec<String> = taken.topics.keys().cloned().collect();
        self.filters.drop(&filters);
        if taken.stage != Stage::Clearing {
            self.send_unsubscribe(filters);
        }
        Some(taken)
    }

    /// Lists what may be retained of devices and properties that are no more: a bounded number of them at a time.
    fn leftovers(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut leftovers = Vec::new();
        for (device, row) in &self.serving.rows {
            let names = row.properties.iter().filter(|name| !self.is_told(device, name));
            let left = names.map(|property| (device.clone(), property.clone()));
            leftovers.extend(left.filter(|left| !self.serving.tried.contains(left)));
        }
        leftovers.truncate(TAKEN_BACK_AT_ONCE);
        leftovers
    }
}

/// How long after a vain look at leftovers they are looked at again.
const TAKEN_BACK_AGAIN: Duration = Duration::from_secs(60);
/// How many states are looked at together.
const TAKEN_BACK_AT_ONCE: usize = 256;
