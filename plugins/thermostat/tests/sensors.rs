//! Sensors that say something by MQTT, without a hub.

use std::time::Duration;

use hearthd_sdk::harness::TestDevice;
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const HALL: &str = "zigbee2mqtt/hall";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn config() -> Value {
    let mqtt = json!({
        "topic": HALL, "pointer": "/temperature", "humidity": "/humidity", "battery": "/battery",
    });
    json!({"backend": "hardware", "sensors": [{"mqtt": mqtt}], "actuator": {"simulated": {}}})
}

/// A thermostat that heats to 21 °C as soon as it knows how cold it is.
fn device() -> TestDevice<Thermostat> {
    let mut device = TestDevice::<Thermostat>::new(config());
    device.set_link(true);
    assert!(device.set_all(json!({"mode": "heat", "target_temperature": 21})).is_done());
    device.advance(3 * MINUTE);
    device
}

fn text(device: &TestDevice<Thermostat>, property: &str) -> String {
    device.published(property).unwrap_or_default()
}

/// Has the sensor say a temperature.
fn say(device: &mut TestDevice<Thermostat>, temperature: f64) {
    let payload = json!({"temperature": temperature, "humidity": 48.26, "battery": 87});
    device.receive(HALL, &payload.to_string(), false);
}

#[test]
fn a_room_is_heated_by_what_a_message_says_and_not_before() {
    let mut device = device();
    assert_eq!(text(&device, "alert"), "sensors[0]: nothing was heard of it yet");
    assert_eq!(device.unreachable(), device.published("alert"), "it is the only one");
    assert_eq!(
        (text(&device, "action"), text(&device, "current_temperature")),
        ("off".into(), String::new())
    );
    say(&mut device, 18.43);
    assert_eq!(text(&device, "current_temperature"), "18.4");
    assert_eq!((text(&device, "humidity"), text(&device, "battery")), ("48.3".into(), "87".into()));
    assert_eq!(
        (text(&device, "alert"), text(&device, "action")),
        ("none".into(), "heating".into())
    );
    assert_eq!(device.unreachable(), None);
    device.advance(3 * MINUTE);
    say(&mut device, 21.4);
    assert_eq!(text(&device, "action"), "idle");
}

#[test]
fn one_that_says_the_same_once_an_hour_is_no_frozen_sensor() {
    let mut device = device();
    for hour in 0..12 {
        say(&mut device, 18.0);
        device.advance(HOUR);
        assert_eq!(text(&device, "alert"), "none", "{hour}");
        assert_eq!(text(&device, "action"), "heating", "{hour}");
    }
    say(&mut device, 12.0);
    assert_eq!(text(&device, "current_temperature"), "12", "an hour later that is no jump");
}

#[test]
fn a_step_from_one_hour_to_the_next_is_no_open_window() {
    let mut config = config();
    config["window"] = json!({});
    let mut device = TestDevice::<Thermostat>::new(config);
    device.set_link(true);
    say(&mut device, 20.0);
    device.advance(HOUR);
    say(&mut device, 18.0);
    assert_eq!(text(&device, "window"), "closed");
    device.advance(MINUTE);
    say(&mut device, 16.5);
    assert_eq!(text(&device, "window"), "open");
}

#[test]
fn one_that_is_silent_for_max_age_switches_off_and_the_next_message_heals() {
    let mut device = device();
    say(&mut device, 18.0);
    device.advance(90 * MINUTE);
    assert_eq!(text(&device, "action"), "heating");
    device.advance(MINUTE);
    assert_eq!(text(&device, "action"), "off");
    assert_eq!(text(&device, "alert"), "sensors[0]: nothing was heard of it for 90 minutes");
    assert_eq!(device.unreachable(), device.published("alert"));
    device.take_published();
    device.advance(HOUR);
    assert_eq!(device.take_published(), [], "it is said once");
    say(&mut device, 18.0);
    assert_eq!(
        (text(&device, "alert"), text(&device, "action")),
        ("none".into(), "heating".into())
    );
}

