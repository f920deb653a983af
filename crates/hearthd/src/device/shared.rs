//! The state that the driver, a device's thread and its plugin share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hearthd_core::{
    Answer, BridgeInput, BridgeOutput, ContentType, Expects, PropertyState, QoS, Request,
    RequestId, Status,
    property::{Declaration, Value},
};
use hearthd_sdk::abi;
use tracing::{error, info, warn};

use super::{
    bridge_mail::BridgeMail,
    checked::CheckedDevice,
    children::{ChildOf, ChildRecord, Children, Ids},
    crashes::calls::{self, Calls, Slot, Work},
    events::EventQueue,
    health::{Calling, Condition, DeviceStatus, Health, Refusal, STALLED},
    mailbox::Mailbox,
    reach::Unreachable,
};
use crate::{
    boundary::{
        call::{ChildRefusal, NewChild, Publication},
        host::{Completion, HostCalls},
        plugin_log::{self, PluginLog},
    },
    config::{DeviceConfig, FilledTable},
    plugin::{STATUS, children::not_offered, traffic::Traffic},
    sync::lock,
};

/// One device as its configuration makes it; a reload that changes it makes another.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: DeviceConfig,
    /// The device's table with its secrets in place.
    pub(crate) table: FilledTable,
    pub(crate) declarations: BTreeMap<String, Declaration>,
    /// What it has under way on MQTT.
    pub(crate) traffic: Traffic,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) log: Arc<PluginLog>,
    /// Where a crash of the daemon finds the call that is under way.
    pub(crate) slot: Arc<Slot>,
    health: Health,
    pub(crate) bounds: Bounds,
    /// The states last published.
    pub(crate) states: Mutex<BTreeMap<String, Value>>,
    /// States reported during a command, which follow its answer; none while no command runs.
    held: Mutex<Option<Vec<PropertyState>>>,
    /// What a successor should know.
    saved: Mutex<Option<Vec<u8>>>,
    voice: Arc<Mutex<Voice>>,
    /// Those that it has added; none for one that was added itself.
    pub(crate) children: Option<Arc<Children>>,
    /// Whether it may add any.
    adds: bool,
    /// Whose child it is, where another device has added it.
    pub(crate) child: Option<ChildOf>,
    /// A reload has made another of it, which speaks from then on.
    replaced: AtomicBool,
    /// How many states and events were refused.
    refused: AtomicUsize,
}

/// What stays with a device when a reload changes it.
#[derive(Clone, Debug)]
pub(crate) struct DeviceHandles {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) log: Arc<PluginLog>,
    slot: Arc<Slot>,
    calling: Calling,
    refusal: Refusal,
    voice: Arc<Mutex<Voice>>,
    children: Option<Arc<Children>>,
}

/// Who still hears of a device, whichever configuration of it is at work and whichever waits for its turn.
#[derive(Debug, Default)]
struct Voice {
    /// It has left the configuration: its states are not reported any more.
    silent: bool,
    /// Another has taken its place: what it saves counts no more.
    disowned: bool,
}

/// What may come from a plugin, and how often it may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_payload: usize,
    pub(crate) max_failures: usize,
    pub(crate) failure_window: Duration,
}

impl Shared {
    /// Makes the shared part of a device, which is not ready before its instance is created.
    pub(crate) fn new(
        device: CheckedDevice,
        saved: Option<Vec<u8>>,
        handles: DeviceHandles,
        bounds: Bounds,
    ) -> Self {
        let CheckedDevice { config, table, declarations, topics, adds, .. } = device;
        let shared = Self::made(config, declarations, handles, bounds);
        Self { table, traffic: Traffic::new(topics), saved: Mutex::new(saved), adds, ..shared }
    }

    /// Makes the shared part of a device that another one has added.
    pub(crate) fn of_child(
        parent: &Self,
        child: ChildOf,
        config: DeviceConfig,
        declarations: Vec<Declaration>,
        handles: DeviceHandles,
    ) -> Self {
        let shared = Self::made(config, declarations, handles, parent.bounds);
        Self { child: Some(child), ..shared }
    }

