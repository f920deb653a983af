//! Tasmota, with MQTT 3.1.1 and with MQTT 5.

use hearthd_confirm::{Color, PublishError, Wanted};

use crate::scene::Scene;

const TABLE: &str = r#"tasmota = { topic = "kitchen" }"#;
const RESULT: &str = "stat/kitchen/RESULT";

#[test]
fn a_result_with_the_wanted_value_confirms_once_it_stands() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    scene.expect_sent(&[("cmnd/kitchen/POWER", "ON")]);
    scene.pass(30);
    scene.live(RESULT, r#"{"POWER":"ON"}"#);
    scene.live("stat/kitchen/POWER", "ON");
    scene.expect_open(id);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
    assert_eq!(scene.observed[0], "Firmware: power ON");
}

#[test]
fn a_reply_by_correlation_data_confirms_at_once() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    let [set] = &scene.take()[..] else { panic!() };
    assert!(set.reply, "the command asks for a reply");
    scene.reply(set, r#"{"POWER":"ON"}"#);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_state_that_is_contradicted_at_once_confirms_nothing() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    scene.pass(5);
    scene.live(RESULT, r#"{"POWER":"ON"}"#);
    scene.pass(60);
    scene.live(RESULT, r#"{"POWER":"OFF"}"#);
    scene.pass(1_000);
    scene.expect_open(id);
}

#[test]
fn a_relay_that_stays_as_it_is_has_refused() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    for _ in 0..6 {
        scene.live(RESULT, r#"{"POWER":"OFF"}"#);
        scene.pass(1_000);
    }
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_command_whose_result_is_lost_is_asked_about() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    scene.take();
    scene.pass(500);
    scene.expect_sent(&[("cmnd/kitchen/POWER", "")]);
    scene.live(RESULT, r#"{"POWER":"ON"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn its_last_will_ends_the_command_before_it_is_sent() {
    let mut scene = Scene::of(TABLE);
    scene.retained("tele/kitchen/LWT", "Offline");
    let id = scene.switch(true);
    scene.expect_sent(&[]);
    scene.expect_verdict(id, 503, "unreachable: the device is offline");
    scene.live("tele/kitchen/LWT", "Online");
    scene.expect_sent(&[("cmnd/kitchen/POWER", "")]);
    let id = scene.switch(true);
    scene.expect_sent(&[("cmnd/kitchen/POWER", "ON")]);
    scene.expect_open(id);
}

#[test]
fn nothing_that_answers_leaves_it_open_what_became_of_the_command() {
    let mut scene = Scene::of(TABLE);
    scene.live("tele/kitchen/STATE", r#"{"POWER":"OFF"}"#);
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn a_retained_power_confirms_nothing() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    scene.retained("stat/kitchen/POWER", "ON");
    scene.pass(4_000);
    scene.expect_open(id);
    assert_eq!(scene.observed, ["claim: power ON"]);
}

#[test]
fn a_lamp_takes_one_command_for_each_value_and_power_last() {
    let mut scene = Scene::of(TABLE);
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = scene.command(wanted);
    scene.expect_sent(&[
        ("cmnd/kitchen/Dimmer", "40"),
        ("cmnd/kitchen/CT", "333"),
        ("cmnd/kitchen/POWER", "ON"),
    ]);
    scene.live(RESULT, r#"{"POWER":"ON","Dimmer":40,"Color":"66","CT":300}"#);
    scene.pass(50);
    scene.live(RESULT, r#"{"POWER":"ON","CT":333}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 3003 K");
}

#[test]
fn a_color_is_hue_and_saturation() {
    let mut scene = Scene::of(TABLE);
    let color = Color { hue: 240.0, saturation: 100.0 };
    let id = scene.command(Wanted { color: Some(color), ..Wanted::default() });
    scene.expect_sent(&[("cmnd/kitchen/HSBColor1", "240"), ("cmnd/kitchen/HSBColor2", "100")]);
    scene.live(RESULT, r#"{"POWER":"ON","HSBColor":"240,100,50","CT":0}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: color hue 240, saturation 100 %");
}

#[test]
fn brightness_0_switches_off_and_is_not_sent_as_a_brightness() {
    let mut scene = Scene::of(TABLE);
    scene.command(Wanted { brightness: Some(0), ..Wanted::default() });
    scene.expect_sent(&[("cmnd/kitchen/POWER", "OFF")]);
}

#[test]
fn what_tasmota_cannot_is_said_before_anything_is_sent() {
    let mut scene = Scene::of(TABLE);
    let id = scene.command(Wanted { brightness: Some(5), transition: 1.0, ..Wanted::default() });
    scene.expect_verdict(id, 422, "the device changes at once; it has no transition");
    let id = scene.command(Wanted { color_temperature: Some(1_900), ..Wanted::default() });
    scene.expect_verdict(id, 422, "Tasmota takes 2000 to 6536 K");
    let id = scene.command(Wanted { setpoint: Some(21.0), ..Wanted::default() });
    scene.expect_verdict(id, 422, "the device has no setpoint");
    scene.expect_sent(&[]);
}

#[test]
fn its_options_change_where_and_how_it_answers() {
    // FullTopic, SetOption26 (POWER1), SetOption4 (stat/../DIMMER), a relay by its number.
    let mut scene =
        Scene::of(r#"tasmota = { topic = "k", full_topic = "home/%topic%/%prefix%/" }"#);
    scene.switch(true);
    scene.expect_sent(&[("home/k/cmnd/POWER", "ON")]);
    scene.live("home/k/stat/RESULT", r#"{"POWER1":"ON"}"#);
    scene.pass(110);
    scene.expect_verdict(1, 200, "confirmed: power ON");
    scene.live("home/k/stat/DIMMER", r#"{"POWER1":"ON","Dimmer":7}"#);
    assert_eq!(scene.observed.last().unwrap(), "Firmware: power ON, brightness 7 %");

    let mut scene = Scene::of(r#"tasmota = { topic = "k", index = 2 }"#);
    let id = scene.switch(true);
    scene.expect_sent(&[("cmnd/k/POWER2", "ON")]);
    scene.live("stat/k/RESULT", r#"{"POWER1":"ON"}"#);
    scene.pass(300);
    scene.expect_open(id);
    scene.live("stat/k/RESULT", r#"{"POWER2":"ON"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_reply_that_knows_no_such_command_is_what_the_device_cannot() {
    let mut scene = Scene::of(TABLE);
    let id = scene.command(Wanted { color_temperature: Some(3_000), ..Wanted::default() });
    let [set] = &scene.take()[..] else { panic!() };
    scene.reply(set, r#"{"Command":"Unknown"}"#);
    scene.expect_verdict(id, 422, "Tasmota does not know the command");
}

#[test]
fn results_of_replaced_commands_do_not_confirm_the_newest() {
    let mut scene = Scene::of(TABLE);
    let (first, second, third) = (scene.switch(true), scene.switch(false), scene.switch(true));
    scene.expect_verdict(first, 409, "indeterminate: a newer command replaced it");
    scene.expect_verdict(second, 409, "indeterminate: a newer command replaced it");
    // The relay takes half a second for each, and does not do the third.
    scene.pass(500);
    scene.live(RESULT, r#"{"POWER":"ON"}"#);
    scene.pass(500);
    scene.live(RESULT, r#"{"POWER":"OFF"}"#);
    scene.pass(500);
    scene.live(RESULT, r#"{"POWER":"OFF"}"#);
    scene.pass(2_000);
    scene.expect_open(third);
}

#[test]
fn a_lamp_that_answers_again_after_many_unanswered_commands_is_confirmed_within_the_next() {
    for unanswered in 1..8 {
        let mut scene = Scene::of(TABLE);
        for on in (0..unanswered).map(|number| number % 2 == 0) {
            let id = scene.switch(on);
            scene.pass(5_000);
            scene.expect_verdict(id, 409, "indeterminate: the device has not confirmed it");
        }
        scene.take();
        let id = scene.switch(true);
        for _ in 0..50 {
            for _ in scene.sent() {
                scene.live(RESULT, r#"{"POWER":"ON"}"#);
            }
            scene.pass(100);
        }
        scene.expect_verdict(id, 200, "confirmed: power ON");
    }
}

#[test]
fn what_is_left_of_unanswered_commands_is_waited_for_one_after_the_other() {
    let mut scene = Scene::of(TABLE);
    for on in [true, false] {
        scene.switch(on);
        scene.pass(5_000);
    }
    let id = scene.switch(true);
    // It wakes up, does what it was told in its order, takes more than a second for each, and loses the last.
    for power in ["ON", "ON", "OFF", "OFF"] {
        scene.pass(1_100);
        scene.live(RESULT, &format!(r#"{{"POWER":"{power}"}}"#));
        scene.expect_open(id);
    }
    scene.pass(600);
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_publication_that_did_not_go_out_goes_out_again() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    let [set] = &scene.take()[..] else { panic!() };
    scene.fail(set, PublishError::Busy);
    scene.pass(400);
    scene.take();
    scene.pass(600);
    assert_eq!(scene.sent()[0], ("cmnd/kitchen/POWER".to_owned(), "ON".to_owned()));
    scene.live(RESULT, r#"{"POWER":"ON"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_publication_that_is_not_allowed_ends_the_command() {
    let mut scene = Scene::of(TABLE);
    let id = scene.switch(true);
    let [set] = &scene.take()[..] else { panic!() };
    scene.fail(set, PublishError::Refused);
    scene.expect_verdict(id, 503, "unreachable: the hub may not publish on the device's topic");
}
