//! A small device through the real tables.

use std::thread;
use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::{
    Absence, Answer, Changes, Context, Deferred, Device, Failure, FailureKind, NoConfig, Outcome,
    Problem, Problems, Property,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Limits {
    least: i64,
}

/// The timer of a move.
const MOVED: u32 = 5;

/// Does what its `mode` says.
struct Probe {
    context: Context,
    held: Option<Deferred>,
    count: i64,
}

impl Device for Probe {
    const KIND: &'static str = "probe";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        if config.limits.least < 0 {
            problems.add("limits.least", "-1 is not a count (0 or more)");
        }
    }

    fn properties(_: &Config) -> Vec<Property> {
        vec![
            Property::text("mode"),
            Property::integer("count").range(0, 100).unit("%").title("Count"),
            Property::number("level").range(5.0, 30.0).step(0.5).not_retained(),
            Property::switch("power").not_idempotent(),
            Property::choice("speed", &["low", "high"]),
            Property::json("report").read_only(),
            Property::switch("press").write_only(),
            Property::event("bell", &["press", "double"]).title("Doorbell"),
        ]
    }

    fn create(_: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        tracing::info!(id = context.device_id(), "created");
        let count = saved.map_or(0, |saved| saved[0].into());
        Ok(Self { context, held: None, count })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(count) = changes.integer("count") {
            self.count = count;
            self.context.publish("count", count);
        }
        if let Some(level) = changes.number("level") {
            self.context.publish("level", level);
        }
        match changes.text("mode") {
            Some("panic") => panic!("no such luck"),
            Some("panic while held") => {
                let _held = self.context.defer();
                panic!("no such luck");
            }
            Some("busy") => return Err(Failure::busy("in motion")),
            Some("lost") => {
                self.context.unreachable("the bus is silent");
                return Err(Failure::unreachable("the bus is silent"));
            }
            Some("found") => self.context.reachable(),
            Some("ring") => {
                self.context.event("bell", "press");
                self.context.event("bell", "double");
            }
            Some("ring wrongly") => self.context.event("bell", "triple"),
            Some("thread") => {
                let (context, deferred) = (self.context.clone(), self.context.defer());
                thread::spawn(move || {
                    context.publish("mode", "thread");
                    deferred.done();
                });
                return Ok(Answer::Later);
            }
            Some("hold") => {
                self.held = Some(self.context.defer());
                return Ok(Answer::Later);
            }
            Some("move") => {
                let request = self.context.defer();
                request.accept(Duration::from_secs(30));
                self.held = Some(request);
                self.context.set_timer(MOVED, Duration::from_secs(20));
                return Ok(Answer::Later);
            }
            Some("stop") => {
                if let Some(moving) = self.held.take() {
                    moving.fail(&Failure::failed("stopped"));
                }
            }
            Some("worker") => {
                let worker = self.context.spawn(|| tracing::info!("at work"))?;
                worker.join().map_err(|_| Failure::failed("the worker has panicked"))?;
                let _: u8 = "300".parse()?;
            }
            Some("drop") => {
                drop(self.context.defer());
                return Ok(Answer::Later);
            }
            Some("change of mind") => drop(self.context.defer()),
            Some("fail after all") => {
                drop(self.context.defer());
                return Err(Failure::invalid("after all"));
            }
            Some("promise") => return Ok(Answer::Later),
            Some("timers") => {
                self.context.set_timer(1, Duration::from_secs(3));
                self.context.set_timer(2, Duration::from_secs(2));
                self.context.set_timer(3, Duration::from_secs(1));
                self.context.cancel_timer(3);
            }
            Some("wake") => {
                self.context.wake();
                self.context.wake();
            }
            Some("mistake") => self.context.publish("count", 101),
            Some(_) | None => {}
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, id: u32) {
        let now = self.context.now().as_secs();
        self.context.publish("report", json!({ "timer": id, "now": now }));
        match self.held.take() {
            Some(moving) if id == MOVED => moving.done(),
            Some(held) => held.fail(&Failure::failed("timed out")),
            None => {}
        }
    }

    fn wake(&mut self) {
        self.context.publish("report", json!("awake"));
    }

    fn absence(&mut self, absence: &Absence) {
        let status = absence.acknowledgements.first().and_then(|first| first.status);
        self.context.publish("power", absence.outcome == Outcome::Consumed && status == Some(200));
    }

    fn save(&self) -> Option<Vec<u8>> {
        u8::try_from(self.count).ok().map(|count| vec![count])
    }
}

