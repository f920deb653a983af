//! What the hub announces to other programs, and how it takes that back.
//!
//! One announcement is under way at a time, so that no answer waits for more than one of them, and a broker that
//! refuses them refuses one. The store knows of a topic before anything is published there, because what is retained
//! outlives the device, the configuration and the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Hub, HubConfig, Phase, address::STATUS};
use crate::{
    Announced, Announcement, Change, ContentType, Discovery, Known, KnownStatus, Message, Notice,
    Now, PropertyState, PublishId, QoS, Subscriber, Subscription, outbox::Kind,
    record::fingerprint, topic::Prefix,
};

/// What is announced, and what is on its way.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    rows: BTreeMap<String, Announced>,
    wanted: BTreeMap<String, Announcement>,
    /// The topics that are not at the broker as they are wanted, in the order in which they go out.
    pending: Vec<String>,
    /// Whether `wanted` and `pending` tell how it is.
    is_current: bool,
    /// All of it goes out again, whatever the broker has.
    again: bool,
    /// The topics of which that is still to be done.
    again_on: BTreeSet<String>,
    under_way: Option<UnderWay>,
    /// The revision that the store must hold before the next one.
    needs: u64,
    /// When each topic may be published on again.
    next: BTreeMap<String, Duration>,
    /// When the answer to a start message is due, and when the next one may be.
    start: Option<Duration>,
    next_start: Duration,
    /// The topic of start messages, while the session is subscribed to it.
    listens_to: Option<String>,
    /// The one that this connection has asked for, granted or not.
    has_asked: Option<String>,
    /// What this connection, and the configuration of now, change has been looked at.
    has_begun: bool,
    has_begun_connection: bool,
    /// The broker has refused an announcement; it is tried again then.
    refused: Option<Duration>,
    /// People were told so on this connection.
    is_told: bool,
}

/// The announcement that has been published and has no PUBACK yet; there is one at a time.
#[derive(Debug)]
struct UnderWay {
    id: PublishId,
    topic: String,
    /// Of what is published; none where the topic is cleared.
    digest: Option<u64>,
}

impl Announcing {
    /// Goes on from what the store holds; after an end that was not in order, the broker may have lost what it had.
    pub(super) fn new(announced: Vec<Announced>, in_order: bool) -> Self {
        let row = |announced: Announced| (announced.topic.clone(), announced);
        let rows = announced.into_iter().map(row).collect();
        Self { rows, again: !in_order, ..Self::default() }
    }

    /// The connection is gone: in order, or perhaps because the broker has gone with all that it had not written.
    pub(super) fn disconnected(&mut self, in_order: bool) {
        self.again |= !in_order;
        self.under_way = None;
        self.listens_to = None;
        self.has_asked = None;
        self.has_begun = false;
        self.has_begun_connection = false;
        self.refused = None;
        self.is_told = false;
    }

    /// Something has changed that an announcement may depend on.
    pub(super) fn look_again(&mut self) {
        self.is_current = false;
    }

    /// Returns whether start messages come on this topic.
    pub(super) fn hears(&self, topic: &str) -> bool {
        self.listens_to.as_deref() == Some(topic)
    }

    fn is_done(&self, topic: &str) -> bool {
        let digest = self.rows.get(topic).map(|row| row.digest);
        match self.wanted.get(topic) {
            Some(wanted) => digest == Some(Some(digest_of(wanted))),
            None => digest.is_none(),
        }
    }

    /// Returns whether the store says which topic of start messages the session may be subscribed to.
    fn has_stored(&self, start: &str) -> bool {
        self.rows.values().any(|row| row.start.as_deref() == Some(start))
    }
}

impl Hub {
    /// Another configuration holds: what it announces goes out, and what it does not is taken back.
    pub(super) fn on_discovery(&mut self, discovery: Option<Discovery>) {
        self.announce_others(discovery);
        self.announcing.has_asked.clone_from(&self.announcing.listens_to);
        // A person may have granted the right meanwhile.
        self.announcing.refused = None;
        self.announcing.is_told = false;
    }

