//! A hub under test: the test plays broker, store, devices and clock.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Absence, Announced, Answer, Change, Connack, ContentType, Delivery, DeliveryId, DevicePolicy,
    Disconnection, Generation, Hub, HubConfig, Input, JournalRecord, Kept, Memory, Message, Now,
    Output, PropertyState, QoS, Request, RequestKey, Served, Subscription, topic::Templates,
};

pub(crate) const CLIENT_ID: &str = "hub";
static NUMBERS: AtomicU64 = AtomicU64::new(1);

pub(crate) struct TestHub {
    pub(crate) inner: Hub,
    pub(crate) now: Duration,
    /// What the system believes the time to be.
    pub(crate) unix: Duration,
    /// What the store holds.
    pub(crate) memory: Memory,
    pub(crate) journal: BTreeMap<RequestKey, JournalRecord>,
    pub(crate) served: BTreeMap<Arc<str>, Served>,
    pub(crate) announced: BTreeMap<String, Announced>,
    /// SUBSCRIBE packets without SUBACK.
    pub(crate) asked: VecDeque<Vec<Subscription>>,
    /// The last `online`.
    pub(crate) online: Option<Message>,
    pub(crate) saved: BTreeMap<String, Bytes>,
    /// What is remembered of the devices that devices have added.
    pub(crate) children: BTreeMap<String, Bytes>,
    /// Outputs that the test hub does not perform by itself.
    pub(crate) outputs: Vec<Output>,
    /// Whether the store answers at once.
    pub(crate) store_works: bool,
    /// Whether it answers that it cannot.
    pub(crate) store_fails: bool,
    next_delivery: u64,
}

/// What a device tells of a property.
pub(crate) fn state(device: &str, property: &str, payload: &'static str) -> Input {
    Input::State(PropertyState {
        device: device.into(),
        property: property.into(),
        payload: payload.into(),
        content_type: ContentType::Text,
        retain: true,
        details: Vec::new(),
    })
}

pub(crate) fn config() -> HubConfig {
    let lamp = DevicePolicy {
        properties: ["power".to_owned(), "brightness".to_owned()].into(),
        ..DevicePolicy::new(Duration::from_secs(5))
    };
    let blinds = DevicePolicy {
        properties: ["position".to_owned(), "step".to_owned()].into(),
        not_idempotent: ["step".to_owned()].into(),
        ..lamp.clone()
    };
    HubConfig {
        client_id: CLIENT_ID.into(),
        topics: Templates::default(),
        allow_responses: Vec::new(),
        allow_bridges: Vec::new(),
        require_response_information: false,
        fallback_prefix: None,
        will_delay: Duration::from_secs(10),
        settle: Duration::from_millis(300),
        fence_timeout: Duration::from_secs(10),
        keep_alive: Duration::from_secs(60),
        reconnect_spread: Duration::ZERO,
        grace: Duration::from_secs(5),
        devices: BTreeMap::from([("lamp".to_owned(), lamp), ("blinds".to_owned(), blinds)]),
        guards: Vec::new(),
        broker: "broker".into(),
        redelivery: Duration::from_secs(60),
        receive_maximum: 1024,
        deadline: Duration::from_secs(5),
        queue: 2,
        max_payload: 1024,
        discovery: None,
    }
}

pub(crate) fn connack(prefix: Option<&str>, session_present: bool) -> Connack {
    Connack {
        session_present,
        response_information: prefix.map(str::to_owned),
        ..Connack::default()
    }
}

/// CONNACK refuses with this reason code.
pub(crate) fn refused(reason_code: u8) -> Disconnection {
    Disconnection::Refused { reason_code, reason_string: None, server_reference: None }
}

impl TestHub {
    pub(crate) fn new(config: HubConfig, memory: Memory) -> Self {
        Self::with_journal(config, memory, BTreeMap::new())
    }

    pub(crate) fn with_journal(
        config: HubConfig,
        memory: Memory,
        journal: BTreeMap<RequestKey, JournalRecord>,
    ) -> Self {
        Self::with_kept(config, memory, journal, BTreeMap::new())
    }

    pub(crate) fn with_kept(
        config: HubConfig,
        memory: Memory,
        journal: BTreeMap<RequestKey, JournalRecord>,
        served: BTreeMap<Arc<str>, Served>,
    ) -> Self {
        let kept = Kept {
            memory,
            journal: journal.into_values().collect(),
            served: served.into_values().collect(),
            announced: Vec::new(),
        };
        Self::begin(config, kept)
    }

