//! Zigbee2MQTT: what it says by what the lamp does, with and without raw reads.

use hearthd_confirm::{Availability, Color, Event, Part, Publication, Wanted};
use serde_json::{Value as Json, json};

use crate::scene::Scene;

const BULB: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/hall/bulb" }"#;
const RAW: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/hall/bulb", raw = true }"#;
const STATE: &str = "zigbee2mqtt/hall/bulb";
const SET: &str = "zigbee2mqtt/hall/bulb/set";
const GET: &str = "zigbee2mqtt/hall/bulb/get";
const LOGGING: &str = "zigbee2mqtt/bridge/logging";

/// A bulb that is off, as the bridge has said and was read.
fn bulb() -> Scene {
    let mut scene = Scene::of(BULB);
    scene.live(STATE, r#"{"state":"OFF","linkquality":200}"#);
    scene.live(STATE, r#"{"state":"OFF","linkquality":200}"#);
    scene.pass(400);
    scene.take();
    scene
}

/// The same with raw reads, and a list of devices that has it.
fn raw() -> Scene {
    let mut scene = Scene::of(RAW);
    scene.retained("zigbee2mqtt/bridge/devices", &devices(1001).to_string());
    scene
}

fn devices(network_address: u64) -> Json {
    json!([
        {"friendly_name": "Coordinator", "ieee_address": "0x00", "network_address": 0, "endpoints": {}},
        {
            "friendly_name": "hall/bulb",
            "ieee_address": "0x00124b0000000002",
            "network_address": network_address,
            "endpoints": {
                "11": {"clusters": {"input": ["genOnOff", "genLevelCtrl", "lightingColorCtrl"]}},
                "242": {"clusters": {"input": []}},
            },
            "definition": {"exposes": [
                {"type": "light", "features": [
                    {"name": "state", "property": "state"},
                    {"name": "brightness", "property": "brightness", "value_min": 0, "value_max": 254},
                    {"name": "color_temp", "property": "color_temp", "value_min": 250, "value_max": 454},
                ]},
                {"name": "linkquality", "property": "linkquality"},
            ]},
        },
    ])
}

/// Takes the one raw read that was published.
#[track_caller]
fn take_read(scene: &mut Scene) -> (String, Json) {
    let reads: Vec<Publication> = scene
        .take()
        .into_iter()
        .filter(|p| p.topic == "zigbee2mqtt/bridge/request/action")
        .collect();
    let [read] = &reads[..] else { panic!("{reads:?}") };
    let json: Json = serde_json::from_slice(&read.payload).unwrap();
    (json["transaction"].as_str().unwrap().to_owned(), json)
}

fn answer(scene: &mut Scene, transaction: &str, cluster: u16, bytes: &[u8]) {
    let payload = json!({
        "data": {"clusterID": cluster, "data": {"data": bytes, "type": "Buffer"}},
        "status": "ok",
        "transaction": transaction,
    });
    scene.live("zigbee2mqtt/bridge/response/action", &payload.to_string());
}

fn fail(scene: &mut Scene, transaction: &str, error: &str) {
    let payload =
        json!({"data": {}, "status": "error", "error": error, "transaction": transaction});
    scene.live("zigbee2mqtt/bridge/response/action", &payload.to_string());
}

/// The bytes of a lamp's answer to a read of on and off.
fn on_off(on: bool) -> Vec<u8> {
    vec![24, 2, 1, 0, 0, 0, 16, u8::from(on)]
}

/// What the bridge says after each command: the old state, then what it was told.
fn echo(scene: &mut Scene, old: &str, new: &str) {
    scene.live(STATE, &json!({"state": old}).to_string());
    scene.live(STATE, &json!({"state": new}).to_string());
}

#[test]
fn a_lamp_that_does_it_is_confirmed_by_the_state_that_is_read_back() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.expect_sent(&[(SET, r#"{"state":"ON"}"#)]);
    scene.pass(40);
    echo(&mut scene, "OFF", "ON");
    scene.expect_sent(&[]);
    scene.pass(50);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    scene.expect_open(id);
    scene.pass(40);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(400);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_lamp_that_is_so_already_is_confirmed_as_well() {
    let mut scene = bulb();
    let id = scene.switch(false);
    scene.pass(40);
    echo(&mut scene, "OFF", "OFF");
    scene.pass(90);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    scene.pass(400);
    scene.expect_verdict(id, 200, "confirmed: power OFF");
}

#[test]
fn neither_state_that_follows_a_command_confirms_it() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(40);
    echo(&mut scene, "ON", "ON");
    scene.pass(5_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power ON",
    );
}

#[test]
fn a_lamp_that_acknowledges_and_does_nothing_is_found_out() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(40);
    echo(&mut scene, "OFF", "ON");
    scene.pass(60);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    for _ in 0..5 {
        scene.pass(1_000);
        scene.live(STATE, r#"{"state":"OFF"}"#);
    }
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_report_of_something_else_does_not_pass_for_the_answer_to_a_read() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(200);
    echo(&mut scene, "OFF", "ON");
    // The bridge still believes what it was told when the meter of the plug reports.
    scene.pass(60);
    scene.live(STATE, r#"{"state":"ON","power":12}"#);
    scene.pass(190);
    scene.live(STATE, r#"{"state":"OFF","power":12}"#);
    for _ in 0..5 {
        scene.expect_open(id);
        scene.pass(900);
        scene.live(STATE, r#"{"state":"OFF"}"#);
    }
    scene.pass(500);
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_lamp_that_is_dead_is_unreachable_for_the_reason_in_the_log() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(300);
    let line = "z2m: Publish 'set' 'state' to 'hall/bulb' failed: 'Error: ZCL command 0x00124b0000000002/1 \
                genOnOff.off({}, {\\\"timeout\\\":10000}) failed (Delivery failed for '1001'.)'";
    scene.live(LOGGING, &format!(r#"{{"level":"error","message":"{line}"}}"#));
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: Delivery failed for '1001'");
    let Some(Availability::Offline { part: Part::Device, since, .. }) = scene.availability.last()
    else {
        panic!("{:?}", scene.availability)
    };
    assert!(since.as_millis() >= 1_000);
}

#[test]
fn a_lamp_that_stays_dead_is_unreachable_although_the_bridge_logs_it_only_once() {
    let mut scene = bulb();
    scene.switch(true);
    scene.pass(300);
    let line = r#"{"message":"z2m: Publish 'set' 'state' to 'hall/bulb' failed: 'Error: x failed (no route)'"}"#;
    scene.live(LOGGING, line);
    scene.pass(6_000);
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: no route");
    scene.take();
    // It is back, and what it says of the next command is not mistaken for an answer to an earlier one.
    let id = scene.switch(true);
    for _ in 0..20 {
        for (topic, _) in scene.sent() {
            match topic.as_str() {
                SET => echo(&mut scene, "OFF", "ON"),
                _ => scene.live(STATE, r#"{"state":"ON"}"#),
            }
        }
        scene.pass(50);
    }
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_second_failure_that_the_bridge_does_not_log_again_does_not_hide_the_first() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(300);
    let line = r#"{"message":"z2m: Publish 'set' 'state' to 'hall/bulb' failed: 'Error: x failed (no route)'"}"#;
    scene.live(LOGGING, line);
    scene.take();
    scene.pass(4_000);
    assert!(scene.sent().iter().any(|(topic, _)| topic == SET), "it is told once more");
    scene.pass(1_000);
    scene.expect_verdict(id, 503, "unreachable: no route");
}

#[test]
fn lines_about_other_lamps_and_about_replaced_commands_are_not_taken() {
    let mut scene = bulb();
    let id = scene.switch(true);
    for line in [
        r#"{"message":"z2m: Publish 'set' 'state' to 'bulb' failed: 'Error: x failed (no route)'"}"#,
        r#"{"message":"z2m: Publish 'set' 'state' to 'hall/bulb' failed: 'Error: x failed (Request superseded)'"}"#,
        r#"{"message":"z2m:mqtt: MQTT publish: topic 'zigbee2mqtt/hall/bulb'"}"#,
    ] {
        scene.live(LOGGING, line);
    }
    scene.pass(5_000);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the device has not confirmed it; last known power OFF",
    );
}

#[test]
fn a_retained_state_confirms_nothing() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(40);
    echo(&mut scene, "OFF", "ON");
    scene.pass(60);
    scene.retained(STATE, r#"{"state":"ON"}"#);
    scene.pass(1_000);
    scene.expect_open(id);
}

#[test]
fn what_a_restarted_bridge_replays_confirms_nothing_and_the_command_is_sent_again() {
    let mut scene = bulb();
    let id = scene.switch(true);
    scene.pass(40);
    echo(&mut scene, "OFF", "ON");
    scene.take();
    scene.pass(60);
    scene.take();
    scene.live("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(1_900);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.expect_sent(&[]);
    scene.expect_open(id);
    scene.pass(150);
    assert_eq!(scene.sent()[0], (SET.to_owned(), r#"{"state":"ON"}"#.to_owned()));
}

#[test]
fn a_lamp_may_be_called_as_the_bridges_own_topics_begin() {
    for name in ["b", "bridg"] {
        let mut scene = Scene::of(&format!(r#"zigbee2mqtt = {{ topic = "zigbee2mqtt/{name}" }}"#));
        scene.live("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#);
        let id = scene.switch(true);
        scene.expect_verdict(id, 503, "unreachable: Zigbee2MQTT is offline");
    }
}

#[test]
fn nothing_is_sent_while_the_bridge_is_offline() {
    let mut scene = bulb();
    scene.retained("zigbee2mqtt/hall/bulb/availability", r#"{"state":"online"}"#);
    scene.retained("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#);
    let id = scene.switch(true);
    scene.expect_sent(&[]);
    scene.expect_verdict(id, 503, "unreachable: Zigbee2MQTT is offline");
    let last = scene.availability.last();
    assert!(matches!(last, Some(Availability::Offline { part: Part::Bridge, .. })), "{last:?}");
}

#[test]
fn a_lamp_that_is_said_to_be_offline_is_told_and_has_three_seconds() {
    let mut scene = bulb();
    scene.retained("zigbee2mqtt/hall/bulb/availability", r#"{"state":"offline"}"#);
    let id = scene.switch(true);
    scene.expect_sent(&[(SET, r#"{"state":"ON"}"#)]);
    scene.pass(2_990);
    scene.expect_open(id);
    scene.pass(20);
    assert_eq!(scene.verdicts.len(), 1);
}

#[test]
fn a_change_to_what_is_wanted_is_enough_where_the_bridge_is_not_optimistic() {
    let mut scene =
        Scene::of(r#"zigbee2mqtt = { topic = "zigbee2mqtt/hall/bulb", optimistic = false }"#);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    let id = scene.switch(true);
    scene.pass(30);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    scene.pass(30);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(110);
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_raw_read_confirms_at_once() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.take();
    scene.pass(30);
    echo(&mut scene, "OFF", "ON");
    let (transaction, read) = take_read(&mut scene);
    assert_eq!(read["action"], "raw");
    let params = &read["params"];
    assert_eq!(params["ieee_address"], "0x00124b0000000002");
    assert_eq!(params["network_address"], 1001);
    assert_eq!(params["dst_endpoint"], 11, "the endpoint that has the cluster");
    assert_eq!(params["cluster_key"], "genOnOff");
    assert_eq!(params["zcl"]["command_key"], "read");
    assert_eq!(params["zcl"]["payload"], json!([{"attrId": 0}]));
    let left = params["timeout"].as_u64().unwrap();
    assert!(left < 5_000 && left > 4_000, "what is left of the deadline: {left}");
    scene.pass(20);
    answer(&mut scene, &transaction, 6, &on_off(true));
    scene.expect_verdict(id, 200, "confirmed: power ON");
}

#[test]
fn a_lamp_that_lies_or_refuses_is_found_out_by_raw_reads() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.pass(30);
    echo(&mut scene, "OFF", "ON");
    for _ in 0..20 {
        let sent = scene.take();
        for read in sent.iter().filter(|p| p.topic.ends_with("/request/action")) {
            let json: Json = serde_json::from_slice(&read.payload).unwrap();
            answer(&mut scene, json["transaction"].as_str().unwrap(), 6, &on_off(false));
        }
        scene.pass(300);
    }
    scene.expect_verdict(id, 500, "refused: still OFF");
}

#[test]
fn a_raw_read_that_cannot_be_delivered_is_unreachable_and_the_command_goes_out_again() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.pass(200);
    let (transaction, _) = take_read(&mut scene);
    fail(&mut scene, &transaction, "Delivery failed for '1001'.");
    scene.pass(2_000);
    let sets = scene.sent().into_iter().filter(|(topic, _)| topic == SET).count();
    assert!(sets >= 1, "told once more");
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: Delivery failed for '1001'");
}

#[test]
fn answers_to_other_questions_confirm_nothing() {
    let mut scene = raw();
    let first = scene.switch(false);
    scene.pass(200);
    let (old, _) = take_read(&mut scene);
    let second = scene.switch(true);
    scene.expect_verdict(first, 409, "indeterminate: a newer command replaced it");
    answer(&mut scene, &old, 6, &on_off(true));
    answer(&mut scene, "hearthd-1", 6, &on_off(true));
    answer(&mut scene, "somebody's", 6, &on_off(true));
    scene.expect_open(second);
    let read = scene.published.len();
    scene.pass(300);
    assert!(scene.published.len() > read);
    let (transaction, _) = take_read(&mut scene);
    scene.retained("zigbee2mqtt/bridge/response/action", "{}");
    answer(&mut scene, &transaction, 6, &on_off(true));
    scene.expect_verdict(second, 200, "confirmed: power ON");
}

#[test]
fn a_read_follows_a_lamp_that_joined_again() {
    let mut scene = raw();
    scene.live("zigbee2mqtt/bridge/devices", &devices(2002).to_string());
    scene.switch(true);
    scene.pass(200);
    assert_eq!(take_read(&mut scene).1["params"]["network_address"], 2002);
}

#[test]
fn a_lamp_that_the_bridge_does_not_know_is_unreachable() {
    let mut scene = Scene::of(RAW);
    scene.retained("zigbee2mqtt/bridge/devices", "[]");
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: Zigbee2MQTT has no device hall/bulb");
}

#[test]
fn what_the_lamp_cannot_is_said_before_anything_is_sent() {
    let mut scene = raw();
    let warm = Wanted { color_temperature: Some(1_800), ..Wanted::default() };
    let id = scene.command(warm);
    scene.expect_verdict(id, 422, "hall/bulb takes 2203 to 4000 K");
    let color = Color { hue: 10.0, saturation: 90.0 };
    let id = scene.command(Wanted { color: Some(color), ..Wanted::default() });
    scene.expect_verdict(id, 422, "hall/bulb has no color");
    scene.expect_sent(&[]);
    let edge = Wanted { color_temperature: Some(2_200), ..Wanted::default() };
    let id = scene.command(edge);
    scene.expect_open(id);
    scene.expect_sent(&[(SET, r#"{"color_temp":454}"#)]);
}

#[test]
fn brightness_and_color_temperature_are_read_from_their_clusters() {
    let mut scene = raw();
    let wanted =
        Wanted { brightness: Some(40), color_temperature: Some(3_000), ..Wanted::default() };
    let id = scene.command(wanted);
    scene.expect_sent(&[(SET, r#"{"brightness":102,"color_temp":333,"state":"ON"}"#)]);
    scene.pass(200);
    let reads = scene.take();
    assert_eq!(reads.len(), 3);
    let answers: [(u16, &[u8]); 3] = [
        (6, &[24, 2, 1, 0, 0, 0, 16, 1]),
        // 100 is within what lamps drift by; 330 mireds within 2 percent.
        (8, &[24, 3, 1, 0, 0, 0, 32, 100]),
        (0x300, &[24, 4, 1, 7, 0, 0, 33, 74, 1, 8, 0, 0, 48, 2]),
    ];
    for (read, (cluster, bytes)) in reads.iter().zip(answers) {
        scene.expect_open(id);
        let json: Json = serde_json::from_slice(&read.payload).unwrap();
        answer(&mut scene, json["transaction"].as_str().unwrap(), cluster, bytes);
    }
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 39 %, color_temperature 3030 K");
}

#[test]
fn a_transition_is_judged_when_it_is_over() {
    let mut scene = raw();
    let id = scene.command(Wanted { brightness: Some(100), transition: 2.0, ..Wanted::default() });
    scene.expect_sent(&[(SET, r#"{"brightness":254,"state":"ON","transition":2.0}"#)]);
    echo(&mut scene, "OFF", "ON");
    scene.pass(1_990);
    scene.expect_sent(&[]);
    scene.pass(200);
    let reads = scene.take();
    assert_eq!(reads.len(), 2, "it is asked at the end of the way");
    for (read, bytes) in reads.iter().zip([[16, 1], [32, 254]]) {
        let json: Json = serde_json::from_slice(&read.payload).unwrap();
        let cluster = if bytes[0] == 16 { 6 } else { 8 };
        let answered = [24, 2, 1, 0, 0, 0, bytes[0], bytes[1]];
        answer(&mut scene, json["transaction"].as_str().unwrap(), cluster, &answered);
    }
    scene.expect_verdict(id, 200, "confirmed: power ON, brightness 100 %");
}

#[test]
fn off_with_a_transition_is_no_refusal_while_it_lasts() {
    let mut scene = raw();
    let off = Wanted { power: Some(false.into()), transition: 4.0, ..Wanted::default() };
    let id = scene.command(off);
    scene.pass(4_200);
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(true));
    scene.pass(800);
    scene.expect_verdict(
        id,
        409,
        "indeterminate: the transition takes longer than the deadline; last known power ON",
    );
}

#[test]
fn a_bridge_that_does_not_answer_is_unreachable() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: nothing answers");
}

#[test]
fn a_toggle_of_what_is_not_known_is_read_first() {
    let mut scene = raw();
    let wanted = Wanted { power: Some(hearthd_confirm::Switch::Toggle), ..Wanted::default() };
    let id = scene.command(wanted.clone());
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(true));
    scene.expect_sent(&[(SET, r#"{"state":"OFF"}"#)]);
    scene.pass(160);
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(false));
    scene.expect_verdict(id, 200, "confirmed: power OFF");
    scene.command(wanted);
    scene.expect_sent(&[(SET, r#"{"state":"ON"}"#)]);
}

#[test]
fn a_lost_connection_leaves_a_command_open_and_sends_it_again() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.take();
    scene.handle(Event::Link { up: false });
    scene.pass(1_000);
    scene.expect_sent(&[]);
    scene.expect_open(id);
    scene.handle(Event::Link { up: true });
    scene.expect_sent(&[(SET, r#"{"state":"ON"}"#)]);
    scene.handle(Event::Link { up: false });
    scene.pass(5_000);
    scene.expect_verdict(id, 409, "indeterminate: the connection to the broker was lost");
    let id = scene.switch(true);
    scene.expect_verdict(id, 503, "unreachable: no connection to the broker");
}

#[test]
fn a_relay_of_several_has_keys_with_its_name() {
    let table = r#"zigbee2mqtt = { topic = "z/plug", base = "z", suffix = "left" }"#;
    let mut scene = Scene::of(table);
    scene.switch(true);
    scene.expect_sent(&[("z/plug/set", r#"{"state_left":"ON"}"#)]);
    scene.live("z/plug", r#"{"state_left":"ON","state_right":"OFF"}"#);
    assert_eq!(scene.observed, ["claim: power ON"]);
}

#[test]
fn a_refresh_reads_what_is_known_of_the_lamp() {
    let mut scene = raw();
    scene.handle(Event::Refresh);
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(true));
    assert_eq!(scene.observed, ["Reply: power ON"]);
}

#[test]
fn what_a_bridge_reports_by_itself_is_read_back_before_it_counts() {
    let mut scene = bulb();
    scene.observed.clear();
    scene.pass(5_000);
    // Somebody else's command, which the lamp refuses.
    scene.live(STATE, r#"{"state":"ON"}"#);
    assert_eq!(scene.observed, ["claim: power ON"]);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(40);
    scene.live(STATE, r#"{"state":"OFF"}"#);
    scene.pass(600);
    assert_eq!(scene.observed.last().unwrap(), "ReadBack: power OFF");
    assert!(!scene.observed.contains(&"ReadBack: power ON".to_owned()), "{:?}", scene.observed);
    // And what it really did; a slow radio is not asked at once again.
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.expect_sent(&[]);
    scene.pass(5_000);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(600);
    assert_eq!(scene.observed.last().unwrap(), "ReadBack: power ON");
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.expect_sent(&[]);
}

#[test]
fn a_lamp_of_which_nothing_is_known_is_read_again_now_and_then() {
    let mut scene = Scene::of(r#"zigbee2mqtt = { topic = "zigbee2mqtt/hall/bulb" }"#);
    scene.handle(Event::Refresh);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    scene.pass(20_000);
    scene.expect_sent(&[]);
    scene.pass(20_000);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    // It comes back by itself.
    scene.pass(10_000);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.expect_sent(&[(GET, r#"{"state":""}"#)]);
    scene.live(STATE, r#"{"state":"ON"}"#);
    scene.pass(60_000);
    assert_eq!(scene.observed.last().unwrap(), "ReadBack: power ON");
    scene.expect_sent(&[]);
}

#[test]
fn a_command_without_confirmation_makes_the_lamp_be_read_at_once_and_once_more() {
    let mut scene = raw();
    let id = scene.switch(true);
    scene.pass(5_000);
    scene.expect_verdict(id, 503, "unreachable: nothing answers");
    scene.take();
    scene.observed.clear();
    scene.pass(400);
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(false));
    assert_eq!(scene.observed, ["Reply: power OFF"]);
    // It did it in the end, and no report tells of that.
    scene.pass(10_000);
    let (transaction, _) = take_read(&mut scene);
    answer(&mut scene, &transaction, 6, &on_off(true));
    assert_eq!(scene.observed, ["Reply: power OFF", "Reply: power ON"]);
    scene.pass(600_000);
    scene.expect_sent(&[]);
}

#[test]
fn a_lamp_that_does_not_answer_is_read_more_and_more_rarely() {
    let mut scene = raw();
    scene.handle(Event::Refresh);
    take_read(&mut scene);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let from = scene.now;
        while scene.published.is_empty() {
            scene.pass(1_000);
        }
        take_read(&mut scene);
        waits.push((scene.now - from) / 1_000);
    }
    assert_eq!(waits, [33, 63, 123, 243, 483, 483, 483]);
}
