//! What devices tell of themselves beside their states, in this process and in others: that they cannot reach what they
//! stand for, and what happens.

use hearthd_core::{Reason, Status};
use serde_json::json;

use crate::rogue::House;

const PLACES: [&str; 3] = ["none", "auto", "process"];

#[test]
fn an_unreachable_device_answers_reads_with_503_and_what_it_last_said() {
    for isolation in PLACES {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/count", "1"), "200 1");
        assert_eq!(house.ask("a/job", "unreachable"), "204", "a set is answered as it says");
        house.wait_for_event("state a/status: unreachable (the bulb is unscrewed)");
        let read = house.ask_whole("a/count", "");
        assert_eq!((read.status, read.reason), (Status::Unavailable, Some(Reason::Unreachable)));
        let last = read.last_known.expect("it was known");
        assert_eq!((last.value, read.property.as_deref()), (json!(1), Some("count")));
        let text = format!("`a` is unreachable since {}: the bulb is unscrewed", last.since);
        assert_eq!(read.message, Some(text));
        let all = house.ask_whole("a/get", "");
        let known = all.last_known.expect("they were known");
        assert_eq!((all.status, &known.value["count"]), (Status::Unavailable, &json!(1)));
        assert_eq!(
            house.ask_whole("a/note", "").last_known.map(|known| known.value),
            Some(json!(null))
        );
        assert!(house.ask("a/describe", "").starts_with("200 "));
        assert!(house.ask("a/job", "").starts_with("422 "), "it has no state to read");
        let status = house.ask_whole("a/status", "");
        assert_eq!((status.status, &status.payload[..]), (Status::Ok, &b"unreachable"[..]));
        let entry = house.entry("a");
        assert_eq!(entry["state"], "unreachable");
        assert_eq!(
            (&entry["reason"], &entry["since"]),
            (&json!("the bulb is unscrewed"), &json!(last.since))
        );
        assert_eq!(house.ask("b/count", ""), "200 0", "the other device goes on");
        assert_eq!(house.ask("a/count", "1"), "200 2", "a set is tried");
        assert_eq!(house.ask("a/job", "unreachable otherwise"), "204");
        house.wait_for_event("state a/status: unreachable (the fuse has blown)");
        let again = house.ask_whole("a/count", "").last_known.expect("it was known");
        assert_eq!((again.value, again.since), (json!(2), last.since));
        assert_eq!(house.ask("a/job", "reachable"), "204");
        house.wait_for_event("state a/status: ready");
        assert_eq!(house.ask("a/count", ""), "200 2");
        assert_eq!(house.entry("a")["reason"], json!(null));
    }
}

#[test]
fn a_set_that_cannot_reach_its_device_is_a_503_with_its_reason() {
    for isolation in PLACES {
        let mut house = House::two(isolation);
        let failed = house.ask_whole("a/job", "fail to reach");
        assert_eq!(failed.message.as_deref(), Some("the bulb does not answer"));
        assert_eq!(
            (failed.status, failed.reason),
            (Status::Unavailable, Some(Reason::Unreachable))
        );
        assert_eq!(house.ask("a/status", ""), "200 ready", "one failure says nothing of the next");
    }
}

#[test]
fn a_device_that_is_created_anew_is_reachable_until_it_says_otherwise() {
    for isolation in PLACES {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "unreachable"), "204");
        house.wait_for("a", &["unreachable"], |_| true);
        assert!(house.ask("a/job", "panic").starts_with("503 "));
        house.ask_until("a/count", "", "200 0");
        house.wait_for("a", &["ready"], |entry| entry["since"] == json!(null));
    }
}

#[test]
fn a_contact_that_is_loose_floods_nobody_and_its_last_word_arrives() {
    for isolation in ["none", "process"] {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "flicker"), "204");
        house.wait_for("a", &["unreachable"], |entry| entry["reason"] == "the contact has broken");
        house.wait_for_event("state a/status: unreachable (the contact has broken)");
        let told = house.take_trace();
        let told = told.iter().filter(|event| event.starts_with("state a/status")).count();
        assert!(told < 10_000, "{told} of 20,000");
        assert_eq!(house.ask_whole("a/count", "").status, Status::Unavailable);
    }
}

#[test]
fn an_event_is_told_and_can_be_neither_read_nor_set() {
    for isolation in PLACES {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "ring"), "204");
        house.wait_for_event("event a/bell: press (0 left out)");
        for job in ["ring wrongly", "ring nowhere"] {
            assert_eq!(house.ask("a/job", job), "204");
        }
        assert_eq!(
            house.ask("a/bell", ""),
            "422 `bell` is an event and has no state: what happens goes to the device's event topic"
        );
        for (property, payload) in [("bell", "press"), ("set", "{\"bell\": \"press\"}")] {
            let refused = house.ask(&format!("a/{property}"), payload);
            assert_eq!(refused, "422 `bell` is an event, and cannot be set", "{property}");
        }
        let described = house.ask_whole("a/describe", "").payload;
        let described: serde_json::Value = serde_json::from_slice(&described).expect("JSON");
        let bell = json!({ "type": "event", "values": ["press", "double"] });
        assert_eq!(described["properties"]["bell"], bell);
        let all = house.ask_whole("a/get", "").payload;
        assert!(!String::from_utf8_lossy(&all).contains("bell"), "{all:?}");
        let told = house.take_trace();
        let rung = told.iter().filter(|event| event.starts_with("event ")).count();
        assert_eq!(rung, 1, "{told:?}");
    }
}

#[test]
fn a_bell_that_does_not_stop_is_told_now_and_then() {
    for isolation in ["none", "process"] {
        let mut house = House::two(isolation);
        assert_eq!(house.ask("a/job", "ring without end"), "204");
        assert_eq!(house.ask("b/job", "ring"), "204");
        house.wait_for_event("event b/bell: press (0 left out)");
        let told = house.take_trace();
        let rung = told.iter().filter(|event| event.starts_with("event a/bell")).count();
        assert!((1..1_000).contains(&rung), "{rung} of 10,000");
    }
}
