//! A light that is an MQTT device, without a hub and without the device.

use std::time::Duration;

use hearthd_light::Light;
use hearthd_sdk::FailureKind;
use hearthd_sdk::harness::{Reply, Sent, TestDevice};
use hearthd_sdk::mqtt::PublishError;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(5);

/// Makes a light and gives each command its deadline.
fn light(config: Value) -> TestDevice<Light> {
    let mut device = TestDevice::new(config);
    device.set_deadline(Some(device.now() + DEADLINE));
    device
}

/// A Tasmota that can be dimmed, there and known to be off.
fn tasmota() -> TestDevice<Light> {
    let mut device =
        light(json!({"backend": "tasmota", "brightness": true, "tasmota": {"topic": "kitchen"}}));
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"OFF","Dimmer":30}"#, false);
    device.take_sent();
    device.take_published();
    device
}

/// A lamp behind a Zigbee2MQTT that says what it was told.
fn zigbee(table: Value) -> TestDevice<Light> {
    let mut device = light(json!({"backend": "zigbee2mqtt", "zigbee2mqtt": table}));
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(Duration::from_secs(3));
    device.set_deadline(Some(device.now() + DEADLINE));
    device.take_sent();
    device
}

fn sets(sent: &[Sent]) -> Vec<(&str, &str)> {
    sent.iter().map(|sent| (sent.topic.as_str(), sent.payload.as_str())).collect()
}

