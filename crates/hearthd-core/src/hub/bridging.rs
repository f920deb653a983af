//! What devices say over MQTT themselves: never before an answer to a requester, never outside of what is declared and
//! allowed, and never once nobody waits for it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;

use super::{
    Hub, Inbound, Phase,
    traffic::{Awaited, Traffic, Waiting},
};
use crate::{
    BRIDGE_BYTES, BRIDGE_MESSAGES, BridgeInput, BridgeOutput, DeclaredTopics, Delivery, Expects,
    Message, Notice, Now, Output, Publication, PublishError, PublishId, QoS, RequestId, Status,
    Subscriber, Subscription, TopicRules,
    expiry::whole_seconds,
    topic::{TopicFilter, check_name},
};

/// All that devices have under way.
#[derive(Debug, Default)]
pub(super) struct Bridge {
    devices: BTreeMap<Arc<str>, Bridged>,
    /// Who listens to a topic, by filter; those without a wildcard, and the others.
    names: BTreeMap<String, Vec<Arc<str>>>,
    patterns: Vec<(TopicFilter, Arc<str>)>,
    /// What devices follow of others, by topic name.
    followed: BTreeMap<String, Followed>,
    /// The devices that need a filter, whether they may or not.
    subscribers: BTreeMap<String, Vec<Arc<str>>>,
    in_flight: BTreeMap<PublishId, Sent>,
    traffic: Traffic,
    /// The filters over which connections have ended, and how often.
    suspected: BTreeMap<String, u32>,
}

/// A state that devices follow.
#[derive(Clone, Debug, Default)]
struct Followed {
    /// As the devices name it, `DEVICE/PROPERTY`.
    address: String,
    devices: BTreeSet<Arc<str>>,
}

/// One device that uses topics.
#[derive(Debug, Default)]
struct Bridged {
    /// What it subscribes to: its own topics, and the states that it follows once the prefix is known.
    filters: Vec<TopicFilter>,
    /// Why it may not, by the rules.
    objection: Option<String>,
    /// The filters that the broker does not grant, and why.
    refused: BTreeMap<String, String>,
    /// What the device was last told of that.
    told: Option<String>,
    link: Link,
}

/// What a device knows of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Link {
    /// There is no instance that could.
    #[default]
    Unwanted,
    /// It waits for a connection.
    Wanted,
    /// The broker is asked for its filters.
    Asked,
    /// It was told that there is one.
    Up,
}

/// A message that the broker has not acknowledged.
#[derive(Debug)]
struct Sent {
    device: Arc<str>,
    number: u64,
    topic: String,
    /// Its PUBACK is no outcome: only what comes back is, or nobody is there any more who would be told.
    reply: bool,
    qos: QoS,
    at: Duration,
    size: usize,
}

impl Bridge {
    fn output(device: &Arc<str>, output: BridgeOutput) -> Output {
        Output::Bridge { device: device.clone(), output }
    }

    fn outcome(device: &Arc<str>, number: u64, result: Result<Bytes, PublishError>) -> Output {
        Self::output(device, BridgeOutput::Outcome { number, result })
    }

    /// Forgets what a device has under way. What has left has its PUBACK still to come, and counts no more.
    fn forget(&mut self, device: &Arc<str>) {
        self.traffic.forget(device);
        let sent = self.in_flight.values_mut().filter(|sent| sent.device == *device);
        sent.for_each(|sent| sent.reply = true);
    }

    /// Returns when the oldest message was sent that has no PUBACK yet, and its topic.
    pub(super) fn oldest_unanswered(&self) -> Option<(Duration, &str)> {
        // Their IDs go up.
        let oldest = self.in_flight.values().find(|sent| sent.qos == QoS::AtLeastOnce)?;
        Some((oldest.at, oldest.topic.as_str()))
    }

    /// Returns how many messages have no PUBACK yet.
    pub(super) fn unanswered(&self) -> usize {
        self.in_flight.values().filter(|sent| sent.qos == QoS::AtLeastOnce).count()
    }

