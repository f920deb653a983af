//! The hub: one state machine over connection, session, wills, requests and outbox.

mod address;
mod admitting;
mod bridging;
mod config;
mod connecting;
mod denied;
mod discovery;
mod events;
mod evidence;
mod fence;
mod filters;
mod guarding;
mod happenings;
mod holding;
mod limits;
mod policy;
mod presence;
mod publishing;
mod receiving;
mod requesting;
mod responding;
mod rivals;
mod serving;
mod states;
mod stopping;
mod storing;
mod subscribing;
mod taking_back;
mod telling;
mod traffic;
mod under_way;
mod values;
mod verifying;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

pub use config::{DevicePolicy, HubConfig};
pub use guarding::Guard;
pub use serving::Served;
pub use telling::Telling;

use bridging::Bridge;
use denied::Denied;
use discovery::Announcing;
use events::Told;
use fence::Fence;
use filters::Filters;
use holding::Arrival;
use presence::Presence;
use responding::Unpublished;
use rivals::Rewriting;
use serving::Serving;
use under_way::UnderWay;
use values::Values;

use crate::{
    Announced, Change, DeliveryId, Fatal, Generation, Input, JournalRecord, Lack, Memory, Message,
    Notice, Now, Output, PropertyState,
    backoff::Backoff,
    journal::{EntryId, Journal},
    outbox::{Outbox, Window},
    requests::Requests,
    topic::Prefix,
    wills::Wills,
};

/// Decides what the hub does.
///
/// How to drive it: call [`Hub::handle`] with one input, and drain [`Hub::poll_output`] until it returns nothing. Then
/// wait for the next input or for [`Hub::poll_timeout`], and pass [`Input::Elapsed`] when that time comes. A new hub
/// needs [`Input::Elapsed`] at once. After [`Output::Stopped`] only the changes that [`Input::Saved`] causes follow.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    entropy: Entropy,
    /// The time of the input that is being handled.
    clock: Duration,
    outputs: VecDeque<Output>,
    phase: Phase,
    /// Consecutive connections whose CONNACK contradicted the stored prefix.
    contradictions: u32,
    backoff: Backoff,
    wills: Wills,
    /// Other hubs' wills that came before the fence: `online` may follow.
    held_wills: Vec<(Message, Option<DeliveryId>)>,
    requests: Requests,
    under_way: UnderWay,
    journal: Journal,
    /// Whether the journal goes back as far as the session: if not, a redelivery may be unknown to it.
    journal_is_complete: bool,
    outbox: Outbox,
    /// The last state of each property, by device and property.
    states: BTreeMap<(String, String), PropertyState>,
    /// States that wait until the store knows that they are published.
    unserved: BTreeSet<(String, String)>,
    values: Values,
    filters: Filters,
    /// What this connection is, or will be, subscribed to.
    subscribed: BTreeSet<String>,
    serving: Serving,
    /// Who else says to have a device, by device.
    rivals: BTreeMap<Arc<str>, Option<String>>,
    rewriting: Rewriting,
    presence: Presence,
    told: Told,
    /// What people were last told that the broker does not offer.
    lacks: Vec<Lack>,
    denied: Denied,
    /// What devices say themselves, and what is said to them.
    bridge: Bridge,
    announcing: Announcing,
    /// The revision last given to the store, and the one that it last reported.
    revision: u64,
    stored: u64,
    /// The revision with the newest evidence about a will.
    evidence: u64,
    /// The newest revision that somebody waits for: it takes with it all that came before.
    awaited: u64,
    /// The revisions of what devices have saved and the store does not hold yet.
    saves: BTreeMap<String, u64>,
    /// Why the store cannot be written, while it cannot.
    store_failure: Option<String>,
    /// What has come and is not taken in yet.
    held: VecDeque<Arrival>,
    held_bytes: usize,
    /// The broker has sent more than can be held.
    has_left: bool,
    /// Deliveries that are acknowledged in the order in which they came (MQTT 4.6).
    deliveries: VecDeque<Inbound>,
    /// Deliveries for which the store must hold a revision first.
    unstored: Vec<(u64, DeliveryId)>,
    /// Likewise, of evidence: where the store fails, these wait until the broker has what names this connection.
    unstored_evidence: Vec<(u64, DeliveryId)>,
    /// Answers for which the store must hold a revision first.
    unpublished: VecDeque<Unpublished>,
    stopping: Option<Stopping>,
}

/// A source of random bytes, given by the driver.
struct Entropy(Box<dyn FnMut() -> [u8; 16] + Send>);

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// How far the connection is; the order of the variants is the usual order of events.
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
    /// DISCONNECT has left: that must be stored, but not before, or a crash in between would make it a lie.
    Closing { revision: u64, result: Result<(), Fatal> },
    /// DISCONNECT was handed over; it deletes this will.
    Disconnecting { next: Next, will: Option<Generation> },
    /// Nothing follows.
    Stopped,
}