    /// Other devices are announced now.
    pub(super) fn announce_others(&mut self, discovery: Option<Discovery>) {
        self.config.discovery = discovery;
        self.announcing.has_begun = false;
    }

    /// A broker that has lost the session, or does not answer any more, may have lost all. The connection that shows it may
    /// be given up early, and the hub may end before the next one.
    pub(super) fn doubt_announcements(&mut self) {
        self.announcing.again = true;
        self.keep_doubts();
    }

    /// The hub ends, or may end soon: the store says of which topics nobody knows what is there.
    pub(super) fn keep_doubts(&mut self) {
        let Announcing { rows, again, again_on, is_current, .. } = &mut self.announcing;
        *is_current = false;
        let doubted = rows.values_mut().filter(|row| *again || again_on.contains(&row.topic));
        let doubted = doubted.filter_map(|row| row.digest.take().map(|_| row.clone()));
        for announced in doubted.collect::<Vec<_>>() {
            self.store(Change::Announced(announced));
        }
    }

    /// Publishes beside the declared properties what announcements tell of.
    pub(super) fn tell_more(&mut self) {
        let Some(discovery) = &self.config.discovery else { return };
        self.announcing.is_current = false;
        for device in discovery.devices.clone() {
            if self.has_own(&device, PROBLEM)
                && !self.states.contains_key(&(device.clone(), PROBLEM.to_owned()))
            {
                self.tell_beside(&device, PROBLEM, "{}".into());
            }
            self.tell_snapshot(&device);
        }
    }

    /// Publishes the states of a device as one object, where an announcement needs that.
    pub(super) fn tell_snapshot(&mut self, device: &str) {
        let Some(discovery) = &self.config.discovery else { return };
        if !self.has_own(device, SNAPSHOT) {
            return;
        }
        let of_device = (device.to_owned(), String::new())..;
        let states = self.states.range(of_device).map(|(_, state)| state);
        let states = states.take_while(|state| state.device == device);
        let states: BTreeMap<&str, &[u8]> = states
            .filter(|state| self.is_declared(device, &state.property) && state.property != STATUS)
            .map(|state| (state.property.as_str(), &state.payload[..]))
            .collect();
        if states.is_empty() {
            return;
        }
        if let Some(payload) = discovery.announcer.snapshot(device, &states) {
            self.tell_beside(device, SNAPSHOT, payload);
        }
    }

    /// Tells of a command that came to nothing, until another one comes to something.
    pub(super) fn tell_problem(&mut self, device: &str, facts: &serde_json::Value) {
        if self.has_own(device, PROBLEM) {
            self.tell_beside(device, PROBLEM, facts.to_string().into());
        }
    }

    /// A command has succeeded: replaces the problem that is retained for the device, if there is one.
    pub(super) fn clear_problem(&mut self, device: &str) {
        if self.has_problem(device) {
            self.tell_beside(device, PROBLEM, "{}".into());
        }
    }

    /// Returns whether the last command of a device came to nothing, as far as that is told.
    pub(super) fn has_problem(&self, device: &str) -> bool {
        // Most hubs announce nothing, and this is asked for every command.
        self.config.discovery.is_some()
            && self.has_own(device, PROBLEM)
            && self
                .states
                .get(&(device.to_owned(), PROBLEM.to_owned()))
                .is_some_and(|problem| problem.payload != "{}")
    }

    fn tell_beside(&mut self, device: &str, property: &str, payload: bytes::Bytes) {
        let state = PropertyState {
            device: device.to_owned(),
            property: property.to_owned(),
            payload,
            content_type: ContentType::Json,
            retain: true,
            details: Vec::new(),
        };
        if matches!(self.phase, Phase::Online(_)) {
            self.publish_state(&state);
        }
        self.states.insert((state.device.clone(), state.property.clone()), state);
    }

    fn has_own(&self, device: &str, property: &str) -> bool {
        properties_beside(&self.config, device).contains(&property)
    }

    /// Returns whether the hub tells a property of a device: a declared one, or one of its own.
    pub(super) fn is_told(&self, device: &str, property: &str) -> bool {
        self.is_declared(device, property) || self.has_own(device, property)
    }