    fn made(
        config: DeviceConfig,
        declarations: Vec<Declaration>,
        handles: DeviceHandles,
        bounds: Bounds,
    ) -> Self {
        let DeviceHandles { mailbox, events, log, slot, calling, refusal, voice, children } =
            handles;
        let starting = Condition::Restarting(STARTING.into());
        let health = Health::new(starting, calling, refusal, config.deadline);
        Self {
            config,
            table: FilledTable::default(),
            declarations: declarations.into_iter().map(|d| (d.name.clone(), d)).collect(),
            traffic: Traffic::default(),
            mailbox,
            events,
            log,
            slot,
            health,
            bounds,
            states: Mutex::default(),
            held: Mutex::default(),
            saved: Mutex::default(),
            voice,
            children,
            adds: false,
            child: None,
            replaced: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
        }
    }

    /// Returns what a reload passes on to the device's next configuration.
    pub(crate) fn handles(&self) -> DeviceHandles {
        DeviceHandles {
            mailbox: Arc::clone(&self.mailbox),
            events: Arc::clone(&self.events),
            log: Arc::clone(&self.log),
            slot: Arc::clone(&self.slot),
            calling: self.health.calling(),
            refusal: self.health.refusal(),
            voice: Arc::clone(&self.voice),
            children: self.children.clone(),
        }
    }

    /// Returns the handles of a device that this one adds: its calls are this one's.
    pub(super) fn handles_of_child(&self, children: &Children, id: &str) -> DeviceHandles {
        DeviceHandles {
            mailbox: Arc::new(children.mailbox()),
            events: children.events(),
            log: Arc::new(PluginLog::new(id)),
            slot: Arc::clone(&children.slot),
            calling: children.calling.clone(),
            refusal: Refusal::default(),
            voice: Arc::default(),
            children: None,
        }
    }

    /// Ends the children where the device may have none any more; the instance that has added them has ended.
    pub(super) fn keep_children_if_allowed(&self) {
        if let Some(children) = self.children.as_ref().filter(|_| !self.adds) {
            children.clear();
        }
    }

    /// Returns whether this is a child that was added with the same words to the same parent.
    pub(super) fn is_child_as(&self, record: &ChildRecord, config: &DeviceConfig) -> bool {
        self.child.as_ref().is_some_and(|child| child.is_as(record)) && self.config == *config
    }

    /// Returns whether the device is there: one that another has added is, once the present instance of that has.
    pub(super) fn is_there(&self) -> bool {
        self.child.as_ref().is_none_or(ChildOf::is_there)
    }

    pub(super) fn set_there(&self, there: bool) {
        self.child.iter().for_each(|child| child.set_there(there));
    }

    /// Returns the device of the configuration that this is, or that has added this.
    pub(crate) fn owner(&self) -> &str {
        self.child.as_ref().map_or(&self.config.id, |child| &child.parent)
    }

    /// Names a request, for the case that the daemon crashes over it.
    pub(crate) fn identity(&self, request: &Request) -> u64 {
        match &self.child {
            Some(child) => {
                let property = format!("{}/{}", child.name, request.property);
                calls::request(&property, &request.payload)
            }
            None => calls::request(&request.property, &request.payload),
        }
    }

    /// Answers all requests in the mailbox, which nobody carries out any more.
    pub(super) fn drain(&self, text: &str) {
        for request in self.mailbox.drain() {
            self.answer(request.id, Answer::failure(Status::Unavailable, text.to_owned()));
        }
    }

    /// Returns the present time on the device's clock.
    pub(crate) fn now(&self) -> Instant {
        self.mailbox.clock.now()
    }

    /// Returns the last value that the device has published of a property.
    pub(crate) fn state(&self, property: &str) -> Option<Value> {
        lock(&self.states).get(property).cloned()
    }

