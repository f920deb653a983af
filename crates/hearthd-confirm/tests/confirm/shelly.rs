//! Shelly: RPC, whose answers name their questions, and the topics of the first generation.

use hearthd_confirm::{Color, Publication, Wanted};
use serde_json::{Value as Json, json};

use crate::rig::Rig;

const SWITCH: &str = r#"shelly = { topic = "shellyplus1-a8" }"#;
const RPC: &str = "shellyplus1-a8/hearthd/rpc";

fn frame(publication: &Publication) -> Json {
    serde_json::from_slice(&publication.payload).unwrap()
}

/// Takes the one call that was published.
#[track_caller]
fn take(rig: &mut Rig) -> Json {
    let sent = rig.take();
    let [call] = &sent[..] else { panic!("{sent:?}") };
    assert!(call.topic.ends_with("/rpc"));
    frame(call)
}

fn answer(rig: &mut Rig, topic: &str, call: &Json, key: &str, value: Json) {
    let answer = json!({"id": call["id"], "src": "shelly", "dst": call["src"], key: value});
    rig.live(topic, &answer.to_string());
}

#[test]
fn the_answer_to_a_status_confirms_at_once() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    let set = take(&mut rig);
    assert_eq!(set["method"], "Switch.Set");
    assert_eq!(set["src"], "shellyplus1-a8/hearthd");
    assert_eq!(set["params"], json!({"id": 0, "on": true}));
    answer(&mut rig, RPC, &set, "result", json!({"was_on": false}));
    rig.expect_open(id);
    let get = take(&mut rig);
    assert_eq!(get["method"], "Switch.GetStatus");
    answer(&mut rig, RPC, &get, "result", json!({"id": 0, "output": true, "apower": 3.1}));
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_light_whose_command_has_no_result_is_read() {
    let mut rig =
        Rig::of(r#"shelly = { topic = "s/cct", component = "cct:1", source = "home/answers" }"#);
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = rig.command(wanted);
    let set = take(&mut rig);
    assert_eq!(set["method"], "CCT.Set");
    assert_eq!(set["params"], json!({"id": 1, "on": true, "brightness": 40, "ct": 3000}));
    answer(&mut rig, "home/answers/rpc", &set, "result", Json::Null);
    let get = take(&mut rig);
    let status = json!({"output": true, "brightness": 40.0, "ct": 3000});
    answer(&mut rig, "home/answers/rpc", &get, "result", status);
    rig.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 3000 K");
}

#[test]
fn a_color_is_red_green_and_blue() {
    let mut rig = Rig::of(r#"shelly = { topic = "s", component = "rgb:0" }"#);
    let color = Color { hue: 0.0, saturation: 100.0 };
    let id = rig.command(Wanted { color: Some(color), ..Wanted::default() });
    let set = take(&mut rig);
    assert_eq!(set["params"]["rgb"], json!([255, 0, 0]));
    answer(&mut rig, "s/hearthd/rpc", &set, "result", Json::Null);
    let get = take(&mut rig);
    let status = json!({"output": true, "rgb": [254, 2, 0]});
    answer(&mut rig, "s/hearthd/rpc", &get, "result", status);
    rig.expect_verdict(id, 200, "confirmed: color hue 0, saturation 100 %");
}

#[test]
fn a_status_that_nobody_asked_for_has_it_asked() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    rig.take();
    rig.pass(5);
    rig.live("shellyplus1-a8/status/switch:0", r#"{"output":true}"#);
    rig.pass(100);
    rig.expect_open(id);
    let get = take(&mut rig);
    answer(&mut rig, RPC, &get, "result", json!({"output": false}));
    rig.pass(900);
    rig.expect_open(id);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    let set = take(&mut rig);
    let error = json!({"code": -109, "message": "Overtemperature"});
    answer(&mut rig, RPC, &set, "error", error);
    for _ in 0..20 {
        for call in rig.take() {
            answer(&mut rig, RPC, &frame(&call), "result", json!({"output": false}));
        }
        rig.pass(300);
    }
    rig.expect_verdict(id, 500, "refused: still OFF (Overtemperature (-109))");
}

#[test]
fn a_component_that_is_not_there_is_what_the_device_cannot() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    let set = take(&mut rig);
    let error = json!({"code": 404, "message": "No handler for Switch.Set"});
    answer(&mut rig, RPC, &set, "error", error);
    rig.expect_verdict(id, 422, "No handler for Switch.Set (404)");
}

#[test]
fn silence_is_unreachable() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    rig.pass(5_000);
    rig.expect_verdict(id, 503, "unreachable: nothing answers");
}

#[test]
fn online_false_is_not_believed_at_once() {
    let mut rig = Rig::of(SWITCH);
    rig.live("shellyplus1-a8/online", "false");
    let id = rig.switch(true);
    let set = take(&mut rig);
    answer(&mut rig, RPC, &set, "result", json!({"was_on": false}));
    let get = take(&mut rig);
    answer(&mut rig, RPC, &get, "result", json!({"output": true}));
    rig.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn answers_with_other_numbers_confirm_nothing() {
    let mut rig = Rig::of(SWITCH);
    let id = rig.switch(true);
    let set = take(&mut rig);
    answer(&mut rig, RPC, &set, "result", json!({"was_on": false}));
    rig.take();
    for number in [0, 1, 7] {
        answer(&mut rig, RPC, &json!({"id": number}), "result", json!({"output": true}));
    }
    rig.expect_open(id);
}

#[test]
fn numbers_stay_below_2_to_the_31() {
    let mut rig = Rig::of(SWITCH);
    rig.confirmer = hearthd_confirm::Confirmer::new(crate::rig::backend(SWITCH), u64::MAX);
    rig.handle(hearthd_confirm::Event::Link { up: true });
    rig.switch(true);
    assert!(take(&mut rig)["id"].as_u64().unwrap() < 1 << 31);
}

#[test]
fn a_relay_of_the_first_generation_says_its_state() {
    let table = r#"shelly = { topic = "shellies/shelly1-A8", generation = 1 }"#;
    let mut rig = Rig::of(table);
    let id = rig.switch(true);
    rig.expect_sent(&[("shellies/shelly1-A8/relay/0/command", "on")]);
    rig.pass(30);
    rig.live("shellies/shelly1-A8/relay/0", "on");
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON");
    rig.switch(false);
    rig.take();
    rig.pass(500);
    rig.expect_sent(&[("shellies/shelly1-A8/command", "update")]);
}

#[test]
fn a_light_of_the_first_generation_takes_milliseconds() {
    let table = r#"shelly = { topic = "shellies/d-1", generation = 1, component = "light:0" }"#;
    let mut rig = Rig::of(table);
    let id = rig.command(Wanted { brightness: Some(40), transition: 0.5, ..Wanted::default() });
    let set = r#"{"brightness":40,"transition":500,"turn":"on"}"#;
    rig.expect_sent(&[("shellies/d-1/light/0/set", set)]);
    rig.pass(600);
    rig.live("shellies/d-1/light/0/status", r#"{"ison":true,"brightness":40,"mode":"white"}"#);
    rig.pass(110);
    rig.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %");
}
