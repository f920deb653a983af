//! The command without a hub, with real programs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthd_command::Command;
use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::{Failure, FailureKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Far more than any of these programs takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn device(properties: Value) -> TestDevice<Command> {
    TestDevice::new(json!({"timeout": 10.0, "properties": properties}))
}

fn set(device: &mut TestDevice<Command>, property: &str, value: &str) -> Reply {
    match device.set(property, value) {
        Reply::Pending => device.wait_for_reply(PATIENCE),
        reply => reply,
    }
}

#[track_caller]
fn failure(reply: Reply) -> String {
    match reply {
        Reply::Failed(failure) => failure.message().to_owned(),
        Reply::Done | Reply::Pending | Reply::Accepted(_) | Reply::Panicked => panic!("{reply:?}"),
    }
}

#[track_caller]
fn wait_for(device: &TestDevice<Command>, property: &str, value: &str) {
    let there = |device: &TestDevice<Command>| device.published(property).as_deref() == Some(value);
    assert!(device.wait_until(PATIENCE, there), "{property}: {:?}", device.published(property));
}

fn script(text: &str) -> Value {
    json!(["sh", "-c", text])
}

/// Writes a script that can be executed.
fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    file
}

fn paths(properties: Value) -> Vec<String> {
    let config = json!({"properties": properties});
    TestDevice::<Command>::problems(&config).into_iter().map(|problem| problem.path).collect()
}

#[test]
fn a_program_says_by_its_exit_code_that_it_cannot_reach_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    let script = "code=$(cat \"$0\"); test $code = 0 && echo ON; exit $code";
    std::fs::write(&code, "69").unwrap();
    let valve = program(folder.path(), "valve", "exit 0");
    let mut device = device(json!({
        "pump": {"type": "switch", "get": {"run": ["sh", "-c", script, code]},
                 "set": {"run": ["sh", "-c", script, code], "state": "get"}},
        "valve": {"type": "switch", "set": {"run": [valve, "{value}"]}},
        "fan": {"type": "switch", "set": {"run": ["true"]}},
    }));
    std::fs::remove_file(&valve).unwrap();
    let says = "sh: exit status: 69";
    assert!(device.wait_until(PATIENCE, |d| d.unreachable().as_deref() == Some(says)), "at once");
    assert_eq!(set(&mut device, "fan", "ON"), Reply::Done);
    assert_eq!(device.unreachable().as_deref(), Some(says), "the fan knows nothing of the pump");
    assert_eq!(set(&mut device, "pump", "ON"), Reply::Failed(Failure::unreachable(says)));
    std::fs::write(&code, "1").unwrap();
    let failed = Failure::failed("sh: exit status: 1");
    assert_eq!(set(&mut device, "pump", "ON"), Reply::Failed(failed));
    assert_eq!(device.unreachable(), None, "it was reached, and did not do it");
    let Reply::Failed(missing) = set(&mut device, "valve", "ON") else { panic!("a valve") };
    assert_eq!(missing.kind(), FailureKind::Unreachable);
    assert_eq!(device.unreachable().as_deref(), Some(missing.message()));
    std::fs::write(&code, "0").unwrap();
    assert_eq!(set(&mut device, "pump", "ON"), Reply::Done);
    assert_eq!(device.unreachable().as_deref(), Some(missing.message()), "the valve is not there");
}

#[test]
fn a_program_that_runs_all_the_time_prints_events() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("bell");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut device = device(json!({
        "bell": {"type": "event", "values": ["press", "double"], "title": "Door bell",
                 "listen": {"run": ["sh", "-c", "exec cat \"$0\"", pipe]},
                 "read": {"after": "key ", "words": {"1": "press", "2": "double"}}},
    }));
    let mut bell = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let said = b"key 1\nkey 2\r\nnoise\nkey 3\n\nkey 1";
    std::io::Write::write_all(&mut bell, said).unwrap();
    let mut rings = Vec::new();
    wait_for_rings(&mut device, &mut rings, 2);
    assert_eq!(rings, ["press", "double"], "and the last line has not ended");
    // The program ends with the pipe, says the rest, and is started again.
    drop(bell);
    wait_for_rings(&mut device, &mut rings, 3);
    let mut bell = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    std::io::Write::write_all(&mut bell, b"key 2\n").unwrap();
    wait_for_rings(&mut device, &mut rings, 4);
    assert_eq!(rings, ["press", "double", "press", "double"]);
    let strange = |line: &&String| line.contains("the line is no event");
    assert_eq!(device.logs().iter().filter(strange).count(), 2, "{:?}", device.logs());
    assert_eq!(device.unreachable(), None);
    // The program runs while the device ends, and ends with it.
    drop(device);
    assert!(std::io::Write::write_all(&mut bell, b"key 1\n").is_err(), "nobody reads it");
}

