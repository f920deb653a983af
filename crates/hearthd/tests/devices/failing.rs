//! Devices that hang, panic, answer late or not at all: each costs itself alone.

use std::{collections::BTreeMap, time::Duration};

use crate::bench::{Bench, PAUSE, said};

#[test]
fn a_full_mailbox_answers_429_while_another_device_goes_on() {
    let devices = [("a", "", ""), ("b", "", "")];
    let mut bench = Bench::start("queue = 2\ndeadline = \"1h\"", &devices, &BTreeMap::new());
    let blocked = bench.post("a/job", "block");
    assert_eq!(bench.device("a").next(), "set job=block");
    assert_eq!(bench.device("a").next(), "waiting");
    let waiting = [bench.post("a/level", "1"), bench.post("a/level", "2")];
    assert_eq!(bench.ask("a/level", "3"), "429 `a` has too many requests waiting");
    assert_eq!(bench.ask("b/power", "ON"), "200 ON");
    assert!(bench.is_open(blocked) && waiting.iter().all(|id| bench.is_open(*id)));
    bench.device("a").go();
    assert_eq!(said(&bench.answer(blocked)), "200 block");
    assert_eq!(waiting.map(|id| said(&bench.answer(id))), ["200 1", "200 2"]);
    assert_eq!(bench.ask("a/level", "4"), "200 4");
    assert_eq!(bench.device("a").so_far(), ["set level=1", "set level=2", "set level=4"]);
}

#[test]
fn a_stalled_device_answers_503_at_once_until_its_call_ends() {
    let devices = [("a", "deadline = \"1ms\"", ""), ("b", "", "")];
    let mut bench = Bench::start("", &devices, &BTreeMap::new());
    let blocked = bench.post("a/job", "block");
    assert_eq!(bench.device("a").next(), "set job=block");
    assert_eq!(bench.device("a").next(), "waiting");
    bench.wait_for("a", &["stalled"], |_| true);
    let stalled = "503 `a` is stalled: a call into its plugin does not end";
    assert_eq!(bench.ask("a/power", "ON"), stalled);
    assert_eq!(bench.ask("a/power", ""), stalled);
    assert_eq!(bench.ask("b/power", "ON"), "200 ON");
    assert!(bench.is_open(blocked));
    bench.device("a").go();
    assert_eq!(said(&bench.answer(blocked)), "200 block");
    bench.ask_until("a/power", "", "200 OFF");
    assert_eq!(bench.device("a").so_far(), [""; 0], "what was answered 503 is not executed");
}