    /// Returns when something is over: a message that waits, or the wait for a reply.
    pub(super) fn due(&self) -> Option<Duration> {
        self.traffic.due()
    }

    /// Returns the devices that listen to a topic.
    fn listeners(&self, topic: &str) -> BTreeSet<Arc<str>> {
        let exact = self.names.get(topic).into_iter().flatten();
        let patterns = self.patterns.iter().filter(|(filter, _)| filter.matches(topic));
        exact.chain(patterns.map(|(_, device)| device)).cloned().collect()
    }

    /// Returns whether devices follow the state of a topic.
    pub(super) fn follows(&self, topic: &str) -> bool {
        self.followed.contains_key(topic)
    }

    /// Returns what a device subscribes to, whether it may or not.
    pub(super) fn filters_of(&self, device: &str) -> &[TopicFilter] {
        self.devices.get(device).map_or(&[], |bridged| &bridged.filters)
    }

    fn listen(&mut self, device: &Arc<str>, topics: &DeclaredTopics) {
        for filter in &topics.subscribe {
            if filter.has_wildcard() {
                self.patterns.push((filter.clone(), device.clone()));
            } else {
                self.names.entry(filter.as_str().to_owned()).or_default().push(device.clone());
            }
        }
    }
}

impl Hub {
    /// Takes what a device wants of MQTT; a device that is not configured any more gets a refusal.
    pub(super) fn on_bridge(&mut self, now: Now, device: &str, input: BridgeInput) {
        let Some((device, bridged)) = self.bridge.devices.get_key_value(device) else {
            if let BridgeInput::Publish(publication) = input {
                let refused =
                    Bridge::outcome(&device.into(), publication.number, Err(PublishError::Refused));
                self.outputs.push_back(refused);
            }
            return;
        };
        let device = device.clone();
        match input {
            BridgeInput::Begun => {
                if let Some(reason) = bridged.told.clone() {
                    let told = BridgeOutput::Refused { reason: Some(reason) };
                    self.outputs.push_back(Bridge::output(&device, told));
                }
                // What the one before has under way is none of this one's business.
                self.bridge.forget(&device);
                if let Some(bridged) = self.bridge.devices.get_mut(&device) {
                    bridged.link = Link::Wanted;
                }
                self.join_bridges(now);
            }
            BridgeInput::Publish(publication) => {
                let number = publication.number;
                if let Err(error) = self.take_publication(now, &device, publication) {
                    self.outputs.push_back(Bridge::outcome(&device, number, Err(error)));
                }
            }
        }
    }

    fn take_publication(
        &mut self,
        now: Now,
        device: &Arc<str>,
        mut publication: Publication,
    ) -> Result<(), PublishError> {
        let bridged = self.bridge.devices.get(device).ok_or(PublishError::Refused)?;
        let policy = self.config.devices.get(&**device).ok_or(PublishError::Refused)?;
        let declared = if publication.expects == Expects::Answer {
            let asked = policy.topics.may_ask(&publication.topic);
            let topic = asked.map(|(device, property)| self.request_topic(device, property));
            topic.map(|topic| publication.topic = topic).is_some()
        } else {
            check_name(&publication.topic).is_ok() && policy.topics.may_publish(&publication.topic)
        };
        if !declared || bridged.objection.is_some() {
            return Err(PublishError::Refused);
        }
        let Phase::Online(connection) = &self.phase else { return Err(PublishError::Gone) };
        if bridged.link != Link::Up || self.stopping.is_some() {
            return Err(PublishError::Gone);
        }
        let mut until = now.monotonic + publication.expiry.min(LONGEST_EXPIRY);
        let mut via = None;
        if let Some(request) = publication.request {
            until = until.min(self.requests.awaited_until(request).ok_or(PublishError::Late)?);
            via = self.requests.via(request);
        }
        let via = (publication.expects == Expects::Answer).then(|| match via {
            Some(via) => format!("{via},{device}"),
            None => device.to_string(),
        });
        if until <= now.monotonic {
            return Err(PublishError::Late);
        }
        let names = via.as_ref().map_or(0, String::len);
        let size = publication.topic.len() + publication.payload.len() + names + OVERHEAD;
        let (messages, bytes) = self.bridge.traffic.load(device);
        if messages >= BRIDGE_MESSAGES || (messages > 0 && bytes + size > BRIDGE_BYTES) {
            return Err(PublishError::Busy);
        }
        let response_topic = self.reply_topic();
        if size + response_topic.len() > connection.window.maximum_packet_size().min(BRIDGE_BYTES) {
            return Err(PublishError::TooLarge);
        }
        self.bridge.traffic.add(device, Waiting { publication, until, size, via });
        Ok(())
    }