fn wait_for_rings(device: &mut TestDevice<Command>, rings: &mut Vec<String>, number: usize) {
    let end = std::time::Instant::now() + PATIENCE;
    while rings.len() < number {
        assert!(std::time::Instant::now() < end, "{rings:?}");
        rings.extend(device.take_events().into_iter().map(|(_, kind)| kind));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_listening_program_that_cannot_reach_its_device_says_so_until_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    let script = "test -e \"$0\" || exit 69; echo press; exec sleep 60";
    let mut device = device(json!({
        "bell": {"type": "event", "values": ["press"], "listen": {"run": ["sh", "-c", script, there]}},
        "fan": {"type": "switch", "set": {"run": ["true"]}},
    }));
    let says = "sh: exit status: 69";
    assert!(device.wait_until(PATIENCE, |d| d.unreachable().as_deref() == Some(says)));
    assert_eq!(set(&mut device, "fan", "ON"), Reply::Done);
    std::fs::write(&there, "").unwrap();
    assert!(device.wait_until(PATIENCE, |d| d.unreachable().is_none()));
    let mut rings = Vec::new();
    wait_for_rings(&mut device, &mut rings, 1);
    assert!(matches!(device.set("bell", "press"), Reply::Failed(_)));
}

#[test]
fn nonsense_about_an_event_names_its_place() {
    let listen = json!({"run": ["true"]});
    let event = json!({"type": "event", "values": ["press"], "listen": listen});
    assert_eq!(paths(json!({"bell": event})), [""; 0]);
    let with = |key: &str, value: Value| {
        let mut event = event.clone();
        event[key] = value;
        paths(json!({"bell": event}))
    };
    assert_eq!(with("values", json!([])), ["properties.bell.values"]);
    assert_eq!(with("values", json!(["Press"])), ["properties.bell.values"]);
    assert_eq!(with("values", json!(["failed"])), ["properties.bell.values"]);
    assert_eq!(with("listen", json!(null)), ["properties.bell.listen"]);
    assert_eq!(with("listen", json!({"run": ["true", "{value}"]})), ["properties.bell.listen.run"]);
    assert_eq!(with("listen", json!({"run": []})), ["properties.bell.listen.run"]);
    assert_eq!(with("set", listen.clone()), ["properties.bell.set"]);
    assert_eq!(with("get", listen.clone()), ["properties.bell.get"]);
    assert_eq!(with("unit", json!("V")), ["properties.bell.unit"]);
    assert_eq!(with("max", json!(3)), ["properties.bell.min"]);
    let words = json!({"words": {"1": "ring"}});
    assert_eq!(with("read", words), ["properties.bell.read.words.1"]);
    let switch = json!({"type": "switch", "set": listen, "listen": listen});
    assert_eq!(paths(json!({"bell": switch})), ["properties.bell.listen"]);
}

#[test]
fn a_value_is_one_argument_and_never_seen_by_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let run = json!(["sh", "-c", "printf '%s|' \"$@\" >\"$0\"", file, "-v", "say: {value}!"]);
    let mut device = device(json!({"message": {"type": "text", "set": {"run": run}}}));
    let text = "$(touch x); 'two  words' \"`id`\"";
    assert_eq!(set(&mut device, "message", text), Reply::Done);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("-v|say: {text}!|"));
    assert_eq!(device.published("message").as_deref(), Some(text));
}

