//! Tasmota, with MQTT 3.1.1 and with MQTT 5.

use hearthd_confirm::{Color, PublishError, Wanted};

use crate::rig::Rig;

const TABLE: &str = r#"tasmota = { topic = "kitchen" }"#;
const RESULT: &str = "stat/kitchen/RESULT";

#[test]
fn a_result_with_the_wanted_value_confirms_once_it_stands() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    rig.expect_sent(&[("cmnd/kitchen/POWER", "ON")]);
    rig.pass(30);
    rig.live(RESULT, r#"{"POWER":"ON"}"#);
    rig.live("stat/kitchen/POWER", "ON");
    rig.expect_open(id);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON");
    assert_eq!(rig.observed[0], "Firmware: power ON");
}

#[test]
fn a_reply_by_correlation_data_confirms_at_once() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    let [set] = &rig.take()[..] else { panic!() };
    assert!(set.reply, "the command asks for a reply");
    rig.reply(set, r#"{"POWER":"ON"}"#);
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_state_that_is_contradicted_at_once_confirms_nothing() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    rig.pass(5);
    rig.live(RESULT, r#"{"POWER":"ON"}"#);
    rig.pass(60);
    rig.live(RESULT, r#"{"POWER":"OFF"}"#);
    rig.pass(1_000);
    rig.expect_open(id);
}

#[test]
fn a_relay_that_stays_as_it_is_has_refused() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    for _ in 0..6 {
        rig.live(RESULT, r#"{"POWER":"OFF"}"#);
        rig.pass(1_000);
    }
    rig.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_command_whose_result_is_lost_is_asked_about() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    rig.take();
    rig.pass(500);
    rig.expect_sent(&[("cmnd/kitchen/POWER", "")]);
    rig.live(RESULT, r#"{"POWER":"ON"}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn its_last_will_ends_the_command_before_it_is_sent() {
    let mut rig = Rig::of(TABLE);
    rig.retained("tele/kitchen/LWT", "Offline");
    let id = rig.switch(true);
    rig.expect_sent(&[]);
    rig.expect_verdict(id, 503, "unreachable: the device is offline");
    rig.live("tele/kitchen/LWT", "Online");
    let id = rig.switch(true);
    rig.expect_sent(&[("cmnd/kitchen/POWER", "ON")]);
    rig.expect_open(id);
}

#[test]
fn nothing_that_answers_leaves_it_open_what_became_of_the_command() {
    let mut rig = Rig::of(TABLE);
    rig.live("tele/kitchen/STATE", r#"{"POWER":"OFF"}"#);
    let id = rig.switch(true);
    rig.pass(5_000);
    rig.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn a_retained_power_confirms_nothing() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    rig.retained("stat/kitchen/POWER", "ON");
    rig.pass(4_000);
    rig.expect_open(id);
    assert_eq!(rig.observed, ["claim: power ON"]);
}

#[test]
fn a_lamp_takes_one_command_for_each_value_and_power_last() {
    let mut rig = Rig::of(TABLE);
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = rig.command(wanted);
    rig.expect_sent(&[
        ("cmnd/kitchen/Dimmer", "40"),
        ("cmnd/kitchen/CT", "333"),
        ("cmnd/kitchen/POWER", "ON"),
    ]);
    rig.live(RESULT, r#"{"POWER":"ON","Dimmer":40,"Color":"66","CT":300}"#);
    rig.pass(50);
    rig.live(RESULT, r#"{"POWER":"ON","CT":333}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 3003 K");
}

#[test]
fn a_color_is_hue_and_saturation() {
    let mut rig = Rig::of(TABLE);
    let color = Color { hue: 240.0, saturation: 100.0 };
    let id = rig.command(Wanted { color: Some(color), ..Wanted::default() });
    rig.expect_sent(&[("cmnd/kitchen/HSBColor1", "240"), ("cmnd/kitchen/HSBColor2", "100")]);
    rig.live(RESULT, r#"{"POWER":"ON","HSBColor":"240,100,50","CT":0}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: color hue 240, saturation 100 %");
}

#[test]
fn brightness_0_switches_off_and_is_not_sent_as_a_brightness() {
    let mut rig = Rig::of(TABLE);
    rig.command(Wanted { brightness: Some(0), ..Wanted::default() });
    rig.expect_sent(&[("cmnd/kitchen/POWER", "OFF")]);
}

#[test]
fn what_tasmota_cannot_is_said_before_anything_is_sent() {
    let mut rig = Rig::of(TABLE);
    let id = rig.command(Wanted { brightness: Some(5), transition: 1.0, ..Wanted::default() });
    rig.expect_verdict(id, 422, "the device changes at once; it has no transition");
    let id = rig.command(Wanted { color_temperature: Some(1_900), ..Wanted::default() });
    rig.expect_verdict(id, 422, "Tasmota takes 2000 to 6536 K");
    let id = rig.command(Wanted { setpoint: Some(21.0), ..Wanted::default() });
    rig.expect_verdict(id, 422, "the device has no setpoint");
    rig.expect_sent(&[]);
}

#[test]
fn its_options_change_where_and_how_it_answers() {
    // FullTopic, SetOption26 (POWER1), SetOption4 (stat/../DIMMER), a relay by its number.
    let mut rig = Rig::of(r#"tasmota = { topic = "k", full_topic = "home/%topic%/%prefix%/" }"#);
    rig.switch(true);
    rig.expect_sent(&[("home/k/cmnd/POWER", "ON")]);
    rig.live("home/k/stat/RESULT", r#"{"POWER1":"ON"}"#);
    rig.pass(110);
    rig.expect_verdict(1, 200, "confirmed: power ON");
    rig.live("home/k/stat/DIMMER", r#"{"POWER1":"ON","Dimmer":7}"#);
    assert_eq!(rig.observed.last().unwrap(), "Firmware: power ON, brightness 7 %");

    let mut rig = Rig::of(r#"tasmota = { topic = "k", index = 2 }"#);
    let id = rig.switch(true);
    rig.expect_sent(&[("cmnd/k/POWER2", "ON")]);
    rig.live("stat/k/RESULT", r#"{"POWER1":"ON"}"#);
    rig.pass(300);
    rig.expect_open(id);
    rig.live("stat/k/RESULT", r#"{"POWER2":"ON"}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_reply_that_knows_no_such_command_is_what_the_device_cannot() {
    let mut rig = Rig::of(TABLE);
    let id = rig.command(Wanted { color_temperature: Some(3_000), ..Wanted::default() });
    let [set] = &rig.take()[..] else { panic!() };
    rig.reply(set, r#"{"Command":"Unknown"}"#);
    rig.expect_verdict(id, 422, "Tasmota does not know the command");
}

#[test]
fn results_of_replaced_commands_do_not_confirm_the_newest() {
    let mut rig = Rig::of(TABLE);
    let (first, second, third) = (rig.switch(true), rig.switch(false), rig.switch(true));
    rig.expect_verdict(first, 409, "indeterminate: a newer command replaced it");
    rig.expect_verdict(second, 409, "indeterminate: a newer command replaced it");
    // The relay takes half a second for each, and does not do the third.
    rig.pass(500);
    rig.live(RESULT, r#"{"POWER":"ON"}"#);
    rig.pass(500);
    rig.live(RESULT, r#"{"POWER":"OFF"}"#);
    rig.pass(500);
    rig.live(RESULT, r#"{"POWER":"OFF"}"#);
    rig.pass(2_000);
    rig.expect_open(third);
}

#[test]
fn a_publication_that_did_not_go_out_goes_out_again() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    let [set] = &rig.take()[..] else { panic!() };
    rig.fail(set, PublishError::Busy);
    rig.pass(400);
    rig.take();
    rig.pass(600);
    assert_eq!(rig.sent()[0], ("cmnd/kitchen/POWER".to_owned(), "ON".to_owned()));
    rig.live(RESULT, r#"{"POWER":"ON"}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_publication_that_is_not_allowed_ends_the_command() {
    let mut rig = Rig::of(TABLE);
    let id = rig.switch(true);
    let [set] = &rig.take()[..] else { panic!() };
    rig.fail(set, PublishError::Refused);
    rig.expect_verdict(id, 503, "unreachable: the hub may not publish on the device's topic");
}
