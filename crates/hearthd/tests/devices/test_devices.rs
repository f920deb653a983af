//! The driver's place: starts devices, sends requests and reads events, never longer than [`PATIENCE`].

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hearthd::{
    config::{Config, Limits},
    device::{DeviceEvent, Devices},
    plugin::{KindTable, Launcher, Plugins},
};
use hearthd_core::{Answer, PropertyEvent, PropertyState, Request, RequestId};
use tokio::runtime::Runtime;

use crate::{hearth_plugin_entry_v1, probe::Strings};

/// How long a test waits before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Devices under test.
#[derive(Debug)]
pub(crate) struct TestDevices {
    pub(crate) devices: Devices,
    runtime: Runtime,
    strings: BTreeMap<String, Strings>,
    answered: BTreeMap<RequestId, Answer>,
    trace: Vec<String>,
    last_id: u64,
}

/// A device under test: its ID, and further lines of its table and of its `config` table.
pub(crate) type Lines<'a> = (&'a str, &'a str, &'a str);

impl TestDevices {
    /// Starts the devices `a` and `b`, and waits until they are there.
    pub(crate) fn two() -> Self {
        Self::start("", &[("a", "", ""), ("b", "", "")], &BTreeMap::new())
    }

    /// Starts probes, and waits until each was to be created.
    pub(crate) fn start(
        requests: &str,
        devices: &[Lines<'_>],
        saved: &BTreeMap<String, Vec<u8>>,
    ) -> Self {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let test = TESTS.fetch_add(1, Ordering::Relaxed);
        let mut toml = format!("[requests]\n{requests}\n");
        let mut strings = BTreeMap::new();
        for (id, table, config) in devices {
            write!(toml, "[devices.{id}]\nplugin = \"probe\"\n{table}\n")
                .expect("a String takes everything");
            write!(toml, "[devices.{id}.config]\ntest = {test}\n{config}\n")
                .expect("a String takes everything");
            strings.insert((*id).to_owned(), Strings::attach(test, id));
        }
        let devices = Devices::start(&config(&toml), &plugins(), saved.clone());
        let mut running = Self::of(devices.expect("the tables are good"), strings);
        for (id, strings) in &running.strings {
            let expected =
                saved.get(id).map_or("create".into(), |s| format!("create with {}", text(s)));
            assert_eq!(strings.next(), expected);
            running.wait_for(id, &["ready", "restarting", "failed"], |entry| {
                entry["reason"] != "starting"
            });
        }
        running.take_trace();
        running
    }

    /// Takes devices that run already.
    pub(crate) fn of(devices: Devices, strings: BTreeMap<String, Strings>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("the system can make a runtime");
        let (answered, trace) = (BTreeMap::new(), Vec::new());
        Self { devices, runtime, strings, answered, trace, last_id: 0 }
    }

    /// Returns the wire to a device.
    pub(crate) fn device(&self, id: &str) -> &Strings {
        &self.strings[id]
    }

    /// Returns the devices, and the wires to `a` and `b`.
    pub(crate) fn into_parts(mut self) -> (Devices, Strings, Strings) {
        let mut wire = |id| self.strings.remove(id).expect("there is such a device");
        let (a, b) = (wire("a"), wire("b"));
        (self.devices, a, b)
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, topic: &str, payload: &str) -> RequestId {
        self.send_within(PATIENCE, topic, payload)
    }

    /// Sends a request with a deadline.
    pub(crate) fn send_within(
        &mut self,
        remaining: Duration,
        topic: &str,
        payload: &str,
    ) -> RequestId {
        self.last_id += 1;
        let (device, property) = topic.split_once('/').expect("a test writes device/property");
        let id = RequestId(self.last_id);
        self.devices.request(Request {
            id,
            device: device.into(),
            property: property.into(),
            payload: payload.to_owned().into(),
            content_type: None,
            remaining,
        });
        self.devices.wake();
        id
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: RequestId) -> Answer {
        loop {
            if let Some(answer) = self.answered.get(&id) {
                return answer.clone();
            }
            self.keep_next();
        }
    }

    /// Sends a request and waits for its answer: status, and payload or message.
    #[track_caller]
    pub(crate) fn ask(&mut self, topic: &str, payload: &str) -> String {
        let id = self.send(topic, payload);
        said(&self.answer(id))
    }

    /// As [`TestDevices::ask`], for the whole answer.
    #[track_caller]
    pub(crate) fn ask_whole(&mut self, topic: &str, payload: &str) -> Answer {
        let id = self.send(topic, payload);
        self.answer(id)
    }

    /// Returns whether a request is not answered by now.
    pub(crate) fn is_open(&mut self, id: RequestId) -> bool {
        self.keep_what_is_there();
        !self.answered.contains_key(&id)
    }

    /// Returns the events since the last time, in their order.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.keep_what_is_there();
        std::mem::take(&mut self.trace)
    }

    /// Waits until there are so many events since the last time, and returns states and answers.
    #[track_caller]
    pub(crate) fn take_states_and_answers(&mut self, events: usize) -> (Vec<String>, Vec<String>) {
        while self.trace.len() < events {
            self.keep_next();
        }
        self.take_trace().into_iter().partition(|event| event.starts_with("state "))
    }

