//! The program without a hub, with real programs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearthd_plugin_program::Program;
use hearthd_sdk::FailureKind;
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::{Value, json};

/// Far more than any of these programs takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn table(command: Value) -> Value {
    json!({
        "command": command,
        "properties": {
            "power": {"type": "switch"},
            "level": {"type": "integer", "min": 0, "max": 100},
            "button": {"type": "event", "values": ["press"]},
        },
    })
}

/// A program of the shell. It has `say` for a message and `next` for the next question, whose number is `$id`.
fn shell(script: &str) -> Value {
    let prelude = r#"
say() { printf '%s\n' "$1"; }
next() { read -r line || exit 0; id=${line#*\"id\":}; id=${id%%,*}; }
ok() { say "{\"type\":\"answer\",\"id\":$id}"; }
"#;
    json!(["sh", "-c", format!("{prelude}\n{script}")])
}

fn device(script: &str) -> TestDevice<Program> {
    TestDevice::new(table(shell(script)))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn set(device: &mut TestDevice<Program>, property: &str, value: &str) -> Reply {
    match device.set(property, value) {
        Reply::Pending => device.wait_for_reply(PATIENCE),
        reply => reply,
    }
}

#[track_caller]
fn wait_ready(device: &TestDevice<Program>) {
    let ready = device.wait_until(PATIENCE, |device| device.unreachable().is_none());
    assert!(ready, "{:?} {:#?}", device.unreachable(), device.logs());
}

#[track_caller]
fn wait_unreachable(device: &TestDevice<Program>, reason: &str) {
    let says = |device: &TestDevice<Program>| {
        device.unreachable().is_some_and(|said| said.contains(reason))
    };
    assert!(device.wait_until(PATIENCE, says), "{:?} {:#?}", device.unreachable(), device.logs());
}

#[track_caller]
fn failure(reply: Reply) -> (FailureKind, String) {
    match reply {
        Reply::Failed(failure) => (failure.kind(), failure.message().to_owned()),
        Reply::Done | Reply::Pending | Reply::Accepted(_) | Reply::Panicked => panic!("{reply:?}"),
    }
}

#[test]
fn the_lamp_in_python_keeps_its_state() {
    let config = json!({
        "command": ["python3", example("lamp.py")],
        "properties": {
            "power": {"type": "switch"},
            "level": {"type": "integer", "min": 0, "max": 100, "unit": "%"},
        },
    });
    let mut device = TestDevice::<Program>::new(config);
    let starts = device.unreachable();
    assert!(starts.as_deref().is_none_or(|why| why == "its program starts"), "{starts:?}");
    // It waits for the program, which starts meanwhile.
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert_eq!(device.unreachable(), None);
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    assert_eq!(device.published("level").as_deref(), Some("100"));
    device.set_all(json!({"level": 40, "power": "OFF"}));
    assert_eq!(device.wait_for_reply(PATIENCE), Reply::Done);
    device.restart();
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert_eq!(device.published("level").as_deref(), Some("40"), "as it was saved");
    let lines = std::fs::read_to_string(example("lamp.py")).unwrap();
    assert_eq!(lines.lines().filter(|line| !line.trim().is_empty()).count(), 16, "it is short");
}

#[test]
fn the_light_in_javascript_switches_itself_off() {
    let config = json!({
        "command": ["node", example("stairs.mjs")],
        "settings": {"seconds": 0.05},
        "properties": {
            "power": {"type": "switch"},
            "ended": {"type": "event", "values": ["timeout"]},
        },
    });
    let mut device = TestDevice::<Program>::new(config);
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    let off = |device: &TestDevice<Program>| {
        device
            .published_all()
            .ends_with(&[("power".into(), "ON".into()), ("power".into(), "OFF".into())])
    };
    assert!(device.wait_until(PATIENCE, off), "{:?}", device.published_all());
    let start = Instant::now();
    let mut events = Vec::new();
    while events.is_empty() && start.elapsed() < PATIENCE {
        events = device.take_events();
    }
    assert_eq!(events, [("ended".into(), "timeout".into())]);
}

#[test]
fn the_bridge_in_python_adds_and_removes_lamps() {
    let config = json!({
        "command": ["python3", example("radio.py")],
        "adds": true,
        "properties": {
            "find": {"type": "text", "access": "w"},
            "lose": {"type": "text", "access": "w"},
        },
    });
    let mut bridge = TestDevice::<Program>::new(config);
    wait_ready(&bridge);
    assert_eq!(set(&mut bridge, "find", "hall porch"), Reply::Done);
    assert_eq!(bridge.children(), ["hall", "porch"]);
    assert_eq!(bridge.child("hall").title(), Some("Lamp hall"));
    assert_eq!(bridge.child("hall").published("power").as_deref(), Some("OFF"));
    bridge.child("hall").set("power", "ON");
    assert_eq!(bridge.child("hall").wait_for_reply(PATIENCE), Reply::Done);
    assert_eq!(bridge.child("hall").published("power").as_deref(), Some("ON"));
    assert_eq!(set(&mut bridge, "lose", "porch"), Reply::Done);
    assert_eq!(bridge.children(), ["hall"]);
    // A new instance has a new program, which is told whom the hub remembers.
    bridge.restart();
    wait_ready(&bridge);
    bridge.child("hall").set("power", "ON");
    assert_eq!(bridge.child("hall").wait_for_reply(PATIENCE), Reply::Done);
    bridge.refuse_child("hall", "another device has the ID");
    let told = |bridge: &TestDevice<Program>| {
        bridge.logs().iter().any(|line| line.contains("`hall` is not added: another device has"))
    };
    assert!(bridge.wait_until(PATIENCE, told), "{:#?}", bridge.logs());
}

#[test]
fn one_program_serves_several_devices_until_the_last_has_ended() {
    let config = |channel: u32| {
        json!({
            "command": ["python3", example("bridge.py")],
            "shared": true,
            "poll": "100ms",
            "settings": {"channel": channel},
            "properties": {"power": {"type": "switch"}},
        })
    };
    // The harness gives all the same ID, so one at a time; the hub's tests have several.
    let mut device = TestDevice::<Program>::new(config(3));
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    device.restart();
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    drop(device);
    let mut device = TestDevice::<Program>::new(config(9));
    wait_unreachable(&device, "the gateway has no channel 9");
    let (kind, text) = failure(set(&mut device, "power", "ON"));
    assert_eq!((kind, &*text), (FailureKind::Unreachable, "the gateway has no channel 9"));
}

#[test]
fn a_program_that_crashes_is_started_again_and_what_it_was_asked_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let script = format!(
        "next; ok; next; if [ ! -e '{0}' ]; then : >'{0}'; echo 'the bulb burst' >&2; exit 7; fi; \
         ok; next",
        mark.display()
    );
    let mut device = device(&script);
    let (kind, text) = failure(set(&mut device, "power", "ON"));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(text.contains("sh: exit status: 7: the bulb burst"), "{text}");
    assert!(device.unreachable().is_some_and(|reason| reason.contains("does not run")));
    let start = Instant::now();
    while set(&mut device, "power", "ON") != Reply::Done {
        assert!(start.elapsed() < PATIENCE, "{:#?}", device.logs());
        std::thread::sleep(Duration::from_millis(10));
    }
    wait_ready(&device);
}

#[test]
fn a_program_that_cannot_be_started_costs_its_device_alone() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lamp");
    std::fs::write(&program, "#!/nowhere/interpreter\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut device = TestDevice::<Program>::new(table(json!([program])));
    wait_unreachable(&device, "No such file or directory");
    let (kind, text) = failure(set(&mut device, "power", "ON"));
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(text.starts_with("its program does not run: start "), "{text}");
    std::fs::write(
        &program,
        "#!/bin/sh\nread -r l; echo '{\"type\":\"answer\",\"id\":1}'; read -r l\n",
    )
    .unwrap();
    wait_ready(&device);
}

#[test]
fn a_silent_program_is_killed_with_all_that_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let script = format!("sleep 1000 & echo $! >>'{}'; wait", started.display());
    let mut config = table(shell(&script));
    config["start"] = json!("300ms");
    let device = TestDevice::<Program>::new(config);
    wait_unreachable(&device, "it said nothing for 300ms, and owes an answer");
    let first = || {
        let all = std::fs::read_to_string(&started).ok()?;
        all.split_once('\n').map(|(first, _)| first.to_owned())
    };
    assert!(device.wait_until(PATIENCE, |_| first().is_some()), "the program has started nothing");
    let process = format!("/proc/{}/stat", first().unwrap());
    let gone = |_: &TestDevice<Program>| {
        std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "))
    };
    assert!(device.wait_until(PATIENCE, gone));
}

#[test]
fn a_slow_program_has_its_deadline_and_its_answer_is_no_other_request_s() {
    let mut device = device("next; ok; next; slow=$id; next; ok; id=$slow; ok; next");
    wait_ready(&device);
    device.set_deadline(Some(Duration::from_millis(200)));
    let (kind, _) = failure(set(&mut device, "power", "ON"));
    assert_eq!(kind, FailureKind::Unreachable);
    wait_unreachable(&device, "its program has not answered `set` within 200ms");
    device.set_deadline(None);
    assert_eq!(set(&mut device, "level", "7"), Reply::Done);
    wait_ready(&device);
    assert_eq!(device.published("level").as_deref(), Some("7"));
    assert_eq!(device.published("power"), None, "what came too late sets no state");
}

#[test]
fn a_program_that_talks_without_end_is_held_back_and_does_not_grow() {
    let script = r#"next; ok
while :; do
say '{"type":"state","values":{"level":1}}'; say '{"type":"state","values":{"level":2}}'
done"#;
    let device = device(script);
    wait_ready(&device);
    let start = Instant::now();
    let count = device.published_all().len();
    while start.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    let more = device.published_all().len() - count;
    assert!(more < 12_000, "{more}");
}

#[test]
fn a_program_that_writes_no_messages_is_ended() {
    let device = device("next; ok; while :; do echo 'Hello, world!'; done");
    wait_unreachable(
        &device,
        "it misbehaved 20 times within a minute, at last: a line is no message",
    );
    let logs = device.logs();
    assert!(logs.iter().any(|line| line.contains("`Hello, world!`")), "{logs:#?}");
}

#[test]
fn a_liar_publishes_nothing_that_is_not_allowed() {
    let script = r#"next; ok; next
say '{"type":"state","values":{"level":1000}}'
say '{"type":"answer","id":4711}'
say "{\"type\":\"answer\",\"id\":$id,\"values\":{\"level\":101}}"
say "{\"type\":\"answer\",\"id\":$id}"
say '{"type":"event","property":"button","kind":"kick"}'
next; ok; next"#;
    let mut device = device(script);
    let (kind, text) = failure(set(&mut device, "level", "5"));
    assert_eq!(kind, FailureKind::Failed);
    assert!(text.contains("it tells 101 of `level`"), "{text}");
    assert_eq!(set(&mut device, "level", "6"), Reply::Done);
    assert_eq!(device.published_all(), [("level".into(), "6".into())]);
    assert_eq!(device.take_events(), []);
    // It panics where something was published against its declaration.
    device.settle();
}

#[test]
fn what_a_program_logs_has_its_level_and_standard_error_is_there_too() {
    let script = r#"next; echo 'warming up' >&2; say '{"type":"log","level":"error","message":"no bulb"}'; ok; next"#;
    let device = device(script);
    wait_ready(&device);
    let there = |device: &TestDevice<Program>| {
        let logs = device.logs().join("\n");
        logs.contains("stderr: warming up") && logs.contains("no bulb")
    };
    assert!(device.wait_until(PATIENCE, there), "{:#?}", device.logs());
}

#[test]
fn a_program_hears_of_an_absence() {
    let script = r#"next; ok; read -r line
case $line in *'"outcome":"consumed"'*'"somebody_acted":true'*) say '{"type":"state","values":{"level":9}}';; esac
next"#;
    let mut device = device(script);
    wait_ready(&device);
    device.absence(json!({
        "generation": "1f", "outcome": "consumed",
        "acknowledgements": [{"responder": "guard", "payload": "", "status": 200, "before_fence": true}],
    }));
    let told = |device: &TestDevice<Program>| device.published("level").as_deref() == Some("9");
    assert!(device.wait_until(PATIENCE, told), "{:#?}", device.logs());
}

