//! A plugin that goes wrong costs its own device, whether it runs in the daemon or in a process of its own.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    log,
    rogue::House,
    test_devices::{PATIENCE, said},
};

const EVERYWHERE: [&str; 3] = ["none", "auto", "process"];

/// Fails unless the other device goes on as if nothing had happened.
#[track_caller]
fn the_other_is_well(house: &mut House) {
    let before = house.entry("b")["properties"]["count"].as_i64().expect("a number");
    assert_eq!(house.ask("b/count", "1"), format!("200 {}", before + 1));
    assert_eq!(house.ask("b/status", ""), "200 ready");
}

#[test]
fn a_panic_gives_503_and_the_device_comes_back_with_what_it_saved() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/count", "1"), "200 1");
        assert_eq!(house.ask("a/job", "panic"), "503 its plugin has panicked");
        house.wait_for_event("state a/status: restarting (its plugin has panicked)");
        the_other_is_well(&mut house);
        house.ask_until("a/count", "", "200 1");
        house.wait_for_event("state a/status: ready");
    }
}

#[test]
fn a_panic_in_a_thread_of_the_plugin_fails_the_request_that_it_had() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "panic in a thread"), "500 dropped");
        assert_eq!(house.ask("a/status", ""), "200 ready");
        the_other_is_well(&mut house);
    }
}

#[test]
fn a_panic_in_drop_stops_neither_a_restart_nor_the_end() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/count", "1"), "200 1");
        assert_eq!(house.ask("a/job", "panic in drop"), "204");
        assert!(house.devices.restart("a").status.is_success());
        assert_eq!(house.ask("a/count", ""), "200 1");
        assert_eq!(house.ask("a/job", "panic in drop"), "204");
        let (running, _folder) = house.into_running();
        running.devices.stop(PATIENCE);
    }
}

#[test]
fn too_many_crashes_lead_into_quarantine_and_a_restart_leads_out() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        for _ in 0..3 {
            house.ask_until("a/job", "panic", "503 its plugin has panicked");
        }
        let reason = "in quarantine after 3 crashes within 10m: its plugin has panicked";
        house.wait_for("a", &["quarantined"], |entry| entry["reason"] == reason);
        house.wait_for_event(&format!("state a/status: quarantined ({reason})"));
        assert_eq!(house.ask("a/job", "wake"), format!("503 `a` is not available: {reason}"));
        assert_eq!(house.ask("a/status", ""), format!("200 {reason}"));
        the_other_is_well(&mut house);
        assert_eq!(house.devices.restart("a").status.code(), 204);
        assert_eq!(house.devices.restart("c").status.code(), 404);
        assert_eq!(house.ask("a/job", "wake"), "204");
        assert_eq!(house.ask("a/status", ""), "200 ready");
    }
}

#[test]
fn a_crash_while_it_is_created_counts_and_a_refusal_does_not() {
    let table = |id: &str, create: &str| {
        format!(
            "[devices.{id}]\nplugin = \"rogue\"\nisolation = \"process\"\nconfig.create = \"{create}\"\n"
        )
    };
    let mut house = House::start(&(table("a", "abort") + &table("b", "refuse")));
    house.wait_for("a", &["quarantined"], |_| true);
    let entry = house.entry("a");
    let reason = entry["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("3 crashes") && reason.contains("SIGABRT"), "{reason}");
    house.wait_for("b", &["failed"], |entry| entry["reason"] == "the bus is gone");
    assert_eq!(house.ask("b/count", ""), "503 `b` is not available: the bus is gone");
}

#[test]
fn a_flood_of_states_is_limited_and_ends_with_the_last() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "flood states by thread"), "204");
        the_other_is_well(&mut house);
        house.wait_for_event("state a/note: flooded (not retained)");
        // The last of 100,000 levels from 0 to 100.
        assert_eq!(house.entry("a")["properties"]["level"], 9);
        let trace = house.take_trace();
        let levels = trace.iter().filter(|event| event.starts_with("state a/level"));
        assert!(levels.count() < 2000, "{} events", trace.len());
        assert!(house.entry("a")["left_out"]["states"].as_u64() > Some(50_000));
    }
}

