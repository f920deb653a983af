//! Devices that hang, panic, answer late or not at all: each costs itself alone.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::Reason;

use crate::test_devices::{PAUSE, TestDevices, said};

#[test]
fn a_full_mailbox_answers_429_while_another_device_goes_on() {
    let devices = [("a", "", ""), ("b", "", "")];
    let mut running =
        TestDevices::start("queue = 2\ndeadline = \"1h\"", &devices, &BTreeMap::new());
    let blocked = running.send("a/job", "block");
    assert_eq!(running.device("a").next(), "set job=block");
    assert_eq!(running.device("a").next(), "waiting");
    let waiting = [running.send("a/level", "1"), running.send("a/level", "2")];
    assert_eq!(running.ask("a/level", "3"), "429 `a` has too many requests waiting");
    assert_eq!(running.ask("b/power", "ON"), "200 ON");
    assert!(running.is_open(blocked) && waiting.iter().all(|id| running.is_open(*id)));
    running.device("a").go();
    assert_eq!(said(&running.answer(blocked)), "200 block");
    assert_eq!(waiting.map(|id| said(&running.answer(id))), ["200 1", "200 2"]);
    assert_eq!(running.ask("a/level", "4"), "200 4");
    assert_eq!(running.device("a").so_far(), ["set level=1", "set level=2", "set level=4"]);
}

#[test]
fn a_stalled_device_answers_503_at_once_until_its_call_ends() {
    let devices = [("a", "deadline = \"1ms\"", ""), ("b", "", "")];
    let mut running = TestDevices::start("", &devices, &BTreeMap::new());
    let blocked = running.send("a/job", "block");
    assert_eq!(running.device("a").next(), "set job=block");
    assert_eq!(running.device("a").next(), "waiting");
    running.wait_for("a", &["stalled"], |_| true);
    let stalled = "503 `a` is stalled: a call into its plugin does not return";
    assert_eq!(running.ask("a/power", "ON"), stalled);
    assert_eq!(running.ask("a/power", ""), stalled);
    assert_eq!(running.ask("b/power", "ON"), "200 ON");
    assert!(running.is_open(blocked));
    running.device("a").go();
    assert_eq!(said(&running.answer(blocked)), "200 block");
    running.ask_until("a/power", "", "200 OFF");
    assert_eq!(running.device("a").so_far(), [""; 0], "what was answered 503 is not executed");
}