#[test]
fn a_switch_is_set_by_words_and_read_back_by_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    std::fs::write(&file, "inactive\n").unwrap();
    let mut device = device(json!({"running": {
        "type": "switch",
        "set": {
            "run": ["sh", "-c", "case $1 in start) echo active ;; stop) echo inactive ;; esac >\"$0\"", file, "{value}"],
            "words": {"ON": "start", "OFF": "stop"},
        },
        "get": {"run": ["sh", "-c", "cat \"$0\"; grep -qx active \"$0\" || exit 3", file], "exit": [0, 3]},
        "read": {"words": {"active": "ON", "inactive": "OFF"}},
    }}));
    wait_for(&device, "running", "OFF");
    assert_eq!(set(&mut device, "running", "ON"), Reply::Done);
    assert_eq!(device.published("running").as_deref(), Some("ON"));
}

#[test]
fn a_reading_is_cut_out_of_what_a_program_prints_and_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("temperature");
    std::fs::write(&file, "temp=48.3'C\n").unwrap();
    let mut device = device(json!({"temperature": {
        "type": "number", "unit": "°C", "min": -40, "max": 150,
        "get": {"run": ["cat", file], "every": "30s"},
        "read": {"after": "temp=", "before": "'"},
    }}));
    wait_for(&device, "temperature", "48.3");
    std::fs::write(&file, "temp=51'C\n").unwrap();
    // The timer is armed by the worker, after it has published.
    let again = |device: &mut TestDevice<Command>| {
        device.advance(Duration::from_secs(30));
        device.wait_until(Duration::from_millis(100), |b| {
            b.published("temperature").as_deref() == Some("51")
        })
    };
    assert!((0..200).any(|_| again(&mut device)), "{:?}", device.published_all());
    assert!(matches!(device.set("temperature", "20"), Reply::Failed(_)), "it is read-only");
}

#[test]
fn what_a_setting_program_prints_is_the_state_where_it_is_configured() {
    let run = script("echo \"  $(( $0 * 2 ))  \"; head -c 100000 /dev/zero");
    let run = json!([run[0], run[1], run[2], "{value}"]);
    let mut device = device(json!({"level": {
        "type": "integer", "min": 0, "max": 100, "set": {"run": run, "state": "output"},
        "read": {"before": "\n"},
    }}));
    assert_eq!(set(&mut device, "level", "21"), Reply::Done);
    assert_eq!(device.published("level").as_deref(), Some("42"));
    assert!(failure(set(&mut device, "level", "51")).contains("`102` is no value"));
    assert_eq!(device.published("level").as_deref(), Some("42"));
}

#[test]
fn a_program_that_fails_is_answered_with_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let gpio = program(folder.path(), "gpio", "exit 0");
    let mut device = device(json!({
        "a": {"type": "switch", "set": {"run": script("echo 'no such' >&2; echo pin >&2; exit 4")}},
        "b": {"type": "switch", "set": {"run": [gpio]}},
        "c": {"type": "switch", "set": {"run": script("kill -9 $$")}},
    }));
    assert_eq!(failure(set(&mut device, "a", "ON")), "sh: exit status: 4: no such pin");
    std::fs::remove_file(&gpio).unwrap();
    let missing = format!("start {}: No such file", gpio.display());
    assert!(failure(set(&mut device, "b", "ON")).starts_with(&missing));
    assert!(failure(set(&mut device, "c", "ON")).starts_with("sh: signal: 9"));
    assert_eq!(device.published_all(), []);
}

#[test]
fn at_the_timeout_the_program_and_all_that_it_started_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let run = json!(["sh", "-c", "sleep 1000 & echo $! >\"$0\"; echo $$ >>\"$0\"; wait", pids]);
    let mut device = TestDevice::<Command>::new(json!({
        "timeout": "3s", "properties": {"pump": {"type": "switch", "set": {"run": run}}},
    }));
    let said = failure(set(&mut device, "pump", "ON"));
    assert_eq!(said, "sh: not done after 3s, ended");
    wait_until_gone(&device, &pids);
}

#[test]
fn the_end_of_the_device_ends_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let run = json!(["sh", "-c", "echo $$ >\"$0.new\"; mv \"$0.new\" \"$0\"; sleep 1000", pids]);
    let mut device = device(json!({"pump": {"type": "switch", "set": {"run": run}}}));
    assert_eq!(device.set("pump", "ON"), Reply::Pending);
    assert!(device.wait_until(PATIENCE, |_| pids.exists()), "the program has started");
    device.restart();
    wait_until_gone(&device, &pids);
}

