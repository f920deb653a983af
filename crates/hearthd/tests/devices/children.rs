//! Devices that a device adds and removes while it runs, in the daemon and in a process of their own.

use std::time::{Duration, Instant};

use hearthd::device::Remembered;
use hearthd_core::Reason;

use crate::{
    rogue::House,
    test_devices::{PATIENCE, said},
};

const EVERYWHERE: [&str; 3] = ["none", "auto", "process"];

fn table(isolation: &str, config: &str) -> String {
    format!(
        "[devices.bridge]\nplugin = \"radio\"\nroom = \"Loft\"\nisolation = \"{isolation}\"\n\
         [devices.bridge.config]\n{config}\n"
    )
}

fn start(isolation: &str, config: &str) -> House {
    start_remembering(&table(isolation, config), Remembered::default())
}

fn start_remembering(table: &str, remembered: Remembered) -> House {
    House::start_of("radio", tempfile::tempdir().expect("a folder"), table, remembered)
}

/// Returns what was remembered at last of the bridge's children.
fn remembered(house: &mut House) -> Remembered {
    let trace = house.take_trace();
    let of = |start: &str| {
        let found = trace.iter().rev().find_map(|event| event.strip_prefix(start));
        let found = found.unwrap_or_else(|| panic!("no `{start}` in {trace:#?}"));
        [("bridge".to_owned(), found.as_bytes().to_vec())].into()
    };
    Remembered { saved: of("saved bridge: "), children: of("children of bridge: ") }
}

