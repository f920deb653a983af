//! From the check of the table to the end: state that is saved, timers, absences.

use std::{collections::BTreeMap, time::Duration};

use hearthd::device::{self, Checked, Devices};
use hearthd_core::{Absence, Acknowledgement, Acknowledgements, Generation, Outcome, Published};

use crate::test_devices::{PATIENCE, TestDevices, config, plugins};

#[test]
fn what_a_device_saves_is_given_back_at_the_next_start() {
    let lines = [("a", "", "remember = true\nstart.level = 3"), ("b", "", "")];
    let mut running = TestDevices::start("", &lines, &BTreeMap::new());
    assert_eq!(running.ask("a/level", "7"), "200 7");
    running.wait_for_event("saved a: 7");
    assert_eq!(running.ask("a/power", "ON"), "200 ON");
    assert_eq!(running.ask("b/level", "9"), "200 9");
    running.devices.stop(PATIENCE);

    let saved = BTreeMap::from([("a".to_owned(), b"7".to_vec())]);
    let mut running = TestDevices::start("", &lines, &saved);
    assert_eq!(running.ask("a/level", ""), "200 7");
    assert_eq!(running.ask("b/level", ""), "200 0");
    assert_eq!(running.ask("a/level", "7"), "200 7");
    assert!(!running.take_trace().iter().any(|event| event.starts_with("saved")));
}

#[test]
fn an_instance_after_a_panic_gets_what_the_one_before_saved() {
    let lines = [("a", "", "remember = true")];
    let mut running = TestDevices::start("", &lines, &BTreeMap::new());
    assert_eq!(running.ask("a/level", "7"), "200 7");
    assert_eq!(running.ask("a/job", "panic"), "503 its plugin has panicked");
    running.ask_until("a/power", "ON", "200 ON");
    assert_eq!(running.ask("a/level", ""), "200 7");
    assert!(running.device("a").so_far().contains(&"create with 7".to_owned()));
}

#[test]
fn timers_fire_in_the_order_of_their_times_and_a_cancelled_one_does_not() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "timers"), "200 timers");
    let device = running.device("a");
    assert_eq!(
        [device.next(), device.next(), device.next()],
        ["set job=timers", "timer 3", "timer 2"]
    );
    assert_eq!(running.device("b").so_far(), [""; 0]);
}

#[test]
fn several_wakes_at_once_are_one_call() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "wake"), "200 wake");
    assert_eq!(running.ask("a/power", "ON"), "200 ON");
    let device = running.device("a");
    let mut notes = [device.next(), device.next(), device.next()];
    notes.sort();
    assert_eq!(notes, ["set job=wake", "set power=ON", "wake"]);
    (0..2).for_each(|_| assert_eq!(running.ask("a/power", ""), "200 ON"));
    assert_eq!(running.device("a").so_far(), [""; 0]);
}

#[test]
fn an_absence_reaches_every_device() {
    let running = TestDevices::two();
    running.devices.absence(&consumed());
    let expected = format!("absence {} Consumed [phone: lights off]", "07".repeat(4));
    assert_eq!(running.device("a").next(), expected);
    assert_eq!(running.device("b").next(), expected);
}

#[test]
fn stop_destroys_every_instance() {
    let running = TestDevices::two();
    let (devices, a, b) = running.into_parts();
    devices.stop(PATIENCE);
    assert_eq!([a.next(), b.next()], ["destroy", "destroy"]);
}

#[test]
fn stop_leaves_a_device_behind_that_does_not_end() {
    let mut running = TestDevices::two();
    running.send("a/job", "block");
    assert_eq!(running.device("a").next(), "set job=block");
    assert_eq!(running.device("a").next(), "waiting");
    let (devices, a, b) = running.into_parts();
    devices.stop(Duration::from_millis(20));
    assert_eq!(a.so_far(), [""; 0]);
    assert_eq!(b.next(), "destroy");
    a.go();
    assert_eq!(a.next(), "destroy");
}

#[test]
fn check_names_every_device_that_cannot_be() {
    let config = config(
        "[devices.deep]\nplugin = \"probe\"\nconfig = { test = 0, start = { level = \"high\" } }\n\
         [devices.high]\nplugin = \"probe\"\nconfig = { test = 0, start = { level = 101 } }\n\
         [devices.lost]\nplugin = \"lamp\"\n\
         [devices.odd]\nplugin = \"misdeclared\"\n\
         [devices.good]\nplugin = \"probe\"\nconfig = { test = 0 }\n",
    );
    let complaints = device::check(&config, &plugins(), &Checked::default()).unwrap_err();
    let lines: Vec<_> =
        complaints.iter().map(|(device, path, text)| format!("{device} {path}: {text}")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].starts_with("deep start.level: invalid type"), "{}", lines[0]);
    assert_eq!(lines[1], "high start.level: 101 is above 100");
    let present = "the kinds present are: misdeclared, probe";
    assert_eq!(lines[2], format!("lost : no plugin provides `lamp`; {present}"));
    assert_eq!(lines[3], "odd : `set` is taken: every device answers it");

    let refused = Devices::start(&config, &plugins(), BTreeMap::new());
    assert_eq!(refused.unwrap_err(), complaints);
}

#[test]
fn an_absence_waits_for_a_device_that_is_down() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "panic"), "503 its plugin has panicked");
    running.devices.absence(&consumed());
    let device = running.device("a");
    let notes = [(); 4].map(|()| device.next());
    assert_eq!(notes[..3], ["set job=panic", "destroy", "create"]);
    assert!(notes[3].starts_with("absence "), "{}", notes[3]);
}

#[test]
fn a_timer_that_is_always_due_does_not_starve_requests() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "tick"), "200 tick");
    assert_eq!(running.ask("a/power", "ON"), "200 ON");
}

/// An absence in which a phone has acted.
pub(crate) fn consumed() -> Absence {
    Absence {
        generation: Generation([7; 16]),
        outcome: Outcome::Consumed,
        clean: false,
        connected_at: "2026-01-01T00:00:00Z".into(),
        decided_at: "2026-01-01T00:01:00Z".into(),
        acknowledgements: Acknowledgements(vec![Acknowledgement {
            responder: Some("phone".into()),
            vouched: false,
            payload: "lights off".into(),
            status: Some(200),
            before_fence: true,
        }]),
        published: Published::Yes,
        session_kept: true,
        left_out: 0,
    }
}