    /// Begins a life with what the store holds.
    pub(crate) fn begin(config: HubConfig, kept: Kept) -> Self {
        // No two hubs of a test give a connection the same name.
        let entropy = || {
            let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
            std::array::from_fn(|index| match index {
                0..8 => u8::try_from(number >> (5 * index) & 31).unwrap(),
                _ => 7,
            })
        };
        let by_key = |record: &JournalRecord| (record.key.clone(), record.clone());
        let memory = kept.memory.clone();
        let journal = kept.journal.iter().map(by_key).collect();
        let served = kept.served.iter().map(|row| (row.device.clone(), row.clone())).collect();
        let announced = kept.announced.iter().map(|row| (row.topic.clone(), row.clone())).collect();
        let inner = Hub::new(config, kept, entropy);
        let mut hub = Self {
            inner,
            now: Duration::from_secs(1000),
            unix: Duration::from_secs(1_700_000_000),
            memory,
            journal,
            served,
            announced,
            asked: VecDeque::new(),
            online: None,
            saved: BTreeMap::new(),
            children: BTreeMap::new(),
            outputs: Vec::new(),
            store_works: true,
            store_fails: false,
            next_delivery: 0,
        };
        hub.handle(Input::Elapsed);
        hub
    }

    /// A hub that is `online` below `alice`, for the first time.
    pub(crate) fn online() -> Self {
        let mut hub = Self::new(config(), Memory::default());
        hub.connect(connack(Some("alice"), false));
        hub.handle(Input::Disconnected(Disconnection::Requested));
        hub.go_online(true);
        hub.take();
        hub
    }

    /// The same hub after SIGKILL and a restart, connected but not yet fenced.
    pub(crate) fn restarted(&self, session_present: bool) -> Self {
        self.restarted_with(config(), session_present)
    }

    /// Likewise, with another configuration.
    pub(crate) fn restarted_with(&self, config: HubConfig, session_present: bool) -> Self {
        let (memory, journal) = (self.memory.clone(), self.journal.clone());
        let mut hub = Self::with_kept(config, memory, journal, self.served.clone());
        hub.now = self.now;
        hub.handle(Input::Elapsed);
        hub.go_online_unfenced(session_present);
        hub
    }

    /// Lets the devices answer what they are only asked to read.
    pub(crate) fn reads_are(&mut self, state: &'static str) {
        for asked in self.executed() {
            assert_eq!(asked.payload, "", "nothing is carried out");
            self.answer(&asked, Answer::text(state));
        }
    }

    pub(crate) fn go_online_unfenced(&mut self, session_present: bool) {
        self.go_online_below("alice", session_present);
    }

    pub(crate) fn go_online_below(&mut self, prefix: &str, session_present: bool) {
        self.subscribe(prefix, session_present);
        if session_present {
            self.return_to_session();
        }
    }

    /// Gets as far as SUBACK, in a session that may have no subscription.
    pub(crate) fn subscribe(&mut self, prefix: &str, session_present: bool) {
        self.connect(connack(Some(prefix), session_present));
        self.grant();
    }

    /// Grants QoS 1 for every filter that the hub asks for.
    pub(crate) fn grant(&mut self) {
        self.grant_but(|_| 1);
    }

    /// Answers every SUBSCRIBE with a reason code for each filter.
    pub(crate) fn grant_but(&mut self, code: impl Fn(&str) -> u8) {
        while let Some(asked) = self.asked.pop_front() {
            let reason_codes = asked.iter().map(|asked| code(&asked.filter)).collect();
            self.handle(Input::Subscribed { reason_codes });
        }
    }

    /// Sends back what the hub published before it subscribed, as the broker does in the session of before.
    pub(crate) fn return_to_session(&mut self) {
        let probe = self.published().into_iter().rev().find(|m| m.topic.ends_with("/session"));
        self.receive(probe.expect("the hub asks for its session"));
    }

    pub(crate) fn go_online(&mut self, session_present: bool) {
        self.go_online_unfenced(session_present);
        self.fence();
        self.settle();
        self.accept_all();
    }

    pub(crate) fn connect(&mut self, connack: Connack) {
        self.handle(Input::Connected(connack));
    }

    /// Sends the fence back, as the broker would.
    pub(crate) fn fence(&mut self) {
        let fence = self
            .published()
            .into_iter()
            .rev()
            .find(|message| message.topic.ends_with("/fence"))
            .expect("the hub has published a fence");
        self.receive(fence);
    }

    pub(crate) fn handle(&mut self, input: Input) {
        let now = Now { monotonic: self.now, unix: self.unix };
        self.inner.handle(now, input);
        while let Some(output) = self.inner.poll_output() {
            match output {
                Output::Store { revision, .. } if self.store_fails => {
                    let error = "disk full".to_owned();
                    self.inner.handle(now, Input::StoreFailed { revision, error });
                }
                Output::Store { revision, change } if self.store_works => {
                    self.write(change);
                    self.inner.handle(now, Input::Stored { revision });
                }
                output => {
                    match &output {
                        Output::Subscribe(filters) => self.asked.push_back(filters.clone()),
                        Output::Connect { .. } => self.asked.clear(),
                        Output::Publish { message, .. } if message.payload[..] == *b"online" => {
                            self.online = Some(message.clone());
                        }
                        _ => {}
                    }
                    self.outputs.push(output);
                }
            }
        }
    }

