//! Devices that sleep, and commands that replace each other.

use hearthd_confirm::{Queued, Wanted};

use crate::scene::Scene;

const VALVE: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/trv", sleepy = true }"#;
const STATE: &str = "zigbee2mqtt/trv";

fn degrees(celsius: f64) -> Wanted {
    Wanted { setpoint: Some(celsius), ..Wanted::default() }
}

#[test]
fn a_valve_takes_its_set_point_when_it_wakes() {
    let mut scene = Scene::of(VALVE);
    let id = scene.command(degrees(21.0));
    scene.expect_sent(&[("zigbee2mqtt/trv/set", r#"{"occupied_heating_setpoint":21.0}"#)]);
    scene.pass(5_000);
    scene.expect_verdict(id, 409, "indeterminate: queued, the device takes it when it wakes");
    assert_eq!(scene.queued, [(id, Queued::Pending)]);
    scene.take();
    scene.pass(600_000);
    scene.expect_sent(&[]);
    // It wakes: the old state, the new one, and the answer to the read that this causes.
    scene.live(STATE, r#"{"occupied_heating_setpoint":19}"#);
    scene.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    scene.pass(50);
    scene.expect_sent(&[("zigbee2mqtt/trv/get", r#"{"occupied_heating_setpoint":""}"#)]);
    scene.pass(100);
    scene.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    scene.pass(3_600_000);
    assert_eq!(scene.queued, [(id, Queued::Pending), (id, Queued::Confirmed)]);
    assert_eq!(scene.verdicts.len(), 1);
}

#[test]
fn a_valve_that_is_awake_answers_within_the_deadline() {
    let mut scene = Scene::of(VALVE);
    let id = scene.command(degrees(21.0));
    scene.pass(100);
    scene.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    scene.pass(100);
    scene.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    scene.pass(1_000);
    scene.expect_verdict(id, 200, "confirmed: setpoint 21.0 °C");
    assert_eq!(scene.queued, []);
}

#[test]
fn a_valve_that_never_wakes_is_overdue_after_half_an_hour() {
    let mut scene = Scene::of(VALVE);
    let id = scene.command(degrees(21.0));
    scene.pass(5_000 + 30 * 60_000);
    assert_eq!(scene.queued, [(id, Queued::Pending), (id, Queued::Overdue)]);
    assert_eq!(scene.confirmer.poll_timeout(), None);
}

#[test]
fn a_newer_set_point_replaces_one_that_waits_without_a_second_verdict() {
    let mut scene = Scene::of(VALVE);
    let first = scene.command(degrees(21.0));
    scene.pass(5_000);
    let second = scene.command(degrees(17.0));
    scene.pass(5_000);
    assert_eq!(scene.verdicts.len(), 2);
    assert_eq!(scene.queued, [(first, Queued::Pending), (second, Queued::Pending)]);
    scene.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    scene.pass(60_000);
    assert_eq!(scene.queued.len(), 2, "the old set point confirms nothing");
}

#[test]
fn another_key_can_hold_the_set_point() {
    let table =
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/trv", setpoint = "current_heating_setpoint" }"#;
    let mut scene = Scene::of(table);
    scene.command(degrees(20.5));
    scene.expect_sent(&[("zigbee2mqtt/trv/set", r#"{"current_heating_setpoint":20.5}"#)]);
}

#[test]
fn commands_for_different_properties_do_not_replace_each_other() {
    let mut scene = Scene::of(r#"tasmota = { topic = "k" }"#);
    let power = scene.switch(true);
    let warm = scene.command(Wanted { color_temperature: Some(2_700), ..Wanted::default() });
    scene.pass(20);
    scene.live("stat/k/RESULT", r#"{"POWER":"ON","CT":370}"#);
    scene.pass(110);
    scene.expect_verdict(power, 200, "confirmed: power ON");
    scene.expect_verdict(warm, 200, "confirmed: color_temperature 2703 K");
}

#[test]
fn a_brightness_replaces_a_power() {
    let mut scene = Scene::of(r#"tasmota = { topic = "k" }"#);
    let power = scene.switch(false);
    scene.command(Wanted { brightness: Some(30), ..Wanted::default() });
    scene.expect_verdict(power, 409, "indeterminate: a newer command replaced it");
}
