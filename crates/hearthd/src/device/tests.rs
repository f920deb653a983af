//! What a device promises its requesters, with a kind written with the SDK and linked into this test.
#![expect(unsafe_code, reason = "a kind's table comes as a pointer")]

use std::{
    path::Path,
    sync::{Condvar, Mutex},
    time::Duration,
};

use hearth_sdk::{Changes, Context, Device, Failure, Property};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, error::TryRecvError, unbounded_channel};

use super::*;

/// Closed, the calls of `hang` wait at it.
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

/// One gate for each test that needs one, so that tests run side by side.
static GATES: [Gate; 3] = [const { Gate { open: Mutex::new(false), changed: Condvar::new() } }; 3];

impl Gate {
    fn wait(&self) {
        let open = lock(&self.open);
        let _open = self.changed.wait_while(open, |open| !*open).expect("no holder panics");
    }

    fn open(&self) {
        *lock(&self.open) = true;
        self.changed.notify_all();
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LampConfig {
    #[serde(default)]
    gate: usize,
    #[serde(default)]
    tick: bool,
}

/// A lamp whose `order` says how it behaves.
struct Lamp {
    context: Context,
    gate: usize,
    tick: bool,
    level: i64,
}

impl Device for Lamp {
    const KIND: &'static str = "lamp";
    type Config = LampConfig;

    fn properties(_: &LampConfig) -> Vec<Property> {
        vec![
            Property::switch("power"),
            Property::integer("level").range(0, 100),
            Property::text("order").write_only(),
            Property::text("note").read_only(),
        ]
    }

    fn create(config: LampConfig, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let level = saved.and_then(|saved| std::str::from_utf8(saved).ok()?.parse().ok());
        let level = level.unwrap_or(1);
        context.publish("power", false);
        context.publish("level", level);
        if config.tick {
            context.set_timer(1, Duration::ZERO);
        }
        Ok(Self { context, gate: config.gate, tick: config.tick, level })
    }

    fn set(&mut self, changes: &Changes) -> Result<hearth_sdk::Answer, Failure> {
        match changes.text("order") {
            Some("panic") => panic!("ordered"),
            Some("hang") => GATES[self.gate].wait(),
            Some("defer") => {
                let (deferred, context) = (self.context.defer(), self.context.clone());
                std::thread::spawn(move || {
                    context.publish("note", "deferred");
                    deferred.done();
                });
                return Ok(hearth_sdk::Answer::Later);
            }
            Some("timer") => self.context.set_timer(7, Duration::from_millis(1)),
            Some("refuse") => return Err(Failure::busy("not now")),
            Some(_) | None => {}
        }
        if let Some(on) = changes.switch("power") {
            self.context.publish("power", on);
        }
        if let Some(level) = changes.integer("level") {
            self.level = level;
            self.context.publish("level", level);
        }
        Ok(hearth_sdk::Answer::Done)
    }

    fn timer(&mut self, id: u32) {
        if self.tick {
            self.context.set_timer(id, Duration::ZERO);
        } else {
            self.context.publish("note", "timer");
        }
    }

    fn absence(&mut self, absence: &hearth_sdk::Absence) {
        self.context.publish("note", format!("{:?}", absence.outcome));
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(self.level.to_string().into_bytes())
    }
}

struct Bench {
    devices: Devices,
    events: UnboundedReceiver<DeviceEvent>,
    seen: Vec<DeviceEvent>,
    next: u64,
}

impl Bench {
    fn start(devices: &str, saved: &[(&str, &str)]) -> Self {
        // SAFETY: the SDK's table is constant data of this program.
        let table = unsafe { &*hearth_sdk::export::kind::<Lamp>() };
        // SAFETY: as above.
        let kind = unsafe { Kind::new(table) }.expect("a kind");
        let config = Config::parse(Path::new("test.toml"), devices).expect("a configuration");
        let saved =
            saved.iter().map(|(id, state)| ((*id).to_owned(), state.as_bytes().to_vec())).collect();
        let (sender, events) = unbounded_channel();
        let plugins = Plugins::from_kinds([kind]);
        let devices = Devices::start(&config, &plugins, &saved, sender).expect("devices");
        Self { devices, events, seen: Vec::new(), next: 0 }
    }

    fn send(&mut self, device: &str, property: &str, payload: &str) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.devices.request(Request {
            id,
            device: device.to_owned(),
            property: property.to_owned(),
            payload: payload.to_owned().into(),
            content_type: None,
            remaining: Duration::from_secs(20),
        });
        id
    }

    /// Waits for the first event, old or new, that `pick` takes.
    fn wait<T>(&mut self, what: &str, pick: impl Fn(&DeviceEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = self.seen.iter().find_map(&pick) {
                return found;
            }
            match self.events.try_recv() {
                Ok(event) => self.seen.push(event),
                Err(TryRecvError::Disconnected) => panic!("no {what}: the devices have ended"),
                Err(TryRecvError::Empty) => {
                    assert!(Instant::now() < deadline, "no {what} in {:?}", self.seen);
                    std::thread::yield_now();
                }
            }
        }
    }

    fn answer(&mut self, id: RequestId) -> Answer {
        self.wait("answer", |event| match event {
            DeviceEvent::Answered { id: other, answer } if *other == id => Some(answer.clone()),
            _ => None,
        })
    }

    fn ask(&mut self, device: &str, property: &str, payload: &str) -> (u16, String) {
        let id = self.send(device, property, payload);
        let answer = self.answer(id);
        let text = String::from_utf8(answer.payload.to_vec()).expect("UTF-8");
        (answer.status.code(), answer.message.unwrap_or(text))
    }

    fn state(&mut self, device: &str, property: &str, value: &str) {
        self.wait(value, |event| match event {
            DeviceEvent::State { device: d, property: p, payload, .. } => {
                (d == device && p == property && payload == value).then_some(())
            }
            _ => None,
        });
    }

    fn health(&self, device: &str) -> String {
        let list = self.devices.list();
        let found = list.as_array().expect("a list").iter().find(|entry| entry["id"] == device);
        found.expect("the device")["state"].as_str().expect("a text").to_owned()
    }
}

const LAMP: &str = "[devices.lamp]\nplugin = \"lamp\"\n";

fn absence() -> Absence {
    serde_json::from_value(json!({
        "generation": "00".repeat(16), "outcome": "consumed", "clean": false,
        "connected_at": "2026-01-01T00:00:00Z", "decided_at": "2026-01-01T00:00:00Z",
        "acknowledgements": [],
    }))
    .expect("an absence")
}

#[test]
fn a_write_is_answered_with_the_state_and_a_read_with_what_was_published() {
    let mut bench = Bench::start(LAMP, &[]);
    assert_eq!(bench.ask("lamp", "power", "toggle"), (200, "ON".into()));
    assert_eq!(bench.ask("lamp", "power", ""), (200, "ON".into()));
    assert_eq!(bench.ask("lamp", "note", ""), (204, String::new()));
    assert_eq!(bench.ask("lamp", "order", "").0, 422);
    assert_eq!(bench.ask("lamp", "note", "x").0, 422);
    assert_eq!(bench.ask("lamp", "colour", "x").0, 404);
    assert_eq!(bench.ask("attic", "power", "ON").0, 404);
    assert_eq!(bench.ask("lamp", "order", "refuse"), (429, "not now".into()));
    let (status, all) = bench.ask("lamp", "get", "");
    assert_eq!((status, all.as_str()), (200, r#"{"level":1,"power":"ON"}"#));
    assert_eq!(bench.ask("lamp", "describe", "").0, 200);
}

#[test]
fn requests_to_one_device_are_answered_in_order() {
    let mut bench = Bench::start(LAMP, &[]);
    let ids: Vec<_> = (0..20).map(|n| bench.send("lamp", "level", &n.to_string())).collect();
    bench.answer(ids[19]);
    let answered: Vec<_> = bench
        .seen
        .iter()
        .filter_map(|event| match event {
            DeviceEvent::Answered { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(answered, ids);
}

#[test]
fn set_applies_all_properties_or_none() {
    let mut bench = Bench::start(LAMP, &[]);
    let (status, message) = bench.ask("lamp", "set", r#"{"power": "ON", "level": 101}"#);
    assert_eq!(status, 422, "{message}");
    assert_eq!(bench.ask("lamp", "set", r#"{"power": "ON", "colour": 1}"#).0, 404);
    for unreadable in ["{}", "[]", "", "{"] {
        assert_eq!(bench.ask("lamp", "set", unreadable).0, 400, "{unreadable}");
    }
    assert_eq!(bench.ask("lamp", "power", ""), (200, "OFF".into()));
    let set = bench.ask("lamp", "set", r#"{"power": true, "level": 50}"#);
    assert_eq!(set, (200, r#"{"level":50,"power":"ON"}"#.into()));
}

#[test]
fn a_full_mailbox_answers_429() {
    let config = format!("[requests]\nqueue = 1\n{LAMP}config = {{ gate = 0 }}\n");
    let mut bench = Bench::start(&config, &[]);
    bench.ask("lamp", "power", "ON");
    let hanging = bench.send("lamp", "order", "hang");
    // The first to be refused proves that the one before it waits.
    let mut waiting = bench.send("lamp", "power", "OFF");
    let refused = loop {
        let id = bench.send("lamp", "power", "OFF");
        if let Some(DeviceEvent::Answered { id: found, answer }) = bench.events.blocking_recv() {
            if found == id || found == waiting {
                break answer;
            }
            waiting = id;
        }
    };
    assert_eq!(refused.status, Status::Busy);
    GATES[0].open();
    assert!(bench.answer(hanging).status.is_success());
}

#[test]
fn a_hung_device_answers_503_and_costs_itself_alone() {
    let config = "[devices.hung]\nplugin = \"lamp\"\ndeadline = \"100ms\"\nconfig = { gate = 1 }\n\
                  [devices.well]\nplugin = \"lamp\"\n";
    let mut bench = Bench::start(config, &[]);
    bench.ask("hung", "power", "ON");
    bench.send("hung", "order", "hang");
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.health("hung") != "stalled" {
        assert!(Instant::now() < deadline, "never stalled");
        std::thread::yield_now();
    }
    assert_eq!(bench.ask("hung", "power", "OFF").0, 503);
    assert_eq!(bench.ask("well", "power", "ON"), (200, "ON".into()));
    GATES[1].open();
    while bench.health("hung") == "stalled" {
        assert!(Instant::now() < deadline, "stalled for ever");
        std::thread::yield_now();
    }
    assert_eq!(bench.ask("hung", "power", ""), (200, "ON".into()));
}

#[test]
fn a_device_that_panics_is_created_again_with_what_it_saved() {
    let mut bench = Bench::start(LAMP, &[]);
    bench.ask("lamp", "level", "33");
    assert_eq!(bench.ask("lamp", "order", "panic").0, 503);
    assert_eq!(bench.ask("lamp", "power", "ON").0, 503);
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.health("lamp") == "restarting" {
        assert!(Instant::now() < deadline, "never created again");
        std::thread::yield_now();
    }
    assert_eq!(bench.ask("lamp", "level", ""), (200, "33".into()));
}

#[test]
fn a_deferred_answer_comes_from_another_thread() {
    let mut bench = Bench::start(LAMP, &[]);
    assert_eq!(bench.ask("lamp", "order", "defer").0, 204);
    bench.state("lamp", "note", "deferred");
}

#[test]
fn a_timer_fires_once_it_is_due() {
    let mut bench = Bench::start(LAMP, &[]);
    bench.ask("lamp", "order", "timer");
    bench.state("lamp", "note", "timer");
}

#[test]
fn what_is_saved_comes_back_at_the_next_start() {
    let mut bench = Bench::start(LAMP, &[("lamp", "42")]);
    bench.state("lamp", "level", "42");
    bench.ask("lamp", "level", "43");
    bench.wait("saved state", |event| match event {
        DeviceEvent::Saved { state, .. } if state == b"43" => Some(()),
        _ => None,
    });
    bench.devices.stop(Duration::from_secs(10));
}

#[test]
fn an_absence_reaches_the_device() {
    let mut bench = Bench::start(LAMP, &[]);
    bench.devices.absence(&absence());
    bench.state("lamp", "note", "Consumed");
}

#[test]
fn an_absence_waits_for_a_device_that_is_down() {
    let mut bench = Bench::start(LAMP, &[]);
    bench.ask("lamp", "order", "panic");
    bench.devices.absence(&absence());
    bench.state("lamp", "note", "Consumed");
}

#[test]
fn a_timer_that_is_always_due_does_not_starve_requests() {
    let config = format!("{LAMP}config = {{ tick = true }}\n");
    let mut bench = Bench::start(&config, &[]);
    assert_eq!(bench.ask("lamp", "power", "ON"), (200, "ON".into()));
}

#[test]
fn a_read_of_a_device_that_is_down_says_so() {
    let mut bench = Bench::start(LAMP, &[]);
    bench.ask("lamp", "order", "panic");
    assert_eq!(bench.ask("lamp", "power", "").0, 503);
}