    /// Lets the time for late copies pass, and sends back what the hub publishes then.
    pub(crate) fn settle(&mut self) {
        self.advance(Duration::from_millis(300));
        self.fence();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.handle(Input::Elapsed);
    }

    /// The store holds all that it was given while it did not work.
    pub(crate) fn store_catches_up(&mut self) {
        self.store_works = true;
        let (stored, rest) =
            self.take().into_iter().partition(|output| matches!(output, Output::Store { .. }));
        self.outputs = rest;
        let stored: Vec<Output> = stored;
        for output in stored {
            let Output::Store { revision, change } = output else { unreachable!("partitioned") };
            self.write(change);
            self.handle(Input::Stored { revision });
        }
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::Memory(memory) => self.memory = memory,
            Change::Record(record) | Change::Answer(record) => {
                self.journal.insert(record.key.clone(), record);
            }
            Change::Forget(key) => {
                self.journal.remove(&key);
            }
            Change::Served(served) => {
                self.served.insert(served.device.clone(), served);
            }
            Change::Unserved(device) => {
                self.served.remove(&device);
            }
            Change::Announced(announced) => {
                self.announced.insert(announced.topic.clone(), announced);
            }
            Change::Withdrawn(topic) => {
                self.announced.remove(&topic);
            }
            Change::Device { device, state } => {
                self.saved.insert(device, state);
            }
            Change::Children { device, children } => {
                self.children.insert(device, children);
            }
            Change::Await => {}
        }
    }

    pub(crate) fn receive(&mut self, message: Message) -> DeliveryId {
        let packet_id = u16::try_from(self.next_delivery).unwrap() + 1;
        self.receive_as(packet_id, message)
    }

    /// Delivers a message with the Packet Identifier that the broker chose.
    pub(crate) fn receive_as(&mut self, packet_id: u16, message: Message) -> DeliveryId {
        let id = DeliveryId(self.next_delivery);
        self.next_delivery += 1;
        self.handle(Input::Received { message, delivery: Some(Delivery { id, packet_id }) });
        id
    }

    /// Acknowledges everything that the hub has published, as a broker would.
    pub(crate) fn accept_all(&mut self) {
        let mut accepted = Vec::new();
        loop {
            let ids: Vec<_> = self
                .outputs
                .iter()
                .filter_map(|output| match output {
                    Output::Publish { id, .. } if !accepted.contains(id) => Some(*id),
                    _ => None,
                })
                .collect();
            if ids.is_empty() {
                return;
            }
            for id in ids {
                accepted.push(id);
                self.handle(Input::Published { id, reason_code: 0 });
            }
        }
    }

    pub(crate) fn answer(&mut self, request: &Request, answer: Answer) {
        self.handle(Input::Answered { request: request.id, answer });
    }

    /// The device saves, as it does before it answers.
    pub(crate) fn save(&mut self, device: &str, state: &'static str) {
        self.handle(Input::Saved { device: device.into(), state: state.into() });
    }

    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn published(&self) -> Vec<Message> {
        self.collect(|output| match output {
            Output::Publish { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    pub(crate) fn executed(&self) -> Vec<Request> {
        self.collect(|output| match output {
            Output::Execute(request) => Some(request.clone()),
            _ => None,
        })
    }

    pub(crate) fn acknowledged(&self) -> Vec<DeliveryId> {
        self.collect(|output| match output {
            Output::Acknowledge(delivery) => Some(*delivery),
            _ => None,
        })
    }

    pub(crate) fn absences(&self) -> Vec<Absence> {
        self.collect(|output| match output {
            Output::Absence(absence) => Some(absence.clone()),
            _ => None,
        })
    }

    /// The will of the connection in use.
    pub(crate) fn will(&self) -> Message {
        self.collect(|output| match output {
            Output::Connect { will } => Some(will.clone()),
            _ => None,
        })
        .pop()
        .flatten()
        .expect("the last CONNECT carries a will")
        .message
    }

    pub(crate) fn generation(&self) -> Generation {
        self.memory.open.last().expect("a will is open").generation
    }

    fn collect<T>(&self, pick: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        self.outputs.iter().filter_map(pick).collect()
    }
}

/// A request to the lamp as a phone sends it.
pub(crate) fn request(payload: &'static str, correlation_data: &'static [u8]) -> Message {
    Message {
        topic: "alice/cmnd/lamp/power".into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        response_topic: Some("alice/response/phone/lamp".into()),
        correlation_data: Some(correlation_data.into()),
        ..Message::default()
    }
}

/// The same request once more, as its requester marks it.
pub(crate) fn retry(message: Message) -> Message {
    Message { user_properties: vec![("retry".into(), "1".into())], ..message }
}

pub(crate) fn status(message: &Message) -> &str {
    message.user_property("__stat").expect("a response has a status")
}
