//! Sensors: the value, and how old it is.

use std::time::Duration;

use hearthd_confirm::{Heard, Message, Now, Reading, Sensor, SensorConfig};

/// The Unix time of the tests' monotonic 0.
const EPOCH: u64 = 1_795_900_000;
const TOPIC: &str = "zigbee2mqtt/hall";

fn sensor() -> Sensor {
    let table = format!("topic = \"{TOPIC}\"\npointer = \"/temperature\"");
    Sensor::new(toml::from_str::<SensorConfig>(&table).unwrap())
}

fn at(second: u64) -> Now {
    Now { monotonic: Duration::from_secs(second), unix: Duration::from_secs(EPOCH + second) }
}

fn read(sensor: &Sensor, second: u64) -> Reading {
    sensor.read(Duration::from_secs(second))
}

#[test]
fn a_message_counts_from_its_arrival_also_with_the_same_value() {
    let mut sensor = sensor();
    assert_eq!(read(&sensor, 10_000), Reading::Unknown);
    let message = Message::live(TOPIC, br#"{"temperature":21.5}"#);
    sensor.handle(at(10_000), &message);
    assert_eq!(read(&sensor, 15_400), Reading::Fresh(21.5));
    let stale = Reading::Stale { last: 21.5, since: Duration::from_secs(10_000) };
    assert_eq!(read(&sensor, 15_401), stale);
    assert_eq!(sensor.poll_timeout(), Some(Duration::from_secs(15_400)));
    sensor.handle(at(15_402), &message);
    assert_eq!(read(&sensor, 15_500), Reading::Fresh(21.5));
}

#[test]
fn a_retained_message_counts_only_where_it_says_its_time() {
    let mut sensor = sensor();
    sensor.handle(at(10_000), &Message::retained(TOPIC, br#"{"temperature":21.5}"#));
    assert_eq!(read(&sensor, 10_000), Reading::Unknown);
    let seen = (EPOCH + 9_000) * 1_000;
    let payload = format!(r#"{{"temperature":20,"last_seen":{seen}}}"#);
    sensor.handle(at(10_000), &Message::retained(TOPIC, payload.as_bytes()));
    assert_eq!(read(&sensor, 14_400), Reading::Fresh(20.0));
    assert!(matches!(read(&sensor, 14_401), Reading::Stale { .. }));
}

#[test]
fn a_clock_that_is_wrong_does_not_make_a_fresh_message_stale_or_last_for_ever() {
    for last_seen in ["2001-01-01T00:00:00Z", "2090-01-01T00:00:00+01:00"] {
        let mut sensor = sensor();
        let payload = format!(r#"{{"temperature":20,"last_seen":"{last_seen}"}}"#);
        sensor.handle(at(10_000), &Message::live(TOPIC, payload.as_bytes()));
        assert_eq!(read(&sensor, 10_001), Reading::Fresh(20.0), "{last_seen}");
        assert!(matches!(read(&sensor, 15_500), Reading::Stale { .. }), "{last_seen}");
    }
}

#[test]
fn an_older_message_does_not_replace_a_newer_one() {
    let mut sensor = sensor();
    sensor.handle(at(10_000), &Message::live(TOPIC, br#"{"temperature":21}"#));
    let seen = (EPOCH + 9_000) * 1_000;
    let payload = format!(r#"{{"temperature":5,"last_seen":{seen}}}"#);
    sensor.handle(at(10_001), &Message::retained(TOPIC, payload.as_bytes()));
    assert_eq!(read(&sensor, 10_001), Reading::Fresh(21.0));
}

#[test]
fn what_is_no_number_is_not_taken() {
    let mut sensor = sensor();
    for payload in ["", "21", r#"{"temperature":null}"#, r#"{"temperature":"warm"}"#, "{"] {
        sensor.handle(at(10_000), &Message::live(TOPIC, payload.as_bytes()));
    }
    sensor.handle(at(10_000), &Message::live("other", br#"{"temperature":21}"#));
    assert_eq!(read(&sensor, 10_000), Reading::Unknown);
    sensor.handle(at(10_000), &Message::live(TOPIC, br#"{"temperature":"21.25"}"#));
    assert_eq!(read(&sensor, 10_000), Reading::Fresh(21.25));
}

#[test]
fn each_message_says_what_it_came_to() {
    let mut sensor = sensor().within(-40.0, 85.0);
    let wrong = |reason: &str| Heard::Wrong(reason.to_owned());
    let long = format!(r#"{{"temperature":"{}"}}"#, "ä".repeat(50));
    let cut = format!("\"{}... is not a number", "ä".repeat(39));
    for (payload, expected) in [
        (r#"{"temperature":21.5}"#, Heard::Taken),
        (r#"{"temperature":21.5}"#, Heard::Taken),
        (r#"{"battery":80}"#, Heard::Absent),
        (r#"{"temperature":null}"#, Heard::Absent),
        ("21.5 C", wrong("a message is not JSON")),
        (r#"{"temperature":true}"#, wrong("true is not a number")),
        (r#"{"temperature":"NaN"}"#, wrong("\"NaN\" is not a number")),
        (r#"{"temperature":850}"#, wrong("850 is not within -40 to 85")),
        (&long, wrong(&cut)),
    ] {
        let message = Message::live(TOPIC, payload.as_bytes());
        assert_eq!(sensor.handle(at(10_000), &message), expected, "{payload}");
    }
    assert_eq!(read(&sensor, 10_000), Reading::Fresh(21.5), "what is wrong changes nothing");
    let retained = Message::retained(TOPIC, b"nonsense");
    assert_eq!(sensor.handle(at(10_000), &retained), Heard::Ignored, "of any age");
}

#[test]
fn a_fresh_message_counts_on_a_machine_that_has_just_started() {
    let mut sensor = sensor();
    let payload = format!(r#"{{"temperature":20,"last_seen":{}}}"#, EPOCH * 1_000);
    let now = Now { unix: Duration::from_secs(EPOCH + 600), monotonic: Duration::from_secs(5) };
    assert_eq!(sensor.handle(now, &Message::live(TOPIC, payload.as_bytes())), Heard::Taken);
    assert_eq!(read(&sensor, 5), Reading::Fresh(20.0));
}

#[test]
fn what_was_known_before_a_restart_counts_until_something_newer_is_known() {
    let mut sensor = sensor();
    sensor.recall(19.0, Duration::from_secs(9_000));
    assert_eq!(read(&sensor, 14_400), Reading::Fresh(19.0));
    assert!(matches!(read(&sensor, 14_401), Reading::Stale { .. }));
    sensor.handle(at(14_500), &Message::live(TOPIC, br#"{"temperature":20}"#));
    sensor.recall(19.0, Duration::from_secs(9_000));
    assert_eq!(sensor.last(), Some((20.0, Duration::from_secs(14_500))));
}

#[test]
fn a_whole_payload_can_be_the_value_and_a_scale_can_apply() {
    let config: SensorConfig = toml::from_str("topic = \"t\"\nscale = 0.1").unwrap();
    assert_eq!(config.problems(), []);
    let mut sensor = Sensor::new(config);
    sensor.handle(at(10), &Message::live("t", b"215"));
    assert_eq!(read(&sensor, 10), Reading::Fresh(21.5));
}

#[test]
fn problems_of_a_table_are_told() {
    let table = "topic = \"a/#\"\npointer = \"x\"\nscale = 0.0\nmax_age = 0";
    let config: SensorConfig = toml::from_str(table).unwrap();
    let places: Vec<&str> = config.problems().into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["mqtt.topic", "mqtt.pointer", "mqtt.scale", "mqtt.max_age"]);
}
