//! A radiator valve behind Zigbee2MQTT, which sleeps; without a hub and without the valve.

use std::time::Duration;

use hearthd_sdk::FailureKind;
use hearthd_sdk::harness::{Reply, Sent, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const VALVE: &str = "zigbee2mqtt/radiator";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Device = TestDevice<Thermostat>;

fn config() -> Value {
    json!({
        "backend": "hardware",
        "sensors": [{"mqtt": {"topic": VALVE, "pointer": "/local_temperature"}}],
        "actuator": {"zigbee2mqtt": {"topic": VALVE, "sleepy": true}, "valve": true},
    })
}

/// A valve at 20 °C, the thermostat's own first target, in mode heat.
fn device() -> Device {
    let mut device = Device::new(config());
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(3 * SECOND);
    assert!(device.set("mode", "heat").is_done());
    wake(&mut device);
    assert_eq!(
        (text(&device, "valve"), text(&device, "alert")),
        ("confirmed".into(), "none".into())
    );
    device.take_sent();
    device.take_published();
    device
}

/// Has the valve wake: it takes what it was last told, and answers what it is asked.
fn wake(device: &mut Device) {
    let told = targets(&device.take_sent()).last().copied();
    let target = told.expect("it was told something");
    for _ in 0..40 {
        let state = json!({"occupied_heating_setpoint": target, "local_temperature": 19.2});
        device.receive(VALVE, &state.to_string(), false);
        device.advance(Duration::from_millis(500));
        device.take_sent();
    }
}

/// Returns the targets that the valve was told.
fn targets(sent: &[Sent]) -> Vec<f64> {
    let told = sent.iter().filter(|sent| sent.topic == "zigbee2mqtt/radiator/set");
    let target = |sent: &Sent| {
        let payload: Value = serde_json::from_str(&sent.payload).expect("JSON");
        payload["occupied_heating_setpoint"].as_f64().expect("a target")
    };
    told.map(target).collect()
}

fn text(device: &Device, property: &str) -> String {
    device.published(property).unwrap_or_default()
}

#[test]
fn the_thermostat_answers_for_its_own_target_and_the_valve_takes_it_when_it_wakes() {
    let mut device = device();
    assert_eq!(device.set("target_temperature", "21.5"), Reply::Done);
    assert_eq!(text(&device, "target_temperature"), "21.5");
    assert_eq!(text(&device, "valve"), "pending");
    device.advance(20 * MINUTE);
    assert_eq!((text(&device, "valve"), text(&device, "alert")), ("pending".into(), "none".into()));
    let sent = device.take_sent();
    assert_eq!(targets(&sent), [21.5], "the bridge keeps it");
    assert!(sent.iter().all(|sent| !sent.belongs), "it outlives the request");
    let state = r#"{"occupied_heating_setpoint": 21.5, "local_temperature": 20}"#;
    for _ in 0..20 {
        device.receive(VALVE, state, false);
        device.advance(SECOND);
    }
    assert_eq!(
        (text(&device, "valve"), text(&device, "alert")),
        ("confirmed".into(), "none".into())
    );
    assert_eq!(device.unreachable(), None);
}

#[test]
fn a_valve_that_does_not_wake_is_an_alert_after_its_time_and_heals() {
    let mut device = device();
    device.set("target_temperature", "21.5");
    device.advance(29 * MINUTE);
    assert_eq!(text(&device, "alert"), "none");
    device.advance(2 * MINUTE);
    let expected = "actuator: the valve has not confirmed 21.5 °C within 30m";
    assert_eq!(
        (text(&device, "valve"), text(&device, "alert")),
        ("pending".into(), expected.into())
    );
    assert_eq!(device.unreachable(), None, "the thermostat itself is there");
    device.set("target_temperature", "22");
    let expected = "actuator: the valve has not confirmed 22.0 °C within 30m";
    assert_eq!(text(&device, "alert"), expected, "a new wish is no new patience");
    wake(&mut device);
    assert_eq!(
        (text(&device, "valve"), text(&device, "alert")),
        ("confirmed".into(), "none".into())
    );
}

#[test]
fn a_bridge_that_is_away_makes_the_valve_unreachable_and_requests_are_answered() {
    let mut device = device();
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#, false);
    assert_eq!(text(&device, "valve"), "unreachable");
    assert_eq!(device.set("target_temperature", "21.5"), Reply::Done);
    assert_eq!(device.take_sent(), []);
    device.advance(31 * MINUTE);
    let expected =
        "actuator: the valve has not confirmed 21.5 °C within 30m: Zigbee2MQTT is offline";
    assert_eq!(text(&device, "alert"), expected);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, false);
    device.advance(2 * MINUTE);
    assert_eq!(targets(device.take_sent().as_slice()).last(), Some(&21.5));
    assert_eq!(text(&device, "valve"), "pending");
}

#[test]
fn a_lost_connection_is_told_and_the_target_follows_once_it_is_back() {
    let mut device = device();
    device.set_link(false);
    assert_eq!(text(&device, "valve"), "unreachable");
    assert_eq!(device.set("target_temperature", "18"), Reply::Done);
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(3 * SECOND);
    assert_eq!(targets(&device.take_sent()), [18.0]);
}

