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

/// Returns the kinds of event of the button since the last call.
fn pressed(device: &mut Device) -> Vec<String> {
    device.take_events().into_iter().map(|(_, kind)| kind).collect()
}

#[test]
fn buttons_of_all_families_say_events() {
    let zigbee = (
        json!({"zigbee2mqtt": {"topic": "zigbee2mqtt/remote"}, "button": "/action"}),
        "zigbee2mqtt/remote",
        [r#"{"action":"single","battery":80}"#, r#"{"action":"hold"}"#],
        [r#"{"action":"","battery":80}"#, r#"{"battery":79}"#],
    );
    let tasmota = (
        json!({"topic": "stat/desk/RESULT", "button": "/Button1/Action"}),
        "stat/desk/RESULT",
        [r#"{"Button1":{"Action":"SINGLE"}}"#, r#"{"Button1":{"Action":"HOLD"}}"#],
        [r#"{"POWER":"ON"}"#, r#"{"Button2":{"Action":"SINGLE"}}"#],
    );
    let event = |component: &str, event: &str| {
        json!({"src": "shellyplusi4-1", "method": "NotifyEvent", "params": {"ts": 1.5,
            "events": [{"component": component, "id": 0, "event": event, "ts": 1.5}]}})
        .to_string()
    };
    let [single, long] = [event("input:0", "single_push"), event("input:0", "long_push")];
    let [other, config] = [event("input:1", "single_push"), event("sys", "config_changed")];
    let shelly = (
        json!({"topic": "shellyplusi4-1/events/rpc", "button": {
            "pointer": "/params/events/0/event", "only": {"/params/events/0/component": "input:0"}}}),
        "shellyplusi4-1/events/rpc",
        [&*single, &*long],
        [&*other, &*config],
    );
    let first = (
        json!({"topic": "shellies/button/input_event/0", "button": "/event"}),
        "shellies/button/input_event/0",
        [r#"{"event":"S","event_cnt":4}"#, r#"{"event":"L","event_cnt":5}"#],
        [r#"{"event":"","event_cnt":5}"#, r#"{"event_cnt":5}"#],
    );
    for (config, topic, [press, hold], nothing) in [zigbee, tasmota, shelly, first] {
        let mut device = device(config);
        assert_eq!(device.unreachable(), None, "{topic}: a button that nobody presses is silent");
        for payload in [press, press, hold] {
            device.receive(topic, payload, false);
        }
        assert_eq!(pressed(&mut device), ["press", "press", "hold"], "{topic}");
        device.receive(topic, press, true);
        for payload in nothing {
            device.receive(topic, payload, false);
        }
        assert_eq!(pressed(&mut device), [""; 0], "{topic}: it says nothing, or of something else");
        assert_eq!(text(&device, "alert"), "none", "{topic}");
    }
}

#[test]
fn the_events_of_a_remote_control_can_be_named() {
    let mut device = device(json!({"topic": "remote", "battery": "/battery", "button": {
        "pointer": "/action", "events": {"brightness_move_up": "brighter", "off": "off"}}}));
    device.receive("remote", r#"{"action":"brightness_move_up","battery":55}"#, false);
    assert_eq!(pressed(&mut device), ["brighter"]);
    assert_eq!((text(&device, "battery"), device.unreachable()), ("55".into(), None));
    device.receive("remote", r#"{"action":"on"}"#, false);
    assert_eq!((pressed(&mut device).len(), text(&device, "alert")), (0, UNKNOWN.into()));
    device.receive("remote", "{", false);
    assert!(text(&device, "alert").contains("button: a message is not JSON"));
    device.receive("remote", r#"{"action":"off","battery":55}"#, false);
    assert_eq!((pressed(&mut device), text(&device, "alert")), (vec!["off".into()], "none".into()));
}

const UNKNOWN: &str = r#"button: "on" is not one of its events"#;

#[test]
fn a_line_that_is_not_there_is_unreachable_without_a_broker() {
    let machine = Machine::new();
    let mut device = Device::new(json!({
        "root": machine.folder(),
        "contact": {"gpio": {"line": "GPIO17", "active_low": true, "pull": "up", "debounce": "20ms"}},
        "button": {"gpio": {"line": 3, "chip": "pinctrl-bcm2711"}},
    }));
    until(&mut device, |device| device.unreachable().is_some_and(|why| why.contains("GPIO17")));
    // Ending it waits for no retry.
    let before = Instant::now();
    drop(device);
    assert!(before.elapsed() < Duration::from_secs(5));
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
    assert_eq!(problems(json!({"topic": "a", "button": "/action"})), [""; 0]);
    assert_eq!(problems(json!({"button": "/action"})), ["button"], "no topic");
    let named = json!({"topic": "a", "button": {"events": {"x": "No", "y": "failed"}}});
    assert_eq!(problems(named), ["button.events.x", "button.events.y"]);
    assert_eq!(problems(json!({"topic": "a", "button": {"only": {"c": "1"}}})), ["button.only"]);
    let line = json!({"gpio": {"line": 4, "debounce": "1m", "pull": "sideways"}});
    assert_eq!(problems(json!({"leak": line})), ["leak.gpio.pull"]);
    let line = json!({"gpio": {"line": 4, "debounce": "1m"}});
    assert_eq!(problems(json!({"leak": line})), ["leak.gpio.chip", "leak.gpio.debounce"]);
    let both = json!({"topic": "a", "gpio": {"line": "GPIO4"}});
    assert_eq!(problems(json!({"leak": both, "button": both})), ["leak", "button"]);
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
