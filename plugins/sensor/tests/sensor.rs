//! The sensor without a hub.

use std::time::{Duration, Instant};

use hearthd_machine::Machine;
use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sensor::Sensor;
use serde_json::{Value, json};

const DOOR: &str = "zigbee2mqtt/door";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Device = TestDevice<Sensor>;

/// Makes a sensor with a connection to the broker.
fn device(config: Value) -> Device {
    let mut device = Device::new(config);
    device.set_link(true);
    device
}

fn door() -> Device {
    device(json!({
        "zigbee2mqtt": {"topic": DOOR}, "contact": "/contact", "battery": "/battery",
    }))
}

fn text(device: &Device, property: &str) -> String {
    device.published(property).unwrap_or_default()
}

#[test]
fn a_door_is_what_its_last_message_says() {
    let mut device = door();
    assert_eq!(device.unreachable().as_deref(), Some("nothing was heard of it yet"));
    device.receive(DOOR, r#"{"contact":true,"battery":93.4,"linkquality":80}"#, false);
    assert_eq!(
        (text(&device, "contact"), text(&device, "battery")),
        ("closed".into(), "93".into())
    );
    assert_eq!((text(&device, "alert"), device.unreachable()), ("none".into(), None));
    device.receive(DOOR, r#"{"contact":false,"battery":93.4}"#, false);
    assert_eq!(text(&device, "contact"), "open");
    assert!(matches!(device.set("contact", "open"), Reply::Failed(_)));
    device.take_published();
    device.receive(DOOR, r#"{"contact":false,"battery":93.4}"#, false);
    assert_eq!(device.take_published(), [], "nothing is new");
}

#[test]
fn each_property_is_said_in_its_own_unit_and_range() {
    let mut device = device(json!({
        "topic": "house",
        "motion": "/m", "leak": "/l", "smoke": "/s",
        "temperature": {"pointer": "/t", "scale": 0.01, "offset": -0.5},
        "humidity": "/h", "power": "/p", "energy": {"pointer": "/e", "scale": 0.001},
        "battery": "/b",
    }));
    let message = json!({
        "m": "ON", "l": 0, "s": "no", "t": 2173, "h": "48.26", "p": -120.44, "e": 1234567, "b": 7,
    });
    device.receive("house", &message.to_string(), false);
    let expected = [
        ("motion", "ON"),
        ("leak", "OFF"),
        ("smoke", "OFF"),
        ("temperature", "21.23"),
        ("humidity", "48.3"),
        ("power", "-120.4"),
        ("energy", "1234.567"),
        ("battery", "7"),
        ("alert", "none"),
    ];
    for (property, value) in expected {
        assert_eq!(text(&device, property), value, "{property}");
    }
}

#[test]
fn what_counts_as_on_can_be_named() {
    let contact = json!({"topic": "rf/12", "on": "AAAA01", "off": "AAAA00"});
    let mut device = device(json!({"contact": contact}));
    device.receive("rf/12", "AAAA01", false);
    assert_eq!(text(&device, "contact"), "closed");
    device.receive("rf/12", " AAAA00\n", false);
    assert_eq!(text(&device, "contact"), "open");
    device.receive("rf/12", "ON", false);
    assert_eq!(text(&device, "contact"), "open");
    assert_eq!(text(&device, "alert"), r#"contact: "ON" is neither on nor off"#);
}

#[test]
fn what_is_wrong_is_told_once_and_changes_nothing() {
    let mut device = door();
    device.receive(DOOR, r#"{"contact":true,"battery":93}"#, false);
    for (payload, expected) in [
        ("{", "battery: a message is not JSON; contact: a message is not JSON"),
        (r#"{"contact":"ajar"}"#, r#"contact: "ajar" is neither on nor off"#),
        (r#"{"contact":{"a":1}}"#, r#"contact: "{"a":1}" is neither on nor off"#),
        (r#"{"battery":"full"}"#, r#"battery: "full" is not a number"#),
        (r#"{"battery":255}"#, "battery: 255 is not within 0 to 100"),
    ] {
        let warnings =
            |device: &Device| device.logs().iter().filter(|line| line.starts_with("WARN")).count();
        let before = warnings(&device);
        device.receive(DOOR, payload, false);
        device.receive(DOOR, payload, false);
        assert_eq!(text(&device, "alert"), expected);
        assert_eq!(warnings(&device), before + 1, "{payload}");
        assert_eq!(
            (text(&device, "contact"), text(&device, "battery")),
            ("closed".into(), "93".into())
        );
        assert_eq!(device.unreachable(), None);
        device.receive(DOOR, r#"{"contact":true,"battery":93}"#, false);
        assert_eq!(text(&device, "alert"), "none");
    }
    device.receive(DOOR, r#"{"contact":null,"linkquality":80}"#, false);
    assert_eq!(text(&device, "alert"), "none", "that is about something else");
}

#[test]
fn silence_for_max_age_is_unreachable_and_the_next_message_heals() {
    let mut device = door();
    device.receive(DOOR, r#"{"contact":true}"#, false);
    device.advance(25 * HOUR);
    assert_eq!(device.unreachable(), None);
    device.advance(MINUTE);
    assert_eq!(device.unreachable().as_deref(), Some("nothing was heard of it for 1day 1h"));
    assert_eq!(text(&device, "contact"), "closed", "the last that is known");
    device.receive(DOOR, r#"{"contact":true}"#, false);
    assert_eq!(device.unreachable(), None);
}

#[test]
fn what_reports_regularly_is_missed_sooner() {
    let mut device = device(json!({"topic": "hall", "temperature": "/temperature"}));
    for hour in 0..5 {
        device.receive("hall", r#"{"temperature":20}"#, false);
        device.advance(HOUR);
        assert_eq!(device.unreachable(), None, "{hour}");
    }
    device.advance(HOUR);
    assert_eq!(device.unreachable().as_deref(), Some("nothing was heard of it for 1h 30m"));
}

#[test]
fn a_bridge_or_a_device_that_is_offline_is_unreachable() {
    let mut device = door();
    device.receive(DOOR, r#"{"contact":true}"#, false);
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#, false);
    assert_eq!(device.unreachable().as_deref(), Some("Zigbee2MQTT is offline"));
    device.receive("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#, false);
    assert_eq!(device.unreachable(), None);
    device.receive("zigbee2mqtt/door/availability", "offline", true);
    assert_eq!(device.unreachable().as_deref(), Some("the device is offline"));
    device.receive("zigbee2mqtt/door/availability", r#"{"state":"online"}"#, false);
    assert_eq!(device.unreachable(), None);
    device.set_link(false);
    assert_eq!(device.unreachable().as_deref(), Some("no connection to the broker"));
    device.set_link(true);
    assert_eq!(device.unreachable(), None);
}

#[test]
fn an_availability_topic_has_its_own_words() {
    let mut device = device(json!({
        "topic": "tele/plug/SENSOR", "power": "/ENERGY/Power",
        "availability": {"topic": "tele/plug/LWT", "online": "Online", "offline": "Offline"},
    }));
    device.receive("tele/plug/LWT", "Online", true);
    device.receive("tele/plug/SENSOR", r#"{"ENERGY":{"Power":42}}"#, false);
    assert_eq!((text(&device, "power"), device.unreachable()), ("42".into(), None));
    device.receive("tele/plug/LWT", "Offline", false);
    assert_eq!(device.unreachable().as_deref(), Some("the device is offline"));
    device.receive("tele/plug/LWT", "offline", false);
    assert!(device.unreachable().is_some(), "another word says nothing");
}

#[test]
fn a_retained_state_counts_where_the_table_says_so_or_the_message_says_its_time() {
    let mut config = json!({"topic": "door", "contact": ""});
    let mut without = device(config.clone());
    without.receive("door", "closed", true);
    assert_eq!((text(&without, "contact"), without.unreachable().is_some()), (String::new(), true));
    config["retained"] = json!(true);
    let mut with = device(config);
    with.receive("door", "closed", true);
    assert_eq!((text(&with, "contact"), with.unreachable()), ("closed".into(), None));
    let mut dated = door();
    dated.receive(DOOR, r#"{"contact":true,"last_seen":"2001-01-01T00:00:00Z"}"#, true);
    assert_eq!(dated.unreachable().as_deref(), Some("nothing was heard of it yet"));
}

#[test]
fn after_a_restart_nothing_is_known_until_something_is_heard() {
    let mut device = door();
    device.receive(DOOR, r#"{"contact":true}"#, false);
    device.restart();
    assert_eq!(device.unreachable().as_deref(), Some("no connection to the broker"));
    device.set_link(true);
    assert_eq!(device.unreachable().as_deref(), Some("nothing was heard of it yet"));
    device.receive(DOOR, r#"{"contact":false}"#, false);
    assert_eq!((text(&device, "contact"), device.unreachable()), ("open".into(), None));
}

/// Waits until the thermometer's thread has brought something about.
fn until(device: &mut Device, holds: impl Fn(&Device) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds(device) {
        assert!(Instant::now() < deadline, "{:?}", device.published_all());
        std::thread::sleep(Duration::from_millis(1));
        device.settle();
    }
}

#[test]
fn a_thermometer_of_this_machine_is_read_each_period() {
    let machine = Machine::new().with(&[("run/cellar", "8.126")]);
    let config = json!({
        "root": machine.folder(), "period": "10s",
        "temperature": {"file": {"path": "/run/cellar"}, "offset": 0.5},
    });
    let mut device = Device::new(config);
    until(&mut device, |device| text(device, "temperature") == "8.63");
    assert_eq!(device.unreachable(), None, "without a broker");
    std::fs::remove_file(machine.path("run/cellar")).expect("removed");
    device.advance(Duration::from_secs(10));
    until(&mut device, |device| device.unreachable().is_some());
    let reason = device.unreachable().expect("why");
    assert!(reason.starts_with("temperature: ") && reason.ends_with("no such file"), "{reason}");
    machine.write("run/cellar", "9");
    device.advance(Duration::from_secs(10));
    until(&mut device, |device| text(device, "temperature") == "9.5");
    assert_eq!(device.unreachable(), None);
}

#[test]
fn a_thermometer_that_hangs_is_unreachable_and_holds_up_nothing() {
    let machine = Machine::new().with(&[("run/cellar", "8")]);
    let pipe = machine.path("run/cellar");
    std::fs::remove_file(&pipe).expect("removed");
    // Opening a pipe that nobody writes to never returns.
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let config = json!({
        "root": machine.folder(), "period": "10s", "temperature": {"file": {"path": "/run/cellar"}},
    });
    let mut device = Device::new(config);
    device.advance(Duration::from_secs(10));
    assert_eq!(device.unreachable().as_deref(), Some("temperature: no answer for 10s"));
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).expect("the reader waits"));
    until(&mut device, |device| {
        device.unreachable().is_some_and(|why| why.contains("not a number"))
    });
}

#[test]
fn nonsense_in_the_table_names_its_place() {
    let problems = |config: Value| -> Vec<String> {
        Device::problems(&config).into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(problems(json!({})), [""]);
    assert_eq!(problems(json!({"contact": "/contact"})), ["contact"], "no topic");
    assert_eq!(problems(json!({"topic": "a/#", "contact": "/c", "battery": "/b"})), ["topic"]);
    assert_eq!(problems(json!({"contact": {"topic": "a/#"}})), ["contact.topic"]);
    assert_eq!(problems(json!({"topic": "a", "contact": "c"})), ["contact.pointer"]);
    assert_eq!(problems(json!({"topic": "a", "contact": {"on": "1"}})), ["contact"]);
    assert_eq!(problems(json!({"topic": "a", "leak": {"on": "1", "off": "1"}})), ["leak.off"]);
    assert_eq!(problems(json!({"topic": "a", "power": {"scale": 0}})), ["power.scale"]);
    assert_eq!(problems(json!({"topic": "a", "power": {"on": "1"}})), ["power.on"]);
    assert_eq!(problems(json!({"topic": "a", "power": 7})), ["power"]);
    assert_eq!(problems(json!({"topic": "a", "button": "/action"})), ["button"]);
    assert_eq!(problems(json!({"topic": "a", "leak": "", "max_age": "1s"})), ["max_age"]);
    assert_eq!(problems(json!({"temperature": {"w1": "28-01"}, "max_age": "2h"})), ["max_age"]);
    assert_eq!(problems(json!({"temperature": {"w1": "a/b"}})), ["temperature.w1"]);
    assert_eq!(problems(json!({"temperature": {"w1": "28-01", "topic": "a"}})), ["temperature"]);
    assert_eq!(problems(json!({"temperature": {"w1": "28-01"}, "period": 1})), ["period"]);
    let zigbee = json!({"zigbee2mqtt": {"topic": "other/door"}, "contact": "/contact"});
    assert_eq!(problems(zigbee), ["zigbee2mqtt.topic"]);
    let both = json!({"zigbee2mqtt": {"topic": DOOR}, "topic": "a", "contact": "/contact"});
    assert_eq!(problems(both), ["topic"]);
    let availability = json!({"topic": "a", "leak": "", "availability": {"topic": "+"}});
    assert_eq!(problems(availability), ["availability.topic"]);
}
