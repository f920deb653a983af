//! The devices: each has a bounded mailbox, and there are enough threads that a hung device stops only itself.

mod bridge_mail;
mod checked;
mod children;
mod clock;
mod commands;
pub mod crashes;
mod events;
mod failures;
mod health;
mod instance;
mod isolated;
mod mailbox;
mod pool;
mod reach;
mod reload;
mod reply;
mod shared;
pub(crate) mod trial;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hearthd_core::{
    Absence, Answer, BridgeInput, BridgeOutput, DeclaredTopics, PropertyEvent, PropertyState,
    Request, RequestId, Status, property::Declaration,
};
use serde_json::{Value as Json, json};
use tracing::warn;

use crate::{
    boundary::local::STACK_SIZE,
    config::{Config, DeviceConfig, Isolation},
    metrics::Temperature,
    plugin::{Launcher, Plugins, STATUS},
    service::Census,
    sync::lock,
};
use checked::CheckedDevice;
pub use checked::{Checked, Complaint, check};
use children::Ids;
use crashes::Crashes;
use events::EventQueue;
pub(crate) use health::STATUSES;
use mailbox::{Mailbox, Pushed};
use pool::Pool;
pub use reload::Difference;
use shared::{Bounds, DeviceHandles, Shared};
use worker::Worker;

/// What a device says.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceEvent {
    /// It answered a request.
    Answered {
        /// The request.
        id: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// It has come to the end of a request that it had accepted.
    Ended {
        /// The request.
        id: RequestId,
        /// What has become of it.
        answer: Answer,
    },
    /// It reported the state of a property, or the hub that of its `status`.
    State(PropertyState),
    /// Something has happened there that is no state.
    Happened(PropertyEvent),
    /// It wants something of MQTT.
    Bridge {
        /// Device ID.
        device: String,
        /// What it wants.
        input: BridgeInput,
    },
    /// The devices that it has added are others now.
    Children {
        /// Device ID.
        device: String,
        /// What is to be remembered of them, in the hub's own form; empty where there are none.
        children: Vec<u8>,
    },
    /// It has something to remember across restarts.
    Saved {
        /// Device ID.
        device: String,
        /// In the plugin's own form.
        state: Vec<u8>,
    },
}

/// All devices of the hub.
#[derive(Debug)]
pub struct Devices {
    by_id: BTreeMap<String, Device>,
    /// Devices that a reload has ended or left behind.
    leaving: Vec<(String, Device)>,
    /// Devices with requests that do not know of them yet.
    asleep: Vec<Arc<Mailbox>>,
    events: Arc<EventQueue>,
    pool: Arc<Pool>,
    checked: Arc<Checked>,
    launcher: Launcher,
    bounds: Bounds,
    queue: usize,
    /// What devices have saved, also those that are not there at present.
    saved: BTreeMap<String, Vec<u8>>,
    /// Who has an ID.
    ids: Arc<Ids>,
    hub: String,
    crashes: Crashes,
    looked: Instant,
    look_interval: Duration,
}

/// One device: of the configuration, or added by one of those.
#[derive(Debug)]
struct Device {
    shared: Arc<Shared>,
}

impl Devices {
    /// Starts every device with what it saved, and with what is remembered of the devices that it has added.
    ///
    /// A device that cannot be created is not an error here: it is tried again, and its requesters get 503.
    ///
    /// # Errors
    /// Where a device's kind is unknown, or its table is not acceptable.
    pub fn start(
        config: &Config,
        plugins: &Plugins,
        remembered: impl Into<Remembered>,
    ) -> Result<Self, Vec<Complaint>> {
        Self::start_after(config, plugins, remembered.into(), Crashes::default())
    }

    /// As [`Devices::start`], with the devices that others have added, and with what earlier lives of the daemon tell of
    /// the devices.
    ///
    /// A device that has crashed the daemon twice within the failure window gets a process of its own, one that has done
    /// it too often is in quarantine.
    ///
    /// # Errors
    /// As for [`Devices::start`].
    pub(crate) fn start_after(
        config: &Config,
        plugins: &Plugins,
        remembered: Remembered,
        crashes: Crashes,
    ) -> Result<Self, Vec<Complaint>> {
        Self::start_in(Arc::default(), config, plugins, remembered, crashes)
    }

