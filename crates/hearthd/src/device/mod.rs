//! The devices: one thread and one bounded mailbox each, so that a hung device costs itself alone.

pub(crate) mod host;
mod instance;
mod mailbox;
mod reply;
mod thread;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hearth_core::{Absence, Answer, ContentType, Request, RequestId, Status, property::Value};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::{
    config::{Config, DeviceConfig},
    plugin::{Kind, Plugins},
};
use mailbox::Mailbox;
use thread::Worker;

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
    /// It reported the state of a property.
    State {
        /// Device ID.
        device: String,
        /// Property name.
        property: String,
        /// The state.
        payload: Bytes,
        /// The payload's type.
        content_type: ContentType,
        /// Whether the broker shall retain it.
        retain: bool,
    },
    /// It has something to remember across restarts.
    Saved {
        /// Device ID.
        device: String,
        /// In the plugin's own form.
        state: Vec<u8>,
    },
}

/// A complaint of a plugin about a device's table: device ID, path below its `config`, message.
pub type Complaint = (String, String, String);

/// All devices of the hub.
#[derive(Debug)]
pub struct Devices {
    by_id: BTreeMap<String, Device>,
    events: UnboundedSender<DeviceEvent>,
}

#[derive(Debug)]
struct Device {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What the driver, the device's thread and its host functions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: DeviceConfig,
    pub(crate) declarations: BTreeMap<String, hearth_core::property::Declaration>,
    pub(crate) mailbox: Mailbox,
    pub(crate) events: UnboundedSender<DeviceEvent>,
    /// The states last published.
    pub(crate) states: Mutex<BTreeMap<String, Value>>,
    /// States reported during a command, which follow its answer; none while no command runs.
    held: Mutex<Option<Vec<DeviceEvent>>>,
    health: Mutex<Health>,
}

/// How a device is.
#[derive(Clone, Debug, Default)]
struct Health {
    /// Why there is no instance, if there is none.
    down: Option<String>,
    /// Since when a call into the plugin runs.
    busy_since: Option<Instant>,
}

impl Shared {
    pub(crate) fn state(&self, property: &str) -> Option<Value> {
        lock(&self.states).get(property).cloned()
    }

    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        // A driver that has ended needs no answer.
        let _ = self.events.send(DeviceEvent::Answered { id, answer });
    }

    /// Reports a state: at once, or after the answer of the command that runs.
    ///
    /// The requester waits for the answer; whoever watches the state can wait for a PUBACK longer.
    pub(crate) fn report(&self, event: DeviceEvent) {
        match &mut *lock(&self.held) {
            Some(held) => held.push(event),
            None => {
                let _ = self.events.send(event);
            }
        }
    }

    pub(crate) fn hold_states(&self) {
        lock(&self.held).get_or_insert_default();
    }

    pub(crate) fn release_states(&self) {
        let mut held = lock(&self.held);
        for event in held.take().into_iter().flatten() {
            let _ = self.events.send(event);
        }
    }

    pub(crate) fn set_down(&self, reason: Option<String>) {
        lock(&self.health).down = reason;
    }

    pub(crate) fn down(&self) -> Option<String> {
        lock(&self.health).down.clone()
    }

    /// Marks the time of a call into the plugin, so that a hang shows.
    pub(crate) fn busy<T>(&self, call: impl FnOnce() -> T) -> T {
        lock(&self.health).busy_since = Some(Instant::now());
        let result = call();
        lock(&self.health).busy_since = None;
        result
    }

    fn is_stalled(&self) -> bool {
        let since = lock(&self.health).busy_since;
        since.is_some_and(|since| since.elapsed() > self.config.deadline)
    }
}

/// Takes a lock; a panic elsewhere leaves the data as whole as each assignment left it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks every device's kind, table and declarations.
pub fn check(config: &Config, plugins: &Plugins) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for device in config.devices.values() {
        let complain = |path: String, message| (device.id.clone(), path, message);
        match find_kind(device, plugins) {
            Err(message) => complaints.push(complain(String::new(), message)),
            Ok(kind) => {
                let problems = kind.check_config(&device.config);
                let well = problems.is_empty();
                complaints.extend(problems.into_iter().map(|(path, text)| complain(path, text)));
                if well && let Err(message) = kind.describe(&device.config) {
                    complaints.push(complain(String::new(), message));
                }
            }
        }
    }
    complaints
}