    /// Hands an answer to the driver.
    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        self.events.answer(id, answer);
    }

    /// Hands the driver the end of a request that was accepted.
    pub(crate) fn ended(&self, id: RequestId, answer: Answer) {
        self.events.ended(id, answer);
    }

    /// Keeps what a successor should know, and has it saved where it has changed.
    pub(crate) fn keep(&self, state: Vec<u8>) {
        if state.len() > SAVED_BOUND {
            let (device, bytes) = (&self.config.id, state.len());
            if self.log.may_write() {
                warn!(device, bytes, most = SAVED_BOUND, "saved state refused: it is too large");
            }
            return;
        }
        let mut saved = lock(&self.saved);
        let voice = lock(&self.voice);
        if !voice.disowned && saved.as_ref() != Some(&state) {
            self.events.saved(&self.config.id, state.clone());
            *saved = Some(state);
        }
    }

    /// Has a device say no more; whatever it has said is with the driver when this returns.
    pub(crate) fn silence(&self) {
        lock(&self.voice).silent = true;
    }

    /// Reports something, unless the device has left the configuration; the lock orders this before the device's end.
    fn speak(&self, say: impl FnOnce()) -> bool {
        let voice = lock(&self.voice);
        let heard = !voice.silent && !self.replaced.load(Ordering::Acquire);
        if heard {
            say();
        }
        heard
    }

    /// Writes the status as the broker shall retain it.
    fn status_state(&self, status: &DeviceStatus) -> PropertyState {
        PropertyState {
            device: self.config.id.clone(),
            property: STATUS.to_owned(),
            payload: status.word.into(),
            content_type: ContentType::Text,
            retain: true,
            details: status.details(),
        }
    }

    /// Gives up a device that another has taken the place of.
    pub(crate) fn disown(&self) {
        *lock(&self.voice) = Voice { silent: true, disowned: true };
    }

    /// Takes over what the device knew before a reload changed it, and what was told of it.
    pub(crate) fn take_over(&self, before: &Self) {
        before.replaced.store(true, Ordering::Release);
        *lock(&self.saved) = before.saved();
        let mut states = lock(&self.states);
        for (name, value) in &*lock(&before.states) {
            if self.declarations.get(name) == before.declarations.get(name) {
                states.insert(name.clone(), value.clone());
            }
        }
        self.health.take_over(&before.health);
    }

    /// Returns whether table and declarations are those of another configuration of the device.
    pub(crate) fn is_as_before(&self, before: &Self) -> bool {
        self.table == before.table && self.declarations == before.declarations
    }

    /// Returns what the device saved last.
    pub(crate) fn saved(&self) -> Option<Vec<u8>> {
        lock(&self.saved).clone()
    }

    /// Keeps the states that a command reports until [`Shared::release_states`], so that its answer goes first.
    pub(crate) fn hold_states(&self) {
        lock(&self.held).get_or_insert_default();
    }

    /// Reports the states that were kept; of each property the last.
    pub(crate) fn release_states(&self) {
        let mut held = lock(&self.held);
        let states = held.take().into_iter().flatten();
        self.speak(|| states.for_each(|state| self.events.requested_state(state)));
    }

    /// Changes the condition, and reports the status where that has changed.
    pub(crate) fn set_condition(&self, condition: Condition) {
        self.health.change(condition, |status| self.say_status(status));
    }

    /// Returns whether there is an instance, and why there is none.
    pub(crate) fn condition(&self) -> Condition {
        self.health.condition()
    }

    /// Marks the time of a call into the plugin, so that a hang shows, and a crash of the daemon finds its cause.
    pub(crate) fn busy<T>(&self, work: Work, call: impl FnOnce() -> T) -> T {
        let begun = self.adds.then(Instant::now);
        self.health.begin_call();
        let here = self.config.isolation.is_here();
        let under_way = here.then(|| self.slot.enter(work));
        let result = call();
        drop(under_way);
        if self.health.end_call() {
            self.tell_status();
        }
        if let (Some(children), Some(begun)) = (&self.children, begun)
            && begun.elapsed() >= self.config.deadline
        {
            // They hung with it.
            children.all().iter().for_each(|child| child.tell_status());
        }
        result
    }

    /// Returns whether a call into the plugin takes longer than a request may.
    pub(crate) fn is_stalled(&self) -> bool {
        self.health.is_stalled()
    }

    /// Returns whether a call into the plugin is under way.
    pub(crate) fn is_in_call(&self) -> bool {
        self.health.is_in_call()
    }

    /// Returns how the device is.
    pub(crate) fn status(&self) -> DeviceStatus {
        self.health.status()
    }

    /// Returns why the instance cannot reach its hardware or service, while it cannot.
    pub(crate) fn out_of_reach(&self) -> Option<Unreachable> {
        self.health.unreachable()
    }

    /// A new instance is about to be created, which is reachable until it says otherwise.
    pub(crate) fn begin_instance(&self) {
        self.health.begin_instance();
    }

    /// Takes the plugin's report of its reach; the status is published at the rate of states, after an answer in
    /// progress.
    fn reach(&self, reason: Option<&str>) -> i32 {
        let mut heard = true;
        let changed = self.health.reach(reason, |status| {
            heard = self.report(self.status_state(status));
            heard
        });
        if changed && self.log.may_write() {
            let device = &self.config.id;
            match self.out_of_reach() {
                Some(Unreachable { reason, .. }) => warn!(device, reason, "device unreachable"),
                None => info!(device, "device reachable again"),
            }
        }
        if heard { abi::OK } else { abi::ERR_GONE }
    }

    /// Publishes the device's condition on the `status` topic, if it has changed.
    pub(crate) fn tell_status(&self) {
        self.health.tell(|status| self.say_status(status));
    }

    /// Publishes the status; returns whether anybody shall hear of it.
    fn say_status(&self, status: &DeviceStatus) -> bool {
        let heard = self.speak(|| self.events.requested_state(self.status_state(status)));
        if heard && status.word == STALLED {
            let deadline_ms = self.config.deadline.as_millis();
            error!(device = self.config.id, deadline_ms, "a call into the plugin does not return");
        }
        heard
    }

    /// Reports a state: at once, or after the answer of the command that runs.
    ///
    /// The requester waits for the answer; those who watch the state can wait for a PUBACK longer.
    ///
    /// Returns whether anybody shall hear of it.
    fn report(&self, state: PropertyState) -> bool {
        let mut held = lock(&self.held);
        self.speak(|| match &mut *held {
            Some(held) => {
                // One for each property, however often the command changes it.
                held.retain(|other| other.property != state.property);
                held.push(state);
            }
            None => self.events.state(state),
        })
    }

    /// Returns why the device may not use its MQTT topics.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.health.refused()
    }

    /// An instance is there that may use MQTT: what came for the one before is not for it.
    pub(crate) fn begin_bridging(&self) {
        self.traffic.reset();
        if self.traffic.is_used() {
            self.mailbox.forget_bridged();
            self.speak(|| self.events.bridge(&self.config.id, BridgeInput::Begun));
        }
    }

    /// Takes what the hub says of MQTT.
    pub(crate) fn take_bridged(&self, output: BridgeOutput) {
        let mail = match output {
            BridgeOutput::Refused { reason } => {
                let device = &self.config.id;
                match &reason {
                    Some(reason) => error!(device, reason, "device down"),
                    None => info!(device, "the device is back"),
                }
                return self.health.refuse(reason, |status| self.say_status(status));
            }
            BridgeOutput::Link { up } => BridgeMail::Link(up),
            BridgeOutput::Message { topic, payload, retained } => {
                BridgeMail::Message { topic, payload, retained }
            }
            BridgeOutput::Outcome { number, result } => BridgeMail::Outcome { number, result },
        };
        if self.mailbox.push_bridged(mail) > 0 && self.log.may_write() {
            let device = &self.config.id;
            warn!(device, "messages come faster than the device takes them; the oldest are lost");
        }
    }

    /// Returns how many states and events were refused, because the plugin has not declared them so.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse_state(&self, property: &str, reason: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.log.may_write() {
            let (device, property) = (&self.config.id, plugin_log::excerpt(property));
            warn!(device, property, reason = plugin_log::excerpt(reason), "state refused");
        }
    }
}

