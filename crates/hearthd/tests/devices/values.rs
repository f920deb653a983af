//! What requests read and write.

use std::collections::BTreeMap;

use hearthd_core::{ContentType, Status};
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::{Value, json};

use crate::{
    probe::{Probe, Strings},
    test_devices::{TestDevices, said},
};

#[test]
fn a_write_answers_with_the_state_and_the_state_event_follows() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/power", "ON"), "200 ON");
    running.wait_for_event("state a/power: ON");
    assert_eq!(running.take_trace(), ["answer 1: 200 ON", "state a/power: ON"]);
    assert_eq!(running.device("a").so_far(), ["set power=ON"]);
    assert_eq!(running.device("b").so_far(), [""; 0]);
}

#[test]
fn writing_the_state_that_is_there_answers_without_a_state_event() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/power", "OFF"), "200 OFF");
    assert_eq!(running.take_trace(), ["answer 1: 200 OFF"]);
    assert_eq!(running.device("a").so_far(), ["set power=OFF"]);
}

#[test]
fn an_empty_payload_reads_without_a_call_into_the_plugin() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/level", ""), "200 0");
    assert_eq!(running.ask("a/temperature", ""), "200 20.5");
    assert_eq!(running.ask("a/job", ""), "204");
    let answer = running.ask_whole("a/notice", "");
    assert_eq!(said(&answer), "422 `notice` has no state to read");
    assert_eq!(running.device("a").so_far(), [""; 0]);
}

#[test]
fn get_and_describe_answer_with_json() {
    let mut running = TestDevices::two();
    let answer = running.ask_whole("a/get", "");
    assert_eq!(answer.content_type, ContentType::Json);
    let states: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(states, json!({"power": "OFF", "level": 0, "temperature": 20.5}));
    let answer = running.ask_whole("a/describe", "");
    let description: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(description["kind"], "probe");
    assert_eq!(description["properties"]["level"]["max"].as_f64(), Some(100.0));
}

#[test]
fn name_and_room_of_a_device_are_told_where_it_has_them() {
    let lines = "name = \"Lamp\"\nroom = \"Bedroom\"";
    let mut running = TestDevices::start("", &[("a", lines, ""), ("b", "", "")], &BTreeMap::new());
    for (device, name, room) in [("a", "Lamp", json!("Bedroom")), ("b", "b", Value::Null)] {
        let answer = running.ask_whole(&format!("{device}/describe"), "");
        let description: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!((&description["name"], &description["room"]), (&json!(name), &room));
        let list = running.devices.list();
        let listed = list.as_array().unwrap().iter().find(|it| it["id"] == device).unwrap();
        assert_eq!((&listed["name"], &listed["room"]), (&json!(name), &room));
    }
}

#[test]
fn ten_toggles_in_a_row_turn_the_state_over_in_order() {
    let mut running = TestDevices::two();
    let ids: Vec<_> = (0..10).map(|_| running.send("a/power", "TOGGLE")).collect();
    let answers: Vec<_> = ids.into_iter().map(|id| said(&running.answer(id))).collect();
    assert_eq!(answers, ["200 ON", "200 OFF"].repeat(5));
    let (states, answers) = running.take_states_and_answers(20);
    assert_eq!(states, ["state a/power: ON", "state a/power: OFF"].repeat(5));
    let in_order = (1..=10).map(|n| format!("answer {n}: 200 {}", ["OFF", "ON"][n % 2]));
    assert_eq!(answers, in_order.collect::<Vec<_>>());
}

