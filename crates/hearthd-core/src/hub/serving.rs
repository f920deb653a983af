//! What the hub leaves at the broker for each device, filters and retained states, and how it takes that back.
//!
//! A device may go while the hub is down, or move to another hub. So the store knows what was published, and only what
//! carries this hub's name is cleared.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Hub, Phase, receiving::STATUS};
use crate::{
    Change, Message, Notice, Now, Output, PublishId, QoS, Subscription, outbox::Kind,
    token::Purpose, topic::Prefix,
};

/// What may be left of a device at the broker, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Device ID.
    pub device: Arc<str>,
    /// The properties whose states may be retained.
    pub properties: BTreeSet<Arc<str>>,
}

/// All that may be left at the broker, and what is being taken back.
#[derive(Debug, Default)]
pub(super) struct Serving {
    rows: BTreeMap<Arc<str>, Row>,
    taking_back: Option<TakingBack>,
    /// When what was tried in vain is tried again.
    again: Option<Duration>,
    /// What was tried on this connection: not again before then, or before the next one.
    tried: BTreeSet<(Arc<str>, Arc<str>)>,
    /// How often the hub has looked for what is left: what comes back of an earlier look is late.
    looks: u32,
}

#[derive(Debug, Default)]
struct Row {
    properties: BTreeSet<Arc<str>>,
    /// The revision of the store that holds the row.
    revision: u64,
}

/// The states that are looked at, and cleared where they are this hub's.
#[derive(Debug)]
struct TakingBack {
    topics: BTreeMap<String, (Arc<str>, Arc<str>)>,
    stage: Stage,
    clearing: BTreeSet<PublishId>,
    cleared: usize,
}

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
    pub(super) fn new(served: Vec<Served>) -> Self {
        let row =
            |served: Served| (served.device, Row { properties: served.properties, revision: 0 });
        Self { rows: served.into_iter().map(row).collect(), ..Self::default() }
    }

    pub(super) fn disconnected(&mut self) {
        self.taking_back = None;
        self.again = None;
        self.tried.clear();
    }

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

    /// Returns whether the store knows that a state may be published, which could not be taken back otherwise.
    pub(super) fn may_publish(&self, device: &str, property: &str, stored: u64) -> bool {
        self.rows
            .get(device)
            .is_some_and(|row| row.revision <= stored && row.properties.contains(property))
    }

    /// Returns when [`Hub::follow_up_taking_back`] has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.taking_back.as_ref().map(|taking_back| taking_back.stage) {
            Some(Stage::Reading { until } | Stage::Settling { until }) => Some(until),
            Some(Stage::Subscribing | Stage::Clearing) => None,
            None => self.again,
        }
    }

    /// Adds properties to a device's row; returns the row where it has changed.
    fn add<'p>(
        &mut self,
        device: &str,
        properties: impl Iterator<Item = &'p str>,
    ) -> Option<Served> {
        if !self.rows.contains_key(device) {
            self.rows.insert(device.into(), Row::default());
        }
        let row = self.rows.get_mut(device)?;
        let before = row.properties.len();
        for property in properties {
            if !row.properties.contains(property) {
                row.properties.insert(property.into());
            }
        }
        let has_grown = row.properties.len() > before;
        has_grown.then(|| Served { device: device.into(), properties: row.properties.clone() })
    }
}

impl Hub {
    /// Has the store know what the hub is about to publish; returns the revision that holds it, where it is new.
    pub(super) fn note_served(&mut self) -> Option<u64> {
        let mut changed = Vec::new();
        for (device, policy) in &self.config.devices {
            let properties = policy.properties.iter().map(String::as_str).chain([STATUS]);
            changed.extend(self.serving.add(device, properties));
        }
        let mut revision = None;
        for served in changed {
            revision = Some(self.store_served(served));
        }
        revision
    }

    fn store_served(&mut self, served: Served) -> u64 {
        let device = served.device.clone();
        let revision = self.store(Change::Served(served));
        if let Some(row) = self.serving.rows.get_mut(&device) {
            row.revision = revision;
        }
        revision
    }