#[test]
fn a_child_is_a_device_as_any_other() {
    for isolation in EVERYWHERE {
        let mut house = start(isolation, "");
        assert_eq!(house.ask("bridge/find", "hall porch"), "204");
        house.wait_for_event("state bridge-hall/status: ready");
        house.wait_for_event("state bridge-hall/power: OFF");
        assert_eq!(house.ask("bridge-hall/power", "toggle"), "200 ON", "{isolation}");
        house.wait_for_event("event bridge-hall/button: press (0 left out)");
        assert_eq!(house.ask("bridge-hall/level", "40"), "200 40", "it answers later");
        assert_eq!(house.ask("bridge-hall/set", r#"{"power": "OFF"}"#), r#"200 {"power":"OFF"}"#);
        assert_eq!(house.ask("bridge-hall/get", ""), r#"200 {"level":40,"power":"OFF"}"#);
        assert!(house.ask("bridge-hall/level", "101").starts_with("422"));
        assert!(house.ask("bridge-hall/find", "x").starts_with("404"), "that is the bridge's");
        assert_eq!(house.ask("bridge-porch/power", ""), "200 OFF");
        assert_eq!(house.ask("bridge-hall/status", ""), "200 ready");
        let described = house.ask_whole("bridge-hall/describe", "").payload;
        let described: serde_json::Value = serde_json::from_slice(&described).unwrap();
        let facts = ["id", "name", "kind", "room"].map(|key| described[key].as_str());
        let expected = ["bridge-hall", "Lamp hall", "light", "Loft"].map(Some);
        assert_eq!(facts, expected);
        assert_eq!(described["properties"]["level"]["max"], 100);
        assert_eq!(house.entry("bridge-hall")["parent"], "bridge");

        assert_eq!(house.ask("bridge/cut", "porch"), "204");
        house.wait_for_event("state bridge-porch/status: unreachable (no answer over the radio)");
        assert!(house.ask("bridge-porch/power", "").starts_with("503"), "{isolation}");
        assert_eq!(house.ask("bridge-hall/power", ""), "200 OFF");
        assert_eq!(house.ask("bridge-porch/power", "ON"), "200 ON");
        house.wait_for_event("state bridge-porch/status: ready");
    }
}

#[test]
fn a_child_that_is_removed_answers_what_waits_and_says_nothing_more() {
    for isolation in EVERYWHERE {
        let mut house = start(isolation, "");
        house.ask("bridge/find", "hall porch");
        house.wait_for_event("state bridge-hall/power: OFF");
        let never = house.send("bridge-hall/job", "never");
        house.wait_for_event("state bridge-hall/level: 1");
        let behind = house.send("bridge-hall/power", "ON");
        house.take_trace();
        assert_eq!(house.ask("bridge/lose", "hall"), "204", "{isolation}");
        let answer = said(&house.answer(never));
        assert_eq!(answer, "503 `bridge-hall` ended before it answered", "{isolation}");
        assert_eq!(said(&house.answer(behind)), "503 `bridge-hall` has ended");
        let left = house.wait_for_start("children of bridge: ");
        assert!(left.contains("porch") && !left.contains("hall"), "{left}");
        assert_eq!(house.ask("bridge-hall/power", ""), "404 there is no device `bridge-hall`");
        assert_eq!(house.ask("bridge-porch/power", "ON"), "200 ON");
        let trace = house.take_trace();
        let told = |event: &&String| event.starts_with("state bridge-hall/");
        assert_eq!(trace.iter().find(told), None, "{isolation}: {trace:#?}");
        // It may come back.
        assert_eq!(house.ask("bridge/find", "hall"), "204");
        house.wait_for_event("state bridge-hall/power: OFF");
        assert_eq!(house.ask("bridge-hall/power", "ON"), "200 ON");
    }
}

#[test]
fn requests_for_a_child_that_is_remembered_wait_until_it_is_there_again() {
    for isolation in EVERYWHERE {
        let mut house = start(isolation, "");
        house.ask("bridge/find", "hall porch");
        house.wait_for_start("saved bridge: ");
        house.wait_for_start("children of bridge: ");
        let remembered = remembered(&mut house);
        drop(house);
        let mut house =
            start_remembering(&table(isolation, "search = \"500ms\""), remembered.clone());
        let request = house.send("bridge-hall/power", "ON");
        assert_eq!(house.ask("bridge/known", ""), "200 hall porch", "{isolation}");
        house
            .wait_for_event("state bridge-hall/status: restarting (`bridge` has not added it yet)");
        assert!(house.ask("bridge-hall/describe", "").starts_with("200"));
        assert!(house.is_open(request), "it waits");
        assert_eq!(said(&house.answer(request)), "200 ON", "{isolation}");
        house.wait_for_event("state bridge-hall/status: ready");

        // One that does not come back has a definite answer ahead of the deadline.
        let table = table(isolation, "search = \"1h\"");
        let mut house = start_remembering(&table, remembered);
        let (begin, patience) = (Instant::now(), Duration::from_millis(500));
        let request = house.send_within(patience, "bridge-hall/power", "ON");
        let answer = said(&house.answer(request));
        let expected = "503 `bridge-hall` is not available: `bridge` has not added it yet";
        assert_eq!(answer, expected, "{isolation}");
        let waited = begin.elapsed();
        assert!(waited >= patience * 8 / 10, "{waited:?}");
    }
}

#[test]
fn a_crash_in_a_call_of_one_costs_all_and_they_come_back() {
    for (isolation, job) in [("none", "panic"), ("auto", "abort"), ("process", "abort")] {
        let mut house = start(isolation, "");
        house.ask("bridge/find", "hall porch");
        house.wait_for_event("state bridge-porch/power: OFF");
        let pending = house.send("bridge-porch/job", "never");
        house.wait_for_event("state bridge-porch/level: 1");
        let crash = house.ask_whole("bridge-hall/job", job);
        assert_eq!(crash.reason, Some(Reason::Crashed), "{isolation}: {crash:?}");
        let other = house.answer(pending);
        assert_eq!(other.reason, Some(Reason::Crashed), "{isolation}: {other:?}");
        for device in ["bridge", "bridge-hall", "bridge-porch"] {
            house.wait_for_start(&format!("state {device}/status: restarting ("));
        }
        house.ask_until("bridge-hall/power", "ON", "200 ON");
        house.ask_until("bridge-porch/power", "ON", "200 ON");
        house.wait_for("bridge-porch", &["ready"], |_| true);
    }
}

#[test]
fn a_call_that_hangs_stalls_the_parent_and_its_children_alone() {
    let tables = table("none", "").replace("room", "deadline = \"300ms\"\nroom")
        + "[devices.other]\nplugin = \"radio\"\n";
    let mut house = start_remembering(&tables, Remembered::default());
    house.ask("bridge/find", "hall porch");
    house.wait_for_event("state bridge-porch/power: OFF");
    house.send("bridge-hall/job", "hang");
    house.wait_for("bridge-porch", &["stalled"], |_| true);
    house.wait_for("bridge", &["stalled"], |_| true);
    let stalled = "503 `bridge-porch` is stalled: a call into its plugin does not return";
    assert_eq!(house.ask("bridge-porch/power", "ON"), stalled);
    assert_eq!(house.ask("other/find", "lamp"), "204");
    assert_eq!(house.ask("other-lamp/power", "ON"), "200 ON");
    // A person helps.
    assert_eq!(house.devices.restart("bridge-hall").status.code(), 422);
    assert_eq!(house.devices.restart("bridge").status.code(), 204);
    house.ask_until("bridge-porch/power", "ON", "200 ON");
    house.wait_for("bridge-hall", &["ready"], |_| true);
}

#[test]
fn nothing_that_has_the_id_of_another_device_becomes_a_child() {
    for isolation in EVERYWHERE {
        let tables = table(isolation, "") + "[devices.bridge-hall]\nplugin = \"radio\"\n";
        let mut house = start_remembering(&tables, Remembered::default());
        let answer = house.ask("bridge/find", "hall");
        let why = "`bridge-hall` is the ID of something in the configuration";
        if isolation == "none" {
            assert_eq!(answer, format!("422 name: {why}"));
        } else {
            // The process cannot know.
            assert_eq!(answer, "204");
            house.wait_for_event(&format!("state bridge/refused: hall: {why}"));
        }
        assert_eq!(house.ask("bridge-hall/find", "lamp"), "204", "it is the other one");
        assert_eq!(house.ask("bridge/find", "porch"), "204");
        assert_eq!(house.ask("bridge-porch/power", "ON"), "200 ON");
    }
}

#[test]
fn a_reload_keeps_children_and_one_whose_id_is_taken_ends() {
    for isolation in EVERYWHERE {
        let mut house = start(isolation, "");
        house.ask("bridge/find", "hall porch");
        house.wait_for_event("state bridge-porch/power: OFF");
        house.ask("bridge-porch/power", "ON");
        house.take_trace();
        let other = "[devices.bridge-hall]\nplugin = \"radio\"\n";
        let difference = house.reload_with(&(table(isolation, "") + other)).unwrap();
        assert_eq!((difference.added, difference.removed), (vec!["bridge-hall".into()], vec![]));
        let told = "state bridge/refused: hall: `bridge-hall` is in the configuration now";
        house.wait_for_event(told);
        house.ask_until("bridge-hall/find", "lamp", "204");
        assert_eq!(house.ask("bridge-porch/power", ""), "200 ON", "{isolation}");

        // Another table is another instance, which adds what it has saved.
        let wider = table(isolation, "range = 200");
        assert_eq!(house.reload_with(&wider).unwrap().changed, ["bridge"]);
        house.ask_until("bridge-porch/level", "150", "200 150");
        let entry = house.entry("bridge-porch");
        assert_eq!(entry["state"], "ready", "{entry}");

        // A table with which it may add none, and the first one again.
        house.reload_with(&table(isolation, "adds = false")).unwrap();
        house.wait_for_event("children of bridge: ");
        assert!(house.ask("bridge-porch/power", "").starts_with("404"), "{isolation}");
        house.wait_for("bridge", &["failed"], |_| true);
        house.reload_with(&table(isolation, "")).unwrap();
        house.ask_until("bridge-porch/power", "ON", "200 ON");

        house.take_trace();
        house.reload_with("[devices.lone]\nplugin = \"radio\"\n").unwrap();
        house.wait_for_event("children of bridge: ");
        assert_eq!(house.ask("bridge-porch/power", ""), "404 there is no device `bridge-porch`");
        let ids = house.devices.list();
        let ids: Vec<_> = ids.as_array().unwrap().iter().map(|it| it["id"].as_str()).collect();
        assert_eq!(ids, [Some("lone")], "{isolation}");
    }
}

#[test]
fn children_that_change_too_fast_or_are_too_many_are_refused() {
    let mut house = start("none", "");
    for n in 0..256 {
        assert_eq!(house.ask("bridge/find", &format!("lamp{n}")), "204");
    }
    let answer = house.ask("bridge/find", "more");
    assert_eq!(answer, "500 there are 256 children already");
    let deadline = Instant::now() + PATIENCE;
    loop {
        house.ask("bridge/lose", "lamp0");
        let answer = house.ask("bridge/find", "lamp0");
        if answer == "429 the children change too fast" {
            break;
        }
        assert!(answer == "204" && Instant::now() < deadline, "{answer}");
    }
    assert_eq!(house.ask("bridge-lamp7/power", "ON"), "200 ON", "the others are as they were");
    assert_eq!(house.devices.list().as_array().map(Vec::len), Some(256));
}
