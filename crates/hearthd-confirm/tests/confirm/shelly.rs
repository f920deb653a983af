//! Shelly: RPC, whose answers name their questions, and the topics of the first generation.

use hearthd_confirm::{Color, Publication, Wanted};
use serde_json::{Value as Json, json};

use crate::scene::Scene;

const SWITCH: &str = r#"shelly = { topic = "shellyplus1-a8" }"#;
const RPC: &str = "shellyplus1-a8/hearthd/rpc";

fn frame(publication: &Publication) -> Json {
    serde_json::from_slice(&publication.payload).unwrap()
}

/// Takes the one call that was published.
#[track_caller]
fn take(scene: &mut Scene) -> Json {
    let sent = scene.take();
    let [call] = &sent[..] else { panic!("{sent:?}") };
    assert!(call.topic.ends_with("/rpc"));
    frame(call)
}

fn answer(scene: &mut Scene, topic: &str, call: &Json, key: &str, value: Json) {
    let answer = json!({"id": call["id"], "src": "shelly", "dst": call["src"], key: value});
    scene.live(topic, &answer.to_string());
}

#[test]
fn the_answer_to_a_status_confirms_at_once() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    let set = take(&mut scene);
    assert_eq!(set["method"], "Switch.Set");
    assert_eq!(set["src"], "shellyplus1-a8/hearthd");
    assert_eq!(set["params"], json!({"id": 0, "on": true}));
    answer(&mut scene, RPC, &set, "result", json!({"was_on": false}));
    scene.expect_open(id);
    let get = take(&mut scene);
    assert_eq!(get["method"], "Switch.GetStatus");
    answer(&mut scene, RPC, &get, "result", json!({"id": 0, "output": true, "apower": 3.1}));
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_light_whose_command_has_no_result_is_read() {
    let mut scene =
        Scene::of(r#"shelly = { topic = "s/cct", component = "cct:1", source = "home/answers" }"#);
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = scene.command(wanted);
    let set = take(&mut scene);
    assert_eq!(set["method"], "CCT.Set");
    assert_eq!(set["params"], json!({"id": 1, "on": true, "brightness": 40, "ct": 3000}));
    answer(&mut scene, "home/answers/rpc", &set, "result", Json::Null);
    let get = take(&mut scene);
    let status = json!({"output": true, "brightness": 40.0, "ct": 3000});
    answer(&mut scene, "home/answers/rpc", &get, "result", status);
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 3000 K");
}

#[test]
fn a_color_is_red_green_and_blue() {
    let mut scene = Scene::of(r#"shelly = { topic = "s", component = "rgb:0" }"#);
    let color = Color { hue: 0.0, saturation: 100.0 };
    let id = scene.command(Wanted { color: Some(color), ..Wanted::default() });
    let set = take(&mut scene);
    assert_eq!(set["params"]["rgb"], json!([255, 0, 0]));
    answer(&mut scene, "s/hearthd/rpc", &set, "result", Json::Null);
    let get = take(&mut scene);
    let status = json!({"output": true, "rgb": [254, 2, 0]});
    answer(&mut scene, "s/hearthd/rpc", &get, "result", status);
    scene.expect_verdict(id, 200, "confirmed: color hue 0, saturation 100 %");
}

#[test]
fn a_status_that_nobody_asked_for_has_it_asked() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    scene.take();
    scene.pass(5);
    scene.live("shellyplus1-a8/status/switch:0", r#"{"output":true}"#);
    scene.pass(100);
    scene.expect_open(id);
    let get = take(&mut scene);
    answer(&mut scene, RPC, &get, "result", json!({"output": false}));
    scene.pass(900);
    scene.expect_open(id);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    let set = take(&mut scene);
    let error = json!({"code": -109, "message": "Overtemperature"});
    answer(&mut scene, RPC, &set, "error", error);
    for _ in 0..20 {
        for call in scene.take() {
            answer(&mut scene, RPC, &frame(&call), "result", json!({"output": false}));
        }
        scene.pass(300);
    }
    scene.expect_verdict(id, 500, "refused: still OFF (Overtemperature (-109))");
}

#[test]
fn a_component_that_is_not_there_is_what_the_device_cannot() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    let set = take(&mut scene);
    let error = json!({"code": 404, "message": "No handler for Switch.Set"});
    answer(&mut scene, RPC, &set, "error", error);
    scene.expect_verdict(id, 422, "No handler for Switch.Set (404)");
}

#[test]
fn each_error_has_its_status() {
    // The status where the device can be read all the same, and where the read has the same error.
    let cases: [(i32, u16, u16); 15] = [
        (400, 422, 422),
        (401, 500, 503),
        (403, 500, 503),
        (404, 422, 422),
        (429, 500, 503),
        (503, 500, 503),
        (-103, 422, 422),
        (-104, 500, 503),
        (-105, 422, 422),
        (-108, 500, 503),
        (-109, 500, 409),
        (-114, 500, 503),
        (-32_601, 422, 422),
        (-32_602, 422, 422),
        (-1, 500, 409),
    ];
    for (code, read, not_read) in cases {
        for (is_read, status) in [(true, read), (false, not_read)] {
            let mut scene = Scene::of(SWITCH);
            scene.switch(true);
            for _ in 0..50 {
                for call in scene.take() {
                    let call = frame(&call);
                    if is_read && call["method"] == "Switch.GetStatus" {
                        answer(&mut scene, RPC, &call, "result", json!({"output": false}));
                    } else {
                        let error = json!({"code": code, "message": "x"});
                        answer(&mut scene, RPC, &call, "error", error);
                    }
                }
                scene.pass(100);
            }
            let [(_, _, verdict)] = &scene.verdicts[..] else {
                panic!("{code}: {:?}", scene.verdicts)
            };
            assert_eq!(verdict.status(), status, "{code}, read: {is_read}: {verdict}");
            // Who is not let in, and can read all the same, has no reason to tell.
            let untold = status == 409 || status == 500 && matches!(code, 401 | 403);
            assert_eq!(verdict.to_string().contains(&code.to_string()), !untold, "{verdict}");
        }
    }
}

#[test]
fn a_device_that_is_busy_is_told_again() {
    for code in [429, -104, -108, -114] {
        let mut scene = Scene::of(SWITCH);
        let id = scene.switch(true);
        let set = take(&mut scene);
        answer(&mut scene, RPC, &set, "error", json!({"code": code, "message": "not now"}));
        let mut on = false;
        for _ in 0..40 {
            for call in scene.take() {
                let call = frame(&call);
                on |= call["method"] == "Switch.Set";
                answer(&mut scene, RPC, &call, "result", json!({"output": on}));
            }
            scene.pass(100);
        }
        scene.expect_verdict(id, 200, "confirmed: power ON");
    }
}

#[test]
fn silence_is_unreachable() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: nothing answers");
}

