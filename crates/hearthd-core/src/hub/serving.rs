//! The filters and retained states that the hub has at the broker for each device.
//!
//! A device may be removed while the hub is down, or move to another hub. So the store keeps what was published, and
//! the hub clears only messages that carry its own name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Fence, Hub, Phase,
    address::STATUS,
    discovery::{self, SNAPSHOT},
    taking_back::TakingBack,
};
use crate::{
    Change, Now, Subscriber, Subscription,
    topic::{Prefix, Templates, TopicFilter},
};

/// What may be left of a device at the broker, as the store keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Device ID.
    pub device: Arc<str>,
    /// The properties whose states may be retained.
    pub properties: BTreeSet<Arc<str>>,
    /// The filters of its own that the session may be subscribed to.
    #[serde(default)]
    pub filters: BTreeSet<Arc<str>>,
}

/// All that may be left at the broker, and what is being taken back.
#[derive(Debug, Default)]
pub(super) struct Serving {
    pub(super) rows: BTreeMap<Arc<str>, Row>,
    pub(super) taking_back: Option<TakingBack>,
    /// When what was tried in vain is tried again.
    pub(super) again: Option<Duration>,
    /// What was tried on this connection: not again before then, or before the next one.
    pub(super) tried: BTreeSet<(Arc<str>, Arc<str>)>,
    /// How often the hub has looked for what is left: what comes back of an earlier look is late.
    pub(super) looks: u32,
    /// The filters that were left while this connection's fence was on its way: what it proves came before them.
    left_late: BTreeSet<String>,
}

/// What may be left of one device at the broker.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) properties: BTreeSet<Arc<str>>,
    pub(super) filters: BTreeSet<Arc<str>>,
    /// The revision of the store that holds the row.
    pub(super) revision: u64,
}

impl Serving {
    /// Takes up what the store has kept.
    pub(super) fn new(served: Vec<Served>) -> Self {
        let row = |served: Served| {
            let Served { device, properties, filters } = served;
            (device, Row { properties, filters, revision: 0 })
        };
        Self { rows: served.into_iter().map(row).collect(), ..Self::default() }
    }

    /// Nothing is being taken back any more; what is left is tried on the next connection.
    pub(super) fn disconnected(&mut self) {
        self.taking_back = None;
        self.again = None;
        self.tried.clear();
        self.left_late.clear();
    }

    /// Returns whether the store knows that a state may be published, which could not be taken back otherwise.
    pub(super) fn may_publish(&self, device: &str, property: &str, stored: u64) -> bool {
        self.rows
            .get(device)
            .is_some_and(|row| row.revision <= stored && row.properties.contains(property))
    }

    /// Adds properties and filters to a device's row; returns the row where it has changed.
    fn add<'p>(
        &mut self,
        device: &str,
        properties: impl Iterator<Item = &'p str>,
        filters: impl Iterator<Item = &'p str>,
    ) -> Option<Served> {
        if !self.rows.contains_key(device) {
            self.rows.insert(device.into(), Row::default());
        }
        let row = self.rows.get_mut(device)?;
        let before = row.properties.len() + row.filters.len();
        for property in properties {
            if !row.properties.contains(property) {
                row.properties.insert(property.into());
            }
        }
        for filter in filters {
            if !row.filters.contains(filter) {
                row.filters.insert(filter.into());
            }
        }
        let has_grown = row.properties.len() + row.filters.len() > before;
        has_grown.then(|| row.served(device))
    }
}

impl Row {
    /// Returns the row as it is stored.
    pub(super) fn served(&self, device: &str) -> Served {
        let (properties, filters) = (self.properties.clone(), self.filters.clone());
        Served { device: device.into(), properties, filters }
    }
}

impl Hub {
    /// Has the store know what the hub is about to publish; returns the revision that holds it, where it is new.
    pub(super) fn note_served(&mut self) -> Option<u64> {
        let mut changed = Vec::new();
        for (device, policy) in &self.config.devices {
            let properties = policy.properties.iter().map(String::as_str).chain([STATUS]);
            let more = discovery::properties_beside(&self.config, device);
            let properties = properties.chain(more.iter().copied());
            let filters = self.bridge.filters_of(device).iter().map(TopicFilter::as_str);
            changed.extend(self.serving.add(device, properties, filters));
        }
        let mut revision = None;
        for served in changed {
            revision = Some(self.store_served(served));
        }
        revision
    }

    /// Stores what may be left of a device, and remembers which revision of the store has it.
    pub(super) fn store_served(&mut self, served: Served) -> u64 {
        let device = served.device.clone();
        let revision = self.store(Change::Served(served));
        if let Some(row) = self.serving.rows.get_mut(&device) {
            row.revision = revision;
        }
        revision
    }

