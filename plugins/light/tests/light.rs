//! The light without a hub.

use hearthd_light::Light;
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::{Value, json};

fn full(after_absence: &str) -> TestDevice<Light> {
    TestDevice::new(json!({
        "brightness": true,
        "color_temperature": {"min": 2000, "max": 6500},
        "after_absence": after_absence,
    }))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn lamp_lines(device: &TestDevice<Light>) -> usize {
    device.logs().iter().filter(|line| line.starts_with("DEBUG lamp")).count()
}

fn absence(generation: &str, outcome: &str) -> Value {
    json!({
        "generation": generation,
        "outcome": outcome,
        "acknowledgements": [{"payload": "all off", "before_fence": true}],
    })
}

#[test]
fn a_plain_light_has_a_switch_alone() {
    let mut device = TestDevice::<Light>::new(json!({}));
    assert!(device.set("power", "ON").is_done());
    assert!(matches!(device.set("brightness", "5"), Reply::Failed(_)));
    assert_eq!(device.published_all(), pairs(&[("power", "OFF"), ("power", "ON")]));
}

#[test]
fn a_new_light_publishes_every_property() {
    let expected = [
        ("power", "OFF"),
        ("brightness", "100"),
        ("transition", "0"),
        ("color_temperature", "2000"),
    ];
    assert_eq!(full("keep").published_all(), pairs(&expected));
}

#[test]
fn a_light_with_white_and_colors_says_which_it_shows() {
    let mut device = TestDevice::<Light>::new(json!({
        "color_temperature": {"min": 2000, "max": 6500}, "color": true,
    }));
    let first = [
        ("power", "OFF"),
        ("color_temperature", "2000"),
        ("color", "#ffffff"),
        ("color_mode", "color_temperature"),
    ];
    assert_eq!(device.take_published(), pairs(&first));
    device.set("color", "#ff0000");
    assert_eq!(device.take_published(), pairs(&[("color", "#ff0000"), ("color_mode", "color")]));
    device.restart();
    assert_eq!(device.published("color_mode").as_deref(), Some("color"));
    device.take_published();
    device.set("color_temperature", "3000");
    let white = [("color_temperature", "3000"), ("color_mode", "color_temperature")];
    assert_eq!(device.take_published(), pairs(&white));
    assert!(matches!(device.set("color_mode", "color"), Reply::Failed(_)));
}

#[test]
fn brightness_switches_on_and_off() {
    let mut device = full("keep");
    device.take_published();
    device.set("brightness", "40");
    assert_eq!(device.take_published(), pairs(&[("power", "ON"), ("brightness", "40")]));
    device.set("brightness", "0");
    assert_eq!(device.take_published(), pairs(&[("power", "OFF"), ("brightness", "0")]));
    device.set("power", "ON");
    assert_eq!(device.take_published(), pairs(&[("power", "ON"), ("brightness", "40")]));
}

#[test]
fn power_in_the_same_command_wins_over_brightness() {
    let mut device = full("keep");
    assert!(device.set_all(json!({"brightness": 30, "power": "OFF"})).is_done());
    assert_eq!(device.published("power").as_deref(), Some("OFF"));
    assert_eq!(device.published("brightness").as_deref(), Some("30"));
}

#[test]
fn a_contradiction_changes_nothing() {
    let mut device = full("keep");
    device.take_published();
    let values = json!({"brightness": 0, "power": "ON", "color_temperature": 3000});
    assert!(matches!(device.set_all(values), Reply::Failed(_)));
    assert_eq!(device.take_published(), []);
}

#[test]
fn an_unchanged_value_is_not_published_again() {
    let mut device = full("keep");
    device.set("color_temperature", "3000");
    device.take_published();
    assert!(device.set("color_temperature", "3000").is_done());
    assert_eq!(device.take_published(), []);
}

#[test]
fn state_survives_a_restart() {
    let mut device = full("keep");
    device.set_all(json!({"brightness": 30, "color_temperature": 3000}));
    device.take_published();
    device.restart();
    let expected =
        [("power", "ON"), ("brightness", "30"), ("transition", "0"), ("color_temperature", "3000")];
    assert_eq!(device.take_published(), pairs(&expected));
}

#[test]
fn after_a_consumed_absence_keep_does_nothing() {
    let mut device = full("keep");
    device.set("power", "ON");
    let (lines, _) = (lamp_lines(&device), device.take_published());
    device.absence(absence("01", "consumed"));
    assert_eq!((lamp_lines(&device), device.take_published()), (lines, Vec::new()));
}

#[test]
fn after_a_consumed_absence_restore_asserts_the_state_again() {
    let mut device = full("restore");
    device.set("power", "ON");
    let (lines, _) = (lamp_lines(&device), device.take_published());
    device.absence(absence("01", "consumed"));
    assert_eq!(lamp_lines(&device), lines + 1);
    let expected = [
        ("power", "ON"),
        ("brightness", "100"),
        ("transition", "0"),
        ("color_temperature", "2000"),
    ];
    assert_eq!(device.take_published(), pairs(&expected));
}

#[test]
fn after_a_consumed_absence_off_switches_off_once() {
    let mut device = full("off");
    device.set("power", "ON");
    device.absence(absence("01", "unknown"));
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    device.absence(absence("01", "consumed"));
    assert_eq!(device.published("power").as_deref(), Some("OFF"));
    device.set("power", "ON");
    device.absence(absence("01", "consumed"));
    assert_eq!(device.published("power").as_deref(), Some("ON"));
}

#[test]
fn a_guardian_that_failed_did_not_act() {
    let mut device = full("off");
    device.set("power", "ON");
    let mut absence = absence("01", "consumed");
    absence["acknowledgements"][0]["status"] = json!(503);
    device.absence(absence.clone());
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    absence["acknowledgements"] = json!([{"payload": "off", "before_fence": true, "status": 204}]);
    device.absence(absence);
    assert_eq!(device.published("power").as_deref(), Some("OFF"));
}

#[test]
fn a_wrong_config_names_its_place() {
    let path = |config: Value| TestDevice::<Light>::problems(&config).remove(0).path;
    assert_eq!(path(json!({"backend": "zigbee"})), "backend");
    assert_eq!(path(json!({"colour": 1})), "colour");
    assert_eq!(path(json!({"color_temperature": {"min": 2000}})), "color_temperature");
    assert_eq!(
        path(json!({"color_temperature": {"min": 6500, "max": 2000}})),
        "color_temperature.min"
    );
    assert_eq!(path(json!({"color_temperature": {"min": 1, "max": "x"}})), "color_temperature.max");
}