/// What follows a DISCONNECT of the hub's own.
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
    /// The broker takes filters with wildcards.
    wildcards: bool,
    /// The broker vouches for who sent a message.
    vouches: bool,
    /// The broker keeps retained messages.
    retains: bool,
    /// How long PUBACK may take.
    puback_timeout: Duration,
    /// SUBSCRIBE goes out once the store holds this revision; none after that.
    subscribe_after: Option<u64>,
    /// The session was subscribed before this connection: what was published to it then has come back.
    resumed: bool,
    /// The broker has granted what tells of the hub's wills; the retained presence shows whose connection was the last.
    watched: bool,
    window: Window,
    fence: Fence,
    /// The hub has seen its own `online`: what comes after it has replaced it.
    echoed: bool,
    /// When CONNACK came.
    since: Duration,
}

/// An inbound QoS 1 message that has no PUBACK yet.
#[derive(Debug)]
struct Inbound {
    id: DeliveryId,
    /// Its requests in the journal: one, or one for each guard.
    entries: Vec<EntryId>,
    /// What must happen before PUBACK.
    holds: usize,
}

impl Inbound {
    fn new(id: DeliveryId) -> Self {
        Self { id, entries: Vec::new(), holds: 1 }
    }
}

/// The end in order: answers in flight have until this time; the farewell is the last `offline`.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    until: Duration,
    farewell: bool,
}

/// What the store has kept of earlier lives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The hub's memory.
    pub memory: Memory,
    /// The requests that may be delivered again, in the order in which they came.
    pub journal: Vec<JournalRecord>,
    /// What may be left of devices at the broker.
    pub served: Vec<Served>,
    /// What may be retained because of announcements.
    pub announced: Vec<Announced>,
}

impl Hub {
    /// Makes a hub that remembers what the store holds; `entropy` yields fresh random bytes at each call.
    pub fn new(
        config: HubConfig,
        kept: Kept,
        mut entropy: impl FnMut() -> [u8; 16] + Send + 'static,
    ) -> Self {
        let Kept { memory, journal, served, announced } = kept;
        let journal_is_complete = memory.broker.as_ref() == Some(&config.broker);
        let in_order = memory.open.iter().all(|will| will.clean || !will.connected);
        let wills = Wills::new(memory, &config.broker, &mut entropy);
        let journal = Journal::new(journal);
        let values = Values::new(&journal);
        let mut hub = Self {
            requests: Requests::new(config.queue),
            under_way: UnderWay::default(),
            config,
            entropy: Entropy(Box::new(entropy)),
            clock: Duration::ZERO,
            outputs: VecDeque::new(),
            phase: Phase::Waiting { until: Duration::ZERO, unused: None },
            contradictions: 0,
            backoff: Backoff::default(),
            wills,
            held_wills: Vec::new(),
            journal,
            journal_is_complete,
            outbox: Outbox::default(),
            states: BTreeMap::new(),
            unserved: BTreeSet::new(),
            values,
            filters: Filters::default(),
            subscribed: BTreeSet::new(),
            serving: Serving::new(served),
            rivals: BTreeMap::new(),
            rewriting: Rewriting::default(),
            presence: Presence::default(),
            told: Told::default(),
            lacks: Vec::new(),
            denied: Denied::default(),
            bridge: Bridge::default(),
            announcing: Announcing::new(announced, in_order && journal_is_complete),
            revision: 0,
            stored: 0,
            evidence: 0,
            awaited: 0,
            saves: BTreeMap::new(),
            store_failure: None,
            held: VecDeque::new(),
            held_bytes: 0,
            has_left: false,
            deliveries: VecDeque::new(),
            unstored: Vec::new(),
            unstored_evidence: Vec::new(),
            unpublished: VecDeque::new(),
            stopping: None,
        };
        hub.judge_bridges();
        hub.tell_more();
        hub
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.clock = now.monotonic;
        match input {
            Input::Connected(connack) => self.on_connected(now, &connack),
            Input::Disconnected(cause) => self.on_disconnected(now, cause),
            Input::Subscribed { reason_codes } => self.on_subscribed(now, &reason_codes),
            Input::Received { message, delivery } => self.on_received(now, message, delivery),
            Input::Unreadable { topic, error } => self.on_unreadable(now, topic, error),
            Input::Published { id, reason_code } => self.on_published(id, reason_code),
            Input::Stored { revision } => {
                self.store_failure = None;
                self.on_stored(now, revision);
            }
            Input::StoreFailed { revision, error } => self.on_store_failed(now, revision, error),
            Input::Answered { request, answer } => self.on_answered(now, request, answer),
            Input::Ended { request, answer } => self.on_ended(now, request, &answer),
            Input::State(state) => self.on_state(state),
            Input::Happened(happened) => self.on_happened(now, &happened),
            Input::Saved { device, state } => self.on_saved(device, state),
            Input::Bridge { device, input } => self.on_bridge(now, &device, input),
            Input::Children { device, children, devices, discovery } => {
                // Ahead of what is subscribed to for them: after a crash the hub knows whom a request is for.
                self.store(Change::Children { device, children });
                self.config.devices = devices;
                self.announce_others(discovery);
                self.judge_bridges();
                self.serve_devices(now);
                self.join_bridges(now);
            }
            Input::AllowBridges(allow) => self.config.allow_bridges = allow,
            Input::Devices(devices) => {
                self.config.devices = devices;
                self.judge_bridges();
                self.serve_devices(now);
                self.forgive(now);
            }
            Input::Discovery(discovery) => self.on_discovery(discovery),
            Input::Elapsed => {}
            Input::Shutdown => self.on_shutdown(now),
        }
        self.on_time(now);
        self.release_requests(now);
        self.pump(now);
        // What leaves makes room for what waits.
        while self.take_in_held(now) || self.fetch_what_was_left(now) {
            self.pump(now);
        }
    }