    /// Hands over what devices have to say, where nothing of the hub's own waits.
    pub(super) fn pump_bridges(&mut self, now: Now) {
        if !self.bridge.traffic.has_waiting() {
            return;
        }
        let Phase::Online(connection) = &self.phase else { return };
        let window = connection.window;
        while !self.outbox.wants_window() {
            let in_flight = self.bridge.in_flight.len();
            let most = if self.denied.is_careful { 1 } else { window.of_devices().max(1) };
            let others = if self.denied.is_careful { self.outbox.unanswered() } else { 0 };
            if in_flight + others >= most {
                break;
            }
            let Some((device, waiting)) = self.bridge.traffic.next() else { break };
            let Waiting { publication, until, size, via } = waiting;
            let number = publication.number;
            let is_over = until <= now.monotonic;
            if is_over || self.denied.aside.is_aside(&publication.topic, now.monotonic) {
                let error = if is_over { PublishError::Late } else { PublishError::Refused };
                self.outputs.push_back(Bridge::outcome(&device, number, Err(error)));
                continue;
            }
            let mut message = Message {
                topic: publication.topic,
                payload: publication.payload,
                qos: publication.qos,
                retain: publication.retain,
                expiry: Some(whole_seconds(until - now.monotonic)),
                ..Message::default()
            };
            window.limit(&mut message);
            if window.of_devices() == 0 {
                // The broker takes one message at a time: an answer would have to wait for this one's PUBACK.
                message.qos = QoS::AtMostOnce;
            }
            let reply = publication.expects != Expects::Nothing;
            if reply {
                let correlation: [u8; CORRELATION] = (self.entropy.0)();
                message.response_topic = Some(self.reply_topic());
                message.correlation_data = Some(Bytes::copy_from_slice(&correlation));
                message.user_properties.extend(via.map(|via| (VIA.to_owned(), via)));
                let request = publication.request;
                let asks = publication.expects == Expects::Answer;
                let awaited = Awaited { correlation, request, until, size, asks };
                self.bridge.traffic.add_reply(&device, number, awaited);
            } else {
                self.bridge.traffic.count(&device, size);
            }
            let id = self.outbox.new_id();
            let sent = Sent {
                device,
                number,
                topic: message.topic.clone(),
                reply,
                qos: message.qos,
                at: now.monotonic,
                size,
            };
            self.bridge.in_flight.insert(id, sent);
            self.outputs.push_back(Output::Publish { id, message });
        }
    }

    /// Takes PUBACK for a device's message; returns whether it was one.
    pub(super) fn on_bridge_published(&mut self, id: PublishId, reason_code: u8) -> bool {
        let Some(sent) = self.bridge.in_flight.remove(&id) else { return false };
        if !sent.reply {
            self.bridge.traffic.discount(&sent.device, sent.size);
        }
        self.acquit(&sent.topic);
        let nobody_hears = reason_code == NO_MATCHING_SUBSCRIBERS;
        if nobody_hears && self.bridge.traffic.asks(&sent.device, sent.number) {
            self.bridge.traffic.end(&sent.device, sent.number);
            let nobody = answered(Status::NotFound, "no hub serves the device");
            self.outputs.push_back(Bridge::outcome(&sent.device, sent.number, Ok(nobody)));
            return true;
        }
        let refused = reason_code >= REFUSED;
        let mut is_open = !sent.reply;
        if refused {
            // One whose reply has come, or is not awaited any more, has had its outcome.
            is_open |= self.bridge.traffic.end(&sent.device, sent.number);
            self.notice(Notice::PublishRefused { topic: sent.topic, reason_code });
        }
        if is_open && self.bridge.devices.contains_key(&sent.device) {
            let result = if refused { Err(PublishError::Refused) } else { Ok(Bytes::new()) };
            self.outputs.push_back(Bridge::outcome(&sent.device, sent.number, result));
        }
        true
    }

