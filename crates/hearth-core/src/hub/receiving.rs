//! What arrives: fences, answers to wills, presence, and requests.

use std::sync::Arc;

use super::{Fence, Hub, Phase, holding::Arrival};
use crate::{
    Acknowledgement, Delivery, DeliveryId, Generation, Message, Notice, Now, Output, topic::Prefix,
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
                self.hold_back(Arrival::new(message, delivery, now.monotonic));
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
            Address::WillAnswer => self.on_will_answer(message, delivery),
            Address::Presence => self.on_own_presence(message, delivery),
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
            let value = |placeholder| values.get(placeholder).unwrap_or_default().into();
            return Address::Request { device: value("device"), property: value("property") };
        }
        for prefix in std::iter::once(prefix).chain(self.wills.past_prefixes()) {
            if let Some(values) = topics.response.match_name(prefix, name)
                && values.get("client_id") == Some(&self.config.client_id)
            {
                return match values.get("purpose") {
                    Some("fence") => Address::Fence,
                    Some("session") => Address::Session,
                    Some("will") => Address::WillAnswer,
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
        Address::Other
    }

    fn on_fence(&mut self, now: Now, message: &Message) {
        let settle = self.config.settle;
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if generation_of(message) != Some(connection.generation) {
            return;
        }
        match connection.fence {
            Fence::Sent { .. } => {
                connection.fence = Fence::Settling { until: now.monotonic + settle };
                self.pass_fence(now);
            }
            Fence::Decided { fenced: false } => {
                connection.fence = Fence::Decided { fenced: true };
                self.settle_journal(now);
            }
            Fence::Unsent | Fence::Settling { .. } | Fence::Decided { fenced: true } => {}
        }
    }

    /// Only a session that was subscribed before this connection returns this.
    fn on_session(&mut self, message: &Message) {
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if generation_of(message) == Some(connection.generation) {
            connection.resumed = true;
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

    fn on_will_answer(&mut self, message: &Message, delivery: Option<DeliveryId>) {
        let Some(generation) = generation_of(message) else {
            self.notice(Notice::RequestDropped {
                topic: message.topic.clone(),
                reason: "an answer to a will without its Correlation Data".into(),
            });
            return self.acknowledge_now(delivery);
        };
        let acknowledgement = Acknowledgement {
            responder: ["client_id", "__srcId", "x-mqtt-client-id"]
                .iter()
                .find_map(|name| message.user_property(name))
                .map(str::to_owned),
            payload: excerpt(&message.payload),
            status: message.user_property("__stat").and_then(|status| status.parse().ok()),
            before_fence: !self.fence_is_back(),
        };
        let (mut news, upgraded) = self.wills.acknowledge(generation, acknowledgement);
        news |= self.note_stranger(Some(generation));
        self.note_evidence(news, upgraded, delivery);
    }

    fn on_own_presence(&mut self, message: &Message, delivery: Option<DeliveryId>) {
        let generation = generation_of(message);
        let offline = &message.payload[..] == b"offline";
        let (mut news, mut upgraded) = (false, None);
        match generation {
            Some(generation) if offline => (news, upgraded) = self.wills.saw_will(generation),
            Some(generation) => self.wills.saw_online(generation),
            None => {}
        }
        news |= self.note_stranger(generation);
        self.note_evidence(news, upgraded, delivery);
        let (Phase::Subscribing(connection) | Phase::Online(connection)) = &mut self.phase else {
            return;
        };
        if !offline {
            connection.echoed |= generation == Some(connection.generation);
        } else if connection.echoed && self.stopping.is_none() {
            self.restore_presence();
        }
    }

    /// Notes that there was a connection which the memory does not know, if there was; returns whether that is news.
    fn note_stranger(&mut self, generation: Option<Generation>) -> bool {
        let known = generation.is_some_and(|generation| self.wills.knows(generation));
        let current = self.connection().map(|connection| connection.generation);
        current.filter(|_| !known).is_some_and(|current| self.wills.saw_stranger(current))
    }

    /// Stores new evidence before its delivery is acknowledged, and tells of an upgraded outcome.
    fn note_evidence(
        &mut self,
        news: bool,
        upgraded: Option<crate::Absence>,
        delivery: Option<DeliveryId>,
    ) {
        if news {
            let revision = self.store_memory();
            self.unstored.extend(delivery.map(|delivery| (revision, delivery)));
        } else {
            self.acknowledge_now(delivery);
        }
        if let Some(absence) = upgraded {
            if let Phase::Online(connection) = &self.phase {
                let prefix = connection.prefix.clone();
                self.publish_absence(prefix.as_ref(), &absence);
            }
            self.outputs.push_back(Output::Absence(absence));
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
            if matches!(connection.fence, Fence::Settling { .. } | Fence::Decided { .. }))
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

fn generation_of(message: &Message) -> Option<Generation> {
    Generation::from_correlation_data(message.correlation_data.as_deref()?)
}

/// Keeps as much of a foreign payload as the store has room for.
fn excerpt(payload: &[u8]) -> String {
    const LONGEST: usize = 1024;
    String::from_utf8_lossy(&payload[..payload.len().min(LONGEST)]).into_owned()
}
