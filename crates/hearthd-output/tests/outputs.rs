//! Outputs on machines made of files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearthd_machine::Machine;
use hearthd_output::{Gpio, Led, Output, OutputCommand, Pwm, Wiring};
use serde_json::json;

fn output(machine: &Machine, wiring: Wiring) -> Output {
    Output::new(wiring, machine.root(), "test")
}

fn led() -> Wiring {
    Wiring::Led(Led { name: "lamp".into() })
}

fn pwm(json: serde_json::Value) -> Wiring {
    let pwm: Pwm = serde_json::from_value(json).expect("a table");
    Wiring::Pwm(pwm)
}

#[test]
fn an_led_is_scaled_and_its_trigger_taken_off() {
    let machine = Machine::new();
    machine.write("sys/class/leds/lamp/trigger", "none [heartbeat]\n");
    machine.write("sys/class/leds/lamp/max_brightness", "255\n");
    machine.write("sys/class/leds/lamp/brightness", "255\n");
    let mut output = output(&machine, led());
    output.drive(0.0).expect("off");
    assert_eq!(machine.read("sys/class/leds/lamp/trigger"), "none");
    let mut shown = |level: f64| {
        output.drive(level).expect("driven");
        machine.read("sys/class/leds/lamp/brightness")
    };
    let levels = [0.0, 0.0001, 0.5, 1.0, 7.0].map(&mut shown);
    assert_eq!(levels, ["0", "1", "128", "255", "255"]);
}

#[test]
fn what_appears_late_or_again_is_opened_then() {
    let machine = Machine::new();
    let mut output = output(&machine, led());
    let error = output.drive(1.0).unwrap_err().to_string();
    assert!(error.contains("no such LED `lamp`") && error.ends_with("there is none"), "{error}");
    for brightness in ["0", "7"] {
        machine.write("sys/class/leds/lamp/trigger", "[none]");
        machine.write("sys/class/leds/lamp/max_brightness", "1");
        machine.write("sys/class/leds/lamp/brightness", brightness);
        output.drive(1.0).expect("it is there now");
        assert_eq!(machine.read("sys/class/leds/lamp/brightness"), "1");
        std::fs::remove_dir_all(machine.path("sys")).expect("removed");
        output.drive(0.0).expect_err("it is gone");
    }
}

#[test]
fn a_pwm_channel_is_exported_then_set_up_in_the_kernels_order() {
    let machine = Machine::new();
    machine.write("sys/class/pwm/pwmchip0/npwm", "2\n");
    machine.write("sys/class/pwm/pwmchip0/export", "");
    let inversed = json!({"chip": "pwmchip0", "channel": 1, "polarity": "inversed"});
    let mut output = output(&machine, pwm(inversed));
    output.drive(0.25).expect_err("the kernel has not made the channel yet");
    assert_eq!(machine.read("sys/class/pwm/pwmchip0/export"), "1");
    let files =
        [("period", "0\n"), ("duty_cycle", "0\n"), ("polarity", "normal\n"), ("enable", "0\n")];
    for (file, content) in files {
        machine.write(&format!("sys/class/pwm/pwmchip0/pwm1/{file}"), content);
    }
    output.drive(0.25).expect("the channel is there");
    let content = |file: &str| machine.read(&format!("sys/class/pwm/pwmchip0/pwm1/{file}"));
    let all = ["period", "duty_cycle", "polarity", "enable"].map(content);
    assert_eq!(all, ["1000000", "250000", "inversed", "1"]);
    output.drive(1.0).expect("driven");
    assert_eq!(machine.read("sys/class/pwm/pwmchip0/pwm1/duty_cycle"), "1000000");
}

#[test]
fn a_channel_that_the_chip_has_not_is_named() {
    let machine = Machine::new();
    machine.write("sys/class/pwm/pwmchip0/npwm", "2\n");
    let mut output = output(&machine, pwm(json!({"chip": "pwmchip0", "channel": 2})));
    let error = output.drive(0.5).unwrap_err().to_string();
    assert!(
        error.starts_with("no such channel 2 in ") && error.ends_with("present: 0, 1"),
        "{error}"
    );
}