    /// Takes a message that came for devices, past whatever of the hub's own waits; returns it where it is for none.
    pub(super) fn take_bridged(
        &mut self,
        message: Message,
        delivery: Option<Delivery>,
    ) -> Option<(Message, Option<Delivery>)> {
        let is_reply = self.bridge.traffic.awaits_reply() && message.topic == self.reply_topic();
        let listeners =
            if is_reply { BTreeSet::new() } else { self.bridge.listeners(&message.topic) };
        // Most messages are requests, and devices that use MQTT are few.
        if !is_reply && listeners.is_empty() && !self.bridge.follows(&message.topic) {
            return Some((message, delivery));
        }
        let followed = self.bridge.followed.get(&message.topic).cloned().unwrap_or_default();
        if self.serving.takes_back(&message.topic) {
            self.tell_bridges(&followed.devices, &followed.address, &message);
            return Some((message, delivery));
        }
        if let Some(delivery) = delivery {
            if self.has_left || self.deliveries.len() >= self.most_held() {
                // It comes again on another connection, behind those that were left before it.
                self.has_left = true;
                return None;
            }
            self.deliveries.push_back(Inbound::new(delivery.id));
            self.acknowledge(delivery.id);
        }
        if is_reply {
            self.take_reply(&message);
        }
        self.tell_bridges(&listeners, &message.topic, &message);
        self.tell_bridges(&followed.devices, &followed.address, &message);
        None
    }

    /// Hands a message to devices, with its topic as they know it.
    fn tell_bridges(&mut self, devices: &BTreeSet<Arc<str>>, topic: &str, message: &Message) {
        for device in devices {
            let link = self.bridge.devices.get(device).map(|bridged| bridged.link);
            if matches!(link, Some(Link::Up | Link::Asked)) {
                let output = BridgeOutput::Message {
                    topic: topic.to_owned(),
                    payload: message.payload.clone(),
                    retained: message.retain,
                };
                self.outputs.push_back(Bridge::output(device, output));
            }
        }
    }

    fn take_reply(&mut self, message: &Message) {
        let correlation = message.correlation_data.as_deref();
        let correlation = correlation.and_then(|data| <[u8; CORRELATION]>::try_from(data).ok());
        let awaited = correlation.and_then(|data| self.bridge.traffic.take_reply(&data));
        if let Some((device, number, asked)) = awaited {
            let reply = if asked { answer_in(message) } else { message.payload.clone() };
            self.outputs.push_back(Bridge::outcome(&device, number, Ok(reply)));
        }
    }

    /// A request has its answer: what belongs to it need not leave any more, and no reply is awaited.
    pub(super) fn end_publications_of(&mut self, request: RequestId) {
        let ends = self.bridge.traffic.of_request(request);
        self.end_publications(&ends, PublishError::Late);
    }

    /// Gives up what has waited for too long.
    pub(super) fn give_up_publications(&mut self, now: Now) {
        if self.bridge.due().is_some_and(|due| due <= now.monotonic) {
            let ends = self.bridge.traffic.overdue(now.monotonic);
            self.end_publications(&ends, PublishError::Late);
        }
    }

    fn end_publications(&mut self, ends: &[(Arc<str>, u64)], error: PublishError) {
        for (device, number) in ends {
            if self.bridge.traffic.end(device, *number) {
                self.outputs.push_back(Bridge::outcome(device, *number, Err(error)));
            }
        }
    }

