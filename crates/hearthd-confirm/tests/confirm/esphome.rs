//! ESPHome: a state after each command, and numbers that must be whole.

use hearthd_confirm::{Color, Wanted};

use crate::scene::Scene;

const LIGHT: &str = r#"esphome = { topic = "kitchen", light = "ceiling" }"#;
const STATE: &str = "kitchen/light/ceiling/state";
const COMMAND: &str = "kitchen/light/ceiling/command";

#[test]
fn the_state_after_a_command_confirms_once_it_stands() {
    let mut scene = Scene::of(LIGHT);
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = scene.command(wanted);
    scene.expect_sent(&[(COMMAND, r#"{"brightness":102,"color_temp":333,"state":"ON"}"#)]);
    scene.pass(30);
    // It truncates color temperatures.
    let state = r#"{"color_mode":"color_temp","state":"ON","brightness":102,"color_temp":332,"color":{"r":255,"g":200,"b":100}}"#;
    scene.live(STATE, state);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 3012 K");
}

#[test]
fn every_number_that_is_sent_is_whole() {
    let mut scene = Scene::of(LIGHT);
    for percent in 1..=100 {
        for transition in [0.5, 1.0, 1.2] {
            let wanted = Wanted {
                brightness: Some(percent),
                color_temperature: Some(2_000 + u16::from(percent)),
                transition,
                ..Wanted::default()
            };
            scene.command(wanted);
            let (_, payload) = scene.sent().remove(0);
            let json: serde_json::Value = serde_json::from_str(&payload).unwrap();
            for key in ["brightness", "color_temp", "transition"] {
                assert!(json[key].as_u64().is_some_and(|number| number > 0), "{payload}");
            }
        }
    }
}

#[test]
fn a_transition_shorter_than_a_second_is_one() {
    let mut scene = Scene::of(LIGHT);
    scene.command(Wanted { brightness: Some(100), transition: 0.5, ..Wanted::default() });
    scene.expect_sent(&[(COMMAND, r#"{"brightness":255,"state":"ON","transition":1}"#)]);
}

#[test]
fn a_retained_state_confirms_nothing_and_a_silent_node_is_told_again() {
    let mut scene = Scene::of(LIGHT);
    scene.retained(STATE, r#"{"state":"OFF"}"#);
    let id = scene.switch(true);
    scene.take();
    scene.retained(STATE, r#"{"state":"ON"}"#);
    scene.pass(1_000);
    scene.expect_sent(&[(COMMAND, r#"{"state":"ON"}"#)]);
    scene.pass(4_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power ON",
    );
}

#[test]
fn a_node_that_says_otherwise_is_told_again_and_has_refused() {
    let mut scene = Scene::of(LIGHT);
    let id = scene.switch(true);
    scene.take();
    for seconds in [1, 1, 2] {
        scene.live(STATE, r#"{"state":"OFF"}"#);
        scene.pass(seconds * 1_000 + 10);
        scene.expect_sent(&[(COMMAND, r#"{"state":"ON"}"#)]);
    }
    scene.live(STATE, r#"{"state":"OFF"}"#);
    scene.pass(1_000);
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn what_was_said_before_the_node_fell_silent_is_no_refusal() {
    let mut scene = Scene::of(LIGHT);
    let id = scene.switch(true);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    scene.pass(5_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn its_last_will_ends_the_command_before_it_is_sent() {
    let mut scene = Scene::of(LIGHT);
    scene.retained("kitchen/status", "offline");
    let id = scene.switch(true);
    scene.expect_sent(&[]);
    scene.expect_verdict(id, 503, "unreachable: the device is offline");
}

#[test]
fn a_color_is_red_green_and_blue() {
    let mut scene = Scene::of(LIGHT);
    let color = Color { hue: 120.0, saturation: 50.0 };
    let id = scene.command(Wanted { color: Some(color), ..Wanted::default() });
    scene.expect_sent(&[(COMMAND, r#"{"color":{"b":128,"g":255,"r":128}}"#)]);
    scene.live(STATE, r#"{"color_mode":"rgb","state":"ON","color":{"r":128,"g":255,"b":128}}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: color hue 120, saturation 50 %");
}

#[test]
fn a_switch_takes_words_and_has_nothing_else() {
    let mut scene = Scene::of(r#"esphome = { topic = "pump", switch = "relay" }"#);
    let id = scene.switch(true);
    scene.expect_sent(&[("pump/switch/relay/command", "ON")]);
    scene.live("pump/switch/relay/state", "ON");
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
    let id = scene.command(Wanted { brightness: Some(3), ..Wanted::default() });
    scene.expect_verdict(id, 422, "the device has no brightness");
}

#[test]
fn a_toggle_goes_by_the_state_that_is_known() {
    let toggle = Wanted { power: Some(hearthd_confirm::Switch::Toggle), ..Wanted::default() };
    let mut scene = Scene::of(LIGHT);
    let id = scene.command(toggle.clone());
    scene.expect_verdict(id, 409, "indeterminate: the present state is not known");
    scene.retained(STATE, r#"{"state":"ON"}"#);
    scene.command(toggle);
    scene.expect_sent(&[(COMMAND, r#"{"state":"OFF"}"#)]);
}