#[test]
fn a_gpio_line_that_is_not_there_is_named() {
    let machine = Machine::new();
    let gpio: Gpio = serde_json::from_value(json!({"line": "GPIO17"})).expect("a table");
    let mut output = output(&machine, Wiring::Gpio(gpio));
    let error = output.drive(1.0).unwrap_err().to_string();
    assert!(error.starts_with("no such GPIO line `GPIO17` in "), "{error}");
    machine.write("dev/gpiochip0", "");
    let error = output.drive(1.0).unwrap_err().to_string();
    assert!(error.contains("gpiochip0: "), "a file that is no chip: {error}");
}

#[test]
fn nonsense_in_a_table_names_its_place() {
    let places = |wiring: Wiring| -> Vec<&str> {
        wiring.problems().into_iter().map(|(place, _)| place).collect()
    };
    assert_eq!(
        places(pwm(json!({"chip": "a/b", "channel": 0, "frequency": 0}))),
        ["pwm.chip", "pwm.frequency"]
    );
    assert_eq!(places(Wiring::Led(Led { name: String::new() })), ["led.name"]);
    let gpio = |json| Wiring::Gpio(serde_json::from_value(json).expect("a table"));
    assert_eq!(places(gpio(json!({"line": 17}))), ["gpio.chip"]);
    assert_eq!(places(gpio(json!({"line": ""}))), ["gpio.line"]);
    assert_eq!(places(gpio(json!({"line": 17, "chip": "pinctrl-bcm2711"}))), [""; 0]);
    let command = OutputCommand {
        program: "relay".into(),
        arguments: vec!["{power}".into(), "{colour}".into()],
        timeout: hearthd_sdk::Span::seconds(60),
    };
    let places: Vec<&str> = command.problems(&["power"]).into_iter().map(|(at, _)| at).collect();
    assert_eq!(places, ["command.program", "command.timeout", "command.arguments"]);
}

fn shell(script: &str, arguments: &[&str], timeout: f64) -> OutputCommand {
    let mut all = vec!["-c", script, "sh"];
    all.extend(arguments);
    let json = json!({"program": "/bin/sh", "arguments": all, "timeout": timeout});
    serde_json::from_value(json).expect("a table")
}

#[test]
fn a_program_gets_its_values_as_they_are() {
    let machine = Machine::new();
    let file = machine.path("seen").display().to_string();
    let command = shell("printf %s \"$2\" > \"$1\"", &[&file, "to {power}; $(id)"], 4.0);
    command.run(&[("power", "on".into())]).expect("done");
    assert_eq!(std::fs::read_to_string(file).expect("a file"), "to on; $(id)");
}

#[test]
fn a_program_that_fails_is_missing_or_hangs_is_told_apart() {
    let failed = shell("exit 3", &[], 4.0).run(&[]).unwrap_err().to_string();
    assert_eq!(failed, "/bin/sh: exit status: 3");
    let missing = OutputCommand { program: "/nonexistent".into(), ..shell("", &[], 1.0) };
    assert!(missing.run(&[]).unwrap_err().to_string().starts_with("start /nonexistent: "));
    let machine = Machine::new();
    let pids = machine.path("pids");
    let script = "sleep 600 & echo $! > \"$1\"; wait";
    let start = Instant::now();
    let hung = shell(script, &[&pids.display().to_string()], 0.5).run(&[]).unwrap_err();
    assert_eq!(hung.to_string(), "/bin/sh: not done after 500ms, ended");
    assert!(start.elapsed() < Duration::from_secs(60));
    wait_until_gone(&pids);
}

/// Waits until the process whose ID the file holds has ended, or is only still to be reaped.
fn wait_until_gone(pids: &Path) {
    let pid = std::fs::read_to_string(pids).expect("the script has started");
    let stat = PathBuf::from("/proc").join(pid.trim()).join("stat");
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "a child of the program lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
