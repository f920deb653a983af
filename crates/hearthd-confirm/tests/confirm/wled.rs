//! WLED: brightness and color when they change.

use hearthd_confirm::{Color, Wanted};

use crate::rig::Rig;

const TABLE: &str = r#"wled = { topic = "wled/desk" }"#;

#[test]
fn brightness_and_color_confirm_once_both_are_there() {
    let mut rig = Rig::of(TABLE);
    let color = Color { hue: 0.0, saturation: 100.0 };
    let wanted =
        Wanted { brightness: Some(50), color: Some(color), transition: 0.7, ..Wanted::default() };
    let id = rig.command(wanted);
    let set = r#"{"bri":128,"on":true,"seg":{"col":[[255,0,0]]},"tt":7}"#;
    rig.expect_sent(&[("wled/desk/api", set)]);
    rig.pass(50);
    rig.live("wled/desk/g", "128");
    rig.pass(500);
    rig.expect_open(id);
    rig.live("wled/desk/c", "#FF0000");
    rig.pass(110);
    rig.expect_verdict(
        id,
        200,
        "confirmed: power ON, brightness 50 %, color hue 0, saturation 100 %",
    );
}

#[test]
fn brightness_0_is_off() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(false);
    rig.expect_sent(&[("wled/desk/api", r#"{"on":false}"#)]);
    rig.live("wled/desk/g", "0");
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power OFF");
}

#[test]
fn what_does_not_change_is_not_said_and_stays_open() {
    let mut rig = Rig::of(TABLE);
    rig.live("wled/desk/g", "0");
    let id = rig.switch(false);
    rig.pass(5_000);
    rig.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn its_last_will_ends_the_command_before_it_is_sent() {
    let mut rig = Rig::of(TABLE);
    rig.retained("wled/desk/status", "offline");
    let id = rig.switch(true);
    rig.expect_verdict(id, 503, "unreachable: the device is offline");
}

#[test]
fn a_color_temperature_is_what_it_cannot_say() {
    let mut rig = Rig::of(TABLE);
    let id = rig.command(Wanted { color_temperature: Some(3_000), ..Wanted::default() });
    rig.expect_verdict(id, 422, "the device has no color_temperature");
}
