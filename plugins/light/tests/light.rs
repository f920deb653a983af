//! The light on the bench.

use hearthd_light::Light;
use hearthd_sdk::harness::{Bench, Reply};
use serde_json::{Value, json};

fn full(after_absence: &str) -> Bench<Light> {
    Bench::new(json!({
        "brightness": true,
        "color_temperature": {"min": 2000, "max": 6500},
        "after_absence": after_absence,
    }))
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn lamp_lines(bench: &Bench<Light>) -> usize {
    bench.logs().iter().filter(|line| line.starts_with("DEBUG lamp")).count()
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
    let mut bench = Bench::<Light>::new(json!({}));
    assert!(bench.set("power", "ON").is_done());
    assert!(matches!(bench.set("brightness", "5"), Reply::Failed(_)));
    assert_eq!(bench.published_all(), pairs(&[("power", "OFF"), ("power", "ON")]));
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
fn brightness_switches_on_and_off() {
    let mut bench = full("keep");
    bench.take_published();
    bench.set("brightness", "40");
    assert_eq!(bench.take_published(), pairs(&[("power", "ON"), ("brightness", "40")]));
    bench.set("brightness", "0");
    assert_eq!(bench.take_published(), pairs(&[("power", "OFF"), ("brightness", "0")]));
    bench.set("power", "ON");
    assert_eq!(bench.take_published(), pairs(&[("power", "ON"), ("brightness", "40")]));
}

#[test]
fn power_in_the_same_command_wins_over_brightness() {
    let mut bench = full("keep");
    assert!(bench.set_all(json!({"brightness": 30, "power": "OFF"})).is_done());
    assert_eq!(bench.published("power").as_deref(), Some("OFF"));
    assert_eq!(bench.published("brightness").as_deref(), Some("30"));
}

#[test]
fn a_contradiction_changes_nothing() {
    let mut bench = full("keep");
    bench.take_published();
    let values = json!({"brightness": 0, "power": "ON", "color_temperature": 3000});
    assert!(matches!(bench.set_all(values), Reply::Failed(_)));
    assert_eq!(bench.take_published(), []);
}

#[test]
fn an_unchanged_value_is_not_published_again() {
    let mut bench = full("keep");
    bench.set("color_temperature", "3000");
    bench.take_published();
    assert!(bench.set("color_temperature", "3000").is_done());
    assert_eq!(bench.take_published(), []);
}

#[test]
fn state_survives_a_restart() {
    let mut bench = full("keep");
    bench.set_all(json!({"brightness": 30, "color_temperature": 3000}));
    bench.take_published();
    bench.restart();
    let expected =
        [("power", "ON"), ("brightness", "30"), ("transition", "0"), ("color_temperature", "3000")];
    assert_eq!(bench.take_published(), pairs(&expected));
}

#[test]
fn after_a_consumed_absence_keep_does_nothing() {
    let mut bench = full("keep");
    bench.set("power", "ON");
    let (lines, _) = (lamp_lines(&bench), bench.take_published());
    bench.absence(absence("01", "consumed"));
    assert_eq!((lamp_lines(&bench), bench.take_published()), (lines, Vec::new()));
}

#[test]
fn after_a_consumed_absence_restore_asserts_the_state_again() {
    let mut bench = full("restore");
    bench.set("power", "ON");
    let (lines, _) = (lamp_lines(&bench), bench.take_published());
    bench.absence(absence("01", "consumed"));
    assert_eq!(lamp_lines(&bench), lines + 1);
    let expected = [
        ("power", "ON"),
        ("brightness", "100"),
        ("transition", "0"),
        ("color_temperature", "2000"),
    ];
    assert_eq!(bench.take_published(), pairs(&expected));
}

#[test]
fn after_a_consumed_absence_off_switches_off_once() {
    let mut bench = full("off");
    bench.set("power", "ON");
    bench.absence(absence("01", "unknown"));
    assert_eq!(bench.published("power").as_deref(), Some("ON"));
    bench.absence(absence("01", "consumed"));
    assert_eq!(bench.published("power").as_deref(), Some("OFF"));
    bench.set("power", "ON");
    bench.absence(absence("01", "consumed"));
    assert_eq!(bench.published("power").as_deref(), Some("ON"));
}

#[test]
fn a_guardian_that_failed_did_not_act() {
    let mut bench = full("off");
    bench.set("power", "ON");
    let mut absence = absence("01", "consumed");
    absence["acknowledgements"][0]["status"] = json!(503);
    bench.absence(absence.clone());
    assert_eq!(bench.published("power").as_deref(), Some("ON"));
    absence["acknowledgements"] = json!([{"payload": "off", "before_fence": true, "status": 204}]);
    bench.absence(absence);
    assert_eq!(bench.published("power").as_deref(), Some("OFF"));
}

#[test]
fn a_wrong_config_names_its_place() {
    let path = |config: Value| Bench::<Light>::problems(&config).remove(0).path;
    assert_eq!(path(json!({"backend": "zigbee"})), "backend");
    assert_eq!(path(json!({"colour": 1})), "colour");
    assert_eq!(path(json!({"color_temperature": {"min": 2000}})), "color_temperature");
    assert_eq!(
        path(json!({"color_temperature": {"min": 6500, "max": 2000}})),
        "color_temperature.min"
    );
    assert_eq!(path(json!({"color_temperature": {"min": 1, "max": "x"}})), "color_temperature.max");
}