    /// The devices are others now: takes requests for the new ones, and takes back what is left of the old ones.
    pub(super) fn serve_devices(&mut self, now: Now) {
        self.end_under_way_of_gone(now);
        self.values.keep(|device| self.config.devices.contains_key(device));
        self.requests.keep(|device| self.config.devices.contains_key(device));
        self.rivals.retain(|device, _| self.config.devices.contains_key(&**device));
        let mut states = std::mem::take(&mut self.states);
        states.retain(|(device, property), _| self.is_told(device, property));
        self.states = states;
        self.drop_states_of_gone();
        let served = self.note_served();
        self.tell_more();
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
        let mut gone = self.filters_of_leftovers(prefix, connection.wildcards);
        gone.extend(self.filters_of_no_device());
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

    /// Whatever waits to be published of what is no more would come back after it was taken back, or overwrite what another
    /// hub says of it.
    fn drop_states_of_gone(&mut self) {
        let Templates { state, snapshot, .. } = &self.config.topics;
        let known = self.wills.known_prefix().and_then(|known| known.prefix.as_ref());
        let prefixes: Vec<Option<&Prefix>> = self.wills.past_prefixes().chain([known]).collect();
        let mut outbox = std::mem::take(&mut self.outbox);
        outbox.drop_states(|topic| {
            prefixes.iter().any(|prefix| {
                let of_property = state.match_name(*prefix, topic);
                let Some(values) = of_property.or_else(|| snapshot.match_name(*prefix, topic))
                else {
                    return false;
                };
                let property = values.get("property").unwrap_or(SNAPSHOT);
                !values.get("device").is_some_and(|device| self.is_told(device, property))
            })
        });
        self.outbox = outbox;
    }

    /// Ends what an earlier version, or an earlier configuration, has subscribed the session to.
    pub(super) fn leave_what_is_not_served(&mut self) {
        let Some(connection) = self.connection().filter(|connection| connection.session_present)
        else {
            return;
        };
        let (prefix, wildcards) = (connection.prefix.clone(), connection.wildcards);
        let mut filters = self.filters_of_leftovers(prefix.as_ref(), wildcards);
        filters.extend(self.filters_of_no_device());
        if !self.wills.memory().takes_its_own {
            filters.insert(0, self.filter_of_all_requests(prefix.as_ref()));
        }
        self.unsubscribe(filters);
    }

    /// Ends subscriptions of this connection, or of an earlier one, granted or not.
    pub(super) fn unsubscribe(&mut self, mut filters: Vec<String>) {
        // What was looked at to be taken back, a device may follow.
        filters.retain(|filter| !self.bridge.follows(filter));
        self.filters.drop(&filters);
        for filter in &filters {
            self.subscribed.remove(filter);
        }
        if self.connection().is_some_and(|it| matches!(it.fence, Fence::Sent { .. })) {
            self.serving.left_late.extend(filters.iter().cloned());
        }
        self.send_unsubscribe(filters);
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

    /// Names what the session may be subscribed to for devices themselves, and no device listens to any more.
    fn filters_of_no_device(&self) -> BTreeSet<String> {
        let wanted = self.bridge_filters();
        let known = self.serving.rows.values().flat_map(|row| &row.filters);
        let left = known.filter(|filter| !wanted.contains(&***filter));
        left.map(|filter| filter.as_ref().to_owned()).collect()
    }

    /// The broker has acted on what came before the fence: of filters that no device wants, the session has only those
    /// that were left after it.
    pub(super) fn forget_left_filters(&mut self) {
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        let Serving { rows, left_late, .. } = &mut self.serving;
        for (device, row) in rows {
            let policy = self.config.devices.get(&**device);
            let before = row.filters.len();
            let wanted = self.bridge.filters_of(device);
            row.filters.retain(|filter| {
                left_late.contains(&**filter) || wanted.iter().any(|own| own.as_str() == &**filter)
            });
            if row.filters.len() == before {
                continue;
            }
            match policy.is_none() && row.properties.is_empty() && row.filters.is_empty() {
                true => gone.push(device.clone()),
                false => changed.push(row.served(device)),
            }
        }
        for served in changed {
            self.store_served(served);
        }
        for device in gone {
            self.serving.rows.remove(&device);
            self.store(Change::Unserved(device));
        }
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
            properties.filter(|name| *name != STATUS && *name != SNAPSHOT).chain(VERBS).collect()
        };
        let mut subscriptions: Vec<Subscription> = names
            .into_iter()
            .map(|name| Subscription {
                filter: request(name),
                retained: false,
                no_local: false,
                subscriber: Subscriber::Hub,
            })
            .collect();
        let values = [("device", device), ("property", STATUS)];
        let status = topics.state.build(prefix, &values);
        subscriptions.push(Subscription {
            filter: status,
            retained: false,
            no_local: true,
            subscriber: Subscriber::Hub,
        });
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
const OWN_PROPERTIES: [&str; 6] = ["devices", "status", "absences", "metrics", "reload", "restart"];