    /// Waits for an event.
    #[track_caller]
    pub(crate) fn wait_for_event(&mut self, wanted: &str) {
        while !self.trace.iter().any(|event| event == wanted) {
            self.keep_next();
        }
    }

    /// Waits for an event that starts so, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_start(&mut self, start: &str) -> String {
        loop {
            if let Some(event) = self.trace.iter().find(|event| event.starts_with(start)) {
                return event.clone();
            }
            self.keep_next();
        }
    }

    /// Returns what the list of devices says of one.
    #[track_caller]
    pub(crate) fn entry(&self, device: &str) -> serde_json::Value {
        let list = self.devices.list();
        let entry = list.as_array().into_iter().flatten().find(|entry| entry["id"] == device);
        entry.expect("the list has every device").clone()
    }

    /// Waits until the list of devices gives a device one of these states.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        device: &str,
        states: &[&str],
        fits: impl Fn(&serde_json::Value) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let entry = self.entry(device);
            if states.iter().any(|state| entry["state"] == *state) && fits(&entry) {
                return;
            }
            assert!(Instant::now() < deadline, "{device} does not get {states:?}: {entry}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Repeats a request until its answer starts so.
    #[track_caller]
    pub(crate) fn ask_until(&mut self, topic: &str, payload: &str, start: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(topic, payload);
            if answer.starts_with(start) {
                return;
            }
            assert!(Instant::now() < deadline, "{topic} goes on saying {answer}");
            std::thread::sleep(PAUSE);
        }
    }

    #[track_caller]
    fn keep_next(&mut self) {
        let next = async { tokio::time::timeout(PATIENCE, self.devices.next()).await };
        let event = self.runtime.block_on(next).expect("an event comes in time");
        self.keep(event);
    }

    fn keep_what_is_there(&mut self) {
        while let Some(event) = self.devices.try_next() {
            self.keep(event);
        }
    }

    fn keep(&mut self, event: DeviceEvent) {
        self.trace.push(told(&event));
        if let DeviceEvent::Answered { id, answer } = event {
            let earlier = self.answered.insert(id, answer);
            assert!(earlier.is_none(), "request {} is answered twice", id.0);
        }
    }
}

/// Parses a configuration.
#[track_caller]
pub(crate) fn config(text: &str) -> Config {
    Config::parse(Path::new("test.toml"), text).expect("the test's configuration is good")
}

/// Returns the kinds that this binary exports.
pub(crate) fn plugins() -> Plugins {
    Plugins::from_kinds(exported_kinds(), &launcher())
}

/// Starts the processes of plugins as the daemon does.
pub(crate) fn launcher() -> Launcher {
    Launcher::new(Limits::default()).with_program(env!("CARGO_BIN_EXE_hearthd").into())
}

#[expect(unsafe_code, reason = "the kinds come out of an exported C table, as from a file")]
fn exported_kinds() -> Vec<KindTable> {
    let mut kinds = Vec::new();
    loop {
        // SAFETY: the list is ended by a null pointer, which is not passed.
        let place = unsafe { hearth_plugin_entry_v1.entry().kinds.add(kinds.len()) };
        // SAFETY: as above.
        let table = unsafe { *place };
        // SAFETY: the pointer is null or leads to a static of this binary.
        let Some(table) = (unsafe { table.as_ref() }) else { return kinds };
        // SAFETY: the SDK makes tables that follow the ABI.
        kinds.push(unsafe { KindTable::new(table) }.expect("the SDK makes whole tables"));
    }
}

/// Returns an event as a test writes it.
pub(crate) fn told(event: &DeviceEvent) -> String {
    match event {
        DeviceEvent::Answered { id, answer } => format!("answer {}: {}", id.0, said(answer)),
        DeviceEvent::Ended { id, answer } => format!("end {}: {}", id.0, said(answer)),
        DeviceEvent::State(PropertyState {
            device,
            property,
            payload,
            retain,
            details,
            content_type: _,
        }) => {
            let retained = if *retain { "" } else { " (not retained)" };
            let reason = details.iter().find(|(name, _)| name == "reason");
            let reason = reason.map(|(_, reason)| format!(" ({reason})")).unwrap_or_default();
            format!("state {device}/{property}: {}{retained}{reason}", text(payload))
        }
        DeviceEvent::Happened(PropertyEvent { device, property, event, left_out }) => {
            format!("event {device}/{property}: {event} ({left_out} left out)")
        }
        DeviceEvent::Saved { device, state } => format!("saved {device}: {}", text(state)),
        DeviceEvent::Bridge { device, input } => format!("{device} {input:?}"),
        DeviceEvent::Children { device, children } => {
            format!("children of {device}: {}", text(children))
        }
    }
}

/// Returns status, and payload or message.
pub(crate) fn said(answer: &Answer) -> String {
    let says = answer.message.clone().unwrap_or_else(|| text(&answer.payload));
    format!("{} {says}", answer.status.code()).trim_end().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) const PAUSE: Duration = Duration::from_millis(5);