    /// Returns where a state goes; the snapshot of all states of a device has a template of its own.
    pub(super) fn state_topic(
        &self,
        prefix: Option<&Prefix>,
        device: &str,
        property: &str,
    ) -> String {
        let topics = &self.config.topics;
        if property == SNAPSHOT {
            topics.snapshot.build(prefix, &[("device", device)])
        } else {
            topics.state.build(prefix, &[("device", device), ("property", property)])
        }
    }

    /// Publishes the next announcement, where none is under way.
    pub(super) fn go_on_announcing(&mut self, now: Now) {
        if !self.may_announce() {
            return;
        }
        if !self.announcing.has_begun {
            self.begin_announcing();
        }
        self.listen_for_starts(now);
        if self.announcing.start.take_if(|due| *due <= now.monotonic).is_some() {
            self.announcing.again = true;
            self.announcing.is_current = false;
            self.publish_what_is_not_retained();
        }
        if !self.announcing.is_current {
            self.find_pending();
        }
        if self.announcing.refused.is_some_and(|until| until > now.monotonic) {
            return;
        }
        let next = &self.announcing.next;
        let is_due = |topic: &&String| next.get(*topic).is_none_or(|next| *next <= now.monotonic);
        if let Some(topic) = self.announcing.pending.iter().find(is_due).cloned() {
            self.announce(now, topic);
        }
    }

    /// Returns when [`Hub::go_on_announcing`] has something to do.
    pub(super) fn announcing_due(&self) -> Option<Duration> {
        let announcing = &self.announcing;
        if !self.may_announce() {
            return None;
        }
        if !announcing.has_begun || !announcing.is_current {
            return Some(self.clock);
        }
        let refused = announcing.refused.unwrap_or_default();
        let next =
            |topic: &String| announcing.next.get(topic).copied().unwrap_or_default().max(refused);
        announcing.pending.iter().map(next).chain(announcing.start).min()
    }

    fn may_announce(&self) -> bool {
        (self.config.discovery.is_some() || !self.announcing.rows.is_empty())
            && self.announcing.under_way.is_none()
            && self.announcing.needs <= self.stored
            && self.stopping.is_none()
            && self.has_passed_fence()
    }

    /// Looks at what a new connection, or another configuration, changes.
    fn begin_announcing(&mut self) {
        let Some(connection) = self.connection() else { return };
        if !self.announcing.has_begun_connection {
            // A broker that retains nothing never has it.
            self.announcing.again |= !connection.retains;
            self.announcing.has_begun_connection = true;
        }
        self.announcing.has_begun = true;
        self.announcing.is_current = false;
        let start = self.config.discovery.as_ref().map(|discovery| &discovery.start.0);
        let rows = self.announcing.rows.values().filter_map(|row| row.start.clone());
        let left: BTreeSet<String> = rows
            .chain(self.announcing.listens_to.clone())
            .filter(|other| Some(other) != start)
            .collect();
        // An earlier configuration has subscribed to these, perhaps in an earlier life of the hub.
        self.announcing.listens_to.take_if(|other| left.contains(other));
        self.unsubscribe(left.into_iter().collect());
    }

    /// Subscribes to start messages, once the store knows that.
    fn listen_for_starts(&mut self, now: Now) {
        let Some(discovery) = &self.config.discovery else { return };
        let filter = &discovery.start.0;
        let announcing = &mut self.announcing;
        if announcing.has_asked.as_ref() == Some(filter) || !announcing.has_stored(filter) {
            return;
        }
        let filter = filter.clone();
        announcing.has_asked = Some(filter.clone());
        announcing.listens_to = Some(filter.clone());
        self.subscribed.insert(filter.clone());
        self.filters.ask([Subscription {
            filter,
            retained: false,
            no_local: false,
            subscriber: Subscriber::Hub,
        }]);
        self.send_filters(now);
    }

