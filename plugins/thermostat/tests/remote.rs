//! A heater that is switched by MQTT, without a hub and without the heater.

use std::time::Duration;

use hearthd_sdk::FailureKind;
use hearthd_sdk::harness::{Reply, Sent, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const HALL: &str = "zigbee2mqtt/hall";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(5);
const RESULT: &str = "stat/boiler/RESULT";
const LWT: &str = "tele/boiler/LWT";

type Device = TestDevice<Thermostat>;

fn config(actuator: Value) -> Value {
    json!({
        "backend": "hardware", "min_on": 0, "min_off": 0,
        "sensors": [{"mqtt": {"topic": HALL, "pointer": "/temperature"}}],
        "actuator": actuator,
    })
}

/// A room at 18 °C, and a Tasmota that says each `POWER` as it was told.
fn tasmota() -> Device {
    let mut device = Device::new(config(json!({"tasmota": {"topic": "boiler"}})));
    device.set_link(true);
    device.receive(LWT, "Online", true);
    device.receive(HALL, r#"{"temperature":18}"#, false);
    assert_eq!(powers(&device.take_sent()), ["OFF"], "off before anything else");
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.advance(SECOND);
    device.take_sent();
    device
}

/// The same, which is heating to 21 °C.
fn heating() -> Device {
    let mut device = tasmota();
    assert_eq!(ask(&mut device, json!({"mode": "heat", "target_temperature": 21})), Reply::Pending);
    device.receive(RESULT, r#"{"POWER":"ON"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    device.take_sent();
    device
}

/// Returns what the heater was told.
fn powers(sent: &[Sent]) -> Vec<&str> {
    let told = sent.iter().filter(|sent| !sent.payload.is_empty());
    told.map(|sent| sent.payload.as_str()).collect()
}

fn ask(device: &mut Device, values: Value) -> Reply {
    device.set_deadline(Some(device.now() + DEADLINE));
    device.set_all(values)
}

/// Lets time pass until the request is answered.
fn answer(device: &mut Device) -> Reply {
    for _ in 0..200 {
        if device.reply() != Reply::Pending {
            break;
        }
        device.advance(Duration::from_millis(50));
    }
    device.reply()
}

fn failure(reply: Reply) -> (FailureKind, String) {
    match reply {
        Reply::Failed(failure) => (failure.kind(), failure.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn text(device: &Device, property: &str) -> String {
    device.published(property).unwrap_or_default()
}

#[test]
fn a_request_that_switches_on_is_answered_once_the_heater_has_confirmed() {
    let mut device = tasmota();
    assert_eq!((text(&device, "alert"), device.unreachable()), ("none".into(), None));
    assert_eq!(ask(&mut device, json!({"mode": "heat", "target_temperature": 21})), Reply::Pending);
    assert_eq!(powers(&device.take_sent()), ["ON"]);
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("off".into(), "off".into()));
    device.receive(RESULT, r#"{"POWER":"ON"}"#, false);
    assert_eq!(device.reply(), Reply::Pending, "it may yet say otherwise");
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("heat".into(), "heating".into()));
    assert_eq!(text(&device, "target_temperature"), "21");
    assert!(ask(&mut device, json!({"target_temperature": 22})).is_done(), "it is on already");
    assert_eq!(ask(&mut device, json!({"mode": "off"})), Reply::Pending);
    assert_eq!(text(&device, "mode"), "off", "that stays, whatever the heater says");
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!(text(&device, "action"), "off");
}

#[test]
fn a_heater_that_cannot_be_switched_on_changes_nothing() {
    let mut device = tasmota();
    device.receive(LWT, "Offline", false);
    let wish = json!({"mode": "heat", "target_temperature": 21});
    let expected = (FailureKind::Unreachable, "the device is offline".to_owned());
    assert_eq!(failure(ask(&mut device, wish.clone())), expected);
    assert_eq!(
        (text(&device, "mode"), text(&device, "target_temperature")),
        ("off".into(), "20".into())
    );
    assert_eq!(text(&device, "alert"), "actuator: the device is offline", "it is known to be off");
    assert_eq!(device.unreachable(), device.published("alert"));
    assert_eq!(device.take_sent(), []);
    device.receive(LWT, "Online", false);
    assert_eq!(powers(&device.take_sent()), ["OFF"], "some come back on");
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.advance(SECOND);
    assert_eq!((text(&device, "alert"), device.unreachable()), ("none".into(), None));
}

#[test]
fn the_wish_that_a_heater_refuses_is_taken_back() {
    let mut device = tasmota();
    assert_eq!(ask(&mut device, json!({"mode": "heat", "target_temperature": 21})), Reply::Pending);
    while device.reply() == Reply::Pending {
        if !device.take_sent().is_empty() {
            device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
        }
        device.advance(Duration::from_millis(50));
    }
    assert_eq!(failure(device.reply()), (FailureKind::Failed, "refused: still OFF".to_owned()));
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("off".into(), "off".into()));
    for _ in 0..600 {
        if powers(&device.take_sent()).contains(&"OFF") {
            device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
        }
        device.advance(Duration::from_millis(50));
        assert_eq!(text(&device, "alert"), "none", "nobody wants it on any more");
    }
}

/// A plug behind a Zigbee2MQTT that says what it was told, whatever the plug does.
fn serve_zigbee(device: &mut Device, plug: &str) -> usize {
    let mut told = 0;
    for sent in device.take_sent() {
        match sent.topic.as_str() {
            "zigbee2mqtt/plug/set" => {
                told += 1;
                device.receive("zigbee2mqtt/plug", &sent.payload, false);
            }
            "zigbee2mqtt/plug/get" => {
                let state = json!({"state": plug}).to_string();
                device.receive("zigbee2mqtt/plug", &state, false);
            }
            other => panic!("{other}"),
        }
    }
    told
}

#[test]
fn a_plug_that_lies_is_an_alert_and_is_told_again_each_period() {
    let mut device = Device::new(config(json!({"zigbee2mqtt": {"topic": "zigbee2mqtt/plug"}})));
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.receive(HALL, r#"{"temperature":18}"#, false);
    let mut told = 0;
    for _ in 0..1_200 {
        told += serve_zigbee(&mut device, "ON");
        device.advance(Duration::from_millis(50));
    }
    let expected = "actuator: refused: still ON; the heater may still be on";
    assert_eq!(text(&device, "alert"), expected);
    assert!((3..=6).contains(&told), "each 10 s, and 10 s after that: {told}");
    assert_eq!(text(&device, "action"), "heating", "it is on, whoever switched it");
    for _ in 0..600 {
        serve_zigbee(&mut device, "OFF");
        device.advance(Duration::from_millis(50));
    }
    assert_eq!((text(&device, "alert"), text(&device, "action")), ("none".into(), "off".into()));
    let warnings: Vec<_> = device.logs().into_iter().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() <= 3, "each once: {warnings:?}");
}

#[test]
fn a_boiler_that_cannot_be_reached_while_on_may_still_be_on_and_is_said_so() {
    let mut device = heating();
    device.set_link(false);
    let expected = "actuator: no connection to the broker; the heater may still be on";
    assert_eq!(text(&device, "alert"), expected);
    assert_eq!(device.unreachable().as_deref(), Some(expected));
    let (kind, _) = failure(ask(&mut device, json!({"mode": "off"})));
    assert_eq!(kind, FailureKind::Unreachable);
    assert_eq!(text(&device, "mode"), "off", "the wish stays");
    assert_eq!(text(&device, "action"), "heating", "it may still be on");
    device.advance(MINUTE);
    assert_eq!(device.take_sent(), []);
    assert_eq!(text(&device, "alert"), expected);
    device.set_link(true);
    device.receive(LWT, "Online", true);
    device.advance(SECOND);
    assert!(powers(&device.take_sent()).contains(&"OFF"));
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.advance(SECOND);
    assert_eq!((text(&device, "alert"), text(&device, "action")), ("none".into(), "off".into()));
    assert_eq!(device.unreachable(), None);
}

#[test]
fn a_command_that_nobody_confirmed_leaves_the_heater_unknown_until_it_is_off() {
    let mut device = tasmota();
    ask(&mut device, json!({"mode": "heat", "target_temperature": 21}));
    let (kind, _) = failure(answer(&mut device));
    assert!(matches!(kind, FailureKind::Indeterminate | FailureKind::Unreachable), "{kind:?}");
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("off".into(), "off".into()));
    let sent = device.take_sent();
    assert_eq!(powers(&sent).last(), Some(&"OFF"), "it may have come on: {sent:?}");
    device.advance(15 * SECOND);
    assert!(
        text(&device, "alert").ends_with("the heater may still be on"),
        "{}",
        text(&device, "alert")
    );
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.advance(15 * SECOND);
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.advance(SECOND);
    assert_eq!(text(&device, "alert"), "none");
}

#[test]
fn what_was_sent_before_the_connection_was_lost_may_still_happen() {
    let mut device = tasmota();
    ask(&mut device, json!({"mode": "heat", "target_temperature": 21}));
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.set_link(false);
    let (kind, _) = failure(ask(&mut device, json!({"mode": "off"})));
    assert_eq!(kind, FailureKind::Unreachable);
    let expected = "actuator: no connection to the broker; the heater may still be on";
    assert_eq!(text(&device, "alert"), expected, "off is what it was before the command");
    let mut device = tasmota();
    ask(&mut device, json!({"mode": "heat", "target_temperature": 21}));
    device.set_link(false);
    assert_eq!(text(&device, "alert"), expected, "it may have come on");
}

#[test]
fn a_plug_that_was_off_and_does_not_answer_any_more_is_not_said_to_be_on() {
    let mut device = tasmota();
    device.advance(6 * MINUTE);
    assert!(powers(&device.take_sent()).contains(&"OFF"), "it was told again");
    let alert = text(&device, "alert");
    assert!(alert.starts_with("actuator: ") && !alert.contains("still be on"), "{alert}");
}

#[test]
fn the_least_times_count_from_what_was_confirmed() {
    let mut config = config(json!({"tasmota": {"topic": "boiler"}}));
    config["min_on"] = json!("3m");
    let mut device = Device::new(config);
    device.set_link(true);
    device.receive(LWT, "Online", true);
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.receive(HALL, r#"{"temperature":18}"#, false);
    device.advance(SECOND);
    device.set_all(json!({"mode": "heat", "target_temperature": 21}));
    device.advance(8 * SECOND);
    device.receive(RESULT, r#"{"POWER":"ON"}"#, false);
    let confirmed = device.now();
    assert_eq!(answer(&mut device), Reply::Done);
    device.receive(HALL, r#"{"temperature":21.4}"#, false);
    device.take_sent();
    let stays = confirmed + 3 * MINUTE - device.now();
    device.advance(stays - SECOND);
    assert_eq!(powers(&device.take_sent()), [""; 0]);
    device.advance(11 * SECOND);
    assert_eq!(powers(&device.take_sent())[0], "OFF");
}

#[test]
fn a_heater_that_somebody_else_switches_is_put_right() {
    let mut device = heating();
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    assert_eq!(powers(&device.take_sent()), ["ON"]);
    device.receive(RESULT, r#"{"POWER":"ON"}"#, false);
    device.advance(SECOND);
    device.take_sent();
    device.advance(4 * MINUTE);
    assert_eq!(powers(&device.take_sent()), [""; 0]);
    device.advance(2 * MINUTE);
    assert_eq!(powers(&device.take_sent())[0], "ON", "not every bridge says so");
}

#[test]
fn one_that_says_nothing_but_changes_is_believed_while_nothing_changes() {
    let power = json!({"command": "boiler/set", "state": "boiler/state"});
    let mut device = Device::new(config(json!({"topics": {"power": power}})));
    device.set_link(true);
    device.receive(HALL, "{\"temperature\":18}", false);
    device.advance(15 * SECOND);
    assert!(text(&device, "alert").ends_with("the heater may still be on"), "nobody knows yet");
    device.receive("boiler/state", "OFF", false);
    device.advance(15 * SECOND);
    assert_eq!(text(&device, "alert"), "none");
    device.take_sent();
    for _ in 0..40 {
        device.advance(MINUTE / 2);
        assert_eq!(text(&device, "alert"), "none", "{:?}", device.now());
    }
    assert!(powers(&device.take_sent()).contains(&"OFF"), "it was told again");
    assert_eq!(ask(&mut device, json!({"mode": "heat"})), Reply::Pending);
    assert!(matches!(answer(&mut device), Reply::Failed(_)), "that would be a change");
}

#[test]
fn a_wish_that_replaces_another_answers_both() {
    let mut device = tasmota();
    assert_eq!(ask(&mut device, json!({"mode": "heat", "target_temperature": 21})), Reply::Pending);
    assert_eq!(ask(&mut device, json!({"target_temperature": 23})), Reply::Pending);
    assert_eq!(powers(&device.take_sent()), ["ON"], "it is told once");
    assert_eq!(ask(&mut device, json!({"mode": "off"})), Reply::Pending);
    assert_eq!(powers(&device.take_sent()), ["OFF"]);
    assert_eq!(text(&device, "target_temperature"), "23", "the thermostat's own target is set");
    device.receive(RESULT, r#"{"POWER":"ON"}"#, false);
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.take_sent();
    // Two commands were under way: what counts is what it tells when it is asked after them.
    device.advance(SECOND);
    let [asked] = &device.take_sent()[..] else { panic!("it is asked once") };
    assert_eq!(asked.payload, "");
    device.give_outcome(asked.token, Ok(r#"{"POWER":"OFF"}"#));
    assert_eq!(answer(&mut device), Reply::Done);
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("off".into(), "off".into()));
}

#[test]
fn two_that_want_it_on_get_both_what_became_of_it() {
    let mut device = tasmota();
    ask(&mut device, json!({"mode": "heat", "target_temperature": 21}));
    ask(&mut device, json!({"target_temperature": 23}));
    assert!(matches!(answer(&mut device), Reply::Failed(_)));
    let wanted = (text(&device, "mode"), text(&device, "target_temperature"));
    assert_eq!(wanted, ("off".into(), "20".into()), "as before the first of them");
}

#[test]
fn a_lost_sensor_switches_off_while_the_heater_is_yet_to_confirm_that_it_is_on() {
    let mut config = config(json!({"tasmota": {"topic": "boiler"}}));
    config["sensors"][0]["mqtt"]["max_age"] = json!("1m");
    let mut device = Device::new(config);
    device.set_link(true);
    device.receive(LWT, "Online", true);
    device.receive(RESULT, r#"{"POWER":"OFF"}"#, false);
    device.receive(HALL, r#"{"temperature":18}"#, false);
    device.advance(58 * SECOND);
    device.take_sent();
    assert_eq!(ask(&mut device, json!({"mode": "heat"})), Reply::Pending);
    device.advance(3 * SECOND);
    device.advance(MINUTE);
    assert_eq!(powers(&device.take_sent()).last(), Some(&"OFF"));
    assert_eq!(text(&device, "action"), "off");
}

#[test]
fn the_end_of_the_device_switches_off_and_its_successor_again() {
    let mut device = heating();
    device.restart();
    assert_eq!(powers(&device.take_sent()), ["OFF"]);
    let expected = "actuator: no connection to the broker; the heater may still be on";
    assert_eq!(text(&device, "alert"), expected);
    assert_eq!(text(&device, "mode"), "heat");
    device.set_link(true);
    device.receive(LWT, "Online", true);
    device.advance(SECOND);
    assert!(!powers(&device.take_sent()).is_empty(), "it is told as soon as it can be");
}

#[test]
fn a_table_that_no_heater_can_have_names_its_place() {
    let problems = |actuator: Value| -> Vec<String> {
        let problems = Device::problems(&config(actuator));
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let zigbee =
        |key: &str| problems(json!({"zigbee2mqtt": {"topic": "zigbee2mqtt/plug", key: true}}));
    assert_eq!(zigbee("sleepy"), ["actuator.zigbee2mqtt.sleepy"]);
    let group = json!({"topic": "zigbee2mqtt/all", "members": ["zigbee2mqtt/plug"]});
    assert_eq!(problems(json!({ "zigbee2mqtt": group })), ["actuator.zigbee2mqtt.members"]);
    assert_eq!(problems(json!({"zigbee2mqtt": {"topic": "a/#"}})).len(), 2);
    assert_eq!(problems(json!({"tasmota": {"topic": "t"}, "wled": {"topic": "w"}})), ["actuator"]);
    let climate = json!({"esphome": {"topic": "n", "climate": "c"}});
    assert_eq!(problems(climate), ["actuator.esphome"]);
    for table in [
        json!({"shelly": {"topic": "shellyplus1-a8032ab12345"}}),
        json!({"esphome": {"topic": "node", "switch": "boiler"}}),
        json!({"wled": {"topic": "wled/desk"}}),
        json!({"topics": {"power": {"command": "x/set", "state": "x"}}}),
    ] {
        assert_eq!(problems(table), [""; 0]);
    }
}
