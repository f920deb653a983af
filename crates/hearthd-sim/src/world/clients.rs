//! The well-behaved clients: guardians, the hub next door, and a responder that is not a hub.

use std::time::Duration;

use bytes::Bytes;
use hearthd_core::{Message, QoS};

use super::{Timer, World, guarding::NEXT_DOOR, home::topics, network::is_presence};
use crate::{broker::Source, report::Reached};

impl World {
    /// Has another client publish this, after the time that its network takes.
    pub(super) fn say_soon(&mut self, message: Message, asked: Option<usize>) {
        let transit = self.transit();
        self.after(transit, Timer::Say { message, asked });
    }

    /// A client's message reaches the broker.
    pub(super) fn say(&mut self, mut message: Message, asked: Option<usize>) {
        if !self.broker.up {
            return self.after(Duration::from_secs(1), Timer::Say { message, asked });
        }
        if let Some(index) = asked {
            self.ledger.asked[index].mark(&mut message);
        }
        let sender = self.sender_of(&message, asked);
        self.broker.publish(self.now, message, asked, Source::Other(sender));
        self.broker.flush(self.now, &mut self.rng);
        self.carry_out_effects();
    }

    /// Returns which client says something.
    fn sender_of(&self, message: &Message, asked: Option<usize>) -> &'static str {
        if let Some(index) = asked {
            return self.ledger.asked[index].sender;
        }
        let claimed = message.user_property("client_id").unwrap_or_default();
        let guardian = GUARDIANS.into_iter().find(|name| *name == claimed);
        let neighbour = is_presence(&message.topic, NEXT_DOOR).then_some(NEXT_DOOR);
        let plug = message.user_property("__stat").map(|_| PLUG);
        guardian.or(neighbour).or(plug).unwrap_or("mallory")
    }

    /// Every guardian acknowledges a will, each in its own time.
    pub(super) fn guardians_see(&mut self, will: &Message) {
        for (index, guardian) in self.setup.guardians.clone().into_iter().enumerate() {
            let acknowledgement = Message {
                topic: will.response_topic.clone().unwrap_or_default(),
                payload: format!("watched by {index}").into(),
                qos: QoS::AtLeastOnce,
                correlation_data: will.correlation_data.clone(),
                user_properties: vec![("client_id".into(), GUARDIANS[index].into())],
                ..Message::default()
            };
            if guardian.doubled {
                self.reach(Reached::Doubled);
                let again = Timer::Say { message: acknowledgement.clone(), asked: None };
                self.after(guardian.takes * 2, again);
            }
            self.after(guardian.takes, Timer::Say { message: acknowledgement, asked: None });
        }
    }

    /// The responder that is no hub answers what it is asked.
    pub(super) fn responder_sees(&mut self, request: &Message, index: usize) {
        let asked = &self.ledger.asked[index];
        let Some(response_topic) = &request.response_topic else { return };
        if asked.device != PLUG || !asked.allowed {
            return;
        }
        self.reach(Reached::OtherResponder);
        let answer = Message {
            topic: response_topic.clone(),
            payload: request.payload.clone(),
            qos: request.qos,
            correlation_data: request.correlation_data.clone(),
            user_properties: vec![("__stat".into(), "200".into())],
            ..Message::default()
        };
        self.say_soon(answer, None);
    }

    /// The will of a hub next door is published.
    pub(super) fn neighbour_dies(&mut self) {
        let correlation_data = Bytes::from(self.rng.u128(..).to_be_bytes().to_vec());
        let prefix = self.prefix();
        let values = [("client_id", NEXT_DOOR), ("purpose", "will")];
        let response_topic = topics().response.build(prefix.as_ref(), &values);
        let will = Message {
            response_topic: Some(response_topic),
            correlation_data: Some(correlation_data),
            ..self.presence_of(NEXT_DOOR, "offline")
        };
        self.say_soon(will, None);
    }

    /// The hub next door says `online` again.
    pub(super) fn neighbour_returns(&mut self) {
        let online = self.presence_of(NEXT_DOOR, "online");
        self.say_soon(online, None);
    }

    /// Returns a presence message of some hub.
    pub(super) fn presence_of(&self, client_id: &str, payload: &'static str) -> Message {
        let prefix = self.prefix();
        let values = [("client_id", client_id)];
        Message {
            topic: topics().presence.build(prefix.as_ref(), &values),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            ..Message::default()
        }
    }
}

/// The guardians, by client identifier.
const GUARDIANS: [&str; 3] = ["guardian-0", "guardian-1", "guardian-2"];
/// The device of a responder that is no hub.
pub(crate) const PLUG: &str = "plug";