fn failure(reply: Reply) -> (FailureKind, String) {
    match reply {
        Reply::Failed(failure) => (failure.kind(), failure.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// Lets time pass until the command is answered.
fn answer(device: &mut TestDevice<Light>) -> Reply {
    for _ in 0..200 {
        if device.reply() != Reply::Pending {
            break;
        }
        device.advance(Duration::from_millis(50));
    }
    device.reply()
}

#[test]
fn a_command_is_answered_once_the_device_has_confirmed_it() {
    let mut device = tasmota();
    assert_eq!(device.set("power", "ON"), Reply::Pending);
    let sent = device.take_sent();
    assert_eq!(sets(&sent), [("cmnd/kitchen/POWER", "ON")]);
    assert!(sent[0].belongs && !sent[0].retain, "{sent:?}");
    assert_eq!(device.take_published(), [], "nothing is claimed before");
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    assert_eq!(device.unreachable(), None);
}

#[test]
fn brightness_0_is_off_and_says_so() {
    let mut device = tasmota();
    assert_eq!(device.set("brightness", "40"), Reply::Pending);
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON","Dimmer":40}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(device.published("brightness").as_deref(), Some("40"));
    device.set_deadline(Some(device.now() + DEADLINE));
    assert_eq!(device.set("brightness", "0"), Reply::Pending);
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"OFF"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(device.published("brightness").as_deref(), Some("0"));
    assert_eq!(device.published("power").as_deref(), Some("OFF"));
}

#[test]
fn what_somebody_else_does_is_published_too() {
    let mut device = tasmota();
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON","Dimmer":80}"#, false);
    device.settle();
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    assert_eq!(device.published("brightness").as_deref(), Some("80"));
}

#[test]
fn a_device_that_is_away_is_told_and_not_sent_anything() {
    let mut device = tasmota();
    device.receive("tele/kitchen/LWT", "Offline", false);
    assert_eq!(device.unreachable().as_deref(), Some("the device is offline"));
    let (kind, message) = failure(device.set("power", "ON"));
    assert_eq!((kind, message.as_str()), (FailureKind::Unreachable, "the device is offline"));
    assert_eq!(device.take_sent(), []);
    device.receive("tele/kitchen/LWT", "Online", false);
    assert_eq!(device.unreachable(), None);
}

#[test]
fn without_a_connection_a_command_fails_at_once() {
    let mut device = tasmota();
    device.set_link(false);
    let (kind, message) = failure(device.set("power", "ON"));
    assert_eq!((kind, message.as_str()), (FailureKind::Unreachable, "no connection to the broker"));
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    assert_eq!(device.unreachable(), None);
}

#[test]
fn a_lamp_that_the_bridge_says_is_on_and_is_not_is_refused() {
    let mut device = zigbee(json!({"topic": "zigbee2mqtt/desk/lamp"}));
    assert_eq!(device.set("power", "ON"), Reply::Pending);
    let mut asked = 0;
    while device.reply() == Reply::Pending {
        for sent in device.take_sent() {
            match sent.topic.as_str() {
                // The bridge believes its own command.
                "zigbee2mqtt/desk/lamp/set" => {
                    device.receive("zigbee2mqtt/desk/lamp", r#"{"state":"OFF"}"#, false);
                    device.receive("zigbee2mqtt/desk/lamp", r#"{"state":"ON"}"#, false);
                }
                "zigbee2mqtt/desk/lamp/get" => {
                    asked += 1;
                    device.receive("zigbee2mqtt/desk/lamp", r#"{"state":"OFF"}"#, false);
                }
                other => panic!("{other}"),
            }
        }
        device.advance(Duration::from_millis(20));
    }
    assert_eq!(failure(device.reply()), (FailureKind::Failed, "refused: still OFF".to_owned()));
    assert!(asked > 0);
    assert_ne!(device.published("power").as_deref(), Some("ON"));
}

#[test]
fn silence_is_no_answer_and_comes_before_the_hub_gives_up() {
    let mut device = tasmota();
    let due = device.now() + DEADLINE;
    device.set("power", "ON");
    let (kind, _) = failure(answer(&mut device));
    assert!(matches!(kind, FailureKind::Unreachable | FailureKind::Indeterminate), "{kind:?}");
    assert!(device.now() < due, "{:?}", device.now());
}

/// What Zigbee2MQTT reports of each member once it has told a group.
fn claim(device: &mut TestDevice<Light>, power: &str) {
    for name in ["a", "b"] {
        let state = json!({ "state": power }).to_string();
        device.receive(&format!("zigbee2mqtt/{name}"), &state, false);
    }
}

/// Answers each read of a member until the command is answered.
fn answer_of_group(device: &mut TestDevice<Light>, states: [(&str, &str); 2]) -> Reply {
    for _ in 0..200 {
        if device.reply() != Reply::Pending {
            break;
        }
        let asked = device.take_sent();
        // A read goes by radio.
        device.advance(Duration::from_millis(10));
        for Sent { topic, .. } in asked {
            for (name, power) in states {
                if topic == format!("zigbee2mqtt/{name}/get") {
                    let state = json!({ "state": power }).to_string();
                    device.receive(&format!("zigbee2mqtt/{name}"), &state, false);
                }
            }
        }
        device.advance(Duration::from_millis(50));
    }
    device.reply()
}

#[test]
fn a_group_is_told_once_and_each_of_its_members_answers() {
    let table = json!({"topic": "zigbee2mqtt/all", "members": ["zigbee2mqtt/a", "zigbee2mqtt/b"]});
    let mut device = zigbee(table);
    assert_eq!(device.set("power", "ON"), Reply::Pending);
    let sent = device.take_sent();
    assert_eq!(sets(&sent), [("zigbee2mqtt/all/set", r#"{"state":"ON"}"#)]);
    assert!(sent[0].belongs);
    claim(&mut device, "ON");
    assert_eq!(answer_of_group(&mut device, [("a", "ON"), ("b", "ON")]), Reply::Done);
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    device.set_deadline(Some(device.now() + DEADLINE));
    device.set("power", "OFF");
    claim(&mut device, "OFF");
    let (kind, message) = failure(answer_of_group(&mut device, [("a", "OFF"), ("b", "ON")]));
    assert_eq!(kind, FailureKind::Failed);
    assert_eq!(message, "b: refused: still ON; a: confirmed: power OFF");
    assert_eq!(device.published("power").as_deref(), Some("ON"), "one of them is on");
}

#[test]
fn what_the_hub_cannot_send_is_told() {
    let mut device = tasmota();
    device.set("power", "ON");
    let token = device.take_sent()[0].token;
    device.give_outcome(token, Err(PublishError::Refused));
    let (kind, message) = failure(answer(&mut device));
    assert!(matches!(kind, FailureKind::Unreachable | FailureKind::Failed), "{kind:?} {message}");
}

#[test]
fn after_a_restart_it_is_as_it_was_last_known_and_out_of_reach_until_it_says_something() {
    let mut device = tasmota();
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON","Dimmer":80}"#, false);
    device.settle();
    device.restart();
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    assert_eq!(device.unreachable().as_deref(), Some("no connection to the broker yet"));
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    assert_eq!(device.unreachable(), None);
}

#[test]
fn after_an_absence_it_is_told_again_what_it_was_told() {
    let config = json!({
        "backend": "tasmota", "after_absence": "restore", "tasmota": {"topic": "kitchen"},
    });
    let mut device = light(config);
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    device.set("power", "ON");
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"OFF"}"#, false);
    device.advance(Duration::from_secs(1));
    device.take_sent();
    device.absence(json!({
        "generation": "g1", "outcome": "consumed",
        "acknowledgements": [{"payload": "all off", "before_fence": true}],
    }));
    let sent = device.take_sent();
    assert_eq!(sets(&sent), [("cmnd/kitchen/POWER", "ON")]);
    assert!(!sent[0].belongs);
}

#[test]
fn a_color_goes_there_and_comes_back() {
    let mut device = light(json!({
        "backend": "tasmota", "color": true, "tasmota": {"topic": "kitchen"},
    }));
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    device.take_sent();
    assert!(matches!(device.set("color", "blue"), Reply::Failed(_)));
    assert_eq!(device.set("color", "#0000FF"), Reply::Pending);
    let sent = device.take_sent();
    assert!(sets(&sent).contains(&("cmnd/kitchen/HSBColor1", "240")), "{sent:?}");
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON","HSBColor":"240,100,100"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(device.published("color").as_deref(), Some("#0000ff"));
}

#[test]
fn a_light_shows_white_or_a_color_as_the_device_reports_it() {
    let mut device = light(json!({
        "backend": "tasmota", "color": true, "tasmota": {"topic": "kitchen"},
        "color_temperature": {"min": 2000, "max": 6500},
    }));
    device.set_link(true);
    device.receive("tele/kitchen/LWT", "Online", true);
    device.set("color", "#0000FF");
    device.receive("stat/kitchen/RESULT", r#"{"POWER":"ON","HSBColor":"240,100,100"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(device.published("color_mode").as_deref(), Some("color"));
    // What reports both tells nothing new.
    device.receive("stat/kitchen/RESULT", r#"{"HSBColor":"240,100,100","CT":250}"#, false);
    assert_eq!(device.published("color_mode").as_deref(), Some("color"));
    device.receive("stat/kitchen/RESULT", r#"{"CT":250}"#, false);
    assert_eq!(device.published("color_mode").as_deref(), Some("color_temperature"));
}

#[test]
fn a_table_that_cannot_be_is_told_with_its_place() {
    for (config, expected) in [
        (
            json!({"backend": "zigbee2mqtt"}),
            "zigbee2mqtt: backend = \"zigbee2mqtt\" needs this table",
        ),
        (
            json!({"backend": "zigbee2mqtt", "zigbee2mqtt": {"topic": "other/lamp"}}),
            "zigbee2mqtt.topic: ",
        ),
        (
            json!({"backend": "shelly", "brightness": true, "shelly": {"topic": "s"}}),
            "brightness: the shelly device of this table has no brightness",
        ),
        (
            json!({"backend": "tasmota", "power_on": "on", "tasmota": {"topic": "t"}}),
            "power_on: not used by backend = \"tasmota\": the device decides",
        ),
        (
            json!({"backend": "tasmota", "tasmota": {"topic": "t"}, "wled": {"topic": "w"}}),
            "wled: not used by backend = \"tasmota\"",
        ),
    ] {
        let problems = TestDevice::<Light>::problems(&config);
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect();
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected} {lines:?}");
    }
}

#[test]
fn lamps_behind_one_bridge_are_read_in_turn() {
    // A base of its own: the other tests' lamps share theirs with nobody.
    let lamp = |name: &str| {
        let table = json!({"base": "attic", "topic": format!("attic/{name}")});
        let mut device = light(json!({"backend": "zigbee2mqtt", "zigbee2mqtt": table}));
        device.set_link(true);
        device
    };
    let reads = |device: &mut TestDevice<Light>| {
        let sent = device.take_sent();
        sent.iter().filter(|sent| sent.topic.ends_with("/get")).count()
    };
    let (mut left, mut right) = (lamp("left"), lamp("right"));
    assert_eq!((reads(&mut left), reads(&mut right)), (1, 0));
    let step = Duration::from_millis(100);
    for _ in 0..5 {
        left.advance(step);
        right.advance(step);
        assert_eq!((reads(&mut left), reads(&mut right)), (0, 0));
    }
    left.receive("attic/left", r#"{"state":"ON"}"#, false);
    let mut waited = 0;
    while reads(&mut right) == 0 {
        right.advance(step);
        waited += 1;
    }
    // A read that takes half a second is followed by as much time for commands.
    assert!((5..=15).contains(&waited), "{waited} steps");
    right.receive("attic/right", r#"{"state":"OFF"}"#, false);
    left.advance(Duration::from_secs(1));
    right.advance(Duration::from_secs(1));
    assert_eq!(left.published("power").as_deref(), Some("ON"));
    assert_eq!(right.published("power").as_deref(), Some("OFF"));
}