hearthd_sdk::export!(Probe);

fn device() -> TestDevice<Probe> {
    TestDevice::new(json!({}))
}

fn failed(reply: Reply) -> (FailureKind, String) {
    match reply {
        Reply::Failed(failure) => (failure.kind(), failure.message().to_owned()),
        Reply::Done | Reply::Pending | Reply::Accepted(_) | Reply::Panicked => panic!("{reply:?}"),
    }
}

#[test]
fn the_entry_names_the_plugin() {
    let prefix = &hearth_plugin_entry_v1.entry().prefix;
    assert_eq!(prefix.magic, *b"HEARTHP\0");
    assert!(prefix.name.starts_with(b"sdk\0"));
    assert!(prefix.version.starts_with(env!("CARGO_PKG_VERSION").as_bytes()));
    assert_eq!(prefix.struct_size, 144);
    assert_eq!(prefix.flags, 0);
    assert!(prefix.toolchain.starts_with(b"rustc 1."), "the compiler, not a placeholder");
}

#[test]
fn a_declaration_is_the_json_of_rule_d1() {
    let Ok(config) = serde_json::from_value(json!({})) else { panic!("a config") };
    let declarations: Vec<serde_json::Value> = Probe::properties(&config)
        .iter()
        .map(|property| serde_json::from_str(&property.declaration()).expect("JSON"))
        .collect();
    assert_eq!(
        declarations[1],
        json!({"type": "integer", "access": "rw", "title": "Count", "unit": "%", "min": 0,
               "max": 100, "retained": true, "idempotent": true})
    );
    assert_eq!(
        declarations[2],
        json!({"type": "number", "access": "rw", "min": 5.0, "max": 30.0, "step": 0.5,
               "retained": false, "idempotent": true})
    );
    assert_eq!(declarations[3]["idempotent"], json!(false));
    assert_eq!(declarations[4]["type"], json!("enum"));
    assert_eq!(declarations[4]["values"], json!(["low", "high"]));
    assert_eq!(declarations[5]["access"], json!("r"));
    assert_eq!(declarations[6]["access"], json!("w"));
}

#[test]
fn a_config_problem_names_its_place() {
    let paths = |config| -> Vec<String> {
        TestDevice::<Probe>::problems(&config).into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths(json!({"limits": {"least": "x"}})), ["limits.least"]);
    assert_eq!(paths(json!({"limits": {"lest": 1}})), ["limits.lest"]);
    assert_eq!(paths(json!({"limits": {}})), ["limits"]);
    assert_eq!(paths(json!(3)), [""]);
    let message = "-1 is not a count (0 or more)".to_owned();
    assert_eq!(
        TestDevice::<Probe>::problems(&json!({"limits": {"least": -1}})),
        [Problem { path: "limits.least".to_owned(), message }]
    );
}

#[test]
fn values_arrive_typed_and_go_out_as_text() {
    let mut device = device();
    assert!(device.set("level", "21.5").is_done());
    assert_eq!(device.published("level").as_deref(), Some("21.5"));
    assert!(device.set_all(json!({"count": 7, "level": 22})).is_done());
    assert_eq!(device.published("count").as_deref(), Some("7"));
    assert_eq!(device.published("level").as_deref(), Some("22"));
    assert_eq!(failed(device.set("count", "101")).0, FailureKind::Invalid);
    assert_eq!(failed(device.set("report", "1")).0, FailureKind::Invalid);
    assert_eq!(failed(device.set("colour", "red")).0, FailureKind::Invalid);
}