#[test]
fn what_is_wrong_is_told_once_and_is_no_temperature() {
    let mut device = device();
    say(&mut device, 18.0);
    for (payload, expected) in [
        ("18,5", "a message is not JSON"),
        (r#"{"temperature": true}"#, "true is not a number"),
        (r#"{"temperature": 1850}"#, "1850 is not within -40 to 85"),
        (r#"{"temperature": 18, "humidity": 480}"#, "humidity: 480 is not within 0 to 100"),
        (r#"{"temperature": 18, "battery": "low"}"#, r#"battery: "low" is not a number"#),
    ] {
        let warnings = |device: &TestDevice<Thermostat>| {
            device.logs().iter().filter(|line| line.starts_with("WARN")).count()
        };
        let before = warnings(&device);
        for _ in 0..3 {
            device.receive(HALL, payload, false);
            device.advance(MINUTE);
        }
        assert_eq!(text(&device, "alert"), format!("sensors[0]: {expected}"));
        assert_eq!(warnings(&device), before + 1, "{payload}");
        assert_eq!(text(&device, "current_temperature"), "18", "{payload}");
        assert_eq!(text(&device, "action"), "heating", "what it said before still counts");
        assert_eq!(device.unreachable(), None);
        say(&mut device, 18.0);
        assert_eq!(text(&device, "alert"), "none");
    }
}

#[test]
fn a_pointer_that_leads_nowhere_is_told() {
    let mut device = device();
    device.receive(HALL, r#"{"temp": 18}"#, false);
    let expected =
        r#"sensors[0]: nothing was heard of it yet, a message has nothing at "/temperature""#;
    assert_eq!(text(&device, "alert"), expected);
    say(&mut device, 18.0);
    device.receive(HALL, r#"{"linkquality": 80}"#, false);
    assert_eq!(text(&device, "alert"), "none", "that is about something else");
}

#[test]
fn a_retained_message_may_be_of_any_age_and_does_not_count() {
    let mut device = device();
    device.receive(HALL, r#"{"temperature": 18}"#, true);
    assert_eq!(text(&device, "action"), "off");
    assert_eq!(text(&device, "current_temperature"), "");
}

#[test]
fn a_lost_connection_leaves_what_was_heard_until_it_is_too_old() {
    let mut device = device();
    say(&mut device, 18.0);
    device.set_link(false);
    device.advance(HOUR);
    assert_eq!(text(&device, "action"), "heating");
    device.advance(HOUR);
    assert_eq!(text(&device, "action"), "off");
}

#[test]
fn after_a_restart_what_was_heard_counts_for_as_long_as_before() {
    let mut device = device();
    say(&mut device, 18.0);
    device.advance(HOUR);
    device.restart();
    device.advance(3 * MINUTE);
    assert_eq!(text(&device, "current_temperature"), "18");
    assert_eq!(
        (text(&device, "alert"), text(&device, "action")),
        ("none".into(), "heating".into())
    );
    device.advance(28 * MINUTE);
    assert_eq!(text(&device, "action"), "off", "it is from before the restart");
}

#[test]
fn what_is_heard_is_kept_for_a_restart_four_times_an_hour() {
    let mut device = device();
    let mut kept = Vec::new();
    for n in 0..120 {
        say(&mut device, 18.0 + f64::from(n) / 100.0);
        device.advance(30 * Duration::from_secs(1));
        kept.push(device.saved_state());
    }
    kept.dedup();
    assert_eq!(kept.len(), 4, "a disk wears");
}

#[test]
fn of_several_sensors_a_stale_one_is_left_out() {
    let mut config = config();
    let other = json!({
        "mqtt": {"topic": "zigbee2mqtt/bed", "pointer": "/temperature", "humidity": "/humidity",
            "battery": "/battery", "max_age": "30m"},
        "offset": -1,
    });
    config["sensors"].as_array_mut().expect("a list").push(other);
    let mut device = TestDevice::<Thermostat>::new(config);
    say(&mut device, 20.0);
    device.receive("zigbee2mqtt/bed", r#"{"temperature":20,"humidity":58.2,"battery":11}"#, false);
    assert_eq!(text(&device, "current_temperature"), "19.5");
    assert_eq!((text(&device, "humidity"), text(&device, "battery")), ("53.2".into(), "11".into()));
    device.advance(31 * MINUTE);
    assert_eq!(text(&device, "current_temperature"), "20");
    assert_eq!((text(&device, "humidity"), text(&device, "battery")), ("48.3".into(), "11".into()));
    assert_eq!(text(&device, "alert"), "sensors[1]: nothing was heard of it for 30 minutes");
    assert_eq!(device.unreachable(), None);
}

#[test]
fn nonsense_in_the_table_names_its_place() {
    let problems = |sensor: Value| -> Vec<String> {
        let mut config = config();
        config["sensors"] = json!([sensor]);
        let problems = TestDevice::<Thermostat>::problems(&config);
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let mqtt = |key: &str, value: Value| {
        let mut mqtt = json!({"topic": HALL, "pointer": "/temperature"});
        mqtt[key] = value;
        json!({"mqtt": mqtt})
    };
    assert_eq!(problems(json!({"mqtt": {"topic": HALL}})), [""; 0]);
    assert_eq!(problems(json!({"mqtt": {"topic": HALL}, "w1": "28-01"})), ["sensors[0]"]);
    assert_eq!(problems(json!({"mqtt": {"topic": HALL}, "offset": 30})), ["sensors[0].offset"]);
    assert_eq!(problems(json!({"mqtt": {}})), ["sensors[0].mqtt"]);
    assert_eq!(problems(mqtt("topic", json!("zigbee2mqtt/#"))), ["sensors[0].mqtt.topic"]);
    assert_eq!(problems(mqtt("pointer", json!("temperature"))), ["sensors[0].mqtt.pointer"]);
    assert_eq!(problems(mqtt("humidity", json!("humidity"))), ["sensors[0].mqtt.humidity"]);
    assert_eq!(problems(mqtt("battery", json!(""))), ["sensors[0].mqtt.battery"]);
    assert_eq!(problems(mqtt("scale", json!(0))), ["sensors[0].mqtt.scale"]);
    assert_eq!(problems(mqtt("max_age", json!("10s"))), ["sensors[0].mqtt.max_age"]);
    assert_eq!(problems(mqtt("maxage", json!("1h"))), ["sensors[0].mqtt.maxage"]);
}
