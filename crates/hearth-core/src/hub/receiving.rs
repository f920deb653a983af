//! What arrives: fences, answers to wills, presence, and requests.

use super::{Fence, Hub, Phase};
use crate::{
    Acknowledgement, Answer, DeliveryId, DevicePolicy, Generation, Message, Notice, Now, Output,
    Request, Status,
    requests::{Pending, Reply, Seen},
    topic::{self, Prefix},
};

/// What a topic name says about a message.
enum Address {
    Fence,
    WillAnswer,
    Presence,
    Request { device: String, property: String },
    Other,
}

impl Hub {
    pub(super) fn on_received(&mut self, now: Now, message: Message, delivery: Option<DeliveryId>) {
        let prefix = match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => connection.prefix.clone(),
            // Left unacknowledged, so that the broker sends it again on the next connection.
            Phase::Waiting { .. }
            | Phase::Storing { .. }
            | Phase::Connecting { .. }
            | Phase::Closing { .. }
            | Phase::Disconnecting(_)
            | Phase::Stopped => return,
        };
        self.deliveries.extend(delivery.map(|delivery| (delivery, false)));
        match self.address(prefix.as_ref(), &message.topic) {
            Address::Fence => {
                self.on_fence(now, &message);
                self.acknowledge_now(delivery);
            }
            Address::WillAnswer => self.on_will_answer(&message, delivery),
            Address::Presence => self.on_own_presence(&message, delivery),
            Address::Request { device, property } => {
                self.on_request(now, prefix.as_ref(), &device, &property, &message, delivery);
            }
            Address::Other => self.acknowledge_now(delivery),
        }
    }

    /// Reads a topic by the current prefix, and by those of the wills that are still open.
    fn address(&self, prefix: Option<&Prefix>, name: &str) -> Address {
        let topics = &self.config.topics;
        if let Some(values) = topics.request.match_name(prefix, name) {
            let value = |key| {
                let found = values.iter().find(|(name, _)| *name == key);
                found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
            };
            return Address::Request { device: value("device"), property: value("property") };
        }
        let past = self.wills.memory().open.iter().map(|will| will.prefix.as_ref());
        for prefix in std::iter::once(prefix).chain(past) {
            if let Some(values) = topics.response.match_name(prefix, name)
                && values.contains(&("client_id", &self.config.client_id))
            {
                return match values.iter().find(|(key, _)| *key == "purpose") {
                    Some((_, "fence")) => Address::Fence,
                    Some((_, "will")) => Address::WillAnswer,
                    _ => Address::Other,
                };
            }
            if let Some(values) = topics.presence.match_name(prefix, name)
                && values.contains(&("client_id", &self.config.client_id))
            {
                return Address::Presence;
            }
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
                self.say_online();
            }
            Fence::Decided { fenced: false } => connection.fence = Fence::Decided { fenced: true },
            Fence::Unsent | Fence::Settling { .. } | Fence::Decided { fenced: true } => {}
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
        let (news, upgraded) = self.wills.acknowledge(generation, acknowledgement);
        self.note_evidence(news, upgraded, delivery);
    }

    fn on_own_presence(&mut self, message: &Message, delivery: Option<DeliveryId>) {
        let generation = generation_of(message);
        let offline = &message.payload[..] == b"offline";
        let fresh = matches!(&self.phase,
            Phase::Subscribing(connection) | Phase::Online(connection) if !connection.session_present);
        let (mut news, mut upgraded) = (false, None);
        match generation {
            Some(generation) if offline => (news, upgraded) = self.wills.saw_will(generation),
            Some(generation) if fresh => self.wills.saw_online(generation),
            Some(_) | None => {}
        }
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

    /// Stores new evidence before its delivery is acknowledged, and tells of an upgraded outcome.
    fn note_evidence(
        &mut self,
        news: bool,
        upgraded: Option<crate::Absence>,
        delivery: Option<DeliveryId>,
    ) {
        if news {
            let revision = self.store();
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

    fn on_request(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        device: &str,
        property: &str,
        message: &Message,
        delivery: Option<DeliveryId>,
    ) {
        if self.stopping.is_some() {
            // Left unacknowledged: the session keeps it for the hub's next life.
            return;
        }
        if let Some(topic) = &message.response_topic
            && let Err(reason) = self.check_response_topic(prefix, topic)
        {
            let reason = format!("its Response Topic {reason}");
            self.notice(Notice::RequestDropped { topic: message.topic.clone(), reason });
            return self.acknowledge_now(delivery);
        }
        if message.expiry == Some(0) {
            let reason = "it had expired".into();
            self.notice(Notice::RequestDropped { topic: message.topic.clone(), reason });
            return self.acknowledge_now(delivery);
        }
        let reply = Reply::new(message, delivery, now.monotonic);
        match self.requests.seen(&reply) {
            Some(Seen::InProgress) => return,
            Some(Seen::Answered { answer, publish }) => {
                return self.answer_again(reply, &answer, publish, delivery);
            }
            None => {}
        }
        match self.admit(device, message) {
            Ok(policy) => self.execute(now, device, property, message, reply, policy),
            Err(answer) => self.respond(now, &reply, &answer, device, property, now.monotonic),
        }
    }

    /// Decides whether a request may reach its device.
    fn admit(&self, device: &str, message: &Message) -> Result<DevicePolicy, Answer> {
        let refuse = |status, text: String| Err(Answer::failure(status, text));
        let itself = DevicePolicy { deadline: self.config.deadline, execute_stale: true };
        let policy = if device == self.config.client_id {
            itself
        } else if let Some(policy) = self.config.devices.get(device) {
            *policy
        } else {
            return refuse(Status::NotFound, format!("there is no device `{device}`"));
        };
        if message.retain {
            return refuse(Status::BadRequest, "a retained request is not executed".into());
        }
        if message.payload.len() > self.config.max_payload {
            let (is, max) = (message.payload.len(), self.config.max_payload);
            let text = format!("the payload of {is} bytes is larger than the {max} allowed");
            return refuse(Status::BadRequest, text);
        }
        if message.expiry.is_none() && !policy.execute_stale && self.may_be_stale() {
            let text = "the request waited while the hub was away; send it again, \
                        or with a Message Expiry Interval";
            return refuse(Status::Conflict, text.into());
        }
        if self.requests.waiting(device) >= self.config.queue {
            let text = format!("{} requests wait for `{device}` already", self.config.queue);
            return refuse(Status::Busy, text);
        }
        Ok(policy)
    }

    fn execute(
        &mut self,
        now: Now,
        device: &str,
        property: &str,
        message: &Message,
        reply: Reply,
        policy: DevicePolicy,
    ) {
        let allowed = now.monotonic + policy.deadline;
        let deadline = reply.expires.map_or(allowed, |expires| expires.min(allowed));
        let id = self.requests.insert(Pending {
            device: device.to_owned(),
            property: property.to_owned(),
            arrived: now.monotonic,
            deadline,
            reply,
        });
        if device == self.config.client_id && property == "absences" {
            let absences = serde_json::to_value(&self.wills.memory().decided)
                .expect("an absence has only text keys");
            return self.on_answered(now, id, Answer::json(&absences));
        }
        self.outputs.push_back(Output::Execute(Request {
            id,
            device: device.to_owned(),
            property: property.to_owned(),
            payload: message.payload.clone(),
            content_type: message.content_type.clone(),
            remaining: deadline - now.monotonic,
        }));
    }

    /// Applies the Response Topic policy; the error completes "its Response Topic ...".
    fn check_response_topic(&self, prefix: Option<&Prefix>, name: &str) -> Result<(), String> {
        topic::check_name(name)?;
        let topics = &self.config.topics;
        let own = topics
            .response
            .match_name(prefix, name)
            .is_some_and(|values| values.contains(&("client_id", &self.config.client_id)));
        if own || topics.request.match_name(prefix, name).is_some() {
            return Err(format!("`{name}` is one that the hub subscribes to"));
        }
        if topics.presence.match_name(prefix, name).is_some()
            || topics.absence.match_name(prefix, name).is_some()
        {
            return Err(format!("`{name}` tells of a hub's presence"));
        }
        match prefix {
            Some(prefix) if !prefix.contains(name) => {
                let allowed = self.config.allow_responses.iter().any(|f| f.matches(name));
                allowed.then_some(()).ok_or_else(|| {
                    format!("`{name}` is neither below the prefix `{prefix}` nor allowed")
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn may_be_stale(&self) -> bool {
        match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => {
                connection.session_present && !connection.fence.is_back()
            }
            _ => false,
        }
    }

    fn fence_is_back(&self) -> bool {
        matches!(&self.phase, Phase::Online(connection) if connection.fence.is_back())
    }

    fn acknowledge_now(&mut self, delivery: Option<DeliveryId>) {
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
