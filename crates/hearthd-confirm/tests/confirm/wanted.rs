//! What is wanted, and what of it makes no sense.

use std::time::Duration;

use hearthd_confirm::{Color, Command, CommandId, Event, Switch, Wanted};

use crate::scene::Scene;

#[test]
fn what_makes_no_sense_is_answered_422_and_not_sent() {
    let wanted = Wanted::default;
    let cases = [
        (wanted(), "nothing is wanted"),
        (
            Wanted { power: Some(Switch::On), brightness: Some(0), ..wanted() },
            "a light at brightness 0 is not on",
        ),
        (
            Wanted { power: Some(Switch::Toggle), brightness: Some(9), ..wanted() },
            "a brightness and a toggle contradict each other",
        ),
        (Wanted { brightness: Some(101), ..wanted() }, "brightness 101 is not 0 to 100 %"),
        (Wanted { color_temperature: Some(0), ..wanted() }, "0 is not a color temperature"),
        (
            Wanted { power: Some(Switch::On), transition: -1.0, ..wanted() },
            "a transition of -1 s is not 0 to 3600 s",
        ),
        (
            Wanted { power: Some(Switch::On), transition: f64::NAN, ..wanted() },
            "a transition of NaN s is not 0 to 3600 s",
        ),
        (
            Wanted { color: Some(Color { hue: 400.0, saturation: 1.0 }), ..wanted() },
            "a color has a hue of 0 to 360 and a saturation of 0 to 100",
        ),
        (
            Wanted {
                color: Some(Color { hue: 40.0, saturation: 1.0 }),
                color_temperature: Some(3_000),
                ..wanted()
            },
            "a color and a color temperature exclude each other",
        ),
        (Wanted { setpoint: Some(f64::INFINITY), ..wanted() }, "inf is not a temperature"),
    ];
    for (wanted, reason) in cases {
        let mut scene = Scene::of(r#"zigbee2mqtt = { topic = "zigbee2mqtt/x" }"#);
        let id = scene.command(wanted);
        scene.expect_verdict(id, 422, reason);
        scene.expect_sent(&[]);
    }
}

#[test]
fn what_is_dark_is_told_no_brightness_or_color() {
    let mut scene = Scene::of(r#"tasmota = { topic = "k" }"#);
    let wanted = Wanted {
        power: Some(Switch::Off),
        brightness: Some(30),
        color_temperature: Some(3_000),
        ..Wanted::default()
    };
    scene.command(wanted);
    scene.expect_sent(&[("cmnd/k/POWER", "OFF")]);
}

#[test]
fn a_deadline_that_has_passed_is_answered_at_once() {
    let mut scene = Scene::of(r#"tasmota = { topic = "k" }"#);
    let wanted = Wanted { power: Some(Switch::On), ..Wanted::default() };
    let command = Command { id: CommandId(1), wanted, deadline: Duration::from_millis(scene.now) };
    scene.handle(Event::Command(command));
    scene.expect_verdict(1, 503, "unreachable: no time is left to ask it");
    scene.expect_sent(&[]);
}

#[test]
fn a_publication_expires_with_its_command() {
    let mut scene = Scene::of(r#"tasmota = { topic = "k" }"#);
    scene.switch(true);
    scene.pass(500);
    let expiries: Vec<u128> = scene.take().iter().map(|p| p.expiry.as_millis()).collect();
    assert_eq!(expiries, [5_000, 4_500]);
}