    fn start_in(
        pool: Arc<Pool>,
        config: &Config,
        plugins: &Plugins,
        remembered: Remembered,
        crashes: Crashes,
    ) -> Result<Self, Vec<Complaint>> {
        let Remembered { saved, children } = remembered;
        let checked = Arc::new(check(config, plugins, &Checked::default())?);
        let mut devices = Self {
            by_id: BTreeMap::new(),
            leaving: Vec::new(),
            asleep: Vec::new(),
            events: Arc::default(),
            pool,
            checked: Arc::clone(&checked),
            launcher: plugins.launcher().clone(),
            bounds: bounds(config),
            queue: config.requests.queue,
            saved,
            ids: Arc::default(),
            hub: config.broker.client_id.clone(),
            crashes,
            looked: Instant::now(),
            look_interval: LOOK_INTERVAL,
        };
        devices.configure_ids(&checked);
        for (id, device) in &checked.devices {
            let saved = devices.saved.get(id).cloned();
            let crashes = devices.crashes.of(id);
            let children = children.get(id).map(Vec::as_slice);
            let device = device.after(&crashes);
            let started = devices.begin(&device, devices.handles(id), saved, children, &crashes);
            devices.by_id.insert(id.clone(), started);
            devices.take_up_children(id);
        }
        // Of one that is not configured, or adds none any more, nothing is to be remembered.
        let adds = |id: &&String| checked.devices.get(*id).is_some_and(|device| device.adds);
        children.keys().filter(|id| !adds(id)).for_each(|id| devices.events.children(id));
        Ok(devices)
    }

    fn handles(&self, id: &str) -> DeviceHandles {
        DeviceHandles::new(id, self.queue, &self.events, &self.crashes.calls, &self.ids)
    }

    /// Notes the IDs that the configuration has; a child that has one of them is none any more.
    fn configure_ids(&self, checked: &Checked) {
        let ids = checked.devices.keys().chain([&self.hub]);
        for (parent, id) in self.ids.configure(ids.map(String::as_str)) {
            let name = id.strip_prefix(&*parent).and_then(|rest| rest.strip_prefix('-'));
            let parent = self.by_id.get(&parent).and_then(|it| it.shared.children.as_ref());
            if let (Some(name), Some(children)) = (name, parent) {
                children.refuse(name, &format!("`{id}` is in the configuration now"));
            }
        }
    }

    /// Takes up which devices a device has added and removed.
    fn take_up_children(&mut self, parent: &str) {
        let children = self.by_id.get(parent).and_then(|it| it.shared.children.as_ref());
        let there = children.map(|children| children.all()).unwrap_or_default();
        let events = &self.events;
        self.by_id.retain(|id, device| {
            let is_child = device.shared.child.as_ref().is_some_and(|it| it.parent == parent);
            let stays = !is_child || there.iter().any(|child| child.config.id == *id);
            if !stays {
                events.forget(id);
            }
            stays
        });
        for shared in there {
            self.by_id.insert(shared.config.id.clone(), Device { shared });
        }
    }