#[test]
fn a_device_that_ends_waits_for_its_program_only_for_its_grace() {
    let mut config = table(shell("next; ok; trap '' TERM; exec sleep 1000"));
    config["stop"] = json!("100ms");
    let device = TestDevice::<Program>::new(config);
    wait_ready(&device);
    let start = Instant::now();
    drop(device);
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn the_check_names_what_is_wrong() {
    let problems = |change: &dyn Fn(&mut Value)| {
        let mut config = table(json!(["sh"]));
        change(&mut config);
        let found = TestDevice::<Program>::problems(&config);
        found.into_iter().map(|problem| (problem.path, problem.message)).collect::<Vec<_>>()
    };
    assert_eq!(problems(&|_| {}), []);
    let one = |change: &dyn Fn(&mut Value), path: &str, says: &str| {
        let found = problems(change);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, path);
        assert!(found[0].1.contains(says), "{found:?}");
    };
    one(&|config| config["command"] = json!([]), "command", "is empty");
    one(
        &|config| config["command"] = json!(["no-such-lamp"]),
        "command[0]",
        "no program `no-such-lamp` in ",
    );
    one(
        &|config| config["command"] = json!(["/nowhere/lamp"]),
        "command[0]",
        "/nowhere/lamp does not exist",
    );
    one(&|config| config["command"] = json!(["/etc/passwd"]), "command[0]", "chmod +x");
    one(&|config| config["command"] = json!(["bin/lamp"]), "command[0]", "give the whole path");
    one(
        &|config| config["command"] = json!(["sh", "/nowhere/lamp.py"]),
        "command[1]",
        "does not exist",
    );
    one(&|config| config["start"] = json!("1ms"), "start", "1ms is not from 100ms to 5m");
    one(&|config| config["stop"] = json!("1m"), "stop", "1m is not from 0s to 10s");
    one(&|config| config["poll"] = json!(0.01), "poll", "10ms is not from 100ms to 1day");
    one(&|config| config["properties"] = json!({}), "properties", "a device has one at least");
    one(
        &|config| config["properties"]["status"] = json!({"type": "text"}),
        "properties.status",
        "is taken",
    );
    one(
        &|config| config["properties"]["level"]["max"] = Value::Null,
        "properties.level",
        "both min and max",
    );
    one(
        &|config| config["properties"]["power"]["values"] = json!(["a"]),
        "properties.power",
        "only an enum",
    );
    one(
        &|config| config["properties"]["power"]["typ"] = json!(1),
        "properties.power.typ",
        "unknown field",
    );
    one(&|config| config["comand"] = json!(1), "comand", "unknown field");
}