impl HostCalls for Shared {
    fn log(&self, level: i32, target: &str, message: &str) {
        self.log.write(level, target, message);
    }

    fn is_logged(&self, level: i32) -> bool {
        plugin_log::is_logged(level)
    }

    fn publish(&self, property: &str, payload: &str) -> i32 {
        let Some(declaration) = self.declarations.get(property) else {
            self.refuse_state(property, "the plugin has not declared the property");
            return abi::ERR_INVALID;
        };
        if payload.len() > self.bounds.max_payload {
            self.refuse_state(property, "it is larger than max_payload");
            return abi::ERR_TOO_LARGE;
        }
        let value = match declaration.read_state(payload) {
            Ok(value) => value,
            Err(rejection) => {
                self.refuse_state(property, &rejection.message);
                return abi::ERR_INVALID;
            }
        };
        let mut states = lock(&self.states);
        if states.get(property) == Some(&value) {
            return abi::OK;
        }
        // Sent under the lock, so that two threads' states arrive in the order in which they are kept.
        let state = PropertyState {
            device: self.config.id.clone(),
            property: property.to_owned(),
            payload: value.as_text().to_owned().into(),
            content_type: ContentType::of(declaration),
            retain: declaration.retained,
            details: Vec::new(),
        };
        if !self.report(state) {
            return abi::ERR_GONE;
        }
        states.insert(property.to_owned(), value);
        abi::OK
    }