#[test]
fn as_many_calls_may_hang_as_there_are_devices() {
    let devices = ["a", "b", "c", "d", "e"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut bench = Bench::start("", &devices, &BTreeMap::new());
    let hanging = ["a", "b", "c", "d"];
    let blocked = hanging.map(|id| bench.post(&format!("{id}/job"), "block"));
    for id in hanging {
        assert_eq!(bench.device(id).next(), "set job=block");
        assert_eq!(bench.device(id).next(), "waiting");
    }
    assert_eq!(bench.ask("e/job", "timers"), "200 timers");
    let device = bench.device("e");
    let notes = [device.next(), device.next(), device.next()];
    assert_eq!(notes, ["set job=timers", "timer 3", "timer 2"]);
    assert!(blocked.iter().all(|id| bench.is_open(*id)));
    hanging.iter().for_each(|id| bench.device(id).go());
    assert_eq!(blocked.map(|id| said(&bench.answer(id))), ["200 block"; 4]);
}

#[test]
fn calls_that_hang_again_and_again_cost_no_other_device_an_answer() {
    let devices = ["a", "b", "c", "d"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut bench = Bench::start("", &devices, &BTreeMap::new());
    for round in 0..100 {
        let (hanging, level) = (devices[round % devices.len()].0, round.to_string());
        let blocked = bench.post(&format!("{hanging}/job"), "block");
        let behind = bench.post(&format!("{hanging}/level"), &level);
        for (id, ..) in devices.iter().filter(|(id, ..)| *id != hanging) {
            assert_eq!(bench.ask(&format!("{id}/level"), &level), format!("200 {level}"));
        }
        assert!(bench.is_open(behind));
        bench.device(hanging).go();
        assert_eq!(said(&bench.answer(blocked)), "200 block");
        assert_eq!(said(&bench.answer(behind)), format!("200 {level}"));
    }
}

/// The second call hangs in a later turn of the device's, when the thread that saw the first one hang has gone to rest.
#[test]
fn a_call_that_hangs_after_another_one_costs_no_other_device_an_answer() {
    let devices = ["a", "b"].map(|id| (id, "deadline = \"1h\"", ""));
    let mut bench = Bench::start("", &devices, &BTreeMap::new());
    let first = bench.post("a/job", "block");
    assert_eq!(bench.device("a").next(), "set job=block");
    assert_eq!(bench.device("a").next(), "waiting");
    let between: Vec<_> = (0..32).map(|n| bench.post("a/level", &n.to_string())).collect();
    let second = bench.post("a/job", "block");
    assert_eq!(bench.ask("b/level", "1"), "200 1");
    std::thread::sleep(PAUSE);
    bench.device("a").go();
    assert_eq!(said(&bench.answer(first)), "200 block");
    for (n, id) in between.into_iter().enumerate() {
        assert_eq!(said(&bench.answer(id)), format!("200 {n}"));
    }
    assert_eq!(bench.ask("b/level", "2"), "200 2");
    assert!(bench.is_open(second));
    bench.device("a").go();
    assert_eq!(said(&bench.answer(second)), "200 block");
}

#[test]
fn a_request_that_waited_past_its_deadline_is_not_executed() {
    let mut bench = Bench::two();
    let blocked = bench.post("a/job", "block");
    let late = bench.post_within(Duration::ZERO, "a/level", "1");
    let in_time = bench.post("a/level", "2");
    bench.device("a").go();
    assert_eq!(said(&bench.answer(blocked)), "200 block");
    assert!(said(&bench.answer(late)).starts_with("408 "));
    assert_eq!(said(&bench.answer(in_time)), "200 2");
    assert_eq!(bench.device("a").so_far(), ["set job=block", "waiting", "set level=2"]);
}

#[test]
fn a_panic_ends_one_device_and_it_comes_back() {
    let mut bench = Bench::two();
    assert_eq!(bench.ask("a/level", "5"), "200 5");
    let (panics, after) = (bench.post("a/job", "panic"), bench.post("a/power", "ON"));
    assert_eq!(said(&bench.answer(panics)), "503 its plugin has panicked");
    let down = "503 `a` is not available: its plugin has panicked";
    assert_eq!(said(&bench.answer(after)), down);
    bench.wait_for("a", &["restarting"], |entry| entry["reason"] == "its plugin has panicked");
    assert_eq!(bench.ask("b/power", "ON"), "200 ON");
    bench.ask_until("a/power", "ON", "200 ON");
    bench.wait_for("a", &["ready"], |_| true);
    assert_eq!(bench.ask("a/level", ""), "200 0", "the new instance has not saved");
    let notes = bench.device("a").so_far();
    assert_eq!(notes, ["set level=5", "set job=panic", "destroy", "create", "set power=ON"]);
    assert_eq!(bench.device("b").so_far(), ["set power=ON"]);
}

#[test]
fn a_panic_elsewhere_answers_the_request_at_hand() {
    let mut bench = Bench::two();
    assert_eq!(bench.ask("a/job", "panic later"), "503 its plugin has panicked");
    bench.ask_until("a/power", "ON", "200 ON");
    let notes = bench.device("a").so_far();
    let expected =
        ["set job=panic later", "timer 13", "destroy", "create", "set power=ON"].map(str::to_owned);
    assert_eq!(notes, expected);
}

#[test]
fn an_answer_may_come_later_from_another_thread() {
    let mut bench = Bench::two();
    let later = bench.post("a/job", "later");
    let next = bench.post("a/level", "1");
    assert_eq!(bench.device("a").next(), "set job=later");
    assert_eq!(bench.device("a").next(), "waiting");
    assert_eq!(bench.ask("b/power", "ON"), "200 ON");
    assert!(bench.is_open(later) && bench.is_open(next));
    bench.wait_for_event("state b/power: ON");
    bench.take_trace();
    bench.device("a").go();
    assert_eq!(said(&bench.answer(later)), "200 later");
    let first = bench.take_trace();
    let state = "state a/job: later (not retained)";
    assert_eq!(first[..2], [state, "answer 1: 200 later"], "published before it was answered");
    assert_eq!(said(&bench.answer(next)), "200 1", "one command after the other");
}

#[test]
fn an_answer_that_never_comes_gives_408_and_the_next_request_is_executed() {
    let mut bench = Bench::two();
    let never = bench.post_within(Duration::from_millis(50), "a/job", "never");
    let next = bench.post("a/level", "1");
    assert_eq!(said(&bench.answer(never)), "408 `a` did not answer in time");
    assert_eq!(said(&bench.answer(next)), "200 1");
    // The bench fails where a request is answered twice.
    assert_eq!(bench.ask("a/job", "answer what is owed"), "200 answer what is owed");
    assert_eq!(bench.ask("a/power", "ON"), "200 ON");
}

#[test]
fn a_device_that_cannot_be_created_answers_503_with_the_plugins_reason() {
    let devices = [("a", "", "fail = \"the bus is gone\""), ("b", "", "")];
    let mut bench = Bench::start("", &devices, &BTreeMap::new());
    bench.wait_for("a", &["failed"], |entry| entry["reason"] == "the bus is gone");
    assert_eq!(bench.ask("a/power", "ON"), "503 `a` is not available: the bus is gone");
    assert_eq!(bench.ask("b/power", "ON"), "200 ON");
    assert_eq!(bench.device("a").next(), "create", "it is tried again");
}