    /// The connection is gone: what devices had under way has come to nothing, and they are told.
    pub(super) fn disconnect_bridges(&mut self) {
        let ends = self.bridge.traffic.all();
        self.end_publications(&ends, PublishError::Gone);
        for (_, sent) in std::mem::take(&mut self.bridge.in_flight) {
            // One with a reply has had its outcome above.
            if !sent.reply {
                self.bridge.traffic.discount(&sent.device, sent.size);
            }
            if !sent.reply && self.bridge.devices.contains_key(&sent.device) {
                let gone = Bridge::outcome(&sent.device, sent.number, Err(PublishError::Gone));
                self.outputs.push_back(gone);
            }
        }
        for (device, bridged) in &mut self.bridge.devices {
            if bridged.link == Link::Up {
                let down = BridgeOutput::Link { up: false };
                self.outputs.push_back(Bridge::output(device, down));
            }
            if bridged.link != Link::Unwanted {
                bridged.link = Link::Wanted;
            }
        }
    }

    /// A connection has ended while the broker had not answered a SUBSCRIBE with these filters of devices.
    pub(super) fn suspect_filters(&mut self, filters: &[String]) {
        let [filter] = filters else { return };
        let times = self.bridge.suspected.entry(filter.clone()).or_default();
        *times += 1;
        if *times >= SUSPICIONS {
            let reason = format!("the broker ends the connection over its topic `{filter}`");
            self.refuse_filter(filter, &reason);
        }
    }

    /// Decides anew which devices may use their topics, once devices, rules or prefix have changed.
    pub(super) fn judge_bridges(&mut self) {
        let known = self.wills.known_prefix().map(|known| known.prefix.clone());
        let devices = &self.config.devices;
        let rules = TopicRules {
            topics: &self.config.topics,
            client_id: &self.config.client_id,
            allow: &self.config.allow_bridges,
            prefix: known.as_ref().and_then(Option::as_ref),
        };
        let declared = devices.iter().map(|(id, policy)| (id.as_str(), &policy.topics));
        // Before the first connection nobody knows what lies below the prefix.
        let mut objections = match &known {
            Some(_) => rules.objections(declared),
            None => BTreeMap::new(),
        };
        let uses = |id: &str| devices.get(id).is_some_and(|policy| !policy.topics.is_empty());
        let gone: Vec<Arc<str>> =
            self.bridge.devices.keys().filter(|id| !uses(id)).cloned().collect();
        for id in gone {
            self.bridge.devices.remove(&id);
            self.bridge.forget(&id);
        }
        for id in devices.keys().filter(|id| uses(id)) {
            if !self.bridge.devices.contains_key(id.as_str()) {
                self.bridge.devices.insert(id.as_str().into(), Bridged::default());
            }
        }
        (self.bridge.names, self.bridge.patterns) = (BTreeMap::new(), Vec::new());
        (self.bridge.subscribers, self.bridge.followed) = (BTreeMap::new(), BTreeMap::new());
        let ids: Vec<Arc<str>> = self.bridge.devices.keys().cloned().collect();
        for id in ids {
            let Some(policy) = self.config.devices.get(&*id) else { continue };
            let objection = objections.remove(&*id).map(|objection| objection.to_string());
            let mut filters = policy.topics.subscribe.clone();
            if objection.is_none() {
                self.bridge.listen(&id, &policy.topics);
            }
            // Before the first connection nobody knows where states are.
            let follow = known.iter().flat_map(|_| &policy.topics.follow);
            for (device, property) in follow {
                let values = [("device", device.as_str()), ("property", property.as_str())];
                let prefix = known.as_ref().and_then(Option::as_ref);
                let topic = self.config.topics.state.build(prefix, &values);
                filters.extend(TopicFilter::parse(&topic).ok());
                if objection.is_none() {
                    let followed = self.bridge.followed.entry(topic).or_default();
                    followed.address = format!("{device}/{property}");
                    followed.devices.insert(id.clone());
                }
            }
            // What is only followed, a device can do without.
            let needed = &policy.topics.subscribe;
            for filter in needed {
                let filter = filter.as_str().to_owned();
                self.bridge.subscribers.entry(filter).or_default().push(id.clone());
            }
            let Some(bridged) = self.bridge.devices.get_mut(&id) else { continue };
            bridged.refused.retain(|refused, _| needed.iter().any(|own| own.as_str() == refused));
            if objection.is_some() && matches!(bridged.link, Link::Up | Link::Asked) {
                if bridged.link == Link::Up {
                    let down = BridgeOutput::Link { up: false };
                    self.outputs.push_back(Bridge::output(&id, down));
                }
                bridged.link = Link::Wanted;
                for number in self.bridge.traffic.waiting_of(&id) {
                    self.bridge.traffic.end(&id, number);
                    let refused = Bridge::outcome(&id, number, Err(PublishError::Refused));
                    self.outputs.push_back(refused);
                }
            }
            bridged.objection = objection;
            bridged.filters = filters;
            self.tell_refusal(&id);
        }
    }

