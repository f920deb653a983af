//! The thermostat on a machine made of files.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hearthd_machine::Machine;
use hearthd_sdk::FailureKind;
use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const PERIOD: Duration = Duration::from_secs(10);

/// A machine with a sensor in a file.
fn machine(temperature: &str) -> Machine {
    Machine::new().with(&[("run/room", temperature)])
}

/// Adds an LED that is a relay, on.
fn with_relay(machine: Machine) -> Machine {
    machine.with_led("boiler", 1, 1)
}

fn relay(machine: &Machine) -> String {
    machine.led("boiler")
}

fn config(machine: &Machine) -> Value {
    json!({
        "backend": "hardware",
        "root": machine.folder(),
        "sensors": [{"file": {"path": "/run/room"}}],
        "actuator": {"led": {"name": "boiler"}},
        "min_on": 0,
        "min_off": 0,
    })
}

/// Waits until the device has published a value; the sensors have threads of their own.
fn until(device: &mut TestDevice<Thermostat>, property: &str, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        device.settle();
        let published = device.published(property).unwrap_or_default();
        if wanted(&published) {
            return;
        }
        assert!(Instant::now() < deadline, "{property} stays `{published}`: {:?}", device.logs());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn until_is(device: &mut TestDevice<Thermostat>, property: &str, wanted: &str) {
    until(device, property, |published| published == wanted);
}

#[test]
fn a_cold_room_is_heated_and_a_lost_sensor_switches_off_within_a_period() {
    let machine = with_relay(machine("18.0"));
    let mut device = TestDevice::<Thermostat>::new(config(&machine));
    assert_eq!(relay(&machine), "0", "off before anything else");
    until_is(&mut device, "current_temperature", "18");
    assert!(device.set_all(json!({"mode": "heat", "target_temperature": 21})).is_done());
    assert_eq!((relay(&machine), device.published("action")), ("1".into(), Some("heating".into())));

    std::fs::remove_file(machine.path("run/room")).expect("removed");
    device.advance(PERIOD);
    until(&mut device, "alert", |alert| {
        alert.starts_with("sensors[0]: ") && alert.ends_with("run/room: no such file")
    });
    assert_eq!((relay(&machine), device.published("action")), ("0".into(), Some("off".into())));
    assert_eq!(device.unreachable(), device.published("alert"), "it was the only one");

    machine.write("run/room", "18.5");
    device.advance(PERIOD);
    until_is(&mut device, "alert", "none");
    assert_eq!((relay(&machine), device.published("action")), ("1".into(), Some("heating".into())));
    assert_eq!(device.unreachable(), None);
}

#[test]
fn a_room_with_one_sensor_left_is_reachable() {
    let machine = with_relay(machine("18.0").with(&[("run/other", "18.2")]));
    let mut config = config(&machine);
    config["sensors"] = json!([{"file": {"path": "/run/room"}}, {"file": {"path": "/run/other"}}]);
    let mut device = TestDevice::<Thermostat>::new(config);
    assert_eq!(device.unreachable(), None, "not before they have had their say");
    until(&mut device, "current_temperature", |temperature| !temperature.is_empty());
    std::fs::remove_file(machine.path("run/room")).expect("removed");
    device.advance(PERIOD);
    until(&mut device, "alert", |alert| alert.starts_with("sensors[0]: "));
    assert_eq!(device.unreachable(), None);
    std::fs::remove_file(machine.path("run/other")).expect("removed");
    device.advance(PERIOD);
    until(&mut device, "alert", |alert| alert.contains("sensors[1]: "));
    let reason = device.unreachable().expect("both are gone");
    assert!(reason.contains("sensors[0]: ") && reason.contains("sensors[1]: "), "{reason}");
}

#[test]
fn the_relay_is_off_when_the_device_ends_and_before_it_begins() {
    let machine = with_relay(machine("18.0"));
    let mut device = TestDevice::<Thermostat>::new(config(&machine));
    until_is(&mut device, "current_temperature", "18");
    device.set("mode", "heat");
    assert_eq!(relay(&machine), "1");
    // Without its sensor, so that the successor's thread cannot be quicker than this test.
    std::fs::remove_file(machine.path("run/room")).expect("removed");
    device.restart();
    assert_eq!(relay(&machine), "0", "the successor waits for its first reading");
    machine.write("run/room", "18.0");
    device.advance(PERIOD);
    until_is(&mut device, "action", "heating");
    assert_eq!(relay(&machine), "1");
    drop(device);
    assert_eq!(relay(&machine), "0");
}

#[test]
fn a_sensor_that_hangs_in_the_kernel_switches_off_and_holds_up_nothing() {
    let machine = with_relay(machine("18.0"));
    let mut device = TestDevice::<Thermostat>::new(config(&machine));
    until_is(&mut device, "current_temperature", "18");
    device.set("mode", "heat");
    assert_eq!(relay(&machine), "1");
    // Opening a pipe that nobody writes to never returns.
    let room = machine.path("run/room");
    std::fs::remove_file(&room).expect("removed");
    assert!(Command::new("mkfifo").arg(&room).status().expect("mkfifo").success());
    device.advance(PERIOD);
    device.advance(PERIOD);
    assert_eq!(relay(&machine), "0");
    until_is(&mut device, "alert", "sensors[0]: no answer for 20 s");
    assert!(device.set("target_temperature", "25").is_done(), "requests are answered meanwhile");
    release(&room);
    until(&mut device, "alert", |alert| alert.contains("`` is not a number"));
}

/// Ends the reading of a pipe.
fn release(pipe: &Path) {
    drop(std::fs::OpenOptions::new().write(true).open(pipe).expect("the reader waits"));
}

#[test]
fn a_relay_that_is_not_there_yet_is_taken_when_it_comes() {
    let machine = machine("18.0");
    let mut device = TestDevice::<Thermostat>::new(config(&machine));
    until(&mut device, "alert", |alert| alert.starts_with("actuator: no such LED `boiler`"));
    until_is(&mut device, "current_temperature", "18");
    let refused = device.set("mode", "heat");
    let Reply::Failed(failure) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.kind(), FailureKind::Unreachable);
    assert!(failure.message().contains("no such LED"), "{failure}");
    assert_eq!(device.unreachable().as_deref(), Some(failure.message()));
    assert_eq!(device.published("mode").as_deref(), Some("off"), "all or nothing");
    let machine = with_relay(machine);
    device.advance(PERIOD);
    until_is(&mut device, "alert", "none");
    assert_eq!((relay(&machine), device.unreachable()), ("0".into(), None));
    assert!(device.set("mode", "heat").is_done());
    assert_eq!(relay(&machine), "1");
}

