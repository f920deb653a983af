//! A radiator valve that sleeps, refuses or dies, behind a Zigbee2MQTT that says what it was told.

use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const VALVE: &str = "zigbee2mqtt/valve";
const BRIDGE: &str = "zigbee2mqtt/bridge/state";
const TICK: Duration = Duration::from_millis(250);
const MINUTE: Duration = Duration::from_secs(60);
/// The time after which a person should know, with a period and a bit.
const KNOWN: Duration = Duration::from_secs(30 * 60 + 30);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Obeys,
    /// It takes the command and stays as it was.
    Refuses,
    Dead,
}

struct House {
    device: TestDevice<Thermostat>,
    random: fastrand::Rng,
    manner: Manner,
    /// The valve's own target.
    real: f64,
    /// What the bridge has for it when it wakes.
    queued: Option<f64>,
    asked: bool,
    /// What the bridge believes.
    believed: f64,
    awake_until: Duration,
    link: bool,
    bridge: bool,
    /// Since when the valve is not as wanted.
    wrong: Option<Duration>,
    trace: Vec<String>,
}

impl House {
    fn new(seed: u64) -> Self {
        let device = TestDevice::new(json!({
            "backend": "hardware", "sensors": [],
            "actuator": {"zigbee2mqtt": {"topic": VALVE}, "valve": true},
        }));
        let random = fastrand::Rng::with_seed(seed);
        let (manner, real, believed) = (Manner::Obeys, 17.0, 17.0);
        let (queued, asked, awake_until) = (None, false, Duration::ZERO);
        let (link, bridge, wrong, trace) = (false, true, None, Vec::new());
        let mut house = Self {
            device,
            random,
            manner,
            real,
            queued,
            asked,
            believed,
            awake_until,
            link,
            bridge,
            wrong,
            trace,
        };
        house.set_link(true);
        house
    }

    fn set_link(&mut self, up: bool) {
        if self.link != up {
            self.link = up;
            self.device.set_link(up);
            self.say_bridge(true);
        }
    }

    fn set_bridge(&mut self, up: bool) {
        if self.bridge == up {
            return;
        }
        self.bridge = up;
        (self.queued, self.asked) = (None, false);
        self.say_bridge(false);
        if up {
            // It says all that it remembers.
            self.say_state();
        }
    }

    fn say_bridge(&mut self, retained: bool) {
        if self.link {
            let state = if self.bridge { "online" } else { "offline" };
            self.device.receive(BRIDGE, &json!({"state": state}).to_string(), retained);
        }
    }

    fn say_state(&mut self) {
        if self.link && self.bridge {
            let state = json!({"occupied_heating_setpoint": self.believed}).to_string();
            self.device.receive(VALVE, &state, false);
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.device.now() + time;
        while self.device.now() < end {
            for sent in self.device.take_sent() {
                if !self.bridge {
                    continue;
                }
                let payload: Value = serde_json::from_str(&sent.payload).expect("JSON");
                match payload["occupied_heating_setpoint"].as_f64() {
                    Some(target) => self.queued = Some(target),
                    None => self.asked = true,
                }
            }
            if self.device.now() < self.awake_until && self.manner != Manner::Dead && self.bridge {
                if let Some(target) = self.queued.take() {
                    if self.manner == Manner::Obeys {
                        self.real = target;
                    }
                    self.say_state();
                    self.believed = target;
                    self.say_state();
                } else if std::mem::take(&mut self.asked) {
                    self.believed = self.real;
                    self.say_state();
                }
            } else if self.random.u32(..600) == 0 {
                self.awake_until = self.device.now() + Duration::from_secs(8);
                self.say_state();
            }
            self.device.advance(TICK);
            self.check();
        }
    }

    fn text(&self, property: &str) -> String {
        self.device.published(property).unwrap_or_default()
    }

    /// Returns what the valve's own target should be.
    fn wanted(&self) -> f64 {
        let target = self.text("target_temperature").parse().expect("a number");
        if self.text("mode") == "off" { 5.0 } else { target }
    }

    /// `confirmed` is true, and a valve that is not as wanted is told of in time.
    fn check(&mut self) {
        let (state, alert) = (self.text("valve"), self.text("alert"));
        let right = (self.real - self.wanted()).abs() < 0.01;
        assert!(right || state != "confirmed", "{} {state}: {:#?}", self.real, self.trace);
        let now = self.device.now();
        if right || alert != "none" {
            self.wrong = None;
            return;
        }
        let since = *self.wrong.get_or_insert(now);
        assert!(now - since < KNOWN, "{state} since {since:?}, now {now:?}: {:#?}", self.trace);
    }

    fn step(&mut self) {
        let what = self.random.u32(..12);
        match what {
            0 => self.manner = Manner::Refuses,
            1 => self.manner = Manner::Dead,
            2..=3 => self.manner = Manner::Obeys,
            4 => self.set_link(false),
            5 => self.set_link(true),
            6 => self.set_bridge(false),
            7 => self.set_bridge(true),
            8 => {
                self.device.restart();
                self.link = false;
                self.set_link(true);
            }
            9 => assert_eq!(self.device.set("mode", "off"), Reply::Done),
            10 => assert_eq!(self.device.set("mode", "heat"), Reply::Done),
            _ => {
                let target = f64::from(self.random.u32(10..50)) / 2.0;
                let reply = self.device.set("target_temperature", &target.to_string());
                assert_eq!(reply, Reply::Done, "it answers for its own target");
            }
        }
        let House { device, manner, real, link, bridge, .. } = self;
        let line = format!("{:?} {what} {manner:?} {real} {link} {bridge}", device.now());
        self.trace.push(line);
        if what == 8 {
            // A new thermostat has its own patience.
            self.wrong = None;
        }
        let minutes = self.random.u32(..12);
        self.pass(MINUTE * minutes);
    }
}

#[test]
fn confirmed_is_true_and_a_valve_that_does_not_follow_is_told_of() {
    for seed in 0..40 {
        let mut house = House::new(seed);
        for _ in 0..40 {
            house.step();
        }
        house.manner = Manner::Obeys;
        house.set_link(true);
        house.set_bridge(true);
        house.pass(MINUTE * 60);
        let state = (house.text("valve"), house.text("alert"));
        assert_eq!(state, ("confirmed".into(), "none".into()), "{seed}: {:#?}", house.trace);
    }
}
