//! What a device saves goes ahead of the answer that tells of it, wherever its plugin runs.

use crate::rogue::House;

const EVERYWHERE: [&str; 3] = ["none", "auto", "process"];

/// Sends a request, and returns what was saved and answered, in order.
#[track_caller]
fn saved_and_answered(house: &mut House, topic: &str, payload: &str) -> Vec<String> {
    house.take_trace();
    house.ask(topic, payload);
    let trace = house.take_trace();
    trace.into_iter().filter(|event| !event.starts_with("state ")).collect()
}

#[test]
fn what_a_request_changes_is_saved_ahead_of_its_answer() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        for (n, payload) in (1..).zip([r#"{"count": 1}"#, r#"{"count": 1, "job": "wake"}"#]) {
            let expected = [format!("saved a: {n}"), format!("answer {n}: 200 {{\"count\":{n}}}")];
            assert_eq!(saved_and_answered(&mut house, "a/set", payload), expected, "{isolation}");
        }
        let expected = ["saved a: 3", "answer 3: 200 3"];
        assert_eq!(saved_and_answered(&mut house, "a/count", "1"), expected, "{isolation}");
        let nothing_new = saved_and_answered(&mut house, "a/count", "");
        assert_eq!(nothing_new, ["answer 4: 200 3"], "{isolation}");
    }
}

#[test]
fn what_changes_before_a_later_answer_is_saved_ahead_of_that() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        for n in 1..20 {
            let expected = [format!("saved a: {n}"), format!("answer {n}: 204")];
            let told = saved_and_answered(&mut house, "a/job", "count later");
            assert_eq!(told, expected, "{isolation}");
        }
    }
}

#[test]
fn what_cannot_be_saved_is_not_told_as_done() {
    for isolation in EVERYWHERE {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/count", "1"), "200 1");
        let answer = house.ask("a/set", r#"{"count": 1, "job": "panic in save"}"#);
        assert_eq!(answer, "503 its plugin has panicked");
        house.wait_for_event("state a/status: restarting (its plugin has panicked)");
        house.ask_until("a/count", "", "200 1");
    }
}