impl Devices {
    /// Starts every device with what it saved.
    ///
    /// A device that cannot be created is not an error here: it is tried again, and its requesters get 503.
    ///
    /// # Errors
    /// Where a device's kind is unknown, or its table is not acceptable.
    pub fn start(
        config: &Config,
        plugins: &Plugins,
        saved: &BTreeMap<String, Vec<u8>>,
        events: UnboundedSender<DeviceEvent>,
    ) -> Result<Self, Vec<Complaint>> {
        let complaints = check(config, plugins);
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let mut devices = Self { by_id: BTreeMap::new(), events: events.clone() };
        for device in config.devices.values() {
            let kind = *find_kind(device, plugins).expect("checked before");
            let declarations = kind.describe(&device.config).expect("checked before");
            let shared = Arc::new(Shared {
                config: device.clone(),
                declarations: declarations.into_iter().map(|d| (d.name.clone(), d)).collect(),
                mailbox: Mailbox::new(config.requests.queue),
                events: events.clone(),
                states: Mutex::default(),
                held: Mutex::default(),
                health: Mutex::new(Health { down: Some("starting".into()), busy_since: None }),
            });
            let state = saved.get(&device.id).cloned();
            let worker = Worker::new(kind, Arc::clone(&shared), state);
            let thread = std::thread::Builder::new()
                .name(format!("device {}", device.id))
                .stack_size(STACK_SIZE)
                .spawn(move || worker.run())
                .expect("the system can start a thread");
            devices.by_id.insert(device.id.clone(), Device { shared, thread });
        }
        Ok(devices)
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

    /// Has a device carry out a request; never blocks, the answer comes as an event.
    pub fn request(&self, request: Request) {
        let Some(device) = self.by_id.get(&request.device) else {
            let text = format!("there is no device `{}`", request.device);
            return self.answer(request.id, Answer::failure(Status::NotFound, text));
        };
        let shared = &device.shared;
        if shared.is_stalled() {
            let text =
                format!("`{}` is stalled: a call into its plugin does not end", request.device);
            return self.answer(request.id, Answer::failure(Status::Unavailable, text));
        }
        let (id, device) = (request.id, request.device.clone());
        if !shared.mailbox.push(request) {
            let text = format!("`{device}` has too many requests waiting");
            self.answer(id, Answer::failure(Status::Busy, text));
        }
    }

    /// Tells every device what became of the will.
    pub fn absence(&self, absence: &Absence) {
        let text = serde_json::to_string(absence).expect("an absence has only text keys");
        for device in self.by_id.values() {
            device.shared.mailbox.push_absence(text.clone());
        }
    }

    /// Lists the devices with their health and states.
    pub fn list(&self) -> Json {
        self.by_id.values().map(|device| describe_health(&device.shared)).collect()
    }

    /// Ends all devices; those that do not end within the grace period are left behind.
    pub fn stop(self, grace: Duration) {
        for device in self.by_id.values() {
            device.shared.mailbox.stop();
        }
        let deadline = Instant::now() + grace;
        for (id, device) in self.by_id {
            if !device.shared.mailbox.wait_until_stopped(deadline) {
                warn!(device = id, "the device does not end");
            } else if device.thread.join().is_err() {
                warn!(device = id, "the device's thread has panicked");
            }
        }
    }

    fn answer(&self, id: RequestId, answer: Answer) {
        // A driver that has ended needs no answer.
        let _ = self.events.send(DeviceEvent::Answered { id, answer });
    }
}

fn describe_health(shared: &Shared) -> Json {
    let properties: serde_json::Map<_, _> = lock(&shared.states)
        .iter()
        .map(|(name, value)| (name.clone(), value.as_json().clone()))
        .collect();
    let down = shared.down();
    let state = match &down {
        _ if shared.is_stalled() => "stalled",
        Some(_) => "restarting",
        None => "ready",
    };
    let mut description = json!({
        "id": shared.config.id,
        "name": shared.config.name.as_deref().unwrap_or(&shared.config.id),
        "kind": shared.config.kind,
        "state": state,
        "properties": properties,
    });
    if let Some(reason) = down {
        description["reason"] = reason.into();
    }
    description
}

fn find_kind<'p>(device: &DeviceConfig, plugins: &'p Plugins) -> Result<&'p Kind, String> {
    plugins.kind(&device.kind).ok_or_else(|| {
        let present: Vec<_> = plugins.kinds().collect();
        let present = if present.is_empty() { "none".into() } else { present.join(", ") };
        format!("no plugin provides `{}`; the kinds present are: {present}", device.kind)
    })
}

const STACK_SIZE: usize = 512 * 1024;

#[cfg(test)]
mod tests;
