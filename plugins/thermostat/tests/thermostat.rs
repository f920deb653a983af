//! The thermostat without a hub.

use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn device(after_absence: &str) -> TestDevice<Thermostat> {
    TestDevice::new(json!({"after_absence": after_absence}))
}

fn text(device: &TestDevice<Thermostat>, property: &str) -> String {
    device.published(property).expect("published")
}

fn temperature(device: &TestDevice<Thermostat>) -> f64 {
    text(device, "current_temperature").parse().expect("a number")
}

fn consumed(generation: &str) -> Value {
    json!({
        "generation": generation,
        "outcome": "consumed",
        "acknowledgements": [{"payload": "boiler off", "before_fence": true}],
    })
}

#[test]
fn a_new_thermostat_publishes_every_property() {
    let device = device("resume");
    assert_eq!(text(&device, "target_temperature"), "20");
    assert_eq!(text(&device, "current_temperature"), "18");
    assert_eq!(text(&device, "mode"), "off");
    assert_eq!(text(&device, "action"), "off");
}

#[test]
fn heating_warms_to_the_target_and_idles() {
    let mut device = device("resume");
    assert!(device.set("mode", "heat").is_done());
    assert_eq!(text(&device, "action"), "heating");
    for _ in 0..60 {
        device.advance(Duration::from_secs(10));
        assert!(temperature(&device) < 20.3);
        if text(&device, "action") == "idle" {
            break;
        }
    }
    assert_eq!(text(&device, "action"), "idle");
    for _ in 0..120 {
        device.advance(MINUTE);
        assert!((19.8..=20.3).contains(&temperature(&device)), "{}", temperature(&device));
    }
}

#[test]
fn off_cools() {
    let mut device = TestDevice::<Thermostat>::new(json!({"frost": 0}));
    device.set("mode", "heat");
    device.advance(HOUR);
    assert!(temperature(&device) > 19.0);
    device.set("mode", "off");
    assert_eq!(text(&device, "action"), "off");
    device.advance(12 * HOUR);
    assert!(temperature(&device) < 6.0);
}

#[test]
fn a_target_below_the_room_stays_idle() {
    let mut device = device("resume");
    assert!(device.set_all(json!({"mode": "heat", "target_temperature": 10})).is_done());
    device.advance(MINUTE);
    assert_eq!(text(&device, "action"), "idle");
    assert!(device.published_all().iter().all(|(_, value)| value != "heating"));
}

#[test]
fn the_temperature_is_published_once_for_each_tenth() {
    let mut device = device("resume");
    device.take_published();
    device.advance(10 * MINUTE);
    let published = device.take_published();
    assert!(published.len() > 10 && published.len() < 30, "{}", published.len());
    assert!(published.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(published.iter().all(|(name, _)| name == "current_temperature"));
}

#[test]
fn read_only_properties_and_values_out_of_range_are_refused() {
    let mut device = device("resume");
    let refused = [("action", "off"), ("current_temperature", "20"), ("target_temperature", "31")];
    for (property, value) in refused {
        assert!(matches!(device.set(property, value), Reply::Failed(_)), "{property}");
    }
}

#[test]
fn target_and_mode_survive_a_restart() {
    let mut device = device("resume");
    device.set_all(json!({"mode": "heat", "target_temperature": 21.5}));
    device.take_published();
    device.restart();
    assert_eq!(text(&device, "target_temperature"), "21.5");
    assert_eq!(text(&device, "mode"), "heat");
    assert_eq!(text(&device, "action"), "heating");
}

#[test]
fn the_heater_is_off_when_the_device_ends() {
    let mut device = device("resume");
    device.set("mode", "heat");
    let before = device.logs().len();
    device.restart();
    assert_eq!(device.logs()[before], "DEBUG simulated heater on=false");
}

#[test]
fn after_a_consumed_absence_resume_heats_on() {
    let mut device = device("resume");
    device.set("mode", "heat");
    device.take_published();
    device.absence(consumed("01"));
    let published = device.take_published();
    assert!(published.contains(&("mode".to_owned(), "heat".to_owned())));
    assert!(published.contains(&("target_temperature".to_owned(), "20".to_owned())));
    assert_eq!(text(&device, "action"), "heating");
}

#[test]
fn after_a_consumed_absence_keep_is_off_until_somebody_sets_the_mode() {
    let mut device = device("keep");
    device.set("mode", "heat");
    device.absence(json!({"generation": "01", "outcome": "unknown", "acknowledgements": []}));
    assert_eq!(text(&device, "mode"), "heat");
    device.absence(consumed("01"));
    assert_eq!((text(&device, "mode"), text(&device, "action")), ("off".into(), "off".into()));
    device.set("mode", "heat");
    device.absence(consumed("01"));
    assert_eq!(text(&device, "mode"), "heat");
}

#[test]
fn a_guardian_that_failed_did_not_act() {
    let mut device = device("keep");
    device.set("mode", "heat");
    let mut absence = consumed("01");
    absence["acknowledgements"][0]["status"] = json!(503);
    device.absence(absence.clone());
    assert_eq!(text(&device, "mode"), "heat");
    absence["acknowledgements"][0]["status"] = json!(200);
    device.absence(absence);
    assert_eq!(text(&device, "mode"), "off");
}

#[test]
fn presets_bring_their_targets_and_a_boost_ends() {
    let mut device = device("resume");
    assert!(device.set_all(json!({"mode": "heat", "preset": "eco"})).is_done());
    assert_eq!(text(&device, "target_temperature"), "18");
    assert!(device.set("preset", "boost").is_done());
    assert_eq!(text(&device, "target_temperature"), "24");
    device.restart();
    device.advance(HOUR + MINUTE);
    assert_eq!(
        (text(&device, "preset"), text(&device, "target_temperature")),
        ("eco".into(), "18".into())
    );
    assert!(matches!(device.set("mode", "auto"), Reply::Failed(_)), "there is no schedule");
}

#[test]
fn a_wrong_config_names_its_place() {
    let path = |config: Value| TestDevice::<Thermostat>::problems(&config).remove(0).path;
    assert_eq!(path(json!({"backend": "zigbee"})), "backend");
    assert_eq!(path(json!({"period": 0})), "period");
    assert_eq!(path(json!({"periode": 1})), "periode");
    assert_eq!(path(json!({"simulated": {"loss": -0.1}})), "simulated.loss");
    assert_eq!(path(json!({"simulated": {"loss": "x"}})), "simulated.loss");
    assert_eq!(path(json!({"simulated": {"leak": 1}})), "simulated.leak");
    let two = json!({"initial_target": 4, "hysteresis": 9});
    assert_eq!(TestDevice::<Thermostat>::problems(&two).len(), 2);
}
