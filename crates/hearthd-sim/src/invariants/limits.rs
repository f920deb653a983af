//! The hub keeps to the broker's refusals and size limits, and reports them.

use hearthd_core::{Message, QoS};

use super::Invariant;
use crate::{
    link::HubId,
    report::Reached,
    world::{
        World,
        network::{is_presence, show_message},
    },
};

impl World {
    /// Nothing is larger than what CONNACK allows (MQTT 3.2.2.3.6).
    pub(crate) fn check_size(&mut self, hub: HubId, message: &Message) {
        let connack = self.connection(hub).and_then(|connection| connection.connack.as_ref());
        let Some(maximum) = connack.and_then(|connack| connack.maximum_packet_size) else { return };
        let size = wire_size(message);
        self.require(size <= maximum as usize, Invariant::PacketSize, || {
            format!("{size} bytes, {maximum} are allowed: {}", show_message(message))
        });
        if message.payload.windows(SUBSTITUTE.len()).any(|window| window == SUBSTITUTE) {
            self.reach(Reached::Shrunk);
        }
    }

    /// The hub does without a message, and says so: whoever waits for it waits in vain.
    pub(crate) fn note_dropped(&mut self, hub: HubId, topic: &str) {
        let connack = self.connection(hub).and_then(|connection| connection.connack.as_ref());
        if connack.is_some_and(|connack| connack.maximum_packet_size.is_some()) {
            self.reach(Reached::TooLarge);
            self.ledger.note_undeliverable(topic);
            if is_presence(topic, hub.client_id()) {
                // What is retained does not tell whose connection was the last.
                self.hub_mut(hub).fates.retained_lost();
            }
            let guarding = self.hub_mut(hub).guarding.as_mut();
            if let Some(guarding) = guarding.filter(|guarding| guarding.is_answer(topic)) {
                guarding.answered.extend(guarding.handed.iter().cloned());
            }
        }
    }

    /// The broker has refused a message: if it was an answer, nobody gets it.
    pub(crate) fn note_refused(&mut self, message: &Message) {
        self.note("broker", || format!("refuses {}", show_message(message)));
        self.reach(Reached::PublishRefused);
        for hub in self.hub_ids() {
            if is_presence(&message.topic, hub.client_id()) {
                // What is retained does not tell whose connection was the last.
                self.hub_mut(hub).fates.retained_lost();
            }
        }
        if let Some(index) = self.ledger.answered_by(message) {
            self.ledger.asked[index].undeliverable = true;
        } else if let Some(correlation_data) = &message.correlation_data {
            for guarding in self.hubs.iter_mut().filter_map(|hub| hub.guarding.as_mut()) {
                if guarding.is_answer(&message.topic) {
                    guarding.answered.insert(correlation_data.clone());
                }
            }
        }
    }

    /// What the broker refuses is told to people, once for each.
    pub(crate) fn check_noticed(&mut self, hub: HubId, refusals: usize) {
        let noticed = std::mem::take(&mut self.hub_mut(hub).refusals_noticed);
        self.require(noticed == refusals, Invariant::Noticed, || {
            format!("the broker refused {refusals} times, and the hub noticed {noticed}")
        });
    }
}

/// Returns the size of the PUBLISH packet (MQTT 3.3), without the help of the core.
fn wire_size(message: &Message) -> usize {
    let text = |text: &str| 2 + text.len();
    let property = |length: Option<usize>| length.map_or(0, |length| 1 + 2 + length);
    let user: usize =
        message.user_properties.iter().map(|(key, value)| 1 + text(key) + text(value)).sum();
    let properties = user
        + if message.utf8 { 2 } else { 0 }
        + message.expiry.map_or(0, |_| 5)
        + property(message.response_topic.as_ref().map(String::len))
        + property(message.correlation_data.as_ref().map(bytes::Bytes::len))
        + property(message.content_type.as_ref().map(String::len));
    let packet_id = if message.qos == QoS::AtLeastOnce { 2 } else { 0 };
    let rest = text(&message.topic)
        + packet_id
        + variable_byte_integer(properties)
        + properties
        + message.payload.len();
    1 + variable_byte_integer(rest) + rest
}

/// Returns how many bytes a length takes (MQTT 1.5.5).
fn variable_byte_integer(value: usize) -> usize {
    1 + usize::from(value >= 1 << 7) + usize::from(value >= 1 << 14) + usize::from(value >= 1 << 21)
}

/// What the hub says in place of an answer that does not fit.
const SUBSTITUTE: &[u8] = b"Maximum Packet Size";