    /// Returns the configuration of each device, and of each that one of them has added.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &DeviceConfig> {
        self.by_id.values().map(|device| &device.shared.config)
    }

    /// Returns the properties that a device declares.
    pub fn properties(&self, device: &str) -> BTreeSet<String> {
        let device = self.by_id.get(device);
        device.into_iter().flat_map(|device| device.shared.declarations.keys().cloned()).collect()
    }

    /// Returns what a device declares.
    pub fn declarations(&self, device: &str) -> BTreeMap<String, Declaration> {
        let device = self.by_id.get(device);
        device.map(|device| device.shared.declarations.clone()).unwrap_or_default()
    }

    /// Returns the properties of a device whose setting must not be carried out twice.
    pub fn not_idempotent(&self, device: &str) -> BTreeSet<String> {
        let device = self.by_id.get(device);
        let declarations = device.into_iter().flat_map(|device| &device.shared.declarations);
        declarations
            .filter(|(_, declaration)| !declaration.idempotent)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Returns the MQTT topics that a device uses itself.
    pub fn topics(&self, device: &str) -> DeclaredTopics {
        self.checked.devices.get(device).map(|device| device.topics.clone()).unwrap_or_default()
    }

    /// Tells a device something of MQTT.
    pub fn bridge(&self, device: &str, output: BridgeOutput) {
        if let Some(device) = self.by_id.get(device) {
            device.shared.take_bridged(output);
        }
    }

    /// Gives a device a request, of which it hears by [`Devices::wake`]; never blocks, the answer comes as an event.
    pub fn request(&mut self, request: Request) {
        let Some(device) = self.by_id.get(&*request.device) else {
            let text = format!("there is no device `{}`", request.device);
            return self.events.answer(request.id, Answer::failure(Status::NotFound, text));
        };
        let shared = &device.shared;
        if *request.property == *STATUS {
            return self.events.answer(request.id, answer_status(shared, &request));
        }
        if let Some(reason) = shared.refusal()
            && *request.property != *"describe"
        {
            let text = format!("`{}` is not available: {reason}", request.device);
            return self.events.answer(request.id, Answer::failure(Status::Unavailable, text));
        }
        // What is not idempotent has an intent in the journal, and is not here again.
        let declaration = shared.declarations.get(&*request.property);
        let identity = || shared.identity(&request);
        if declaration.is_none_or(|declaration| declaration.idempotent)
            && let Some(reason) = self.crashes.refuse(shared.owner(), identity)
        {
            return self.events.answer(request.id, Answer::failure(Status::Failed, reason));
        }
        if shared.is_stalled() {
            let text =
                format!("`{}` is stalled: a call into its plugin does not return", request.device);
            return self.events.answer(request.id, Answer::failure(Status::Unavailable, text));
        }
        if shared.mailbox.member().is_some() && self.pool.stands() {
            let text =
                format!("`{}` waits for a thread that the system does not start", request.device);
            return self.events.answer(request.id, Answer::failure(Status::Unavailable, text));
        }
        let id = request.id;
        match shared.mailbox.push(request) {
            Pushed::Awake => {}
            Pushed::Asleep => self.asleep.push(Arc::clone(&shared.mailbox)),
            Pushed::Full => self.events.answer(id, too_many_waiting(shared)),
        }
        self.look_soon();
    }

    /// Wakes the devices that have new requests, as [`Devices::next`] does; returns whether there are any.
    pub fn wake(&mut self) -> bool {
        if self.asleep.is_empty() {
            return false;
        }
        self.pool.wake(self.asleep.iter().filter_map(|mailbox| mailbox.member()));
        let own_threads = self.asleep.drain(..).filter(|mailbox| mailbox.member().is_none());
        own_threads.for_each(|mailbox| mailbox.notify());
        true
    }

    /// Returns whether the devices in this process take their turns; without a thread for them they do not.
    pub(crate) fn are_served(&self) -> bool {
        !self.pool.stands()
    }

    /// Waits for what a device says next; may be dropped and called again at any time.
    pub async fn next(&mut self) -> DeviceEvent {
        self.wake();
        loop {
            if self.looked.elapsed() >= self.look_interval {
                self.look();
            }
            if let Some(event) = self.try_next() {
                return event;
            }
            self.events.wait(self.look_interval).await;
        }
    }

    /// A call is about to begin: looks once it has had time to hang.
    fn look_soon(&mut self) {
        if self.look_interval == LOOK_INTERVAL_AT_REST {
            (self.looked, self.look_interval) = (Instant::now(), LOOK_INTERVAL);
        }
    }

    /// Looks for devices that do not come back from a call; seldom, while none is in one.
    fn look(&mut self) {
        self.looked = Instant::now();
        let mut busy = self.pool.tend();
        for device in self.by_id.values() {
            if device.shared.is_stalled() {
                device.shared.tell_status();
            }
            busy |= device.shared.is_in_call();
        }
        self.look_interval = if busy { LOOK_INTERVAL } else { LOOK_INTERVAL_AT_REST };
    }

    /// Returns what a device has said, if there is anything.
    pub fn try_next(&mut self) -> Option<DeviceEvent> {
        let event = self.events.take()?;
        Some(match event {
            DeviceEvent::Saved { device, state } => {
                self.saved.insert(device.clone(), state.clone());
                DeviceEvent::Saved { device, state }
            }
            DeviceEvent::Children { device, .. } => {
                self.take_up_children(&device);
                let parent = self.by_id.get(&device).and_then(|it| it.shared.children.as_ref());
                let children = parent.map(|children| children.records()).unwrap_or_default();
                DeviceEvent::Children { device, children }
            }
            event => event,
        })
    }

    /// Tells every device what became of the will.
    pub fn absence(&self, absence: &Absence) {
        let text = absence.facts().to_string();
        for device in self.by_id.values().filter(|device| device.shared.child.is_none()) {
            device.shared.mailbox.push_absence(text.clone());
        }
    }

    /// Lists the devices with their health and states.
    pub fn list(&self) -> Json {
        self.by_id.values().map(|device| self.describe(&device.shared)).collect()
    }

    /// Counts the devices in each state.
    pub fn census(&self) -> Census {
        let mut census = Census::new();
        for device in self.by_id.values() {
            *census.entry(device.shared.status().word).or_default() += 1;
        }
        census
    }

    /// Lists the devices, and whether each is ready.
    pub(crate) fn readiness(&self) -> Vec<(String, bool)> {
        let is_ready = |device: &Device| device.shared.status().word == "ready";
        self.by_id.iter().map(|(id, device)| (id.clone(), is_ready(device))).collect()
    }

    /// Lists the temperatures that devices report, in degrees Celsius.
    pub(crate) fn temperatures(&self) -> Vec<Temperature> {
        let mut found = Vec::new();
        for (id, Device { shared, .. }) in &self.by_id {
            for (name, value) in lock(&shared.states).iter() {
                let declared = shared.declarations.get(name);
                let unit = declared.and_then(|declaration| declaration.unit.as_deref());
                if let (Some("°C"), Some(celsius)) = (unit, value.as_json().as_f64()) {
                    found.push(Temperature { device: id.clone(), property: name.clone(), celsius });
                }
            }
        }
        found
    }

    /// Ends all devices; those that do not end within the grace period are left behind.
    ///
    /// Returns what they say at last.
    pub fn stop(self, grace: Duration) -> Vec<DeviceEvent> {
        self.crashes.end_in_order();
        // Those that others have added end with them.
        let mut ending = self.by_id;
        ending.retain(|_, device| device.shared.child.is_none());
        for device in ending.values() {
            device.shared.mailbox.stop();
        }
        let deadline = Instant::now() + grace;
        for (id, device) in ending.into_iter().chain(self.leaving) {
            if !device.shared.mailbox.wait_until_stopped(deadline) {
                warn!(device = id, "the device does not end");
            }
        }
        std::iter::from_fn(|| self.events.take()).collect()
    }

    /// Starts one device: with a thread of its own where its calls wait for another process, if there is one to have.
    fn begin(
        &self,
        device: &CheckedDevice,
        handles: DeviceHandles,
        saved: Option<Vec<u8>>,
        remembered: Option<&[u8]>,
        crashes: &[Instant],
    ) -> Device {
        let shared = Arc::new(self.shared(device, handles, saved));
        if let (Some(children), Some(records)) =
            (&shared.children, remembered.filter(|_| device.adds))
        {
            children.restore(&shared, records);
        }
        let worker = || {
            let (kind, launcher) = (device.kind.clone(), self.launcher.clone());
            Worker::new(kind, launcher, Arc::clone(&shared), crashes)
        };
        let has_thread = !device.config.isolation.is_here() && {
            let worker = worker();
            let thread = thread::Builder::new().name(format!("device {}", device.config.id));
            thread.stack_size(STACK_SIZE).spawn(move || worker.run()).is_ok()
        };
        if !has_thread {
            self.pool.add(worker());
        }
        Device { shared }
    }

    fn shared(
        &self,
        device: &CheckedDevice,
        handles: DeviceHandles,
        saved: Option<Vec<u8>>,
    ) -> Shared {
        Shared::new(device.clone(), saved, handles, self.bounds)
    }

    fn describe(&self, shared: &Shared) -> Json {
        let properties: serde_json::Map<_, _> = lock(&shared.states)
            .iter()
            .map(|(name, value)| (name.clone(), value.as_json().clone()))
            .collect();
        let (config, status) = (&shared.config, shared.status());
        let mut description = json!({
            "id": config.id,
            "name": config.name.as_deref().unwrap_or(&config.id),
            "kind": config.kind,
            "state": status.word,
            "properties": properties,
        });
        if let Some(child) = &shared.child {
            description["parent"] = child.parent.as_str().into();
        }
        if let Some(room) = &config.room {
            description["room"] = room.as_str().into();
        }
        for (name, text) in status.details() {
            description[name] = text.into();
        }
        match config.isolation {
            Isolation::Process => description["isolation"] = "process".into(),
            Isolation::File => description["isolation"] = "file".into(),
            Isolation::Auto | Isolation::None => {}
        }
        let (states, lines) = (self.events.left_out(&config.id), shared.log.left_out());
        if states + lines > 0 {
            description["left_out"] = json!({ "states": states, "log_lines": lines });
        }
        description
    }
}