#[test]
fn a_relay_that_fails_while_on_is_switched_off_as_soon_as_it_can_be() {
    let machine = with_relay(machine("18.0"));
    let mut device = TestDevice::<Thermostat>::new(config(&machine));
    until_is(&mut device, "current_temperature", "18");
    device.set("mode", "heat");
    std::fs::remove_dir_all(machine.path("sys")).expect("removed");
    assert!(matches!(device.set("mode", "off"), Reply::Failed(_)));
    assert_eq!(device.published("mode").as_deref(), Some("off"), "the wish stays");
    assert_eq!(device.published("action").as_deref(), Some("heating"), "it may still be on");
    let machine = with_relay(machine);
    assert_eq!(relay(&machine), "1");
    device.advance(PERIOD);
    assert_eq!(relay(&machine), "0");
    assert_eq!(device.published("action").as_deref(), Some("off"));
}

#[test]
fn a_program_switches_the_heater() {
    let machine = machine("18.0");
    let log = machine.path("log").display().to_string();
    let mut config = config(&machine);
    config["actuator"] = json!({"command": {
        "program": "/bin/sh",
        "arguments": ["-c", "echo \"$2\" >> \"$1\"", "sh", log, "{power}"],
    }});
    let mut device = TestDevice::<Thermostat>::new(config);
    until_is(&mut device, "current_temperature", "18");
    assert!(device.set("mode", "heat").is_done());
    drop(device);
    assert_eq!(std::fs::read_to_string(log).expect("a log"), "off\non\noff\n");
}

#[test]
fn nonsense_in_the_hardware_tables_names_its_place() {
    let machine = machine("18.0");
    let problems = |key: &str, value: Value| -> Vec<String> {
        let mut config = config(&machine);
        config[key] = value;
        let problems = TestDevice::<Thermostat>::problems(&config);
        problems.into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(problems("sensors", json!([])), ["sensors"]);
    assert_eq!(problems("sensors", json!([{"w1": "28-01"}, {}])), ["sensors[1]"]);
    assert_eq!(problems("sensors", json!([{"w1": "a/b"}])), ["sensors[0].w1"]);
    assert_eq!(problems("sensors", json!([{"w2": "28-01"}])), ["sensors[0].w2"]);
    assert_eq!(problems("actuator", json!({})), ["actuator"]);
    assert_eq!(problems("actuator", json!({"gpio": {"line": 17}})), ["actuator.gpio.chip"]);
    assert_eq!(problems("actuator", json!({"gpio": {"lime": 17}})), ["actuator.gpio.lime"]);
    assert_eq!(problems("backend", json!("simulated")), ["sensors", "actuator"]);
    assert_eq!(problems("period", json!(1)), ["period"]);
    assert_eq!(problems("min_on", json!("20m")), ["cycle"]);
    assert_eq!(problems("time_zone", json!("Europe/Atlantis")), ["time_zone"]);
    assert_eq!(
        problems("presets", json!({"eco": 18.3, "away": 2})),
        ["presets.eco", "presets.away"]
    );
    let schedule = json!({"monday": {"6:30": "comfort", "07:00": 40}});
    let expected = ["schedule.monday.07:00", "schedule.monday.6:30"];
    assert_eq!(problems("schedule", schedule), expected);
    assert_eq!(
        problems("schedule", json!({"monday": {"06:30": "boost"}})),
        ["schedule.monday.06:30"]
    );
}