#[track_caller]
fn wait_until_gone(device: &TestDevice<Command>, pids: &Path) {
    let pids = std::fs::read_to_string(pids).unwrap();
    for pid in pids.lines() {
        // One whose parent has gone may wait as a zombie for whoever takes it over.
        let lives = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
        };
        assert!(device.wait_until(PATIENCE, |_| !lives()), "process {pid} lives on");
    }
}

#[test]
fn a_background_process_does_not_hold_up_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let run = json!(["sh", "-c", "sleep 1000 & echo $! >\"$0\"; echo done", pid]);
    let mut device = device(json!({
        "job": {"type": "text", "set": {"run": run, "state": "output"}},
    }));
    assert_eq!(set(&mut device, "job", "x"), Reply::Done);
    assert_eq!(device.published("job").as_deref(), Some("done"));
    let pid = std::fs::read_to_string(&pid).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).expect("it was left alone");
}

#[test]
fn one_property_is_set_at_a_time_and_too_many_wait_for_none() {
    let run = script("sleep 1000");
    let mut device = device(json!({
        "a": {"type": "switch", "set": {"run": run}},
        "b": {"type": "switch", "set": {"run": run}},
    }));
    let several = failure(device.set_all(json!({"a": true, "b": true})));
    assert_eq!(several, "a command sets one property at a time");
    let replies: Vec<_> = (0..40).map(|_| device.set("a", "ON")).collect();
    assert!(matches!(replies[0], Reply::Pending));
    assert_eq!(failure(replies[39].clone()), "too many commands wait");
}

#[test]
fn what_waited_past_its_deadline_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ran");
    let mut device = device(json!({"a": {"type": "switch", "set": {"run": ["touch", file]}}}));
    device.advance(Duration::from_secs(9));
    device.set_deadline(Some(Duration::from_secs(9)));
    assert!(failure(set(&mut device, "a", "ON")).contains("did not run"));
    assert!(!file.exists());
}

#[test]
fn a_state_that_no_program_tells_is_remembered() {
    let mut device = device(json!({
        "scene": {"type": "choice", "values": ["day", "night"], "set": {"run": ["true"]}},
        "bell": {"type": "switch", "set": {"run": ["true"], "state": "none"}},
    }));
    assert_eq!(device.published_all(), []);
    assert_eq!(set(&mut device, "scene", "night"), Reply::Done);
    assert_eq!(set(&mut device, "bell", "ON"), Reply::Done);
    device.take_published();
    device.restart();
    assert_eq!(device.take_published(), [("scene".to_owned(), "night".to_owned())]);
}

#[test]
fn a_program_sees_little_of_the_hubs_environment() {
    let mut device = TestDevice::<Command>::new(json!({
        "timeout": 10.0,
        "environment": {"CHIP": "gpiochip0"},
        "properties": {"seen": {"type": "text", "set": {"run": ["env"], "state": "output"}}},
    }));
    assert_eq!(set(&mut device, "seen", "x"), Reply::Done);
    let seen = device.published("seen").unwrap();
    assert!(seen.contains("CHIP=gpiochip0") && seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("CARGO"), "{seen}");
}

#[test]
fn a_reading_that_fails_is_logged_once() {
    let mut device = device(json!({
        "a": {"type": "number", "get": {"run": ["echo", "warm"], "every": 1.0}},
        "b": {"type": "text", "set": {"run": ["true"]}},
    }));
    for _ in 0..3 {
        device.advance(Duration::from_secs(1));
        // One worker: what is asked for first has been done before this is answered.
        assert_eq!(set(&mut device, "b", "x"), Reply::Done);
    }
    let warnings: Vec<_> =
        device.logs().into_iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(warnings, ["WARN not read property=a error=`warm` is no value of this property"]);
}