#[test]
fn off_an_open_window_and_a_cold_room_are_the_frost_limit() {
    let mut config = config();
    config["window"] = json!({});
    config["frost"] = json!(7.2);
    let mut device = Device::new(config);
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(3 * SECOND);
    assert_eq!(targets(&device.take_sent()), [7.5], "in steps that a valve has");
    device.set("mode", "heat");
    assert_eq!(targets(&device.take_sent()), [20.0]);
    device.receive(VALVE, r#"{"local_temperature": 20.5}"#, false);
    device.advance(MINUTE);
    device.receive(VALVE, r#"{"local_temperature": 18.9}"#, false);
    assert_eq!(text(&device, "window"), "open");
    assert_eq!(targets(&device.take_sent()), [7.5]);
}

#[test]
fn a_valve_without_another_sensor_measures_by_itself() {
    let mut config = config();
    config["sensors"] = json!([]);
    let mut device = Device::new(config);
    assert_eq!((device.unreachable(), text(&device, "alert")), (None, "none".into()));
    assert_eq!(text(&device, "valve"), "unreachable");
    assert_eq!(device.set("mode", "heat"), Reply::Done);
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(3 * SECOND);
    assert_eq!(targets(&device.take_sent()).last(), Some(&20.0));
    assert_eq!(device.published("action"), None, "nobody knows what it does");
    assert!(matches!(device.set("current_temperature", "20"), Reply::Failed(_)));
}

#[test]
fn after_a_restart_the_valve_is_told_its_target_again() {
    let mut device = device();
    device.set("target_temperature", "21.5");
    device.take_sent();
    device.restart();
    assert_eq!(device.take_sent(), [], "it keeps its target when the daemon ends");
    assert_eq!(
        (text(&device, "target_temperature"), text(&device, "valve")),
        ("21.5".into(), "unreachable".into())
    );
    device.set_link(true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    device.advance(3 * SECOND);
    assert_eq!(targets(&device.take_sent()), [21.5]);
}

#[test]
fn a_target_that_the_valve_cannot_have_is_refused_and_the_old_one_stays() {
    let mut config = config();
    config["actuator"]["zigbee2mqtt"]["raw"] = json!(true);
    let mut device = Device::new(config);
    device.set_link(true);
    let devices = json!([{
        "friendly_name": "radiator", "ieee_address": "0x1", "network_address": 7,
        "endpoints": {"1": {"clusters": {"input": ["hvacThermostat"]}}},
        "definition": {"exposes": [{"features": [
            {"property": "occupied_heating_setpoint", "value_min": 5, "value_max": 28},
        ]}]},
    }]);
    device.receive("zigbee2mqtt/bridge/devices", &devices.to_string(), true);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, true);
    assert_eq!(device.set("mode", "heat"), Reply::Done);
    device.take_sent();
    let Reply::Failed(failure) = device.set("target_temperature", "29.5") else {
        panic!("{:?}", device.reply())
    };
    let expected = (FailureKind::Invalid, "radiator takes 5 to 28 °C");
    assert_eq!((failure.kind(), failure.message()), expected);
    assert_eq!(text(&device, "target_temperature"), "20");
    assert_eq!(text(&device, "alert"), "sensors[0]: nothing was heard of it yet");
}

#[test]
fn a_valve_that_is_turned_by_hand_and_says_so_is_told_again() {
    let mut config = config();
    let esphome = json!({"esphome": {"topic": "node", "climate": "radiator"}, "valve": true});
    config["actuator"] = esphome;
    config["sensors"] = json!([]);
    let mut device = Device::new(config);
    device.set_link(true);
    device.receive("node/status", "online", true);
    device.set("mode", "heat");
    let state = "node/climate/radiator/target_temperature/state";
    // What it says at first may still be about an earlier command.
    for _ in 0..6 {
        device.receive(state, "20", false);
        device.advance(SECOND);
    }
    assert_eq!(text(&device, "valve"), "confirmed");
    device.take_sent();
    device.receive(state, "25", false);
    let sent = device.take_sent();
    assert_eq!(sent.iter().map(|sent| sent.payload.as_str()).collect::<Vec<_>>(), ["20"]);
}

#[test]
fn tables_that_no_valve_can_have_name_their_place() {
    let problems = |key: &str, value: Value| -> Vec<String> {
        let mut config = config();
        config[key] = value;
        let problems = Device::problems(&config);
        problems.into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(problems("valve_timeout", json!("45m")), [""; 0]);
    assert_eq!(problems("valve_timeout", json!("1s")), ["valve_timeout"]);
    assert_eq!(problems("min_on", json!("3m")), ["min_on"]);
    let gpio = json!({"led": {"name": "boiler"}, "valve": true});
    assert_eq!(problems("actuator", gpio), ["actuator.valve"]);
    let tasmota = json!({"tasmota": {"topic": "boiler"}, "valve": true});
    assert_eq!(problems("actuator", tasmota), ["actuator.tasmota"]);
    let group =
        json!({"zigbee2mqtt": {"topic": VALVE, "members": ["zigbee2mqtt/x"]}, "valve": true});
    assert_eq!(problems("actuator", group), ["actuator.zigbee2mqtt.members"]);
    let topics = json!({"topics": {"setpoint": {"command": "v/set", "state": "v"}}, "valve": true});
    assert_eq!(problems("actuator", topics), [""; 0]);
    let mut switch = config();
    switch["actuator"]["valve"] = json!(false);
    switch["actuator"]["zigbee2mqtt"]["sleepy"] = json!(false);
    switch["valve_timeout"] = json!("45m");
    let found = Device::problems(&switch);
    assert_eq!(found.into_iter().map(|p| p.path).collect::<Vec<_>>(), ["valve_timeout"]);
}
