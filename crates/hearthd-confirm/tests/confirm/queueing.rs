//! Devices that sleep, and commands that replace each other.

use hearthd_confirm::{Queued, Wanted};

use crate::rig::Rig;

const VALVE: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/trv", sleepy = true }"#;
const STATE: &str = "zigbee2mqtt/trv";

fn degrees(celsius: f64) -> Wanted {
    Wanted { setpoint: Some(celsius), ..Wanted::default() }
}

#[test]
fn a_valve_takes_its_set_point_when_it_wakes() {
    let mut rig = Rig::of(VALVE);
    let id = rig.command(degrees(21.0));
    rig.expect_sent(&[("zigbee2mqtt/trv/set", r#"{"occupied_heating_setpoint":21.0}"#)]);
    rig.pass(5_000);
    rig.expect_verdict(id, 409, "indeterminate: queued, the device takes it when it wakes");
    assert_eq!(rig.queued, [(id, Queued::Pending)]);
    rig.take();
    rig.pass(600_000);
    rig.expect_sent(&[]);
    // It wakes: the old state, the new one, and the answer to the read that this causes.
    rig.live(STATE, r#"{"occupied_heating_setpoint":19}"#);
    rig.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    rig.pass(50);
    rig.expect_sent(&[("zigbee2mqtt/trv/get", r#"{"occupied_heating_setpoint":""}"#)]);
    rig.pass(100);
    rig.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    rig.pass(3_600_000);
    assert_eq!(rig.queued, [(id, Queued::Pending), (id, Queued::Confirmed)]);
    assert_eq!(rig.verdicts.len(), 1);
}

#[test]
fn a_valve_that_is_awake_answers_within_the_deadline() {
    let mut rig = Rig::of(VALVE);
    let id = rig.command(degrees(21.0));
    rig.pass(100);
    rig.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    rig.pass(100);
    rig.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    rig.pass(1_000);
    rig.expect_verdict(id, 200, "confirmed: setpoint 21.0 °C");
    assert_eq!(rig.queued, []);
}

#[test]
fn a_valve_that_never_wakes_is_overdue_after_half_an_hour() {
    let mut rig = Rig::of(VALVE);
    let id = rig.command(degrees(21.0));
    rig.pass(5_000 + 30 * 60_000);
    assert_eq!(rig.queued, [(id, Queued::Pending), (id, Queued::Overdue)]);
    assert_eq!(rig.confirmer.poll_timeout(), None);
}

#[test]
fn a_newer_set_point_replaces_one_that_waits_without_a_second_verdict() {
    let mut rig = Rig::of(VALVE);
    let first = rig.command(degrees(21.0));
    rig.pass(5_000);
    let second = rig.command(degrees(17.0));
    rig.pass(5_000);
    assert_eq!(rig.verdicts.len(), 2);
    assert_eq!(rig.queued, [(first, Queued::Pending), (second, Queued::Pending)]);
    rig.live(STATE, r#"{"occupied_heating_setpoint":21}"#);
    rig.pass(60_000);
    assert_eq!(rig.queued.len(), 2, "the old set point confirms nothing");
}

#[test]
fn another_key_can_hold_the_set_point() {
    let table =
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/trv", setpoint = "current_heating_setpoint" }"#;
    let mut rig = Rig::of(table);
    rig.command(degrees(20.5));
    rig.expect_sent(&[("zigbee2mqtt/trv/set", r#"{"current_heating_setpoint":20.5}"#)]);
}

#[test]
fn commands_for_different_properties_do_not_replace_each_other() {
    let mut rig = Rig::of(r#"tasmota = { topic = "k" }"#);
    let power = rig.switch(true);
    let warm = rig.command(Wanted { color_temperature: Some(2_700), ..Wanted::default() });
    rig.pass(20);
    rig.live("stat/k/RESULT", r#"{"POWER":"ON","CT":370}"#);
    rig.pass(110);
    rig.expect_verdict(power, 200, "confirmed: power ON");
    rig.expect_verdict(warm, 200, "confirmed: color_temperature 2703 K");
}

#[test]
fn a_brightness_replaces_a_power() {
    let mut rig = Rig::of(r#"tasmota = { topic = "k" }"#);
    let power = rig.switch(false);
    rig.command(Wanted { brightness: Some(30), ..Wanted::default() });
    rig.expect_verdict(power, 409, "indeterminate: a newer command replaced it");
}
