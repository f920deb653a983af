//! The light on a machine made of files.

use std::time::Duration;

use hearthd_light::Light;
use hearthd_machine::Machine;
use hearthd_sdk::Failure;
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);
const BOOT: &str = "proc/sys/kernel/random/boot_id";

/// A machine of one boot.
fn machine() -> Machine {
    Machine::new().with(&[(BOOT, "first\n")])
}

fn with_lamp(machine: Machine) -> Machine {
    machine.with_led("lamp", 255, 7)
}

fn shown(machine: &Machine) -> u32 {
    machine.led("lamp").parse().expect("a number")
}

fn config(machine: &Machine, extra: Value) -> Value {
    let mut config = json!({
        "backend": "led",
        "root": machine.folder(),
        "led": {"name": "lamp"},
        "brightness": true,
    });
    for (key, value) in extra.as_object().expect("a table") {
        config[key] = value.clone();
    }
    config
}

fn device(machine: &Machine, extra: Value) -> TestDevice<Light> {
    TestDevice::new(config(machine, extra))
}

#[test]
fn an_led_shows_what_the_light_says() {
    let machine = with_lamp(machine());
    let mut device = device(&machine, json!({}));
    assert_eq!((shown(&machine), device.published("alert")), (0, Some("none".into())));
    assert!(device.set("brightness", "40").is_done());
    assert_eq!(shown(&machine), 102);
    assert!(device.set("power", "OFF").is_done());
    assert_eq!(shown(&machine), 0);
    assert!(device.set("power", "ON").is_done());
    assert_eq!(shown(&machine), 102);
}

#[test]
fn a_perceptual_led_gives_less_light_in_the_middle() {
    let machine = with_lamp(machine());
    let mut device = device(&machine, json!({"curve": "perceptual"}));
    let mut at = |brightness: &str| {
        device.set("brightness", brightness);
        shown(&machine)
    };
    assert_eq!(["0", "1", "50", "100"].map(&mut at), [0, 1, 47, 255]);
}

#[test]
fn a_transition_takes_its_time_and_the_state_says_the_end_at_once() {
    let machine = with_lamp(machine());
    let mut device = device(&machine, json!({}));
    assert!(device.set_all(json!({"brightness": 100, "transition": 4})).is_done());
    assert_eq!((device.published("brightness"), shown(&machine)), (Some("100".into()), 0));
    let mut levels = Vec::new();
    for _ in 0..4 {
        device.advance(SECOND);
        levels.push(shown(&machine));
    }
    assert_eq!(levels, [64, 128, 191, 255]);
    device.set("power", "OFF");
    device.advance(SECOND);
    device.set("brightness", "75");
    assert_eq!(shown(&machine), 191, "turned round on the way");
    device.take_published();
    device.advance(60 * SECOND);
    assert_eq!((shown(&machine), device.take_published()), (191, vec![]));
}

#[test]
fn a_lamp_that_comes_late_is_taken_when_it_comes() {
    let machine = machine();
    let mut device = device(&machine, json!({"power_on": "on"}));
    let alert = device.published("alert").expect("an alert");
    assert!(alert.starts_with("no such LED `lamp`"), "{alert}");
    assert_eq!(device.unreachable(), Some(alert.clone()));
    assert_eq!(device.set("brightness", "50"), Reply::Failed(Failure::unreachable(alert)));
    assert_eq!(device.published("brightness").as_deref(), Some("100"), "nothing has changed");
    let machine = with_lamp(machine);
    device.advance(31 * SECOND);
    assert_eq!(device.unreachable(), None);
    assert_eq!((shown(&machine), device.published("alert")), (255, Some("none".into())));
    assert!(device.set("brightness", "50").is_done());
}

#[test]
fn a_lamp_that_is_lost_is_told_and_found_again() {
    let machine = with_lamp(machine());
    let mut device = device(&machine, json!({}));
    device.set("power", "ON");
    std::fs::remove_dir_all(machine.path("sys")).expect("removed");
    assert!(matches!(device.set("power", "OFF"), Reply::Failed(_)));
    assert_ne!(device.published("alert").as_deref(), Some("none"));
    assert_eq!(device.unreachable(), device.published("alert"));
    let machine = with_lamp(machine);
    device.advance(31 * SECOND);
    assert_eq!((shown(&machine), device.published("alert")), (255, Some("none".into())));
    assert_eq!(device.published("power").as_deref(), Some("ON"));
}