/// What the store has kept of the devices.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// What each device has saved.
    pub saved: BTreeMap<String, Vec<u8>>,
    /// What is remembered of the devices that a device has added, by its ID.
    pub children: BTreeMap<String, Vec<u8>>,
}

impl From<BTreeMap<String, Vec<u8>>> for Remembered {
    fn from(saved: BTreeMap<String, Vec<u8>>) -> Self {
        Self { saved, ..Self::default() }
    }
}

fn answer_status(shared: &Shared, request: &Request) -> Answer {
    if request.payload.is_empty() {
        let status = shared.status();
        return Answer { message: status.text(), ..Answer::text(status.word) };
    }
    let text = format!("`{STATUS}` is read-only");
    Answer::failure(Status::Unprocessable, text).about(STATUS, None)
}

fn too_many_waiting(shared: &Shared) -> Answer {
    let text = format!("`{}` has too many requests waiting", shared.config.id);
    Answer::failure(Status::Busy, text)
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        max_payload: config.requests.max_payload,
        max_failures: config.containment.max_failures,
        failure_window: config.containment.failure_window,
    }
}

/// How often it is looked for devices that do not come back from a call.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The same where no device was in a call at the last look, nor has been given a request since: what a device does by
/// itself may then hang so much longer before that is told. Each look wakes the processor of a hub that has nothing to do.
const LOOK_INTERVAL_AT_REST: Duration = Duration::from_secs(10);
