//! The thermostat on the bench.

use std::time::Duration;

use hearthd_sdk::harness::{Bench, Reply};
use hearthd_thermostat::Thermostat;
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn bench(after_absence: &str) -> Bench<Thermostat> {
    Bench::new(json!({"after_absence": after_absence}))
}

fn text(bench: &Bench<Thermostat>, property: &str) -> String {
    bench.published(property).expect("published")
}

fn temperature(bench: &Bench<Thermostat>) -> f64 {
    text(bench, "current_temperature").parse().expect("a number")
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
    let bench = bench("resume");
    assert_eq!(text(&bench, "target_temperature"), "20");
    assert_eq!(text(&bench, "current_temperature"), "18");
    assert_eq!(text(&bench, "mode"), "off");
    assert_eq!(text(&bench, "action"), "off");
}

#[test]
fn heating_warms_to_the_target_and_idles() {
    let mut bench = bench("resume");
    assert!(bench.set("mode", "heat").is_done());
    assert_eq!(text(&bench, "action"), "heating");
    for _ in 0..60 {
        bench.advance(Duration::from_secs(10));
        assert!(temperature(&bench) < 20.3);
        if text(&bench, "action") == "idle" {
            break;
        }
    }
    assert_eq!(text(&bench, "action"), "idle");
    for _ in 0..120 {
        bench.advance(MINUTE);
        assert!((19.8..=20.3).contains(&temperature(&bench)), "{}", temperature(&bench));
    }
}

#[test]
fn off_cools() {
    let mut bench = Bench::<Thermostat>::new(json!({"frost": 0}));
    bench.set("mode", "heat");
    bench.advance(HOUR);
    assert!(temperature(&bench) > 19.0);
    bench.set("mode", "off");
    assert_eq!(text(&bench, "action"), "off");
    bench.advance(12 * HOUR);
    assert!(temperature(&bench) < 6.0);
}

#[test]
fn a_target_below_the_room_stays_idle() {
    let mut bench = bench("resume");
    assert!(bench.set_all(json!({"mode": "heat", "target_temperature": 10})).is_done());
    bench.advance(MINUTE);
    assert_eq!(text(&bench, "action"), "idle");
    assert!(bench.published_all().iter().all(|(_, value)| value != "heating"));
}

#[test]
fn the_temperature_is_published_once_for_each_tenth() {
    let mut bench = bench("resume");
    bench.take_published();
    bench.advance(10 * MINUTE);
    let published = bench.take_published();
    assert!(published.len() > 10 && published.len() < 30, "{}", published.len());
    assert!(published.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(published.iter().all(|(name, _)| name == "current_temperature"));
}

#[test]
fn read_only_properties_and_values_out_of_range_are_refused() {
    let mut bench = bench("resume");
    let refused = [("action", "off"), ("current_temperature", "20"), ("target_temperature", "31")];
    for (property, value) in refused {
        assert!(matches!(bench.set(property, value), Reply::Failed(_)), "{property}");
    }
}

#[test]
fn target_and_mode_survive_a_restart() {
    let mut bench = bench("resume");
    bench.set_all(json!({"mode": "heat", "target_temperature": 21.5}));
    bench.take_published();
    bench.restart();
    assert_eq!(text(&bench, "target_temperature"), "21.5");
    assert_eq!(text(&bench, "mode"), "heat");
    assert_eq!(text(&bench, "action"), "heating");
}

#[test]
fn the_heater_is_off_when_the_device_ends() {
    let mut bench = bench("resume");
    bench.set("mode", "heat");
    let before = bench.logs().len();
    bench.restart();
    assert_eq!(bench.logs()[before], "DEBUG simulated heater on=false");
}

#[test]
fn after_a_consumed_absence_resume_heats_on() {
    let mut bench = bench("resume");
    bench.set("mode", "heat");
    bench.take_published();
    bench.absence(consumed("01"));
    let published = bench.take_published();
    assert!(published.contains(&("mode".to_owned(), "heat".to_owned())));
    assert!(published.contains(&("target_temperature".to_owned(), "20".to_owned())));
    assert_eq!(text(&bench, "action"), "heating");
}

#[test]
fn after_a_consumed_absence_keep_is_off_until_somebody_sets_the_mode() {
    let mut bench = bench("keep");
    bench.set("mode", "heat");
    bench.absence(json!({"generation": "01", "outcome": "unknown", "acknowledgements": []}));
    assert_eq!(text(&bench, "mode"), "heat");
    bench.absence(consumed("01"));
    assert_eq!((text(&bench, "mode"), text(&bench, "action")), ("off".into(), "off".into()));
    bench.set("mode", "heat");
    bench.absence(consumed("01"));
    assert_eq!(text(&bench, "mode"), "heat");
}

#[test]
fn a_guardian_that_failed_did_not_act() {
    let mut bench = bench("keep");
    bench.set("mode", "heat");
    let mut absence = consumed("01");
    absence["acknowledgements"][0]["status"] = json!(503);
    bench.absence(absence.clone());
    assert_eq!(text(&bench, "mode"), "heat");
    absence["acknowledgements"][0]["status"] = json!(200);
    bench.absence(absence);
    assert_eq!(text(&bench, "mode"), "off");
}

#[test]
fn presets_bring_their_targets_and_a_boost_ends() {
    let mut bench = bench("resume");
    assert!(bench.set_all(json!({"mode": "heat", "preset": "eco"})).is_done());
    assert_eq!(text(&bench, "target_temperature"), "18");
    assert!(bench.set("preset", "boost").is_done());
    assert_eq!(text(&bench, "target_temperature"), "24");
    bench.restart();
    bench.advance(HOUR + MINUTE);
    assert_eq!(
        (text(&bench, "preset"), text(&bench, "target_temperature")),
        ("eco".into(), "18".into())
    );
    assert!(matches!(bench.set("mode", "auto"), Reply::Failed(_)), "there is no schedule");
}

#[test]
fn a_wrong_config_names_its_place() {
    let path = |config: Value| Bench::<Thermostat>::problems(&config).remove(0).path;
    assert_eq!(path(json!({"backend": "zigbee"})), "backend");
    assert_eq!(path(json!({"period": 0})), "period");
    assert_eq!(path(json!({"periode": 1})), "periode");
    assert_eq!(path(json!({"simulated": {"loss": -0.1}})), "simulated.loss");
    assert_eq!(path(json!({"simulated": {"loss": "x"}})), "simulated.loss");
    assert_eq!(path(json!({"simulated": {"leak": 1}})), "simulated.leak");
    let two = json!({"initial_target": 4, "hysteresis": 9});
    assert_eq!(Bench::<Thermostat>::problems(&two).len(), 2);
}
