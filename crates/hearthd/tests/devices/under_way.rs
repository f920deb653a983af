//! Requests that a device accepts, and ends later: wherever its plugin runs.

use std::time::Duration;

use crate::rogue::House;

const ISOLATIONS: [&str; 3] = ["none", "auto", "process"];

fn end(id: hearthd_core::RequestId, how: &str) -> String {
    format!("end {}: {how}", id.0)
}

#[test]
fn an_accepted_request_is_answered_at_once_and_the_next_one_ends_it() {
    for isolation in ISOLATIONS {
        let mut house = House::two(isolation);
        let moving = house.send("a/job", "move");
        assert_eq!(house.answer(moving).status.code(), 202, "{isolation}");
        assert_eq!(house.ask("a/count", "1"), "200 1", "the device takes others meanwhile");
        assert_eq!(house.ask("a/job", "arrive"), "204");
        house.wait_for_event(&end(moving, "204"));
        house.wait_for_event("state a/count: 2");
    }
}

#[test]
fn what_ends_otherwise_says_how() {
    for isolation in ISOLATIONS {
        let mut house = House::two(isolation);
        for (job, how) in [("get stuck", "500 it is stuck"), ("drop", "500 dropped")] {
            let moving = house.send("a/job", "move");
            assert_eq!(house.answer(moving).status.code(), 202);
            assert_eq!(house.ask("a/job", job), "204");
            house.wait_for_event(&end(moving, how));
        }
        let moving = house.send("a/job", "move in no time");
        assert_eq!(house.answer(moving).status.code(), 202);
        house.wait_for_event(&end(moving, "408 `a` has not told in time how it has ended"));
        assert_eq!(house.ask("a/job", "arrive"), "204", "it ends too late, and harms nothing");
    }
}

#[test]
fn a_crash_and_a_reload_end_what_is_under_way_and_blame_nobody_else() {
    let mut house = House::two("auto");
    let (moving, other) = (house.send("a/job", "move"), house.send("b/job", "move"));
    assert_eq!(house.answer(moving).status.code(), 202);
    assert_eq!(house.answer(other).status.code(), 202);
    assert!(house.ask("b/job", "fault").starts_with("503"));
    let of_a = house.wait_for_start(&format!("end {}: ", moving.0));
    let of_b = house.wait_for_start(&format!("end {}: ", other.0));
    let crash = "503 its process has ended: signal: 11 (SIGSEGV)";
    let innocent = ", in a call of another device of the same plugin file";
    assert_eq!(of_a, end(moving, &format!("{crash}{innocent}")), "it had answered");
    assert_eq!(of_b, end(other, crash));

    let mut house = House::two("none");
    let moving = house.send("a/job", "move");
    assert_eq!(house.answer(moving).status.code(), 202);
    house.devices.restart("a");
    let how = "409 indeterminate: `a` ended while it was under way";
    house.wait_for_event(&end(moving, how));
}

#[test]
fn of_too_many_under_way_the_next_requester_waits_for_the_end() {
    for isolation in ISOLATIONS {
        let mut house = House::two(isolation);
        let moving: Vec<_> = (0..16).map(|_| house.send("a/job", "move")).collect();
        for id in &moving {
            assert_eq!(house.answer(*id).status.code(), 202);
        }
        let one_more = house.send_within(Duration::from_millis(500), "a/job", "move");
        let late = house.answer(one_more);
        assert_eq!(late.status.code(), 408, "{isolation}: nobody can end it meanwhile: {late:?}");
        assert_eq!(house.ask("a/job", "get stuck"), "204");
        for id in moving {
            house.wait_for_event(&end(id, "500 it is stuck"));
        }
    }
}
