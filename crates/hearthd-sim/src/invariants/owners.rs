//! The hub that has a device answers for it, and no other hub; retained messages and subscriptions agree.

use hearthd_core::Message;

use super::Invariant;
use crate::{
    broker::{Letter, Source},
    devices,
    ledger::Given,
    link::{HubId, Life},
    report::Reached,
    world::requesters::UNDECLARED,
    world::{World, announcing::is_announcement, home::topics, network::show_message},
};

impl World {
    /// A hub has answered a request: it must have had the device while the request was there.
    pub(super) fn check_owner(&mut self, index: usize, given: &Given, life: Life) {
        let alike = self.ledger.asked[index].ambiguous;
        let root = self.ledger.root_of(index);
        // Of several requests that are answered alike, only what is set tells which one it was; a read shows what others set.
        let named = self.ledger.identify(&given.payload);
        let named = named.filter(|named| self.ledger.root_of(*named) == root);
        let index = if alike { named } else { Some(index) };
        let Some(index) = index else { return };
        let asked = &self.ledger.asked[index];
        let (device, name) = (asked.device, life.hub.client_id());
        let owns = self.had_since(life.hub, device, asked.first_sent);
        let status = given.status;
        self.require(owns, Invariant::OwnerAnswers, || {
            format!("request {index} for {device} has {status} from {name}, which does not have it")
        });
        let denies = status == 404 && given.says("there is no device");
        self.require(!denies, Invariant::OwnerAnswers, || {
            format!("{name} says that there is no {device}, which it cannot know")
        });
    }

    /// A request is with the broker: a hub that has had the device for a while, and is online, must be given it.
    pub(crate) fn check_served(&mut self, message: &Message, index: usize) {
        let asked = &self.ledger.asked[index];
        let (device, prefix) = (asked.device, asked.prefix.clone());
        let declared = asked.property != UNDECLARED;
        let settled = self.now.saturating_sub(SETTLED);
        for hub in self.hub_ids() {
            let Some(connection) = self.connection(hub) else { continue };
            let connack = connection.connack.as_ref();
            let own = self.resolve(connack.and_then(|c| c.response_information.as_deref()));
            // Without wildcards it takes requests for what is declared.
            let wildcards = connack.is_none_or(|connack| connack.wildcards);
            let serves = (wildcards || declared)
                && connection.online_since.is_some_and(|since| since <= settled)
                && own.as_ref().map(|prefix| prefix.as_str()) == prefix.as_deref()
                && connection.told.is_empty()
                && self.has_since(hub, device, settled);
            // The broker may have ended the session, which the hub does not know yet.
            let session = self.broker.session(hub);
            let Some(session) = session.filter(|s| s.link == Some(connection.id)) else { continue };
            let wanted = !serves || session.wants(&message.topic);
            self.require(wanted, Invariant::Serves, || {
                format!("{} is not subscribed to {}", hub.client_id(), show_message(message))
            });
        }
    }

    /// At rest: what is retained of devices is of devices that are there, and names the hub that has them.
    pub(super) fn check_retained(&mut self, hub: HubId) {
        let prefix = self.connection_prefix(hub);
        let topics = topics();
        let mut wrong = None;
        let published = |letter: &Letter| matches!(letter.source, Source::Hub(..));
        for (topic, letter) in self.broker.retained.iter().filter(|(_, l)| published(l)) {
            let Some(values) = topics.state.match_name(prefix.as_ref(), topic) else { continue };
            let device = values.get("device").unwrap_or_default();
            let names = letter.message.user_property("hub");
            // Of another prefix's topics the hub remembers nothing, and nothing at all without its store; and what it
            // has asked the broker to show may come late.
            let machine = self.hub(hub);
            let known = self.counts.get(Reached::PrefixChanged) == 0
                && machine.life.store == 0
                && !machine.ended_unwritten
                && !self.setup.habits.reorders;
            if known && names == Some(hub.client_id()) && !self.hub(hub).devices.contains(device) {
                wrong =
                    Some(format!("{topic} is retained, and {} has no {device}", hub.client_id()));
            }
            if names.is_none() && self.hub(hub).devices.contains(device) {
                wrong = Some(format!("{topic} does not name {}", hub.client_id()));
            }
        }
        self.require(wrong.is_none(), Invariant::Retained, || wrong.unwrap_or_default());
    }