#[test]
fn set_takes_several_properties_to_the_device_in_one_call() {
    let mut running = TestDevices::two();
    let answer = running.ask_whole("a/set", r#"{"power": true, "level": 7}"#);
    assert_eq!((answer.status, answer.content_type), (Status::Ok, ContentType::Json));
    let states: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(states, json!({"power": "ON", "level": 7}));
    assert_eq!(running.device("a").so_far(), ["set level=7 power=ON"]);
    let (states, answers) = running.take_states_and_answers(3);
    assert_eq!(states, ["state a/power: ON", "state a/level: 7"]);
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn set_of_one_property_answers_with_json() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/set", r#"{"power": "TOGGLE"}"#), r#"200 {"power":"ON"}"#);
    assert_eq!(running.device("a").so_far(), ["set power=ON"]);
}

#[test]
fn set_is_all_or_nothing() {
    let mut running = TestDevices::two();
    for (payload, status, property) in [
        (r#"{"level": 7, "power": "MAYBE"}"#, Status::BadRequest, "power"),
        (r#"{"job": "x", "level": 101}"#, Status::Unprocessable, "level"),
        (r#"{"level": 7, "temperature": 21}"#, Status::Unprocessable, "temperature"),
        (r#"{"level": 7, "volume": 3}"#, Status::NotFound, "volume"),
    ] {
        let answer = running.ask_whole("a/set", payload);
        assert_eq!(answer.status, status, "{payload}: {answer:?}");
        assert_eq!(answer.property.as_deref(), Some(property), "{payload}");
    }
    assert_eq!(running.take_trace().len(), 4, "nothing but the answers");
    assert_eq!(running.device("a").so_far(), [""; 0]);
    assert_eq!(running.ask("a/level", ""), "200 0");
}

#[test]
fn set_takes_an_object_with_at_least_one_property() {
    let mut running = TestDevices::two();
    for payload in ["", "7", "[]", "{", "{}"] {
        let answer = running.ask("a/set", payload);
        assert!(answer.starts_with("400 `set` takes "), "{payload}: {answer}");
    }
    assert_eq!(running.device("a").so_far(), [""; 0]);
}

#[test]
fn a_property_that_set_names_twice_is_refused_and_named() {
    let mut running = TestDevices::two();
    let answer = running.ask("a/set", r#"{"power":"ON","power":"OFF"}"#);
    let start =
        "400 `set` takes a JSON object of properties: the key `power` is there twice at line 1";
    assert!(answer.starts_with(start), "{answer}");
    assert_eq!(running.device("a").so_far(), [""; 0]);
}

#[test]
fn a_value_is_taken_alike_on_its_own_topic_and_in_set_and_reaches_the_plugin_in_one_form() {
    let mut running = TestDevices::two();
    for (topic, payload) in [
        ("a/level", "50.0"),
        ("a/level", "5e1"),
        ("a/set", r#"{"level": 50.0}"#),
        ("a/set", r#"{"level": "5e1"}"#),
    ] {
        running.ask(topic, payload);
        assert_eq!(running.device("a").so_far(), ["set level=50"], "{payload}");
    }
    for (topic, payload) in [("a/power", "1"), ("a/set", r#"{"power": 1}"#)] {
        running.ask(topic, payload);
        assert_eq!(running.device("a").so_far(), ["set power=ON"], "{payload}");
    }
    let refused = "400 `50.5` cannot be read: `level` takes a whole number from 0 to 100";
    assert_eq!(running.ask("a/level", "50.5"), refused);
    assert_eq!(running.ask("a/set", r#"{"level": 50.5}"#), refused);
    for payload in ["1e400", "NaN", "inf"] {
        assert!(running.ask("a/level", payload).starts_with("400 "), "{payload}");
    }
    assert!(running.ask("a/set", r#"{"level": 1e400}"#).starts_with("400 `set` takes "));
}

#[test]
fn an_unknown_property_answers_with_those_that_are_there() {
    let mut running = TestDevices::two();
    let answer = running.ask_whole("a/volume", "3");
    let list = "job, level, notice, power, temperature, set, get, describe and status";
    assert_eq!(said(&answer), format!("404 `a` has no `volume`; it has {list}"));
    assert_eq!(answer.property.as_deref(), Some("volume"));
}

#[test]
fn an_unknown_device_answers_404() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("c/power", "ON"), "404 there is no device `c`");
}

#[test]
fn a_read_only_property_is_not_written() {
    let mut running = TestDevices::two();
    let answer = running.ask_whole("a/temperature", "21");
    assert_eq!(said(&answer), "422 `temperature` is read-only");
    assert_eq!(answer.property.as_deref(), Some("temperature"));
    assert_eq!(answer.value.as_deref(), Some("21"));
    assert_eq!(running.device("a").so_far(), [""; 0]);
}

#[test]
fn a_write_only_property_answers_204() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/notice", "dinner"), "204");
    assert_eq!(running.take_trace(), ["answer 1: 204"]);
    assert_eq!(running.device("a").so_far(), ["set notice=dinner"]);
}

#[test]
fn the_reason_of_a_plugin_that_does_not_do_it_reaches_the_requester() {
    let mut running = TestDevices::two();
    assert_eq!(running.ask("a/job", "refuse"), "422 not in this house");
    assert_eq!(running.ask("a/job", "fail"), "500 the bulb is broken");
    assert_eq!(running.ask("a/job", "on with it"), "200 on with it");
    running.wait_for_event("state a/job: on with it (not retained)");
}

#[test]
fn a_devices_test_takes_and_refuses_what_the_hub_does_in_the_same_words() {
    const OF_NO_OTHER: u64 = u64::MAX >> 1;
    let _strings = Strings::attach(OF_NO_OTHER, "test");
    let mut alone = TestDevice::<Probe>::new(json!({"test": OF_NO_OTHER}));
    let mut running = TestDevices::start("", &[("test", "", "")], &BTreeMap::new());
    let of_hub = |said: String| match said.split_once(' ') {
        Some(("200", state)) => Ok(state.to_owned()),
        Some((_, reason)) => Err(reason.to_owned()),
        None => Ok(String::new()),
    };
    for (property, payload) in [
        ("power", "on"),
        ("power", " OFF "),
        ("power", "toggle"),
        ("power", "banana"),
        ("level", "50.0"),
        ("level", "101"),
        ("level", "5.5"),
        ("temperature", "21"),
        ("notice", "anything"),
        ("pwoer", "ON"),
        ("set", "[]"),
        ("set", "{}"),
        ("set", "level=5"),
        ("set", r#"{"level": 7, "level": 8}"#),
        ("set", r#"{"level": 7, "power": "banana"}"#),
        ("set", r#"{"level": 7, "pwoer": "ON"}"#),
        ("set", r#"{"level": 7}"#),
    ] {
        let reply = match alone.set(property, payload) {
            Reply::Done if property == "set" => Ok(r#"{"level":7}"#.to_owned()),
            Reply::Done => Ok(alone.published(property).unwrap_or_default()),
            Reply::Failed(failure) => Err(failure.message().to_owned()),
            other => panic!("{property} {payload}: {other:?}"),
        };
        let answer = of_hub(running.ask(&format!("test/{property}"), payload));
        assert_eq!(reply, answer, "{property} {payload}");
    }
}
