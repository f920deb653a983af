//! A heater that obeys, refuses, is silent or dead, behind a connection that comes and goes.

use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::json;

const TICK: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(5);
/// Five minutes until it is told again, and ten seconds until that is decided.
const NOTICED: Duration = Duration::from_secs(311);
const RESULT: &str = "stat/boiler/RESULT";
const LWT: &str = "tele/boiler/LWT";

/// What a Tasmota does with a command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Obeys,
    /// It says that it is as it was.
    Refuses,
    /// It does it and says nothing.
    Silent,
    Dead,
}

struct House {
    device: TestDevice<Thermostat>,
    random: fastrand::Rng,
    manner: Manner,
    /// What the heater really does.
    on: bool,
    link: bool,
    /// Since when it has been on while the thermostat says that it is off.
    unnoticed: Option<Duration>,
    trace: Vec<String>,
}

impl House {
    fn new(seed: u64) -> Self {
        let device = TestDevice::new(json!({
            "backend": "hardware", "min_on": 0, "min_off": 0,
            "sensors": [{"mqtt": {"topic": "hall", "max_age": "48h"}}],
            "actuator": {"tasmota": {"topic": "boiler"}},
        }));
        let mut random = fastrand::Rng::with_seed(seed);
        let (on, link) = (random.bool(), false);
        let (manner, unnoticed, trace) = (Manner::Obeys, None, Vec::new());
        let mut house = Self { device, random, manner, on, link, unnoticed, trace };
        house.set_link(true);
        house.device.receive("hall", "18", false);
        house
    }

    fn set_link(&mut self, up: bool) {
        if self.link == up {
            return;
        }
        self.link = up;
        self.device.set_link(up);
        if up {
            self.say_whether_it_is_there(true);
        }
    }

    fn set_manner(&mut self, manner: Manner) {
        let was_dead = self.manner == Manner::Dead;
        self.manner = manner;
        let dies = manner == Manner::Dead && !was_dead;
        let lives = manner != Manner::Dead && was_dead;
        // The last will may be late, or never come.
        if self.link && (lives || (dies && self.random.bool())) {
            self.say_whether_it_is_there(false);
        }
    }

    fn say_whether_it_is_there(&mut self, retained: bool) {
        let word = if self.manner == Manner::Dead { "Offline" } else { "Online" };
        self.device.receive(LWT, word, retained);
    }

    fn say(&mut self) {
        let power = if self.on { "ON" } else { "OFF" };
        if self.link {
            self.device.receive(RESULT, &json!({"POWER": power}).to_string(), false);
        }
    }

    /// Lets time pass; the heater takes what it is sent.
    fn pass(&mut self, time: Duration) {
        let end = self.device.now() + time;
        while self.device.now() < end {
            for sent in self.device.take_sent() {
                let wanted = match sent.payload.as_str() {
                    "ON" => Some(true),
                    "OFF" => Some(false),
                    _ => None,
                };
                match self.manner {
                    Manner::Dead => continue,
                    Manner::Refuses => {}
                    Manner::Obeys | Manner::Silent => self.on = wanted.unwrap_or(self.on),
                }
                if self.manner != Manner::Silent {
                    self.say();
                }
            }
            self.device.advance(TICK);
            self.check();
        }
    }

    /// A heater that is on is said to be on, or that it may be, as soon as that can be known.
    fn check(&mut self) {
        let text = |property| self.device.published(property).unwrap_or_default();
        let is_told = text("action") == "heating" || text("alert").contains("may still be on");
        if !self.on || is_told || !self.link {
            self.unnoticed = None;
            return;
        }
        let now = self.device.now();
        let since = *self.unnoticed.get_or_insert(now);
        assert!(
            now - since < NOTICED,
            "on for {:?}, and nobody knows: {:#?}",
            now - since,
            self.trace
        );
    }

    /// Sets the mode, and checks that the answer comes in time and is true.
    fn set_mode(&mut self, mode: &str) {
        let asked = self.device.now();
        let before = self.device.published("mode");
        self.device.set_deadline(Some(asked + DEADLINE));
        let mut reply = self.device.set("mode", mode);
        while reply == Reply::Pending && self.device.now() < asked + DEADLINE {
            if self.random.u32(..40) == 0 {
                self.set_link(!self.link);
            }
            self.pass(TICK);
            reply = self.device.reply();
        }
        self.note(format!("mode {mode}: {reply:?}"));
        let now = self.device.published("mode");
        match reply {
            Reply::Done => {
                assert_eq!(self.on, mode == "heat", "{:#?}", self.trace);
                assert_eq!(now.as_deref(), Some(mode), "{:#?}", self.trace);
            }
            Reply::Failed(_) if mode == "off" => {
                assert_eq!(now.as_deref(), Some("off"), "{:#?}", self.trace);
            }
            Reply::Failed(_) => assert_eq!(now, before, "{:#?}", self.trace),
            Reply::Pending | Reply::Accepted(_) | Reply::Panicked => {
                panic!("{reply:?}: {:#?}", self.trace)
            }
        }
    }

    fn note(&mut self, what: String) {
        let House { device, manner, on, link, .. } = self;
        let line = format!("{:?} {what} ({manner:?}, on {on}, link {link})", device.now());
        self.trace.push(line);
    }

    fn step(&mut self) {
        match self.random.u32(..12) {
            0..=1 => {
                let manners = [Manner::Obeys, Manner::Refuses, Manner::Silent, Manner::Dead];
                let manner = manners[self.random.usize(..manners.len())];
                self.set_manner(manner);
            }
            2 => self.set_manner(Manner::Obeys),
            3 => self.set_link(false),
            4 => self.set_link(true),
            5 if self.manner == Manner::Obeys && self.link => {
                // A hand at the button.
                self.on = !self.on;
                self.say();
            }
            6 => {
                self.device.restart();
                self.link = false;
                self.unnoticed = None;
                self.set_link(true);
                self.device.receive("hall", "18", false);
            }
            7..=9 => self.set_mode("heat"),
            _ => self.set_mode("off"),
        }
        self.note("step".to_owned());
        let seconds = if self.random.u32(..8) == 0 { 400 } else { self.random.u64(..30) };
        self.pass(Duration::from_secs(seconds) + TICK);
    }
}

#[test]
fn a_heater_that_is_on_is_never_forgotten_and_every_answer_is_true() {
    for seed in 0..60 {
        let mut house = House::new(seed);
        house.note(format!("seed {seed}"));
        house.pass(Duration::from_secs(5));
        for _ in 0..60 {
            house.step();
        }
        // Once all is well again, it is as it is wanted.
        house.set_link(true);
        house.set_manner(Manner::Obeys);
        house.say_whether_it_is_there(false);
        house.pass(NOTICED);
        let wanted = house.device.published("mode").as_deref() == Some("heat");
        assert_eq!(house.on, wanted, "{:#?}", house.trace);
        assert_eq!(house.device.published("alert").as_deref(), Some("none"), "{:#?}", house.trace);
    }
}
