//! Passes each arriving message to the part of the hub that it concerns.

use super::{Hub, Phase, address::Address, holding::Arrival};
use crate::{Delivery, DeliveryId, Generation, Message, Notice, Now, topic::Prefix};

impl Hub {
    /// Takes a message that has arrived; what has no room yet is held, and keeps its place.
    pub(super) fn on_received(&mut self, now: Now, message: Message, delivery: Option<Delivery>) {
        match &self.phase {
            Phase::Subscribing(_) | Phase::Online(_) => {
                let Some((message, delivery)) = self.take_bridged(message, delivery) else {
                    return;
                };
                self.spare_state(&message);
                self.hold_back(now, Arrival::new(message, delivery, now.monotonic));
                self.take_in_held(now);
            }
            // Left unacknowledged, so that the broker sends it again on the next connection.
            Phase::Waiting { .. }
            | Phase::Storing { .. }
            | Phase::Connecting { .. }
            | Phase::Closing { .. }
            | Phase::Disconnecting { .. }
            | Phase::Stopped => {}
        }
    }

    /// What cannot be read may have been a copy of a will, or an answer to one: where its topic does not say otherwise,
    /// silence about earlier wills proves nothing any more.
    pub(super) fn on_unreadable(&mut self, now: Now, topic: String, error: String) {
        let connection = self.connection().map(|connection| connection.generation);
        let address = self.address(self.prefix(), &topic);
        match (address, connection) {
            (Address::WillAnswer | Address::Presence, Some(current)) => self.doubt_silence(current),
            (Address::Other, Some(current)) if topic.is_empty() => self.doubt_silence(current),
            (_, None) => {
                self.wills.session_lost();
                self.store_memory();
            }
            (
                Address::Fence
                | Address::Session
                | Address::Guarded
                | Address::Retained
                | Address::Leftover
                | Address::Rival { .. }
                | Address::Request { .. }
                | Address::Started
                | Address::Other,
                Some(_),
            ) => {}
        }
        if let Some(more) = self.told.unreadable.tell(now.monotonic) {
            self.notice(Notice::MessageUnreadable { topic, error, more });
        }
    }

    fn doubt_silence(&mut self, current: Generation) {
        let (news, changed) = self.wills.doubt_silence(current, self.clock);
        self.note_evidence(news, changed, None);
    }

    /// Acts on a message by what its topic addresses.
    pub(super) fn take_in(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        address: Address,
        arrival: Arrival,
    ) {
        self.put_off_fence(now);
        let delivery = arrival.delivery.map(|delivery| delivery.id);
        let message = &arrival.message;
        match address {
            Address::Fence => {
                self.on_fence(now, message);
                self.acknowledge_now(delivery);
            }
            Address::Session => {
                self.on_session(message);
                self.acknowledge_now(delivery);
            }
            Address::WillAnswer => self.on_will_answer(now, message, delivery),
            Address::Presence => self.on_own_presence(now, message, delivery),
            Address::Retained => {
                self.on_retained_seen(now, message);
                self.acknowledge_now(delivery);
            }
            Address::Leftover => {
                self.on_leftover(message);
                self.acknowledge_now(delivery);
            }
            Address::Rival { device } => {
                self.on_rival(now, &device, message);
                self.acknowledge_now(delivery);
            }
            Address::Request { device, property } => {
                self.on_request(now, prefix, device, property, &arrival);
            }
            // Left unacknowledged: the hub's next life sees it again.
            Address::Guarded if self.stopping.is_some() => {}
            Address::Guarded => self.on_guarded(now, arrival.message, delivery),
            Address::Started => {
                self.on_start(now, message);
                self.acknowledge_now(delivery);
            }
            Address::Other => self.acknowledge_now(delivery),
        }
    }

    /// Sends PUBACK where the message came at QoS 1, and nothing else waits for it.
    pub(super) fn acknowledge_now(&mut self, delivery: Option<DeliveryId>) {
        if let Some(delivery) = delivery {
            self.acknowledge(delivery);
        }
    }
}