    fn complete(&self, completion: Completion) -> i32 {
        if self.mailbox.complete(completion) { abi::OK } else { abi::ERR_GONE }
    }

    fn accept(&self, token: u64, within: Duration) -> i32 {
        self.mailbox.accept(token, within)
    }

    fn set_timer(&self, id: u32, delay: Option<Duration>) -> i32 {
        if self.mailbox.set_timer(id, delay) { abi::OK } else { abi::ERR_TOO_LARGE }
    }

    fn wake(&self) -> i32 {
        self.mailbox.wake();
        abi::OK
    }

    fn unreachable(&self, reason: &str) -> i32 {
        self.reach(Some(reason))
    }

    fn reachable(&self) -> i32 {
        self.reach(None)
    }

    fn event(&self, property: &str, kind: &str) -> i32 {
        if !self.declarations.get(property).is_some_and(|d| d.has_event(kind)) {
            self.refuse_state(property, "the plugin has not declared such an event");
            return abi::ERR_INVALID;
        }
        let heard = self.speak(|| self.events.happened(&self.config.id, property, kind));
        if heard { abi::OK } else { abi::ERR_GONE }
    }

    fn send(&self, publication: Publication<'_>) -> i32 {
        let request = publication.command.map(|token| self.mailbox.request_of(token));
        if request == Some(None) {
            return abi::ERR_GONE;
        }
        let number = match self.traffic.begin(&publication) {
            Ok(number) => number,
            Err(status) => return status,
        };
        let at_least_once = publication.at_least_once;
        let expects = match publication {
            Publication { asks: true, .. } => Expects::Answer,
            Publication { reply: true, .. } => Expects::Reply,
            Publication { .. } => Expects::Nothing,
        };
        let input = BridgeInput::Publish(hearthd_core::Publication {
            number,
            topic: publication.topic.to_owned(),
            payload: publication.payload.to_vec().into(),
            qos: if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            retain: publication.retain,
            expiry: publication.expiry,
            expects,
            request: request.flatten(),
        });
        if self.speak(|| self.events.bridge(&self.config.id, input)) {
            return abi::OK;
        }
        self.traffic.end(number);
        abi::ERR_GONE
    }

    fn add_child(&self, child: &NewChild<'_>) -> Result<Arc<dyn HostCalls>, ChildRefusal> {
        let children = self.children.as_ref().filter(|_| self.adds);
        let children = children.ok_or_else(not_offered)?;
        let added = children.add(self, child)?;
        Ok(added)
    }

    fn remove_child(&self, name: &str) -> i32 {
        self.children.as_ref().map_or(abi::ERR_UNSUPPORTED, |children| children.remove(name))
    }

    fn list_children(&self) -> Vec<String> {
        self.children.as_ref().map(|children| children.names()).unwrap_or_default()
    }
}

impl DeviceHandles {
    pub(crate) fn new(
        device: &str,
        queue: usize,
        events: &Arc<EventQueue>,
        calls: &Calls,
        ids: &Arc<Ids>,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::new(queue, events.clock()));
        let (slot, calling) = (Arc::new(calls.slot(device)), Calling::default());
        let children = Children::new(device, &mailbox, events, (&slot, &calling), ids, queue);
        Self {
            mailbox,
            events: Arc::clone(events),
            log: Arc::new(PluginLog::new(device)),
            slot,
            calling,
            refusal: Refusal::default(),
            voice: Arc::default(),
            children: Some(Arc::new(children)),
        }
    }
}

/// Why a device is not there before it was created for the first time.
pub(crate) const STARTING: &str = "starting";
/// The largest saved state, in bytes.
const SAVED_BOUND: usize = 256 * 1024;