#[test]
fn every_mistake_in_a_table_is_named_with_its_place() {
    let path = |property: Value| paths(json!({"a": property})).join(" ");
    assert_eq!(path(json!({"type": "switch"})), "properties.a");
    assert_eq!(path(json!({"type": "lever"})), "properties.a.type");
    assert_eq!(path(json!({"type": "text", "set": {"run": []}})), "properties.a.set.run");
    assert_eq!(path(json!({"type": "text", "set": {"run": "ls"}})), "properties.a.set.run");
    assert_eq!(path(json!({"type": "text", "set": {"run": ["{value}"]}})), "properties.a.set.run");
    assert_eq!(
        path(json!({"type": "text", "get": {"run": ["true", "{value}"]}})),
        "properties.a.get.run"
    );
    let run = json!({"run": ["true"]});
    assert_eq!(
        path(json!({"type": "text", "get": {"run": ["true"], "every": 0}})),
        "properties.a.get.every"
    );
    assert_eq!(path(json!({"type": "choice", "set": run})), "properties.a.values");
    assert_eq!(path(json!({"type": "text", "min": 1, "max": 2, "set": run})), "properties.a.min");
    assert_eq!(path(json!({"type": "number", "min": 1, "set": run})), "properties.a.min");
    assert_eq!(path(json!({"type": "number", "min": 3, "max": 2, "set": run})), "properties.a.min");
    assert_eq!(path(json!({"type": "number", "step": 0, "set": run})), "properties.a.step");
    let state = |state: &str| json!({"run": ["true"], "state": state});
    assert_eq!(path(json!({"type": "text", "set": state("get")})), "properties.a.set.state");
    let both = json!({"type": "text", "set": state("none"), "get": run});
    assert_eq!(path(both), "properties.a.set.state");
    let words = json!({"run": ["true"], "words": {"ON": "1", "AUS": "0"}});
    assert_eq!(path(json!({"type": "switch", "set": words})), "properties.a.set.words.AUS");
    let read = json!({"words": {"up": "ONE"}});
    let read = json!({"type": "switch", "get": run, "read": read});
    assert_eq!(path(read), "properties.a.read.words.up");
    assert_eq!(paths(json!({"A b": {"type": "text", "get": run}})), ["properties.A b"]);
    assert_eq!(paths(json!({"get": {"type": "text", "get": run}})), ["properties.get"]);
    assert_eq!(paths(json!({})), ["properties"]);
    let timeout = json!({"timeout": 0, "properties": {"a": {"type": "text", "get": run}}});
    assert_eq!(TestDevice::<Command>::problems(&timeout)[0].path, "timeout");
    let codes = json!({"unreachable": [0, 7], "properties": {"a": {"type": "text", "get": run}}});
    assert_eq!(TestDevice::<Command>::problems(&codes)[0].path, "unreachable");
}

#[test]
fn a_program_that_is_not_there_and_a_name_that_nothing_replaces_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp");
    std::fs::write(&file, "").unwrap();
    let said = |run: Value| {
        let properties = json!({"a": {"type": "text", "set": {"run": run}}});
        let problems = TestDevice::<Command>::problems(&json!({"properties": properties}));
        assert!(problems.iter().all(|problem| problem.path == "properties.a.set.run"));
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    };
    let lamp = file.display();
    assert_eq!(said(json!(["/nowhere/lamp"])), "/nowhere/lamp does not exist");
    assert_eq!(said(json!([file])), format!("{lamp} is no program; run `chmod +x {lamp}`"));
    assert!(said(json!(["bin/lamp"])).contains("give the whole path"));
    assert!(said(json!(["no-such-lamp"])).starts_with("no program `no-such-lamp` in /"));
    let said_of_name = said(json!(["true", "{vlaue}", "to={level}"]));
    assert!(said_of_name.starts_with("`{vlaue}` is unknown: only `{value}` is replaced"));
    assert!(said_of_name.contains("; `{level}` is unknown"), "{said_of_name}");
    let good = ["{value}", "{ print }", "${x}", "%{http_code}", "{}", "{\"on\":{value}}", "{1,2}"];
    assert_eq!(said(json!([["true"].as_slice(), &good].concat())), "");
}

#[test]
fn the_path_of_the_table_is_where_programs_are_looked_for_and_started() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "my-lamp", "echo ON");
    let mut device = TestDevice::<Command>::new(json!({
        "timeout": 10.0,
        "environment": {"PATH": folder.path()},
        "properties": {"a": {"type": "switch", "set": {"run": ["my-lamp"], "state": "output"}}},
    }));
    assert_eq!(set(&mut device, "a", "ON"), Reply::Done);
}

