//! The hub: one state machine over connection, session, wills, requests and outbox.

mod connecting;
mod receiving;
mod responding;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    Absence, DeliveryId, Fatal, Generation, Input, Memory, Message, Notice, Now, Output, QoS,
    backoff::Backoff,
    outbox::{Kind, Outbox, Taken, Window},
    requests::Requests,
    topic::{Prefix, Templates, TopicFilter},
    wills::Wills,
};

/// Decides what the hub does.
///
/// Drive it so: call [`Hub::handle`] with one input, drain [`Hub::poll_output`] until it yields nothing,
/// wait for the next input or for [`Hub::poll_timeout`], and pass [`Input::Elapsed`] when that comes.
/// A new hub wants [`Input::Elapsed`] at once. After [`Output::Stopped`] nothing follows.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    entropy: Entropy,
    outputs: VecDeque<Output>,
    phase: Phase,
    /// Consecutive connections whose CONNACK contradicted the stored prefix.
    contradictions: u32,
    backoff: Backoff,
    wills: Wills,
    requests: Requests,
    outbox: Outbox,
    states: BTreeMap<(String, String), State>,
    revision: u64,
    /// Deliveries that are acknowledged in the order in which they came (MQTT 4.6).
    deliveries: VecDeque<(DeliveryId, bool)>,
    /// Deliveries whose evidence must be stored first.
    unstored: Vec<(u64, DeliveryId)>,
    stopping: Option<Stopping>,
}

/// What the hub needs to know before it starts.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The client identifier, and the hub's topic level.
    pub client_id: String,
    /// Topic templates.
    pub topics: Templates,
    /// Response Topics outside the prefix that are answered.
    pub allow_responses: Vec<TopicFilter>,
    /// Whether the hub refuses to run without Response Information from CONNACK.
    pub require_response_information: bool,
    /// The prefix where the broker offers none.
    pub fallback_prefix: Option<Prefix>,
    /// Will Delay Interval.
    pub will_delay: Duration,
    /// How long late copies may take after the fence.
    pub settle: Duration,
    /// How long the fence may take.
    pub fence_timeout: Duration,
    /// How long answers may take after [`Input::Shutdown`].
    pub grace: Duration,
    /// The devices.
    pub devices: BTreeMap<String, DevicePolicy>,
    /// Deadline of requests to the hub itself.
    pub deadline: Duration,
    /// Requests that one device may have waiting.
    pub queue: usize,
    /// Largest payload of a request, in bytes.
    pub max_payload: usize,
}

/// How requests to one device are treated.
#[derive(Clone, Copy, Debug)]
pub struct DevicePolicy {
    /// How long the device may take.
    pub deadline: Duration,
    /// Whether a request that waited while the hub was away is executed.
    pub execute_stale: bool,
}

/// A source of random bytes, given by the driver.
struct Entropy(Box<dyn FnMut() -> [u8; 16] + Send>);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[derive(Clone, Debug)]
enum Phase {
    /// Waiting for the time of the next attempt; `unused` is a will that no broker has seen.
    Waiting { until: Duration, unused: Option<Generation> },
    /// The generation must be stored before CONNECT.
    Storing { revision: u64, generation: Generation },
    /// CONNECT was sent.
    Connecting { armed: Option<Generation> },
    /// SUBSCRIBE was sent.
    Subscribing(Connection),
    /// SUBACK has come: the hub answers, and says `online` once the fence is back.
    Online(Connection),
    /// The clean end must be stored before DISCONNECT.
    Closing { revision: u64 },
    /// DISCONNECT was sent.
    Disconnecting(Next),
    /// Nothing follows.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Reconnect,
    Wait,
    Stop(Result<(), Fatal>),
}

/// One connection that carries the right will.
#[derive(Clone, Debug)]
struct Connection {
    generation: Generation,
    prefix: Option<Prefix>,
    session_present: bool,
    window: Window,
    fence: Fence,
    /// The hub has seen its own `online`: an `offline` after it has replaced it.
    echoed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    /// Not sent yet.
    Unsent,
    /// Sent; given up at this time.
    Sent { until: Duration },
    /// Back; the outcomes are decided at this time.
    Settling { until: Duration },
    /// The outcomes are decided; the fence may still come.
    Decided { fenced: bool },
}

impl Fence {
    fn is_back(self) -> bool {
        matches!(self, Self::Settling { .. } | Self::Decided { fenced: true })
    }
}

