//! Any device with a topic for commands and one for states.

use hearthd_confirm::Wanted;

use crate::scene::Scene;

#[test]
fn a_pair_of_topics_confirms_by_its_state() {
    let mut scene = Scene::of(r#"topics = { power = { command = "p/set", state = "p" } }"#);
    let id = scene.switch(true);
    scene.expect_sent(&[("p/set", "ON")]);
    scene.live("p", "ON");
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn words_scales_pointers_and_payloads_are_as_the_table_says() {
    let table = r##"topics = {
        power = { command = "p/set", payload = '{"on":{value}}', state = "p", pointer = "/on", on = "true", off = "false" },
        brightness = { command = "b/set", payload = '{"level":{value},"time":{transition}}', state = "p", pointer = "/level", scale = 255 },
        color_temperature = { command = "c/set", state = "p", pointer = "/mired", mired = true },
    }"##;
    let mut scene = Scene::of(table);
    let wanted = Wanted {
        brightness: Some(40),
        color_temperature: Some(4_000),
        transition: 0.5,
        ..Wanted::default()
    };
    let id = scene.command(wanted);
    scene.expect_sent(&[
        ("c/set", "250"),
        ("b/set", r#"{"level":102,"time":0.5}"#),
        ("p/set", r#"{"on":true}"#),
    ]);
    scene.pass(600);
    scene.live("p", r#"{"on":true,"level":102,"mired":"250"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 40 %, color_temperature 4000 K");
}

#[test]
fn a_bridge_that_believes_its_own_commands_is_asked() {
    let table = r#"topics = { power = { command = "p/set", state = "p" }, get = { topic = "p/get" }, optimistic = true }"#;
    let mut scene = Scene::of(table);
    let id = scene.switch(true);
    scene.expect_sent(&[("p/set", "ON")]);
    scene.pass(20);
    scene.live("p", "ON");
    scene.pass(50);
    scene.expect_sent(&[("p/get", "")]);
    scene.pass(500);
    scene.expect_open(id);
    scene.live("p", "ON");
    scene.pass(500);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn availability_is_a_topic_with_words() {
    let table = r#"topics = { power = { command = "p/set", state = "p" }, availability = { topic = "p/here", online = "1", offline = "0" } }"#;
    let mut scene = Scene::of(table);
    scene.retained("p/here", "0");
    let id = scene.switch(true);
    scene.pass(3_000);
    scene.expect_verdict(id, 503, "unreachable: the device is offline");
}

#[test]
fn states_that_are_no_value_are_not_taken() {
    let table = r#"topics = { power = { command = "p/set", state = "p" }, brightness = { command = "b/set", state = "b" } }"#;
    let mut scene = Scene::of(table);
    for (topic, payload) in [("p", "on"), ("p", ""), ("b", "bright"), ("b", "nan"), ("x", "ON")] {
        scene.live(topic, payload);
    }
    assert_eq!(scene.observed, [] as [&str; 0]);
}
