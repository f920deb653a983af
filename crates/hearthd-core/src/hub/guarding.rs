//! Other hubs' wills: each becomes a request, and the answer of this hub's device is the acknowledgement.

use std::sync::Arc;

use super::{Hub, admitting::no_device};
use crate::{
    DeliveryId, Message, Notice, Now, QoS, RequestKey,
    journal::Mark,
    record::{Reply, fingerprint},
    requests::Origin,
    topic::Template,
};

/// What this hub does when another hub's will is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The other hub's presence topic; `{prefix}` is its only placeholder.
    pub presence: Template,
    /// Device ID.
    pub device: Arc<str>,
    /// Property name.
    pub property: Arc<str>,
    /// What the property is set to.
    pub payload: bytes::Bytes,
}

impl Hub {
    /// Acts on a will; before the fence it waits, because `online` may follow.
    pub(super) fn on_guarded(&mut self, now: Now, message: Message, delivery: Option<DeliveryId>) {
        let is_will = &message.payload[..] == b"offline"
            && message.response_topic.is_some()
            && message.correlation_data.is_some();
        if !self.has_passed_fence() {
            let older = self.held_wills.iter().position(|(held, _)| held.topic == message.topic);
            if let Some((_, delivery)) = older.map(|index| self.held_wills.remove(index)) {
                self.acknowledge_now(delivery);
            }
            if is_will {
                return self.held_wills.push((message, delivery));
            }
        } else if is_will {
            self.act_on_will(now, &message, delivery);
        }
        self.acknowledge_now(delivery);
    }

    /// Acts on the wills that nothing has replaced by the time the fence is back.
    pub(super) fn release_wills(&mut self, now: Now) {
        for (message, delivery) in std::mem::take(&mut self.held_wills) {
            self.act_on_will(now, &message, delivery);
            self.acknowledge_now(delivery);
        }
    }

    fn act_on_will(&mut self, now: Now, will: &Message, delivery: Option<DeliveryId>) {
        let prefix = self.prefix().cloned();
        let guards = self.config.guards.iter();
        let guards: Vec<Guard> = guards
            .filter(|guard| guard.presence.build(prefix.as_ref(), &[]) == will.topic)
            .cloned()
            .collect();
        let response_topic = will.response_topic.clone().unwrap_or_default();
        if let Err(denied) = self.check_will_response(prefix.as_ref(), &response_topic) {
            let reason = format!("the will's Response Topic {}", denied.reason);
            return self.tell_dropped(now, &will.topic, reason, None, None);
        }
        for guard in guards {
            self.act_as(now, &guard, will, delivery);
        }
    }

    fn act_as(&mut self, now: Now, guard: &Guard, will: &Message, delivery: Option<DeliveryId>) {
        let Guard { device, property, payload, .. } = guard;
        let name: Arc<str> = format!("{} {device}/{property}", will.topic).into();
        let correlation_data = will.correlation_data.clone().unwrap_or_default();
        let key = RequestKey::Guard { guard: name.clone(), correlation_data };
        if !self.journal.contains(&key) && self.wills.has_guarded(&name, will) {
            return;
        }
        let request = Message {
            payload: payload.clone(),
            // However the will came: it is acted on once.
            qos: QoS::AtLeastOnce,
            retain: false,
            response_topic: None,
            correlation_data: None,
            ..will.clone()
        };
        let again = self.is_idempotent(device, property, &request);
        let durability = self.durability(device, &request, false, again);
        let origin = Origin {
            key: Some(key),
            entry: None,
            sender: Some(name),
            content: fingerprint(&will.topic, payload),
            reply: Reply::to(will, now.monotonic),
            durability,
            reads: false,
            via: None,
            deliveries: self.one_more(delivery),
            size: request.packet_size(),
        };
        let Some(origin) = self.repeat(now, origin, Mark::Redelivered, false) else { return };
        self.notice(Notice::Guarding {
            presence: will.topic.clone(),
            device: device.clone(),
            property: property.clone(),
        });
        let allowed = self.config.devices.get(&**device).map(|policy| policy.deadline);
        let allowed = allowed.ok_or_else(|| no_device(device));
        let admitted = allowed.and_then(|allowed| {
            self.find_room(device, &origin)?;
            Ok(allowed)
        });
        let (device, property) = (device.clone(), property.clone());
        match admitted {
            Ok(allowed) => self.execute(now, device, property, &request, origin, allowed),
            Err(answer) => self.refuse(now, device, property, origin, &answer),
        }
    }

    /// Lets a delivery wait for one more answer.
    fn one_more(&mut self, delivery: Option<DeliveryId>) -> Vec<DeliveryId> {
        if let Some(inbound) = delivery.and_then(|delivery| self.inbound(delivery)) {
            inbound.holds += 1;
        }
        delivery.into_iter().collect()
    }
}