#[derive(Clone, Debug)]
struct State {
    payload: Bytes,
    content_type: crate::ContentType,
    retain: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stopping {
    until: Duration,
    farewell: bool,
}

impl Hub {
    /// Makes a hub that remembers `memory`; `entropy` yields fresh random bytes at each call.
    pub fn new(
        config: HubConfig,
        memory: Memory,
        entropy: impl FnMut() -> [u8; 16] + Send + 'static,
    ) -> Self {
        Self {
            config,
            entropy: Entropy(Box::new(entropy)),
            outputs: VecDeque::new(),
            phase: Phase::Waiting { until: Duration::ZERO, unused: None },
            contradictions: 0,
            backoff: Backoff::default(),
            wills: Wills::new(memory),
            requests: Requests::default(),
            outbox: Outbox::default(),
            states: BTreeMap::new(),
            revision: 0,
            deliveries: VecDeque::new(),
            unstored: Vec::new(),
            stopping: None,
        }
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected(connack) => self.on_connected(connack),
            Input::Disconnected(cause) => self.on_disconnected(now, cause),
            Input::Subscribed { reason_codes } => self.on_subscribed(now, &reason_codes),
            Input::Received { message, delivery } => self.on_received(now, message, delivery),
            Input::Published { id, reason_code } => self.on_published(id, reason_code),
            Input::Stored { revision } => self.on_stored(revision),
            Input::Answered { request, answer } => self.on_answered(now, request, answer),
            Input::State { device, property, payload, content_type, retain } => {
                let state = State { payload, content_type, retain };
                self.on_state(device, property, state);
            }
            Input::Elapsed => {}
            Input::Shutdown => self.on_shutdown(now),
        }
        self.on_time(now);
        self.pump(now);
    }

    /// Yields the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Elapsed`] is wanted, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Online(connection) => match connection.fence {
                Fence::Sent { until } | Fence::Settling { until } => Some(until),
                Fence::Unsent | Fence::Decided { .. } => None,
            },
            Phase::Stopped => return None,
            Phase::Storing { .. }
            | Phase::Connecting { .. }
            | Phase::Subscribing(_)
            | Phase::Closing { .. }
            | Phase::Disconnecting(_) => None,
        };
        let stopping = self.stopping.map(|stopping| stopping.until);
        [phase, stopping, self.requests.next_deadline()].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Now) {
        self.requests.expire_replies(now.monotonic);
        while let Some(id) = self.requests.overdue(now.monotonic) {
            self.time_out(now, id);
        }
        if let Phase::Waiting { until, unused } = self.phase
            && until <= now.monotonic
        {
            self.begin_attempt(now, unused);
        }
        self.decide_when_due(now);
        self.go_on_stopping(now);
    }

    fn on_state(&mut self, device: String, property: String, state: State) {
        if let Phase::Online(connection) = &self.phase {
            let prefix = connection.prefix.clone();
            self.publish_state(prefix.as_ref(), &device, &property, &state);
        }
        self.states.insert((device, property), state);
    }

    fn publish_state(
        &mut self,
        prefix: Option<&Prefix>,
        device: &str,
        property: &str,
        state: &State,
    ) {
        let values = [("device", device), ("property", property)];
        let message = Message {
            topic: self.config.topics.state.build(prefix, &values),
            payload: state.payload.clone(),
            qos: QoS::AtLeastOnce,
            retain: state.retain,
            utf8: true,
            content_type: Some(state.content_type.as_str().into()),
            ..Message::default()
        };
        self.send(message, Kind::State, None);
    }

    fn publish_absence(&mut self, prefix: Option<&Prefix>, absence: &Absence) {
        let payload = serde_json::to_vec(absence).expect("an absence has only text keys");
        let message = Message {
            topic: self
                .config
                .topics
                .absence
                .build(prefix, &[("client_id", &self.config.client_id)]),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            utf8: true,
            content_type: Some("application/json".into()),
            ..Message::default()
        };
        self.send(message, Kind::Absence, None);
    }

    fn send(
        &mut self,
        message: Message,
        kind: Kind,
        expires: Option<Duration>,
    ) -> Option<crate::PublishId> {
        match self.outbox.push(message, kind, expires) {
            Ok(id) => Some(id),
            Err(topic) => {
                self.notice(Notice::QueueFull { topic });
                None
            }
        }
    }

    /// Hands over what the window allows.
    fn pump(&mut self, now: Now) {
        let Phase::Online(connection) = &self.phase else { return };
        let window = connection.window;
        while let Some(taken) = self.outbox.take(now.monotonic, window) {
            match taken {
                Taken::Publish(id, message) => {
                    self.outputs.push_back(Output::Publish { id, message });
                }
                Taken::Dropped(kind, topic) => {
                    self.finish_deliveries(kind);
                    self.notice(Notice::QueueFull { topic });
                }
            }
        }
    }

    fn store(&mut self) -> u64 {
        self.revision += 1;
        let memory = self.wills.memory().clone();
        self.outputs.push_back(Output::Store { revision: self.revision, memory });
        self.revision
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    /// Marks a delivery as done, and acknowledges all that are done in order.
    fn acknowledge(&mut self, delivery: DeliveryId) {
        if let Some(entry) = self.deliveries.iter_mut().find(|(id, _)| *id == delivery) {
            entry.1 = true;
        }
        while let Some((id, true)) = self.deliveries.front() {
            self.outputs.push_back(Output::Acknowledge(*id));
            self.deliveries.pop_front();
        }
    }

    fn finish_deliveries(&mut self, kind: Kind) {
        if let Kind::Response(deliveries) = kind {
            for delivery in deliveries {
                self.acknowledge(delivery);
            }
        }
    }
}