#[test]
fn what_is_accepted_is_under_way_until_the_device_tells_its_end() {
    let mut device = device();
    let accepted = Reply::Accepted(Duration::from_secs(30));
    assert_eq!(device.set("mode", "move"), accepted);
    device.advance(Duration::from_secs(19));
    assert_eq!(device.reply(), accepted);
    device.advance(Duration::from_secs(1));
    assert_eq!(device.reply(), Reply::Done);
    assert_eq!(device.set("mode", "move"), accepted);
    assert!(device.set("mode", "stop").is_done(), "the next request does not wait");
}

#[test]
fn a_panic_ends_the_command_and_not_the_process() {
    let mut device = device();
    device.set("count", "9");
    assert_eq!(device.set("mode", "panic"), Reply::Panicked);
    assert!(device.logs().iter().any(|line| line.starts_with("ERROR panic: no such luck at=")));
    device.restart();
    assert!(device.set("count", "1").is_done());
    assert_eq!(device.set("mode", "panic while held"), Reply::Panicked);
}

#[test]
#[should_panic(expected = "the device failed")]
fn a_panic_in_a_timer_fails_the_test() {
    let mut device = TestDevice::<Nine>::new(json!({}));
    device.advance(Duration::from_secs(1));
}

/// Panics in a timer.
struct Nine;

impl Device for Nine {
    const KIND: &'static str = "nine";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        Vec::new()
    }

    fn create(_: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        context.set_timer(9, Duration::from_millis(1));
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }

    fn timer(&mut self, id: u32) {
        assert_ne!(id, 9, "timer nine");
    }
}

#[test]
fn a_failure_carries_its_kind_and_message() {
    assert_eq!(failed(device().set("mode", "busy")), (FailureKind::Busy, "in motion".to_owned()));
}

#[test]
fn a_thread_answers_later() {
    let mut device = device();
    device.set("mode", "thread");
    assert_eq!(device.wait_for_reply(Duration::from_secs(10)), Reply::Done);
    assert_eq!(device.published("mode").as_deref(), Some("thread"));
}

#[test]
fn a_timer_answers_later() {
    let mut device = device();
    device.set("mode", "timers");
    assert_eq!(device.set("mode", "hold"), Reply::Pending);
    device.advance(Duration::from_secs(2));
    assert_eq!(failed(device.reply()), (FailureKind::Failed, "timed out".to_owned()));
}

#[test]
fn every_deferred_command_is_answered_once() {
    let dropped = (FailureKind::Failed, "dropped".to_owned());
    let mut device = device();
    assert_eq!(failed(device.set("mode", "drop")), dropped);
    assert!(device.set("mode", "change of mind").is_done());
    assert_eq!(
        failed(device.set("mode", "fail after all")),
        (FailureKind::Invalid, "after all".to_owned())
    );
    assert_eq!(failed(device.set("mode", "promise")).0, FailureKind::Failed);
    assert_eq!(device.set("mode", "hold"), Reply::Pending);
}

