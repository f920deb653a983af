//! What arrives, and whom it is for.

use std::sync::Arc;

use super::{Fence, Hub, Phase, holding::Arrival};
use crate::{
    Delivery, DeliveryId, Generation, Message, Notice, Now,
    token::Purpose,
    topic::{Prefix, Values},
};

/// What a topic name says about a message.
pub(super) enum Address {
    Fence,
    /// What the hub publishes to its session before it subscribes.
    Session,
    WillAnswer,
    Presence,
    /// The presence of another hub that this one guards.
    Guarded,
    /// Comes back once the broker has sent what it has retained.
    Retained,
    /// What the broker has retained of a device or property that is no more.
    Leftover,
    /// The status of a device of this hub, which somebody else tells.
    Rival {
        device: Arc<str>,
    },
    /// A request to a device of this hub, or to the hub itself.
    Request {
        device: Arc<str>,
        property: Arc<str>,
    },
    Other,
}

impl Hub {
    pub(super) fn on_received(&mut self, now: Now, message: Message, delivery: Option<Delivery>) {
        match &self.phase {
            Phase::Subscribing(_) | Phase::Online(_) => {
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
            Address::Other => self.acknowledge_now(delivery),
        }
    }

    /// Reads a topic by the current prefix, and by those of the wills that are still open.
    pub(super) fn address(&self, prefix: Option<&Prefix>, name: &str) -> Address {
        let topics = &self.config.topics;
        if let Some(values) = topics.request.match_name(prefix, name) {
            return self.request_address(&values);
        }
        for prefix in std::iter::once(prefix).chain(self.wills.past_prefixes()) {
            if let Some(values) = topics.response.match_name(prefix, name)
                && values.get("client_id") == Some(&self.config.client_id)
            {
                return match values.get("purpose") {
                    Some("fence") => Address::Fence,
                    Some("session") => Address::Session,
                    Some("will") => Address::WillAnswer,
                    Some("retained") => Address::Retained,
                    _ => Address::Other,
                };
            }
            if let Some(values) = topics.presence.match_name(prefix, name)
                && values.get("client_id") == Some(&self.config.client_id)
            {
                return Address::Presence;
            }
        }
        if self.config.guards.iter().any(|guard| guard.presence.build(prefix, &[]) == name) {
            return Address::Guarded;
        }
        if self.serving.takes_back(name) {
            return Address::Leftover;
        }
        match topics.state.match_name(prefix, name) {
            Some(values) if values.get("property") == Some(STATUS) => {
                let device = values.get("device").unwrap_or_default();
                match self.config.devices.contains_key(device) {
                    true => Address::Rival { device: device.into() },
                    false => Address::Other,
                }
            }
            Some(_) | None => Address::Other,
        }
    }

    /// A request for a device that this hub does not have is none of its business.
    fn request_address(&self, values: &Values<'_>) -> Address {
        let value = |placeholder| values.get(placeholder).unwrap_or_default();
        let (device, property) = (value("device"), value("property"));
        if self.config.devices.contains_key(device) || device == self.config.client_id {
            return Address::Request { device: device.into(), property: property.into() };
        }
        Address::Other
    }

    fn on_fence(&mut self, now: Now, message: &Message) {
        let settle = self.config.settle;
        if self.own_generation(message, Purpose::Fence).is_none() {
            return;
        }
        self.note_expiry(message);
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        match connection.fence {
            Fence::Sent { .. } => {
                connection.fence = Fence::Settling { until: now.monotonic + settle };
                self.pass_fence(now);
            }
            Fence::Confirming { .. } => self.decide(now, true),
            Fence::Decided { fenced: false } => {
                connection.fence = Fence::Decided { fenced: true };
                self.settle_journal(now);
            }
            Fence::Unsent | Fence::Settling { .. } | Fence::Decided { fenced: true } => {}
        }
    }

    /// What is still being delivered shows that the broker works on what it has queued: the fence may take longer.
    fn put_off_fence(&mut self, now: Now) {
        let fence_timeout = self.config.fence_timeout;
        if let Phase::Online(connection) = &mut self.phase
            && let Fence::Sent { until, latest } = &mut connection.fence
        {
            *until = (now.monotonic + fence_timeout).min(*latest);
        }
    }

    pub(super) fn may_be_stale(&self) -> bool {
        self.connection().is_some_and(|connection| {
            connection.session_present
                && matches!(connection.fence, Fence::Unsent | Fence::Sent { .. })
        })
    }

    /// Whether all that the broker had queued has been seen, or is not waited for any longer.
    pub(super) fn has_passed_fence(&self) -> bool {
        matches!(&self.phase, Phase::Online(connection)
            if connection.fence.is_back() || matches!(connection.fence, Fence::Decided { .. }))
    }

    pub(super) fn fence_is_back(&self) -> bool {
        matches!(&self.phase, Phase::Online(connection) if connection.fence.is_back())
    }

    pub(super) fn acknowledge_now(&mut self, delivery: Option<DeliveryId>) {
        if let Some(delivery) = delivery {
            self.acknowledge(delivery);
        }
    }
}

/// The property by which a hub tells how a device is.
pub(super) const STATUS: &str = "status";