    /// The devices are others now: takes requests for the new ones, and takes back what is left of the old ones.
    pub(super) fn serve_devices(&mut self, now: Now) {
        self.values.keep(|device| self.config.devices.contains_key(device));
        self.rivals.retain(|device, _| self.config.devices.contains_key(&**device));
        self.states.retain(|(device, property), _| {
            let policy = self.config.devices.get(device);
            policy.is_some_and(|policy| property == STATUS || policy.properties.contains(property))
        });
        self.drop_states_of_gone();
        let served = self.note_served();
        let connection = match &mut self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => {
                // The session keeps its filters: the store must know of them first.
                connection.subscribe_after = served.or(connection.subscribe_after);
                connection.clone()
            }
            _ => return,
        };
        let prefix = connection.prefix.as_ref();
        self.stop_taking_back();
        self.serving.tried.clear();
        let gone = self.filters_of_leftovers(prefix, connection.wildcards);
        self.unsubscribe(gone);
        let mut more = Vec::new();
        for (device, policy) in &self.config.devices {
            let properties = policy.properties.iter().map(String::as_str);
            more.extend(self.device_subscriptions(
                prefix,
                connection.wildcards,
                device,
                properties,
            ));
        }
        let held = &self.subscribed;
        more.retain(|subscription| !held.contains(&subscription.filter));
        self.subscribed.extend(more.iter().map(|subscription| subscription.filter.clone()));
        self.filters.ask(more);
        self.send_filters(now);
        self.begin_taking_back(now);
    }

    /// Whatever waits to be published of devices that are no more would overwrite what another hub says of them.
    fn drop_states_of_gone(&mut self) {
        let state = &self.config.topics.state;
        let known = self.wills.known_prefix().and_then(|known| known.prefix.as_ref());
        let prefixes: Vec<Option<&Prefix>> = self.wills.past_prefixes().chain([known]).collect();
        let devices = &self.config.devices;
        self.outbox.drop_states(|topic| {
            let named = prefixes.iter().filter_map(|prefix| state.match_name(*prefix, topic));
            named.filter_map(|values| values.get("device")).any(|id| !devices.contains_key(id))
        });
    }

    /// Ends what an earlier version, or an earlier configuration, has subscribed the session to.
    pub(super) fn leave_what_is_not_served(&mut self) {
        let Some(connection) = self.connection().filter(|connection| connection.session_present)
        else {
            return;
        };
        let (prefix, wildcards) = (connection.prefix.clone(), connection.wildcards);
        let mut filters = self.filters_of_leftovers(prefix.as_ref(), wildcards);
        if !self.wills.memory().takes_its_own {
            filters.insert(0, self.filter_of_all_requests(prefix.as_ref()));
        }
        self.unsubscribe(filters);
    }

    fn unsubscribe(&mut self, filters: Vec<String>) {
        if filters.is_empty() {
            return;
        }
        self.filters.drop(&filters);
        for filter in &filters {
            self.subscribed.remove(filter);
        }
        self.outputs.push_back(Output::Unsubscribe(filters));
    }

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
        let state = &self.config.topics.state;
        let topic = |device: &str, property: &str| {
            state.build(prefix.as_ref(), &[("device", device), ("property", property)])
        };
        let topics: BTreeMap<_, _> = leftovers
            .into_iter()
            .map(|(device, property)| (topic(&device, &property), (device, property)))
            .collect();
        let wanted = topics.keys().map(|filter| Subscription {
            filter: filter.clone(),
            retained: true,
            no_local: true,
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

    pub(super) fn on_retained_seen(&mut self, now: Now, message: &Message) {
        let until = now.monotonic + self.config.settle;
        if self.own_generation(message, Purpose::Retained).is_some()
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
            self.outputs.push_back(Output::Unsubscribe(vec![topic.to_owned()]));
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
                self.outputs.push_back(Output::Unsubscribe(filters));
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
            let properties = row.properties.clone();
            if properties.is_empty() {
                self.serving.rows.remove(&device);
                self.store(Change::Unserved(device));
            } else {
                self.store_served(Served { device, properties });
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

    fn stop_taking_back(&mut self) {
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
            self.outputs.push_back(Output::Unsubscribe(filters));
        }
        Some(taken)
    }

    /// Lists what may be retained of devices and properties that are no more: a bounded number of them at a time.
    fn leftovers(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut leftovers = Vec::new();
        for (device, row) in &self.serving.rows {
            let policy = self.config.devices.get(&**device);
            let is_left = |property: &Arc<str>| {
                policy.is_none_or(|policy| {
                    **property != *STATUS && !policy.properties.contains(&**property)
                })
            };
            let names = row.properties.iter().filter(|name| is_left(name));
            let left = names.map(|property| (device.clone(), property.clone()));
            leftovers.extend(left.filter(|left| !self.serving.tried.contains(left)));
        }
        leftovers.truncate(TAKEN_BACK_AT_ONCE);
        leftovers
    }

    /// Names what the session may be subscribed to for devices that are no more.
    pub(super) fn filters_of_leftovers(
        &self,
        prefix: Option<&Prefix>,
        wildcards: bool,
    ) -> Vec<String> {
        let gone =
            self.serving.rows.iter().filter(|(id, _)| !self.config.devices.contains_key(&***id));
        gone.flat_map(|(device, row)| {
            let properties = row.properties.iter().map(|property| &**property);
            self.device_subscriptions(prefix, wildcards, device, properties)
        })
        .map(|subscription| subscription.filter)
        .collect()
    }

    /// Names what the hub is subscribed to for one device: its requests, and its status, which nobody else should tell.
    pub(super) fn device_subscriptions<'p>(
        &self,
        prefix: Option<&Prefix>,
        wildcards: bool,
        device: &str,
        properties: impl Iterator<Item = &'p str>,
    ) -> Vec<Subscription> {
        let topics = &self.config.topics;
        let request =
            |property| topics.request.build(prefix, &[("device", device), ("property", property)]);
        let names: Vec<&str> = if wildcards {
            vec!["+"]
        } else {
            properties.filter(|name| *name != STATUS).chain(VERBS).collect()
        };
        let mut subscriptions: Vec<Subscription> = names
            .into_iter()
            .map(|name| Subscription { filter: request(name), retained: false, no_local: false })
            .collect();
        let values = [("device", device), ("property", STATUS)];
        let status = topics.state.build(prefix, &values);
        subscriptions.push(Subscription { filter: status, retained: false, no_local: true });
        subscriptions
    }

    /// Names what requests to the hub itself go to.
    pub(super) fn own_request_filters(
        &self,
        prefix: Option<&Prefix>,
        wildcards: bool,
    ) -> Vec<String> {
        let request = |property: &&str| {
            let values = [("device", self.config.client_id.as_str()), ("property", *property)];
            self.config.topics.request.build(prefix, &values)
        };
        if wildcards { vec![request(&"+")] } else { OWN_PROPERTIES.iter().map(request).collect() }
    }

    /// Names the requests for all devices, which version 0.1.0 subscribed to.
    pub(super) fn filter_of_all_requests(&self, prefix: Option<&Prefix>) -> String {
        self.config.topics.request.build(prefix, &[("device", "+"), ("property", "+")])
    }
}

/// What can be asked of every device.
const VERBS: [&str; 3] = ["get", "set", "describe"];
/// What can be asked of the hub.
const OWN_PROPERTIES: [&str; 5] = ["devices", "status", "absences", "reload", "restart"];
/// How long after a vain look at leftovers they are looked at again.
const TAKEN_BACK_AGAIN: Duration = Duration::from_secs(60);
/// How many states are looked at together.
const TAKEN_BACK_AT_ONCE: usize = 256;