    /// Tells a device whether it may use its topics, where that has changed.
    fn tell_refusal(&mut self, device: &Arc<str>) {
        let Some(bridged) = self.bridge.devices.get_mut(device) else { return };
        let reason =
            bridged.objection.as_ref().or_else(|| bridged.refused.values().next()).cloned();
        if bridged.told != reason {
            bridged.told.clone_from(&reason);
            self.outputs.push_back(Bridge::output(device, BridgeOutput::Refused { reason }));
        }
    }

    /// Returns the filters that the session shall have for devices.
    pub(super) fn bridge_filters(&self) -> BTreeSet<&str> {
        let fit = self.bridge.devices.iter().filter(|(_, bridged)| bridged.objection.is_none());
        fit.flat_map(|(_, bridged)| &bridged.filters).map(TopicFilter::as_str).collect()
    }

    /// Asks the broker for the filters of each device that waits for a connection.
    pub(super) fn join_bridges(&mut self, now: Now) {
        if !matches!(self.phase, Phase::Online(_)) || self.stopping.is_some() {
            return;
        }
        let mut wanted = Vec::new();
        let mut asking = BTreeSet::new();
        let Bridge { devices, suspected, followed, .. } = &mut self.bridge;
        for (id, bridged) in devices {
            if bridged.link != Link::Wanted || bridged.objection.is_some() {
                continue;
            }
            bridged.link = Link::Asked;
            asking.insert(id.clone());
            for filter in &bridged.filters {
                let filter = filter.as_str().to_owned();
                if suspected.get(&filter).is_some_and(|times| *times >= SUSPICIONS) {
                    continue;
                }
                let subscriber = Subscriber::Device;
                // The state of another device may be told by this hub.
                let no_local = !followed.contains_key(&filter);
                wanted.push(Subscription { filter, retained: true, no_local, subscriber });
            }
        }
        self.filters.ask(wanted);
        self.send_filters(now);
        self.raise_links(&asking);
    }

    /// The broker has answered about these filters: the devices that need no others are told that there is a connection.
    pub(super) fn raise_links_of(&mut self, filters: &[String]) {
        let subscribers = &self.bridge.subscribers;
        let devices = filters.iter().filter_map(|filter| subscribers.get(filter)).flatten();
        let devices = devices.cloned().collect();
        self.raise_links(&devices);
    }

    /// Tells those of the devices whose filters are all granted that there is a connection.
    fn raise_links(&mut self, devices: &BTreeSet<Arc<str>>) {
        for id in devices {
            let Some(bridged) = self.bridge.devices.get_mut(id) else { continue };
            if bridged.link != Link::Asked || !bridged.refused.is_empty() {
                continue;
            }
            let needed = self.config.devices.get(&**id).map(|policy| &policy.topics.subscribe);
            let is_asked = |filter: &TopicFilter| self.filters.asks_for(filter.as_str());
            if !needed.into_iter().flatten().any(is_asked) {
                bridged.link = Link::Up;
                self.outputs.push_back(Bridge::output(id, BridgeOutput::Link { up: true }));
            }
        }
    }

