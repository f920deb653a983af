//! WLED: brightness and color when they change.

use hearthd_confirm::{Color, Wanted};

use crate::scene::Scene;

const TABLE: &str = r#"wled = { topic = "wled/desk" }"#;

#[test]
fn brightness_and_color_confirm_once_both_are_there() {
    let mut scene = Scene::of(TABLE);
    let color = Color { hue: 0.0, saturation: 100.0 };
    let wanted =
        Wanted { brightness: Some(50), color: Some(color), transition: 0.7, ..Wanted::default() };
    let id = scene.command(wanted);
    let set = r#"{"bri":128,"on":true,"seg":{"col":[[255,0,0]]},"tt":7}"#;
    scene.expect_sent(&[("wled/desk/api", set)]);
    scene.pass(50);
    scene.live("wled/desk/g", "128");
    scene.pass(500);
    scene.expect_open(id);
    scene.live("wled/desk/c", "#FF0000");
    scene.pass(110);
    scene.expect_verdict(
        id,
        200,
        "confirmed: power ON, brightness 50 %, color hue 0, saturation 100 %",
    );
}

#[test]
fn brightness_0_is_off() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(false);
    scene.expect_sent(&[("wled/desk/api", r#"{"on":false}"#)]);
    scene.live("wled/desk/g", "0");
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power OFF");
}

#[test]
fn what_does_not_change_is_not_said_and_stays_open() {
    let mut scene = Scene::of(TABLE);
    scene.live("wled/desk/g", "0");
    let id = scene.switch(false);
    scene.pass(5_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn its_last_will_ends_the_command_before_it_is_sent() {
    let mut scene = Scene::of(TABLE);
    scene.retained("wled/desk/status", "offline");
    let id = scene.switch(true);
    scene.expect_verdict(id, 503, "unreachable: the device is offline");
}

#[test]
fn a_color_temperature_is_what_it_cannot_say() {
    let mut scene = Scene::of(TABLE);
    let id = scene.command(Wanted { color_temperature: Some(3_000), ..Wanted::default() });
    scene.expect_verdict(id, 422, "the device has no color_temperature");
}