#[test]
fn power_on_decides_after_a_boot_and_not_after_a_restart_of_the_daemon() {
    for (power_on, before, after) in [("off", "ON", 0), ("on", "OFF", 255), ("restore", "ON", 255)]
    {
        let machine = with_lamp(machine());
        let mut device = device(&machine, json!({"power_on": power_on}));
        device.set("power", before);
        device.restart();
        let kept = if before == "ON" { 255 } else { 0 };
        assert_eq!(shown(&machine), kept, "{power_on}: the daemon alone began anew");
        machine.write(BOOT, "second\n");
        device.restart();
        assert_eq!(shown(&machine), after, "{power_on}");
        let power = if after == 0 { "OFF" } else { "ON" };
        assert_eq!(device.published("power").as_deref(), Some(power));
    }
}

#[test]
fn a_program_gets_the_whole_state() {
    let machine = machine();
    let log = machine.path("log").display().to_string();
    let script = "echo \"$2 $3 $4\" >> \"$1\"; test \"$3\" != 13";
    let arguments =
        json!(["-c", script, "sh", log, "{power}", "{brightness}", "{color_temperature}"]);
    let mut device = TestDevice::<Light>::new(json!({
        "backend": "command",
        "command": {"program": "/bin/sh", "arguments": arguments},
        "brightness": true,
        "color_temperature": {"min": 2000, "max": 6500},
    }));
    assert!(
        device
            .set_all(json!({"brightness": 40, "color_temperature": 2700, "transition": 9}))
            .is_done()
    );
    let refused = device.set("brightness", "13");
    assert!(
        matches!(&refused, Reply::Failed(failure) if failure.message() == "/bin/sh: exit status: 1")
    );
    assert_eq!(device.published("brightness").as_deref(), Some("40"));
    assert_eq!(
        std::fs::read_to_string(&log).expect("a log"),
        "off 100 2000\non 40 2700\non 13 2700\n"
    );
}

#[test]
fn a_program_says_by_its_exit_code_that_it_cannot_reach_the_lamp() {
    let machine = machine();
    let code = machine.path("code").display().to_string();
    std::fs::write(&code, "0").expect("written");
    let arguments = json!(["-c", "exit $(cat \"$0\")", code]);
    let command = json!({"program": "/bin/sh", "arguments": arguments});
    let mut device = TestDevice::<Light>::new(json!({"backend": "command", "command": command}));
    for (ends_with, unreachable) in [("69", true), ("1", false), ("69", true), ("0", false)] {
        std::fs::write(&code, ends_with).expect("written");
        let reply = device.set("power", "TOGGLE");
        let expected = format!("/bin/sh: exit status: {ends_with}");
        match ends_with {
            "0" => assert!(reply.is_done()),
            "69" => assert_eq!(reply, Reply::Failed(Failure::unreachable(&expected))),
            _ => assert_eq!(reply, Reply::Failed(Failure::failed(&expected))),
        }
        assert_eq!(device.unreachable(), unreachable.then_some(expected), "{ends_with}");
    }
}

#[test]
fn a_program_that_is_not_there_makes_the_light_unreachable() {
    let command = json!({"program": "/nowhere/lamp"});
    let device = TestDevice::<Light>::new(json!({"backend": "command", "command": command}));
    let reason = device.unreachable().expect("it cannot be started");
    assert!(reason.starts_with("start /nowhere/lamp: "), "{reason}");
}

#[test]
fn a_gpio_line_and_a_pwm_channel_that_are_not_there_make_the_light_unreachable() {
    let machine = machine();
    for (backend, table) in [
        ("gpio", json!({"chip": "gpiochip0", "line": 17})),
        ("pwm", json!({"chip": "pwmchip0", "channel": 0})),
    ] {
        let config = json!({"backend": backend, "root": machine.folder(), backend: table});
        let device = TestDevice::<Light>::new(config);
        assert!(device.unreachable().is_some(), "{backend}");
        assert_eq!(device.unreachable(), device.published("alert"), "{backend}");
    }
}

#[test]
fn nonsense_in_the_tables_names_its_place() {
    let machine = machine();
    let problems = |extra: Value| -> Vec<String> {
        let problems = TestDevice::<Light>::problems(&config(&machine, extra));
        problems.into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(problems(json!({})), [""; 0]);
    assert_eq!(problems(json!({"backend": "pwm"})), ["led", "pwm"]);
    let gpio = json!({"backend": "gpio", "gpio": {"line": "GPIO17"}, "led": null});
    assert_eq!(problems(gpio), ["brightness"]);
    assert_eq!(
        problems(json!({"color_temperature": {"min": 2000, "max": 3000}})),
        ["color_temperature"]
    );
    assert_eq!(problems(json!({"backend": "simulated", "curve": "linear"})), ["led", "curve"]);
    assert_eq!(problems(json!({"led": {"name": ""}})), ["led.name"]);
    assert_eq!(problems(json!({"power_on": "maybe"})), ["power_on"]);
}