#[test]
fn online_false_is_not_believed_at_once() {
    let mut scene = Scene::of(SWITCH);
    scene.live("shellyplus1-a8/online", "false");
    let id = scene.switch(true);
    let set = take(&mut scene);
    answer(&mut scene, RPC, &set, "result", json!({"was_on": false}));
    let get = take(&mut scene);
    answer(&mut scene, RPC, &get, "result", json!({"output": true}));
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn answers_with_other_numbers_confirm_nothing() {
    let mut scene = Scene::of(SWITCH);
    let id = scene.switch(true);
    let set = take(&mut scene);
    answer(&mut scene, RPC, &set, "result", json!({"was_on": false}));
    scene.take();
    for number in [0, 1, 7] {
        answer(&mut scene, RPC, &json!({"id": number}), "result", json!({"output": true}));
    }
    scene.expect_open(id);
}

#[test]
fn numbers_stay_below_2_to_the_31() {
    let mut scene = Scene::of(SWITCH);
    scene.confirmer = hearthd_confirm::Confirmer::new(crate::scene::backend(SWITCH), u64::MAX);
    scene.handle(hearthd_confirm::Event::Link { up: true });
    scene.switch(true);
    assert!(take(&mut scene)["id"].as_u64().unwrap() < 1 << 31);
}

#[test]
fn a_relay_of_the_first_generation_says_its_state() {
    let table = r#"shelly = { topic = "shellies/shelly1-A8", generation = 1 }"#;
    let mut scene = Scene::of(table);
    let id = scene.switch(true);
    scene.expect_sent(&[("shellies/shelly1-A8/relay/0/command", "on")]);
    scene.pass(30);
    scene.live("shellies/shelly1-A8/relay/0", "on");
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
    scene.switch(false);
    scene.take();
    scene.pass(500);
    scene.expect_sent(&[("shellies/shelly1-A8/command", "update")]);
}

#[test]
fn a_light_of_the_first_generation_takes_milliseconds() {
    let table = r#"shelly = { topic = "shellies/d-1", generation = 1, component = "light:0" }"#;
    let mut scene = Scene::of(table);
    let id = scene.command(Wanted { brightness: Some(40), transition: 0.5, ..Wanted::default() });
    let set = r#"{"brightness":40,"transition":500,"turn":"on"}"#;
    scene.expect_sent(&[("shellies/d-1/light/0/set", set)]);
    scene.pass(600);
    scene.live("shellies/d-1/light/0/status", r#"{"ison":true,"brightness":40,"mode":"white"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %");
}
