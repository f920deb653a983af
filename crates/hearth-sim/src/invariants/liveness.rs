//! Once the faults have stopped, all comes to rest as it should be.

use hearth_core::topic::{Prefix, Templates};

use super::{Invariant, wire::own_topic};
use crate::{
    report::Reached,
    world::{World, network::generation_of},
};

impl World {
    /// Checks that the hub is `online`, and owes nobody anything.
    pub(crate) fn check_at_rest(&mut self) {
        let current = self
            .connection()
            .and_then(|connection| connection.will.as_ref())
            .and_then(|will| generation_of(&will.message));
        let link = self.connection().map(|connection| connection.id);
        let session = self.broker.session.as_ref();
        let connected = current.is_some() && session.is_some_and(|session| session.link == link);
        self.require(connected, Invariant::Alive, || "the hub is not connected".into());
        let drained = session_is_drained(self);
        self.require(drained, Invariant::Alive, || "the hub leaves messages unacknowledged".into());
        let in_flight = self.connection().map_or(0, |connection| connection.publishing.len());
        self.require(in_flight == 0, Invariant::Alive, || {
            format!("{in_flight} messages of the hub are in flight")
        });
        let prefix = self.connection_prefix();
        let presence = own_topic(prefix.as_ref(), &Templates::default().presence);
        let online = self.broker.retained.get(&presence).is_some_and(|letter| {
            &letter.message.payload[..] == b"online" && generation_of(&letter.message) == current
        });
        self.require(online, Invariant::Alive, || "`online` is not what is retained".into());
        let open = self.store.memory.open.iter().filter(|will| Some(will.generation) != current);
        let open = open.count();
        self.require(open == 0, Invariant::Alive, || format!("{open} wills are undecided"));
        self.check_outcomes(current);
        self.check_states();
        self.check_guarded();
        self.check_answered();
    }

    /// What is retained is what the devices last said.
    fn check_states(&mut self) {
        let prefix = self.connection_prefix();
        let topics = Templates::default();
        let wrong = self.devices.states.iter().find(|((device, property), state)| {
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
            let lived = asked.executions.last().is_some_and(|life| *life == self.life);
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
    fn check_guarded(&mut self) {
        if self.counts.get(Reached::PrefixChanged) > 0 {
            // It was, and the answer was dropped with the prefix.
            return;
        }
        let prefix = self.connection_prefix();
        let topic = Templates::default().presence.build(prefix.as_ref(), &[("client_id", "attic")]);
        let will = self.broker.retained.get(&topic).and_then(|letter| {
            letter.message.response_topic.as_ref()?;
            letter.message.correlation_data.clone()
        });
        let answered = will.is_none_or(|will| self.neighbour.answered.contains(&will));
        self.require(answered, Invariant::Alive, || "the other hub's will has no answer".into());
    }
}

impl World {
    /// The prefix that the connection in use was given.
    fn connection_prefix(&self) -> Option<Prefix> {
        let connack = self.connection().and_then(|connection| connection.connack.as_ref());
        self.resolve(connack.and_then(|connack| connack.response_information.as_deref()))
    }
}

fn session_is_drained(world: &World) -> bool {
    world.broker.session.as_ref().is_some_and(|session| session.is_drained())
}