    /// Yields the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Elapsed`] is wanted, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Waiting { until, .. } => Some(*until),
            Phase::Online(connection) => self.fence_due(connection),
            Phase::Stopped => return None,
            Phase::Storing { .. }
            | Phase::Connecting { .. }
            | Phase::Subscribing(_)
            | Phase::Closing { .. }
            | Phase::Disconnecting { .. } => None,
        };
        let stopping = self.stopping.map(|stopping| stopping.until);
        let again = match self.phase {
            Phase::Online(_) => self.outbox.next_again(),
            _ => None,
        };
        let online = matches!(self.phase, Phase::Online(_)).then(|| {
            let dues = [
                self.presence.due(),
                self.serving.due(),
                self.rewriting.due(),
                self.puback_due(),
                self.bridge.due(),
                self.announcing_due(),
            ];
            dues.into_iter().flatten()
        });
        let online = online.into_iter().flatten().min();
        [phase, stopping, again, self.filters.due(), online, self.requests.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_time(&mut self, now: Now) {
        // What waits may be a repetition that came in time.
        if self.held.is_empty() {
            let forgotten = self.journal.expire(now.monotonic);
            self.forget(forgotten);
        }
        while let Some(id) = self.requests.overdue(now.monotonic) {
            self.time_out(now, id);
        }
        if let Phase::Waiting { until, unused } = self.phase
            && until <= now.monotonic
        {
            self.begin_attempt(now, unused);
        }
        self.give_up_publications(now);
        self.decide_when_due(now);
        self.follow_up_filters(now);
        self.give_up_puback(now);
        self.follow_up_taking_back(now);
        self.restore_presence(now);
        self.rewrite_states(now);
        self.go_on_announcing(now);
        self.go_on_stopping(now);
    }

    /// Gives the devices the requests that have waited for them, or for the store.
    fn release_requests(&mut self, now: Now) {
        for request in self.requests.released(self.stored, now.monotonic) {
            self.outputs.push_back(Output::Execute(request));
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    /// The connection in use.
    fn connection(&self) -> Option<&Connection> {
        match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => Some(connection),
            _ => None,
        }
    }

    /// The prefix of the connection in use.
    fn prefix(&self) -> Option<&Prefix> {
        self.connection()?.prefix.as_ref()
    }

    /// Finds a delivery of this connection that has no PUBACK yet; their IDs go up.
    fn inbound(&mut self, delivery: DeliveryId) -> Option<&mut Inbound> {
        let index = self.deliveries.binary_search_by_key(&delivery, |inbound| inbound.id).ok()?;
        self.deliveries.get_mut(index)
    }

    /// Lifts one hold from a delivery, and acknowledges all that have none left, in order.
    fn acknowledge(&mut self, delivery: DeliveryId) {
        if let Some(inbound) = self.inbound(delivery) {
            inbound.holds = inbound.holds.saturating_sub(1);
        }
        let forget_at = self.forget_at();
        while self.deliveries.front().is_some_and(|inbound| inbound.holds == 0) {
            let Some(inbound) = self.deliveries.pop_front() else { break };
            self.outputs.push_back(Output::Acknowledge(inbound.id));
            for entry in inbound.entries {
                self.journal.acknowledged(entry, forget_at);
            }
        }
    }

    /// Returns when what is settled now may be forgotten; before the fence nothing may.
    fn forget_at(&self) -> Option<Duration> {
        self.has_passed_fence().then(|| self.clock + self.config.redelivery)
    }

    fn finish_deliveries(&mut self, deliveries: &[DeliveryId]) {
        for &delivery in deliveries {
            self.acknowledge(delivery);
        }
    }
}
