//! After the last fault, everything settles as it should.

use hearthd_core::topic::Prefix;

use super::{Invariant, wire::own_topic};
use crate::{
    broker::Session,
    link::HubId,
    report::Reached,
    world::{World, home::topics, network::generation_of},
};

impl World {
    /// Checks that every hub is `online`, and owes nobody anything.
    pub(crate) fn check_at_rest(&mut self) {
        for hub in self.hub_ids() {
            self.check_hub_at_rest(hub);
            self.check_states(hub);
            self.check_guarded(hub);
            self.check_retained(hub);
            self.check_filters(hub);
            self.check_announced(hub);
            self.check_told(hub);
        }
        self.check_answered();
    }

    fn check_hub_at_rest(&mut self, hub: HubId) {
        let name = hub.client_id();
        let current = self
            .connection(hub)
            .and_then(|connection| connection.will.as_ref())
            .and_then(|will| generation_of(&will.message));
        let link = self.connection(hub).map(|connection| connection.id);
        let session = self.broker.session(hub);
        let connected = current.is_some() && session.is_some_and(|session| session.link == link);
        let drained = session.is_some_and(Session::is_drained);
        self.require(connected, Invariant::Alive, || format!("{name} is not connected"));
        self.require(drained, Invariant::Alive, || {
            format!("{name} leaves messages unacknowledged")
        });
        let in_flight = self.connection(hub).map_or(0, |connection| connection.publishing.len());
        self.require(in_flight == 0, Invariant::Alive, || {
            format!("{in_flight} messages of {name} are in flight")
        });
        let prefix = self.connection_prefix(hub);
        let presence = own_topic(hub, prefix.as_ref(), &topics().presence);
        let online = self.broker.retained.get(&presence).is_some_and(|letter| {
            &letter.message.payload[..] == b"online"
                && letter.message.correlation_data
                    == self.connection(hub).and_then(|c| c.said.clone())
        });
        self.require(online, Invariant::Alive, || {
            format!("`online` of {name} is not what is retained")
        });
        let open = &self.hub(hub).store.memory.open;
        let open = open.iter().filter(|will| Some(will.generation) != current).count();
        self.require(open == 0, Invariant::Alive, || {
            format!("{open} wills of {name} are undecided")
        });
        self.check_outcomes(hub, current);
    }

    /// What is retained is what the devices last said.
    fn check_states(&mut self, hub: HubId) {
        let prefix = self.connection_prefix(hub);
        let topics = topics();
        let devices = &self.hub(hub).devices;
        let states = self.devices.states.iter();
        let mut states = states.filter(|((device, _), _)| devices.contains(device.as_str()));
        // No hub fights for a status that a stranger has written in the name of another hub, which may have the device as well.
        let forged = |device: &str, property: &str| {
            property == "status" && self.ledger.forged_status.contains(device)
        };
        let wrong = states.find(|((device, property), state)| {
            if forged(device, property) {
                return false;
            }
            let values = [("device", device.as_str()), ("property", property.as_str())];
            let topic = topics.state.build(prefix.as_ref(), &values);
            self.broker.retained.get(&topic).map(|l| &l.message.payload) != Some(state)
        });
        let wrong = wrong.map(|((device, property), _)| format!("{device}/{property}"));
        self.require(wrong.is_none(), Invariant::Alive, || {
            format!("the retained state of {} is old", wrong.unwrap_or_default())
        });
    }

    /// What the daemon has carried out in the life that it still lives is answered, even where the session was lost.
    fn check_answered(&mut self) {
        if self.counts.get(Reached::PrefixChanged) > 0 {
            // Answers under a prefix that was left in between are dropped.
            return;
        }
        let owed = self.ledger.asked.iter().position(|asked| {
            let lived =
                asked.executions.last().is_some_and(|life| *life == self.hub(life.hub).life);
            lived
                && asked.answers.is_empty()
                && asked.message.response_topic.is_some()
                && asked.message.expiry.is_none()
                && asked.is_at_least_once()
                && !asked.ambiguous
                && !asked.undeliverable
        });
        self.require(owed.is_none(), Invariant::Answered, || {
            format!("request {} was executed, and has no answer", owed.unwrap_or_default())
        });
    }

    /// The other hub's will, where it is the last word, has been acted on.
    fn check_guarded(&mut self, hub: HubId) {
        if self.counts.get(Reached::PrefixChanged) > 0 {
            // It was, and the answer was dropped with the prefix.
            return;
        }
        let prefix = self.connection_prefix(hub);
        let Some(guarding) = &self.hub(hub).guarding else { return };
        let values = [("client_id", guarding.watched)];
        let topic = topics().presence.build(prefix.as_ref(), &values);
        let will = self.broker.retained.get(&topic).and_then(|letter| {
            letter.message.response_topic.as_ref()?;
            letter.message.correlation_data.clone()
        });
        let answered = will.is_none_or(|will| guarding.answered.contains(&will));
        self.require(answered, Invariant::Alive, || "the other hub's will has no answer".into());
    }
}

impl World {
    /// The prefix that the connection in use was given.
    pub(crate) fn connection_prefix(&self, hub: HubId) -> Option<Prefix> {
        let connack = self.connection(hub).and_then(|connection| connection.connack.as_ref());
        self.resolve(connack.and_then(|connack| connack.response_information.as_deref()))
    }
}