    /// Compares what shall be announced with what the broker has.
    fn find_pending(&mut self) {
        let announcing = &self.announcing;
        let statuses = self.states.values().filter(|state| state.property == STATUS);
        let statuses = statuses.filter_map(|state| {
            let word = std::str::from_utf8(&state.payload).ok()?;
            Some((state.device.as_str(), KnownStatus { word, details: &state.details }))
        });
        let wanted = match &self.config.discovery {
            Some(discovery) => discovery.announcer.announcements(&Known {
                prefix: self.prefix(),
                before: announcing.rows.iter().map(|(topic, row)| (topic.as_str(), row)).collect(),
                statuses: statuses
                    .filter(|(device, _)| discovery.devices.contains(*device))
                    .collect(),
            }),
            None => Vec::new(),
        };
        let order: Vec<String> = wanted.iter().map(|wanted| wanted.topic.clone()).collect();
        let wanted = wanted.into_iter().map(|wanted| (wanted.topic.clone(), wanted)).collect();
        self.announcing.wanted = wanted;
        let announcing = &mut self.announcing;
        if std::mem::take(&mut announcing.again) {
            announcing.again_on = order.iter().cloned().collect();
        }
        let gone = announcing.rows.keys().filter(|topic| !announcing.wanted.contains_key(*topic));
        let mut pending: Vec<String> = gone.cloned().collect();
        pending.extend(
            order
                .into_iter()
                .filter(|topic| announcing.again_on.contains(topic) || !announcing.is_done(topic)),
        );
        announcing.pending = pending;
        announcing.next.retain(|_, next| *next > self.clock);
        announcing.is_current = true;
    }

    /// Publishes one announcement, or clears its topic; the store knows of it first.
    fn announce(&mut self, now: Now, topic: String) {
        let start = self.config.discovery.as_ref().map(|discovery| discovery.start.0.clone());
        let row = self.announcing.rows.get(&topic);
        let (payload, digest) = match self.announcing.wanted.get(&topic) {
            None => (bytes::Bytes::new(), None),
            Some(wanted) => {
                let (digest, payload) = (digest_of(wanted), wanted.payload.clone());
                let is_known = row.is_some_and(|row| {
                    row.parts == wanted.parts
                        && row.start == start
                        && row.digest.is_none_or(|before| before == digest)
                });
                if !is_known {
                    let parts = wanted.parts.clone();
                    let announced = Announced { topic: topic.clone(), digest: None, parts, start };
                    self.store_announced(announced);
                }
                (payload, Some(digest))
            }
        };
        if self.announcing.needs > self.stored {
            return;
        }
        let message = Message {
            topic: topic.clone(),
            utf8: digest.is_some(),
            content_type: digest.map(|_| "application/json".into()),
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            user_properties: vec![self.introduction_of_hub()],
            ..Message::default()
        };
        self.announcing.next.insert(topic.clone(), now.monotonic + SAME_TOPIC_AGAIN);
        if let Some(id) = self.send(message, Kind::Discovery, None) {
            self.announcing.under_way = Some(UnderWay { id, topic, digest });
        }
    }

    fn store_announced(&mut self, announced: Announced) {
        self.announcing.rows.insert(announced.topic.clone(), announced.clone());
        self.announcing.needs = self.store(Change::Announced(announced));
    }

    /// An announcement has left the outbox: the broker has it, or it was given up on this connection.
    pub(super) fn announcement_left(&mut self, id: PublishId, kind: &Kind, is_taken: bool) {
        if *kind != Kind::Discovery {
            return;
        }
        let Some(UnderWay { topic, digest, .. }) =
            self.announcing.under_way.take_if(|under_way| under_way.id == id)
        else {
            return;
        };
        self.announcing.again_on.remove(&topic);
        let done = |announcing: &mut Announcing| announcing.pending.retain(|other| *other != topic);
        if !is_taken {
            return done(&mut self.announcing);
        }
        // It may have waited long for its turn, or for a slow broker.
        self.announcing.next.insert(topic.clone(), self.clock + SAME_TOPIC_AGAIN);
        match (digest, self.announcing.rows.get_mut(&topic)) {
            (Some(_), Some(row)) if row.digest == digest => {}
            (Some(_), Some(row)) => {
                // Nothing waits for this: the store knows already that something is there.
                row.digest = digest;
                let announced = row.clone();
                self.store(Change::Announced(announced));
            }
            (None, Some(_)) => {
                self.announcing.rows.remove(&topic);
                self.store(Change::Withdrawn(topic.clone()));
            }
            (_, None) => {}
        }
        if self.announcing.is_done(&topic) {
            done(&mut self.announcing);
        }
    }