    /// A hub is given a message, which may be the state of a device.
    pub(crate) fn note_shown(&mut self, hub: HubId, message: &Message) {
        let prefix = self.connection_prefix(hub);
        let is_state = [&topics().state, &topics().snapshot]
            .iter()
            .any(|template| template.match_name(prefix.as_ref(), &message.topic).is_some());
        if !is_state {
            return;
        }
        let names = message.user_property("hub").map(str::to_owned);
        if let Some(connection) = self.connection_mut(hub) {
            connection.shown.insert(message.topic.clone(), names);
        }
    }

    /// A hub clears what is retained: as far as it knows, that is its own.
    pub(crate) fn check_taking_back(&mut self, hub: HubId, message: &Message) {
        let Some(connection) = self.connection(hub).filter(|connection| !connection.has_left)
        else {
            return;
        };
        // Of its announcements the hub remembers itself which are its own.
        let announcement = is_announcement(hub, &message.topic);
        if !message.retain || !message.payload.is_empty() || announcement {
            return;
        }
        let shown = connection.shown.get(&message.topic);
        let holds = shown.is_some_and(|names| names.as_deref() == Some(hub.client_id()));
        let shown = shown.cloned();
        self.require(holds, Invariant::OwnStates, || {
            let name = hub.client_id();
            format!("{name} clears {}, where it has seen {shown:?}", show_message(message))
        });
    }

    /// At rest: the session of a hub has the filters of its devices, and no others.
    pub(super) fn check_filters(&mut self, hub: HubId) {
        let prefix = self.connection_prefix(hub);
        let topics = topics();
        let Some(session) = self.broker.session(hub) else { return };
        let serves =
            |device: &str| self.hub(hub).devices.contains(device) || device == hub.client_id();
        let machine = self.hub(hub);
        let moved = self.counts.get(Reached::PrefixChanged) > 0;
        let known = machine.life.store == 0 && !machine.ended_unwritten && !moved;
        let excess = session.filters().filter(|_| known).find(|filter| {
            let request = topics.request.match_name(prefix.as_ref(), filter);
            let state = topics.state.match_name(prefix.as_ref(), filter);
            let device = request.or(state).and_then(|values| values.get("device"));
            let device = device.or_else(|| filter.strip_prefix("bulbs/"));
            filter.starts_with("strangers/") || device.is_some_and(|device| !serves(device))
        });
        let excess = excess.map(str::to_owned);
        let has = |device: &&&str| self.hub(hub).devices.contains(**device);
        let bridged = [devices::LAMP, devices::HEATER];
        let mut bridged =
            bridged.iter().filter(has).filter(|device| !self.bridges.is_refused(hub, device));
        let deaf = bridged.find_map(|device| {
            let topic = format!("bulbs/{device}");
            (!session.wants(&topic)).then_some(topic)
        });
        let missing =
            devices::requests_of(&self.hub(hub).devices).find_map(|(device, property)| {
                let values = [("device", device), ("property", property)];
                let topic = topics.request.build(prefix.as_ref(), &values);
                (!session.wants(&topic)).then_some(topic)
            });
        let missing = missing.or(deaf);
        self.require(excess.is_none(), Invariant::Serves, || {
            let excess = excess.unwrap_or_default();
            format!("{} is subscribed to {excess}, which is none of its devices", hub.client_id())
        });
        self.require(missing.is_none(), Invariant::Serves, || {
            format!("{} is not subscribed to {}", hub.client_id(), missing.unwrap_or_default())
        });
        self.reach(Reached::FiltersChecked);
    }
}

/// How long after `online`, or after it has got a device, a hub may take to be subscribed to all that it has.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(60);