#[test]
fn a_value_of_a_requester_is_never_an_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let echo = |arguments: &[&str]| {
        let echo = "printf '%s|' \"$@\" >\"$0\"";
        let mut run = vec!["sh", "-c", echo, file.to_str().unwrap()];
        run.extend(arguments);
        json!({"run": run})
    };
    let mut device = device(json!({
        "alone": {"type": "text", "set": echo(&["{value}"])},
        "first": {"type": "text", "set": echo(&["{value}:x"])},
        "after": {"type": "text", "set": echo(&["--", "{value}"])},
        "inside": {"type": "number", "min": -20, "max": 30, "set": echo(&["--temp={value}"])},
        "free": {"type": "number", "set": echo(&["{value}"])},
        "word": {"type": "choice", "values": ["-a", "b"], "set": echo(&["{value}"])},
        "switch": {"type": "switch", "set": {
            "run": echo(&["{value}"])["run"], "words": {"ON": "--on", "OFF": "--off"},
        }},
    }));
    for (property, value) in [("alone", "--help"), ("alone", "-"), ("first", "-x"), ("free", "-5")]
    {
        let Reply::Failed(refused) = set(&mut device, property, value) else {
            panic!("{property}")
        };
        assert_eq!(refused.kind(), FailureKind::Invalid);
        assert!(
            refused.message().starts_with(&format!("`{value}` begins with `-`")),
            "{refused:?}"
        );
        assert!(!file.exists(), "{property}: it ran");
    }
    for (property, value, said) in [
        ("alone", "a -b", "a -b|"),
        ("after", "--help", "--|--help|"),
        ("inside", "-5.5", "--temp=-5.5|"),
        ("free", "5", "5|"),
        ("word", "-a", "-a|"),
        ("switch", "ON", "--on|"),
    ] {
        assert_eq!(set(&mut device, property, value), Reply::Done, "{property}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), said, "{property}");
    }
    let below_zero =
        |run: Value| paths(json!({"a": {"type": "number", "min": -1, "max": 1, "set": run}}));
    assert_eq!(below_zero(json!({"run": ["true", "{value}"]})), ["properties.a.set.run"]);
    assert_eq!(below_zero(json!({"run": ["true", "--", "{value}"]})), [""; 0]);
    assert_eq!(below_zero(json!({"run": ["true", "{value}", "--"]})), ["properties.a.set.run"]);
}

#[test]
fn the_tables_of_the_readme_are_good() {
    let readme = include_str!("../README.md");
    let folder = tempfile::tempdir().unwrap();
    let mut devices = 0;
    for block in readme.split("```toml\n").skip(1) {
        let table: toml::Table = block.split("```").next().unwrap().parse().unwrap();
        for (name, device) in table["devices"].as_table().unwrap() {
            assert_eq!(device["plugin"].as_str(), Some("command"), "{name}");
            let mut config = serde_json::to_value(&device["config"]).unwrap();
            provide(&mut config, folder.path());
            assert_eq!(TestDevice::<Command>::problems(&config), [], "{name}");
            devices += 1;
        }
    }
    assert_eq!(devices, 9);
}

/// Puts programs that do nothing where a table looks for its own.
fn provide(config: &mut Value, folder: &Path) {
    config["environment"]["PATH"] = json!(folder);
    for property in config["properties"].as_object_mut().unwrap().values_mut() {
        for part in ["set", "get", "listen"] {
            let Some(named) = property.get_mut(part).map(|part| &mut part["run"][0]) else {
                continue;
            };
            let path = PathBuf::from(named.as_str().unwrap());
            let stand_in = program(folder, path.file_name().unwrap().to_str().unwrap(), "exit 0");
            if path.is_absolute() {
                *named = json!(stand_in);
            }
        }
    }
}

/// What the README says that these programs print.
#[test]
fn the_outputs_of_the_readme_are_read() {
    for (printed, kind, read, value) in [
        ("temp=48.3'C", "number", json!({"after": "temp=", "before": "'"}), "48.3"),
        ("volume: 35%   repeat: off", "integer", json!({"after": "volume:", "before": "%"}), "35"),
    ] {
        let get = json!({"run": ["echo", printed]});
        let device = device(json!({"a": {"type": kind, "get": get, "read": read}}));
        wait_for(&device, "a", value);
    }
}
