//! Groups and scenes without a hub.

use std::time::Duration;

use hearthd_group::{Group, Scene};
use hearthd_sdk::harness::{Reply, Sent, TestDevice};
use hearthd_sdk::mqtt::PublishError;
use hearthd_sdk::{Failure, FailureKind};
use serde_json::{Value, json};

type GroupDevice = TestDevice<Group>;
type SceneDevice = TestDevice<Scene>;

fn group(config: Value) -> GroupDevice {
    let mut device = GroupDevice::new(config);
    device.set_link(true);
    device
}

fn scene(config: Value) -> SceneDevice {
    let mut device = SceneDevice::new(config);
    device.set_link(true);
    device
}

/// Who was asked for what.
fn asked(sent: &[Sent]) -> Vec<(&str, &str)> {
    assert!(sent.iter().all(|sent| sent.ask && sent.belongs && !sent.retain), "{sent:?}");
    sent.iter().map(|sent| (sent.topic.as_str(), sent.payload.as_str())).collect()
}

fn failure(reply: Reply) -> Failure {
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    failure
}

const ON: Result<&str, PublishError> = Ok(r#"{"status": 200, "payload": "ON"}"#);

#[test]
fn a_group_is_done_once_all_its_devices_are() {
    let mut device = group(json!({"members": ["hall", "attic"]}));
    assert_eq!(device.set("power", "ON"), Reply::Pending);
    let sent = device.take_sent();
    assert_eq!(asked(&sent), [("hall/power", "ON"), ("attic/power", "ON")]);
    device.give_outcome(sent[1].token, ON);
    assert_eq!(device.reply(), Reply::Pending);
    device.give_outcome(sent[0].token, ON);
    assert_eq!(device.reply(), Reply::Done);
    assert_eq!(device.published("power").as_deref(), Some("ON"), "ahead of the answer");
    assert_eq!(device.published("members").as_deref(), Some("same"));
}

#[test]
fn what_a_device_has_accepted_is_not_so_yet() {
    let mut device = group(json!({"members": ["hall"]}));
    device.set("power", "ON");
    let sent = device.take_sent();
    device.give_outcome(sent[0].token, Ok(r#"{"status": 202, "payload": ""}"#));
    assert_eq!(device.reply(), Reply::Done);
    assert_eq!(device.published("power"), None);
    assert_eq!(device.published("members").as_deref(), Some("unknown"));
}

#[test]
fn what_one_device_did_not_do_the_group_did_not() {
    let mut device = group(json!({"members": ["hall", "attic", "shed"]}));
    device.set("power", "ON");
    let sent = device.take_sent();
    device.give_outcome(sent[0].token, ON);
    device.give_outcome(sent[1].token, Ok(r#"{"status": 500, "message": "the bulb is broken"}"#));
    device.give_outcome(sent[2].token, Err(PublishError::Late));
    let failure = failure(device.reply());
    assert_eq!(failure.kind(), FailureKind::Failed);
    assert_eq!(
        failure.message(),
        "attic: 500 the bulb is broken; shed: 408 no answer; hall: 200 ON"
    );
}

#[test]
fn several_properties_go_to_each_device_in_one_request() {
    let mut device = group(json!({
        "members": ["hall"],
        "properties": {
            "power": {"type": "switch"},
            "brightness": {"type": "integer", "min": 0, "max": 100, "unit": "%"},
        },
    }));
    device.set_all(json!({"power": "ON", "brightness": 40}));
    assert_eq!(asked(&device.take_sent()), [("hall/set", r#"{"brightness":40,"power":"ON"}"#)]);
    device.set("brightness", "30");
    assert_eq!(asked(&device.take_sent()), [("hall/brightness", "30")]);
}

#[test]
fn a_large_group_asks_some_at_a_time_and_answers_two_requests_apart() {
    let members: Vec<String> = (0..20).map(|n| format!("lamp-{n}")).collect();
    let mut device = group(json!({"members": members}));
    device.set("power", "ON");
    let mut open = device.take_sent();
    assert_eq!(open.len(), 8);
    let mut seen = 0;
    while let Some(sent) = open.pop() {
        seen += 1;
        device.give_outcome(sent.token, ON);
        open.extend(device.take_sent());
        assert!(open.len() <= 8);
    }
    assert_eq!((seen, device.reply()), (20, Reply::Done));
    device.give_outcome(1, ON);
}

#[test]
fn without_a_connection_nobody_is_asked() {
    let mut device = GroupDevice::new(json!({"members": ["hall", "attic"]}));
    let failure = failure(device.set("power", "ON"));
    assert_eq!(failure.kind(), FailureKind::Unreachable);
    let text = "not asked: the hub has no connection to the broker";
    assert_eq!(failure.message(), format!("hall: 503 {text}; attic: 503 {text}"));
}

#[test]
fn the_time_of_the_request_is_shared_out() {
    let mut device = group(json!({"members": ["hall"]}));
    let deadline = device.now() + Duration::from_secs(2);
    device.set_deadline(Some(deadline));
    device.set("power", "ON");
    let [sent] = &device.take_sent()[..] else { panic!("one request") };
    assert_eq!(sent.expiry, Duration::from_millis(1800));
}

/// What a group tells, property after property.
fn tells(device: &mut GroupDevice) -> Vec<String> {
    let told = device.take_published().into_iter();
    told.map(|(name, value)| format!("{name} {value}")).collect()
}

#[test]
fn a_group_is_as_its_members_are() {
    let mut device = group(json!({"members": ["hall", "attic"]}));
    assert_eq!(tells(&mut device), ["members unknown"]);
    device.receive("hall/power", "OFF", true);
    assert_eq!(tells(&mut device), ["power OFF"], "of the attic, nothing is known");
    device.receive("attic/power", "OFF", true);
    assert_eq!(tells(&mut device), ["members same"]);
    device.receive("attic/power", "ON", false);
    assert_eq!(tells(&mut device), ["power ON", "members mixed"], "one is on");
    device.receive("attic/power", "ON", false);
    assert_eq!(tells(&mut device), [""; 0], "it is no news");
    device.receive("hall/power", "ON", false);
    assert_eq!(tells(&mut device), ["members same"]);
    device.receive("hall/power", "dim", false);
    assert_eq!(tells(&mut device), ["members unknown"], "it is no state of a switch");
    device.receive("attic/power", "", false);
    assert_eq!(tells(&mut device), [""; 0], "of nobody anything is known");
    device.receive("hall/power", "OFF", false);
    assert_eq!(tells(&mut device), ["power OFF"]);
}

#[test]
fn what_is_no_switch_is_as_the_first_member_that_is_known() {
    let mut device = group(json!({
        "members": ["hall", "attic"],
        "properties": {
            "power": {"type": "switch"},
            "brightness": {"type": "integer", "min": 0, "max": 100},
        },
    }));
    device.receive("attic/brightness", "40", true);
    device.receive("hall/power", "ON", true);
    device.receive("attic/power", "ON", true);
    assert_eq!(tells(&mut device), ["members unknown", "brightness 40", "power ON"]);
    device.receive("hall/brightness", "41", true);
    assert_eq!(tells(&mut device), ["brightness 41", "members mixed"]);
    device.receive("attic/brightness", "300", true);
    assert_eq!(tells(&mut device), ["members unknown"], "the group has no 300");
}

#[test]
fn what_a_member_answers_is_its_state() {
    let mut device = group(json!({
        "members": ["hall", "attic"],
        "properties": {
            "power": {"type": "switch"},
            "brightness": {"type": "integer", "min": 0, "max": 100},
        },
    }));
    device.set_all(json!({"power": "ON", "brightness": 40}));
    let sent = device.take_sent();
    let states = json!({"power": "ON", "brightness": 38}).to_string();
    let answer = json!({"status": 200, "payload": states}).to_string();
    device.give_outcome(sent[0].token, Ok(&answer));
    device.give_outcome(sent[1].token, Ok(r#"{"status": 204}"#));
    assert_eq!(device.reply(), Reply::Done);
    assert_eq!(
        tells(&mut device),
        ["members unknown", "brightness 38", "power ON", "members mixed"]
    );
    // Of one that fails, what another has done is known all the same.
    device.set("brightness", "50");
    let sent = device.take_sent();
    device.give_outcome(sent[0].token, Ok(r#"{"status": 500}"#));
    device.give_outcome(sent[1].token, Ok(r#"{"status": 200, "payload": "50"}"#));
    assert!(matches!(device.reply(), Reply::Failed(_)));
    device.receive("hall/brightness", "50", false);
    assert_eq!(tells(&mut device), ["brightness 50", "members same"]);
}

#[test]
fn a_group_is_turned_over_by_what_it_is() {
    let mut device = group(json!({"members": ["hall", "attic"]}));
    device.receive("hall/power", "OFF", true);
    device.receive("attic/power", "ON", true);
    device.set("power", "TOGGLE");
    assert_eq!(asked(&device.take_sent()), [("hall/power", "OFF"), ("attic/power", "OFF")]);
}

#[test]
fn a_scene_sets_each_device_to_its_own_values() {
    let mut device = scene(json!({"scenes": {
        "good_night": {
            "bedroom": {"power": "ON", "brightness": 10},
            "hall": {"power": "OFF"},
            "heater": {"target": 17.5},
        },
        "up": {"hall": {"power": "ON"}},
    }}));
    assert_eq!(device.set("scene", "good_night"), Reply::Pending);
    let sent = device.take_sent();
    let expected = [
        ("bedroom/set", r#"{"brightness":10,"power":"ON"}"#),
        ("hall/power", "OFF"),
        ("heater/target", "17.5"),
    ];
    assert_eq!(asked(&sent), expected);
    for sent in sent {
        device.give_outcome(sent.token, Ok(r#"{"status": 204}"#));
    }
    assert_eq!(device.reply(), Reply::Done);
    assert!(matches!(device.set("scene", "good_morning"), Reply::Failed(_)));
}

#[test]
fn a_table_that_makes_no_sense_is_refused_with_the_place() {
    let paths = |config: Value| -> Vec<String> {
        GroupDevice::problems(&config).into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths(json!({})), [""]);
    assert_eq!(paths(json!({"members": []})), ["members"]);
    assert_eq!(paths(json!({"members": ["a", "a"]})), ["members[1]"]);
    assert_eq!(paths(json!({"members": ["a"], "properties": {}})), ["properties"]);
    let property = |property: Value| json!({"members": ["a"], "properties": {"x": property}});
    assert_eq!(paths(property(json!({"type": "choice"}))), ["properties.x.values"]);
    assert_eq!(
        paths(property(json!({"type": "switch", "min": 1}))),
        ["properties.x.min", "properties.x",]
    );
    assert_eq!(
        paths(property(json!({"type": "integer", "min": 3, "max": 1}))),
        ["properties.x.min"]
    );
    let name = json!({"members": ["a"], "properties": {"get": {"type": "text"}}});
    assert_eq!(paths(name), ["properties.get"]);
    let paths = |config: Value| -> Vec<String> {
        SceneDevice::problems(&config).into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths(json!({"scenes": {}})), ["scenes"]);
    assert_eq!(paths(json!({"scenes": {"x": {}}})), ["scenes.x"]);
    assert_eq!(paths(json!({"scenes": {"x": {"a": {}}}})), ["scenes.x.a"]);
    assert_eq!(paths(json!({"scenes": {"x": {"a": {"get": 1}}}})), ["scenes.x.a.get"]);
}