    /// The broker has granted a filter.
    pub(super) fn grant_filter(&mut self, filter: &str) {
        self.bridge.suspected.remove(filter);
        for device in self.subscribers(filter) {
            let bridged = self.bridge.devices.get_mut(&device);
            if bridged.is_some_and(|bridged| bridged.refused.remove(filter).is_some()) {
                self.tell_refusal(&device);
            }
        }
    }

    /// The broker does not grant a filter: the devices that need it are of no use.
    pub(super) fn refuse_filter(&mut self, filter: &str, reason: &str) {
        for device in self.subscribers(filter) {
            if let Some(bridged) = self.bridge.devices.get_mut(&device) {
                bridged.refused.insert(filter.to_owned(), reason.to_owned());
                if bridged.link == Link::Up {
                    bridged.link = Link::Asked;
                    let down = BridgeOutput::Link { up: false };
                    self.outputs.push_back(Bridge::output(&device, down));
                }
            }
            self.tell_refusal(&device);
        }
    }

    fn subscribers(&self, filter: &str) -> Vec<Arc<str>> {
        self.bridge.subscribers.get(filter).cloned().unwrap_or_default()
    }

    /// Forgets over which filters connections have ended: whoever loads the configuration anew may have mended that.
    pub(super) fn forgive_filters(&mut self) {
        let suspected = std::mem::take(&mut self.bridge.suspected);
        for bridged in self.bridge.devices.values_mut() {
            let before = bridged.refused.len();
            bridged.refused.retain(|filter, _| !suspected.contains_key(filter));
            if bridged.refused.len() < before && bridged.link == Link::Asked {
                bridged.link = Link::Wanted;
            }
        }
        for device in self.bridge.devices.keys().cloned().collect::<Vec<_>>() {
            self.tell_refusal(&device);
        }
    }

    /// Where requests for a property of any device go.
    fn request_topic(&self, device: &str, property: &str) -> String {
        let values = [("device", device), ("property", property)];
        self.config.topics.request.build(self.prefix(), &values)
    }

    /// Where replies to devices go.
    fn reply_topic(&self) -> String {
        self.own_response_topic(self.prefix(), REPLY)
    }
}

/// Reads what another device has answered, for the one that asked.
fn answer_in(message: &Message) -> Bytes {
    let status = message.user_property("__stat").and_then(|status| status.parse::<u16>().ok());
    let Some(status) = status else {
        return answered(Status::Failed, "what came back is no answer: it has no `__stat`");
    };
    let mut answer = json!({ "status": status });
    if status < 300 {
        answer["payload"] = String::from_utf8_lossy(&message.payload).into();
    }
    for (key, property) in [("message", "__stMsg"), ("reason", "reason")] {
        if let Some(text) = message.user_property(property) {
            answer[key] = text.into();
        }
    }
    answer.to_string().into()
}

/// Writes what the hub itself answers to a device that asks another one.
fn answered(status: Status, message: &str) -> Bytes {
    json!({ "status": status.code(), "message": message }).to_string().into()
}

/// The purpose of the response topic where replies to devices go.
pub(super) const REPLY: &str = "reply";
/// The devices whose requests have caused a request, the first one first, with commas: the user property of this name.
pub(super) const VIA: &str = "via";
/// Of how many devices that may be.
pub(super) const LONGEST_VIA: usize = 8;
/// The reason code of PUBACK (MQTT 3.4.2.1).
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
/// Bytes of Correlation Data: some devices end the connection over more.
pub(super) const CORRELATION: usize = 16;
/// How long a message of a device is wanted at most.
const LONGEST_EXPIRY: Duration = Duration::from_secs(600);
/// What a PUBLISH packet has beside topic, payload, Response Topic and the names in [`VIA`], at most.
const OVERHEAD: usize = 64;
/// How many connections may end over a filter, alone in its SUBSCRIBE, before it is not asked for any more.
const SUSPICIONS: u32 = 2;