#[test]
fn as_many_calls_may_hang_as_there_are_devices() {
    let devices = ["a", "b", "c", "d", "e"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut running = TestDevices::start("", &devices, &BTreeMap::new());
    let hanging = ["a", "b", "c", "d"];
    let blocked = hanging.map(|id| running.send(&format!("{id}/job"), "block"));
    for id in hanging {
        assert_eq!(running.device(id).next(), "set job=block");
        assert_eq!(running.device(id).next(), "waiting");
    }
    assert_eq!(running.ask("e/job", "timers"), "200 timers");
    let device = running.device("e");
    let notes = [device.next(), device.next(), device.next()];
    assert_eq!(notes, ["set job=timers", "timer 3", "timer 2"]);
    assert!(blocked.iter().all(|id| running.is_open(*id)));
    hanging.iter().for_each(|id| running.device(id).go());
    assert_eq!(blocked.map(|id| said(&running.answer(id))), ["200 block"; 4]);
}

#[test]
fn calls_that_hang_again_and_again_cost_no_other_device_an_answer() {
    let devices = ["a", "b", "c", "d"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut running = TestDevices::start("", &devices, &BTreeMap::new());
    for round in 0..100 {
        let (hanging, level) = (devices[round % devices.len()].0, round.to_string());
        let blocked = running.send(&format!("{hanging}/job"), "block");
        let behind = running.send(&format!("{hanging}/level"), &level);
        for (id, ..) in devices.iter().filter(|(id, ..)| *id != hanging) {
            assert_eq!(running.ask(&format!("{id}/level"), &level), format!("200 {level}"));
        }
        assert!(running.is_open(behind));
        running.device(hanging).go();
        assert_eq!(said(&running.answer(blocked)), "200 block");
        assert_eq!(said(&running.answer(behind)), format!("200 {level}"));
    }
}

/// The second call hangs in a later turn of the device's, when the thread that saw the first one hang has gone to rest.
#[test]
fn a_call_that_hangs_after_another_one_costs_no_other_device_an_answer() {
    let devices = ["a", "b"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut running = TestDevices::start("", &devices, &BTreeMap::new());
    let first = running.send("a/job", "block");
    assert_eq!(running.device("a").next(), "set job=block");
    assert_eq!(running.device("a").next(), "waiting");
    let between: Vec<_> = (0..32).map(|n| running.send("a/level", &n.to_string())).collect();
    let second = running.send("a/job", "block");
    assert_eq!(running.ask("b/level", "1"), "200 1");
    std::thread::sleep(PAUSE);
    running.device("a").go();
    assert_eq!(said(&running.answer(first)), "200 block");
    for (n, id) in between.into_iter().enumerate() {
        assert_eq!(said(&running.answer(id)), format!("200 {n}"));
    }
    assert_eq!(running.ask("b/level", "2"), "200 2");
    assert!(running.is_open(second));
    running.device("a").go();
    assert_eq!(said(&running.answer(second)), "200 block");
}

#[test]
fn a_request_that_waited_past_its_deadline_is_not_executed() {
    let mut running = TestDevices::two();
    let blocked = running.send("a/job", "block");
    let late = running.send_within(Duration::ZERO, "a/level", "1");
    let in_time = running.send("a/level", "2");
    running.device("a").go();
    assert_eq!(said(&running.answer(blocked)), "200 block");
    assert!(said(&running.answer(late)).starts_with("408 "));
    assert_eq!(said(&running.answer(in_time)), "200 2");
    assert_eq!(running.device("a").so_far(), ["set job=block", "waiting", "set level=2"]);
}

#[test]
fn a_panic_ends_one_device_and_it_comes_back() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/level", "5"), "200 5");
    let (panics, after) = (running.send("a/job", "panic"), running.send("a/power", "ON"));
    let answer = running.answer(panics);
    assert_eq!(said(&answer), "503 its plugin has panicked");
    assert_eq!(answer.reason, Some(Reason::Crashed));
    let down = "503 `a` is not available: its plugin has panicked";
    assert_eq!(said(&running.answer(after)), down);
    running.wait_for("a", &["restarting"], |entry| entry["reason"] == "its plugin has panicked");
    assert_eq!(running.ask("b/power", "ON"), "200 ON");
    running.ask_until("a/power", "ON", "200 ON");
    running.wait_for("a", &["ready"], |_| true);
    assert_eq!(running.ask("a/level", ""), "200 0", "the new instance has not saved");
    let notes = running.device("a").so_far();
    assert_eq!(notes, ["set level=5", "set job=panic", "destroy", "create", "set power=ON"]);
    assert_eq!(running.device("b").so_far(), ["set power=ON"]);
}

#[test]
fn a_panic_elsewhere_answers_the_request_at_hand() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "panic later"), "503 its plugin has panicked");
    running.ask_until("a/power", "ON", "200 ON");
    let notes = running.device("a").so_far();
    let expected =
        ["set job=panic later", "timer 13", "destroy", "create", "set power=ON"].map(str::to_owned);
    assert_eq!(notes, expected);
}

#[test]
fn an_answer_may_come_later_from_another_thread() {
    let mut running = TestDevices::two();
    let later = running.send("a/job", "later");
    let next = running.send("a/level", "1");
    assert_eq!(running.device("a").next(), "set job=later");
    assert_eq!(running.device("a").next(), "waiting");
    assert_eq!(running.ask("b/power", "ON"), "200 ON");
    assert!(running.is_open(later) && running.is_open(next));
    running.wait_for_event("state b/power: ON");
    running.take_trace();
    running.device("a").go();
    assert_eq!(said(&running.answer(later)), "200 later");
    let first = running.take_trace();
    let state = "state a/job: later (not retained)";
    assert_eq!(first[..2], [state, "answer 1: 200 later"], "published before it was answered");
    assert_eq!(said(&running.answer(next)), "200 1", "one command after the other");
}

#[test]
fn an_answer_that_never_comes_gives_408_and_the_next_request_is_executed() {
    let mut running = TestDevices::two();
    let never = running.send_within(Duration::from_millis(50), "a/job", "never");
    let next = running.send("a/level", "1");
    assert_eq!(said(&running.answer(never)), "408 `a` did not answer in time");
    assert_eq!(said(&running.answer(next)), "200 1");
    // `TestDevices` fails where a request is answered twice.
    assert_eq!(running.ask("a/job", "answer what is owed"), "200 answer what is owed");
    assert_eq!(running.ask("a/power", "ON"), "200 ON");
}

#[test]
fn a_device_that_cannot_be_created_answers_503_with_the_plugins_reason() {
    let devices = [("a", "", "fail = \"the bus is gone\""), ("b", "", "")];
    let mut running = TestDevices::start("", &devices, &BTreeMap::new());
    running.wait_for("a", &["failed"], |entry| entry["reason"] == "the bus is gone");
    assert_eq!(running.ask("a/power", "ON"), "503 `a` is not available: the bus is gone");
    assert_eq!(running.ask("b/power", "ON"), "200 ON");
    assert_eq!(running.device("a").next(), "create", "it is tried again");
}