#[test]
fn a_command_tells_each_state_once_however_often_it_changes() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        house.take_trace();
        assert_eq!(house.ask("a/job", "flood states"), "204");
        assert_eq!(house.ask("a/job", "wake"), "204");
        house.wait_for_event("state a/note: wake (not retained)");
        let levels: Vec<_> =
            house.take_trace().into_iter().filter(|e| e.starts_with("state a/level")).collect();
        assert_eq!(levels, ["state a/level: 9"]);
    }
}

#[test]
fn a_flood_of_log_lines_is_cut_and_told() {
    log::keep();
    for (isolation, device) in [("none", "flooder-within"), ("process", "flooder-apart")] {
        let table =
            format!("[devices.{device}]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\n");
        let mut house = House::start(&table);
        assert_eq!(house.ask(&format!("{device}/job"), "flood lines"), "204");
        let lines = log::lines_with(&[device, "flood n="]);
        assert!((50..2000).contains(&lines), "{lines} of 100,000 are written");
        assert_eq!(log::lines_with(&[device, "the plugin floods the log"]), 1);
        let left_out = house.entry(device)["left_out"]["log_lines"].as_u64();
        assert_eq!(left_out, Some(100_000 - lines as u64));
    }
}

#[test]
fn what_is_not_as_declared_is_not_published() {
    for isolation in EVERYWHERE {
        for job in ["out of range", "too large", "undeclared"] {
            let mut house = House::two(isolation);
            house.take_trace();
            assert_eq!(house.ask("a/job", job), "204");
            assert_eq!(house.ask("a/job", "wake"), "204");
            house.wait_for_event("state a/note: wake (not retained)");
            let states = house.take_trace().into_iter().filter(|event| event.starts_with("state"));
            assert_eq!(states.collect::<Vec<_>>(), ["state a/note: wake (not retained)"], "{job}");
        }
        let failure = House::two(isolation).ask("a/job", "large failure");
        assert!(failure.starts_with("500 xxx") && failure.len() < 4000, "{}", failure.len());
    }
}

#[test]
fn timers_wakes_late_answers_and_absences_arrive() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        for (job, note) in [("timer", "timer 7"), ("wake", "wake"), ("later", "later")] {
            assert_eq!(house.ask("a/job", job), "204");
            house.wait_for_event(&format!("state a/note: {note} (not retained)"));
        }
        house.devices.absence(&crate::life::consumed());
        house.wait_for_event("state a/note: absence Consumed (not retained)");
    }
}

#[test]
fn a_device_gets_what_it_saved_in_an_earlier_life() {
    for isolation in EVERYWHERE {
        let saved = BTreeMap::from([("a".to_owned(), b"41".to_vec())]);
        let table = format!("[devices.a]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\n");
        let mut house = House::start_with(&table, &saved);
        assert_eq!(house.ask("a/count", "1"), "200 42");
        house.wait_for_event("saved a: 42");
        let (mut running, _folder) = house.into_running();
        running.take_trace();
        assert_eq!(running.ask("a/count", "1"), "200 43");
        let mut told = running.take_trace();
        told.extend(running.devices.stop(PATIENCE).iter().map(crate::test_devices::told));
        assert!(told.contains(&"saved a: 43".to_owned()), "{told:?}");
    }
}

#[test]
fn a_late_request_is_not_executed_by_a_device_that_comes_back() {
    let mut house = House::two("process");
    assert!(house.ask("a/job", "fault").starts_with("503"));
    let late = house.send_within(Duration::ZERO, "a/count", "1");
    assert!(said(&house.answer(late)).starts_with("408"));
    house.ask_until("a/count", "", "200 0");
}