#[test]
fn timers_fire_in_order_on_the_virtual_clock() {
    let mut device = device();
    device.set("mode", "timers");
    device.advance(Duration::from_secs(10));
    let reports: Vec<String> = device.published_all().into_iter().map(|(_, text)| text).collect();
    assert_eq!(reports, [r#"{"now":2,"timer":2}"#, r#"{"now":3,"timer":1}"#]);
    assert_eq!(device.now(), Duration::from_secs(10));
}

#[test]
fn several_wakes_make_one_call() {
    let mut device = device();
    device.set("mode", "wake");
    assert_eq!(device.take_published(), [("report".to_owned(), "\"awake\"".to_owned())]);
}

#[test]
fn an_absence_arrives_parsed() {
    let mut device = device();
    device.absence(json!({
        "generation": "00ff", "outcome": "consumed", "clean": false,
        "acknowledgements": [{"responder": "guard", "payload": "ok", "status": 200, "before_fence": true}],
    }));
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    device
        .absence(json!({"generation": "00ff", "outcome": "not-published", "acknowledgements": []}));
    assert_eq!(device.published("power").as_deref(), Some("OFF"));
}

#[test]
fn state_survives_a_restart() {
    let mut device = device();
    device.set("count", "42");
    device.restart();
    assert_eq!(device.saved_state(), Some(vec![42]));
}

#[test]
fn a_device_says_what_it_cannot_reach_and_a_new_one_has_said_nothing() {
    let mut device = device();
    let failure = failed(device.set("mode", "lost"));
    assert_eq!(failure, (FailureKind::Unreachable, "the bus is silent".to_owned()));
    assert_eq!(device.unreachable().as_deref(), Some("the bus is silent"));
    assert!(device.set("mode", "found").is_done());
    assert_eq!(device.unreachable(), None);
    device.set("mode", "lost");
    device.restart();
    assert_eq!(device.unreachable(), None);
}

#[test]
fn an_event_is_told_as_it_was_declared_and_is_no_state() {
    let mut device = device();
    assert!(device.set("mode", "ring").is_done());
    let event = |kind: &str| ("bell".to_owned(), kind.to_owned());
    assert_eq!(device.take_events(), [event("press"), event("double")]);
    assert_eq!((device.take_events(), device.published("bell")), (Vec::new(), None));
    let failure = failed(device.set("bell", "press"));
    assert_eq!(failure, (FailureKind::Invalid, "`bell` is an event, and cannot be set".to_owned()));
}

#[test]
#[should_panic(expected = "published against its declaration: [(\"bell\", \"triple\")]")]
fn an_event_of_another_kind_fails_the_test() {
    device().set("mode", "ring wrongly");
}

#[test]
#[should_panic(expected = "published against its declaration")]
fn a_value_outside_of_its_declaration_fails_the_test() {
    device().set("mode", "mistake");
}

#[test]
fn events_reach_the_log_with_their_fields() {
    assert_eq!(device().logs(), ["INFO created id=test"]);
}

#[test]
fn a_thread_of_the_device_logs_and_any_error_is_a_failure() {
    let mut device = device();
    let failure = failed(device.set("mode", "worker"));
    assert_eq!(failure, (FailureKind::Failed, "number too large to fit in target type".to_owned()));
    assert_eq!(device.logs().last().map(String::as_str), Some("INFO at work"));
}

#[test]
fn a_declaration_that_the_hub_would_refuse_fails_the_test() {
    let problems = TestDevice::<Misdeclared>::try_new(json!({})).expect_err("nine mistakes");
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["Power", "get", "level", "speed", "mode", "fine", "bell", "horn", "gong"]);
}

/// Declares what no hub takes.
#[derive(Debug)]
struct Misdeclared;

impl Device for Misdeclared {
    const KIND: &'static str = "misdeclared";
    type Config = NoConfig;

    fn properties(_: &NoConfig) -> Vec<Property> {
        vec![
            Property::switch("Power"),
            Property::switch("get"),
            Property::number("level").range(9, 1),
            Property::choice("speed", &[]),
            Property::text("mode").range(1, 9),
            Property::text("fine"),
            Property::text("fine"),
            Property::event("bell", &[]),
            Property::event("horn", &["press", "failed"]),
            Property::event("gong", &["Press"]),
        ]
    }

    fn create(_: NoConfig, _: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        Ok(Self)
    }

    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }
}

#[test]
fn any_error_or_text_becomes_a_failure_with_what_caused_it() {
    fn read() -> Result<(), Failure> {
        Err("the bus is silent")?;
        Ok(())
    }
    fn boxed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        error.into().into()
    }
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no number came")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    assert_eq!(read(), Err(Failure::failed("the bus is silent")));
    let text = "no number came: invalid digit found in string";
    let outer = || Outer("x".parse::<i32>().unwrap_err());
    assert_eq!(Failure::from(outer()), Failure::failed(text));
    assert_eq!(boxed(outer()), Failure::failed(text));
    assert_eq!(Failure::from(format!("{} of 3", 1)), Failure::failed("1 of 3"));
}