    /// The broker has refused an announcement: none goes out for a while. Returns whether it was one.
    pub(super) fn discovery_refused(&mut self, id: PublishId, reason_code: u8) -> bool {
        let under_way = self.announcing.under_way.take_if(|under_way| under_way.id == id);
        let Some(UnderWay { topic, .. }) = under_way else { return false };
        self.outbox.remove(id);
        self.acquit(&topic);
        self.announcing.refused = Some(self.clock + REFUSED_AGAIN);
        self.tell_refused(topic, Some(reason_code));
        true
    }

    /// The topic of an announcement is set aside, and with it all others: the broker ends connections over them.
    pub(super) fn discovery_left_out(&mut self, id: PublishId) {
        let under_way = self.announcing.under_way.take_if(|under_way| under_way.id == id);
        let Some(UnderWay { topic, .. }) = under_way else { return };
        self.announcing.refused = Some(self.clock + REFUSED_AGAIN);
        self.tell_refused(topic, None);
    }

    /// The broker does not let the hub hear of starts of the other program; returns whether it is that filter.
    pub(super) fn start_refused(&mut self, filter: &str, reason_code: u8) -> bool {
        let is_start = self.announcing.listens_to.take_if(|start| start == filter).is_some();
        if is_start {
            self.tell_refused(filter.to_owned(), Some(reason_code));
        }
        is_start
    }

    fn tell_refused(&mut self, topic: String, reason_code: Option<u8>) {
        if !std::mem::replace(&mut self.announcing.is_told, true) {
            self.notice(Notice::DiscoveryRefused { topic, reason_code });
        }
    }

    /// The other program has started, and may have missed what is not retained.
    pub(super) fn on_start(&mut self, now: Now, message: &Message) {
        let Some(discovery) = &self.config.discovery else { return };
        if message.payload != discovery.start.1 {
            return;
        }
        let due = (now.monotonic + AFTER_START).max(self.announcing.next_start);
        let due = *self.announcing.start.get_or_insert(due);
        self.announcing.next_start = due + START_AGAIN;
    }

    fn publish_what_is_not_retained(&mut self) {
        let retains = self.connection().is_some_and(|connection| connection.retains);
        let states = self.states.values().filter(|state| !(state.retain && retains));
        let states: Vec<_> =
            states.filter(|state| self.has_own(&state.device, SNAPSHOT)).cloned().collect();
        for state in states {
            self.publish_state(&state);
        }
    }
}

/// Names what the hub itself tells of an announced device; what the device declares by the same name goes first.
pub(super) fn properties_beside(config: &HubConfig, device: &str) -> &'static [&'static str] {
    let discovery = config.discovery.as_ref();
    let is_announced = discovery.is_some_and(|discovery| discovery.devices.contains(device));
    match config.devices.get(device).filter(|_| is_announced) {
        None => &[],
        Some(policy) if policy.properties.contains(PROBLEM) => &[SNAPSHOT],
        Some(_) => &[PROBLEM, SNAPSHOT],
    }
}

fn digest_of(announcement: &Announcement) -> u64 {
    fingerprint(&announcement.topic, &announcement.payload)
}

/// The property by which a hub tells which command of a device came to nothing.
const PROBLEM: &str = "problem";
/// Stands for the `snapshot` topic among a device's properties; no property can have this name.
pub(super) const SNAPSHOT: &str = "(snapshot)";
/// How soon a topic is published on again: Home Assistant leaves out some of what follows sooner.
const SAME_TOPIC_AGAIN: Duration = Duration::from_secs(2);
/// How long the other program gets to subscribe once it has started, and how soon the next start is answered.
const AFTER_START: Duration = Duration::from_secs(3);
const START_AGAIN: Duration = Duration::from_secs(30);
/// How long after a refusal announcements are tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(600);
