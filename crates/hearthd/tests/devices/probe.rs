//! Devices that do what a test tells them to do, and write down what the hub has them do.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use hearthd_sdk::{
    Absence, Answer, Changes, Context, Deferred, Device, Failure, Problems, Property,
};
use serde::Deserialize;

use crate::test_devices::PATIENCE;

/// A device with properties of several types; what is written to `job` says how it behaves.
#[derive(Debug)]
pub(crate) struct Probe {
    config: Config,
    context: Context,
    wire: Wire,
    level: i64,
    owed: Vec<Deferred>,
}

/// The `config` table of a probe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The number of the test that the device belongs to.
    test: u64,
    /// Why it cannot be created.
    #[serde(default)]
    fail: Option<String>,
    /// Whether it saves its level.
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    start: Start,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    #[serde(default)]
    level: i64,
}

impl Device for Probe {
    const KIND: &'static str = "probe";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        let level = config.start.level;
        if level > 100 {
            problems.add("start.level", format!("{level} is above 100"));
        }
    }

    fn properties(_: &Config) -> Vec<Property> {
        vec![
            Property::switch("power"),
            Property::integer("level").range(0, 100),
            Property::number("temperature").read_only(),
            Property::text("job").not_retained(),
            Property::text("notice").write_only(),
        ]
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let wire = wire(config.test, context.device_id());
        let saved = saved.map(String::from_utf8_lossy);
        wire.note(match &saved {
            None => "create".to_owned(),
            Some(saved) => format!("create with {saved}"),
        });
        if let Some(reason) = &config.fail {
            return Err(Failure::failed(reason));
        }
        let level = saved.and_then(|saved| saved.parse().ok()).unwrap_or(config.start.level);
        context.publish("power", false);
        context.publish("level", level);
        context.publish("temperature", 20.5);
        Ok(Self { config, context, wire, level, owed: Vec::new() })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let mut note = "set".to_owned();
        for (name, value) in changes.iter() {
            write!(note, " {name}={}", value.to_text()).expect("a String takes everything");
        }
        self.wire.note(note);
        let answer = changes.text("job").map_or(Ok(Answer::Done), |job| self.work(job))?;
        if let Some(on) = changes.switch("power") {
            self.context.publish("power", on);
        }
        if let Some(level) = changes.integer("level") {
            self.level = level;
            self.context.publish("level", level);
        }
        Ok(answer)
    }

    fn timer(&mut self, id: u32) {
        if id == TICK_TIMER {
            return self.context.set_timer(TICK_TIMER, Duration::ZERO);
        }
        self.wire.note(format!("timer {id}"));
        assert_ne!(id, PANIC_TIMER, "the test asked for it");
    }

    fn wake(&mut self) {
        self.wire.note("wake");
    }

    fn absence(&mut self, absence: &Absence) {
        let by: Vec<_> = absence
            .acknowledgements
            .iter()
            .map(|a| format!("{}: {}", a.responder.as_deref().unwrap_or("?"), a.payload))
            .collect();
        let Absence { generation, outcome, .. } = absence;
        self.wire.note(format!("absence {generation} {outcome:?} [{}]", by.join(", ")));
    }

    fn save(&self) -> Option<Vec<u8>> {
        self.config.remember.then(|| self.level.to_string().into_bytes())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.wire.note("destroy");
    }
}

impl Probe {
    fn work(&mut self, job: &str) -> Result<Answer, Failure> {
        match job {
            "panic" => panic!("the test asked for it"),
            "refuse" => return Err(Failure::invalid("not in this house")),
            "fail" => return Err(Failure::failed("the bulb is broken")),
            "block" => self.wire.wait_for_go(),
            "later" => {
                let (deferred, context) = (self.context.defer(), self.context.clone());
                let wire = self.wire.clone();
                std::thread::spawn(move || {
                    wire.wait_for_go();
                    context.publish("job", "later");
                    deferred.done();
                });
                return Ok(Answer::Later);
            }
            "never" => {
                self.owed.push(self.context.defer());
                return Ok(Answer::Later);
            }
            "answer what is owed" => self.owed.drain(..).for_each(Deferred::done),
            "panic later" => {
                self.owed.push(self.context.defer());
                self.context.set_timer(PANIC_TIMER, Duration::ZERO);
                return Ok(Answer::Later);
            }
            "timers" => {
                self.context.set_timer(1, Duration::ZERO);
                self.context.set_timer(2, Duration::from_millis(2));
                self.context.set_timer(3, Duration::from_millis(1));
                self.context.cancel_timer(1);
            }
            "tick" => self.context.set_timer(TICK_TIMER, Duration::ZERO),
            "wake" => (0..3).for_each(|_| self.context.wake()),
            _ => {}
        }
        self.context.publish("job", job);
        Ok(Answer::Done)
    }
}

/// A kind that declares a property with a name that is taken.
#[derive(Debug)]
pub(crate) struct Misdeclared;

#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

impl Device for Misdeclared {
    const KIND: &'static str = "misdeclared";
    type Config = Nothing;

    fn properties(_: &Nothing) -> Vec<Property> {
        vec![Property::switch("set")]
    }

    fn create(_: Nothing, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

/// The device's end of the wire to its test.
#[derive(Clone, Debug)]
struct Wire {
    notes: Sender<String>,
    go: Arc<Mutex<Receiver<()>>>,
}

impl Wire {
    fn note(&self, note: impl Into<String>) {
        // A test that has ended reads no more.
        let _ = self.notes.send(note.into());
    }

    /// Says `waiting`, and waits until the test says go, or has ended.
    fn wait_for_go(&self) {
        self.note("waiting");
        let go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = go.recv_timeout(PATIENCE);
    }
}

/// The test's end of the wire to a device.
#[derive(Debug)]
pub(crate) struct Strings {
    notes: Receiver<String>,
    go: Sender<()>,
}

impl Strings {
    /// Attaches to a device that is not there yet.
    pub(crate) fn attach(test: u64, device: &str) -> Self {
        let (notes, notes_out) = channel();
        let (go, go_in) = channel();
        let wire = Wire { notes, go: Arc::new(Mutex::new(go_in)) };
        let mut wires = WIRES.lock().unwrap_or_else(PoisonError::into_inner);
        wires.insert((test, device.to_owned()), wire);
        Self { notes: notes_out, go }
    }

    /// Waits for the device's next note.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.notes.recv_timeout(PATIENCE).expect("the device does something")
    }

    /// Returns the notes that are there.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.notes.try_iter().collect()
    }

    /// Lets the device go on.
    pub(crate) fn go(&self) {
        self.go.send(()).expect("the device's wire is kept");
    }
}

fn wire(test: u64, device: &str) -> Wire {
    let wires = WIRES.lock().unwrap_or_else(PoisonError::into_inner);
    wires[&(test, device.to_owned())].clone()
}

static WIRES: Mutex<BTreeMap<(u64, String), Wire>> = Mutex::new(BTreeMap::new());

const PANIC_TIMER: u32 = 13;
const TICK_TIMER: u32 = 14;
