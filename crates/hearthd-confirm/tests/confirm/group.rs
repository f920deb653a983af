//! A group of Zigbee2MQTT: it is told once, and each of its members is read.

use std::collections::BTreeMap;

use hearthd_confirm::{Availability, Event, Part, Switch, Wanted};
use serde_json::{Value as Json, json};

use crate::scene::Scene;

const GET: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/all", members = ["zigbee2mqtt/hall/a", "zigbee2mqtt/b"] }"#;
const RAW: &str = r#"zigbee2mqtt = { topic = "zigbee2mqtt/all", members = ["zigbee2mqtt/hall/a", "zigbee2mqtt/b"], raw = true }"#;
const NAMES: [&str; 2] = ["hall/a", "b"];

/// What a lamp does when its group is told something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lamp {
    Obeys,
    /// It has not heard of it.
    Misses,
    Dead,
}

/// Two lamps, the bridge that speaks to them, and the confirmer of their group.
struct Home {
    scene: Scene,
    lamps: [Lamp; 2],
    on: [bool; 2],
    /// What the group was told, each time.
    told: Vec<Json>,
    logged: bool,
}

impl Home {
    fn new(table: &str, lamps: [Lamp; 2]) -> Self {
        let mut scene = Scene::of(table);
        let devices = json!([device("hall/a", 7), device("b", 8)]);
        scene.retained("zigbee2mqtt/bridge/devices", &devices.to_string());
        scene.retained("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#);
        let told = Vec::new();
        let mut home = Self { scene, lamps: [Lamp::Obeys; 2], on: [false; 2], told, logged: false };
        home.run(4_000);
        home.lamps = lamps;
        home
    }

    /// Lets time pass, while the bridge and the lamps answer.
    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 20 {
            for publication in self.scene.take() {
                let json: Json = serde_json::from_slice(&publication.payload).unwrap();
                self.arrive(&publication.topic, &json);
            }
            self.scene.pass(20);
        }
    }

    fn arrive(&mut self, topic: &str, json: &Json) {
        if topic == "zigbee2mqtt/all/set" {
            self.told.push(json.clone());
            for (place, name) in NAMES.iter().enumerate() {
                if self.lamps[place] == Lamp::Obeys {
                    self.on[place] = json["state"] == "ON";
                }
                // The bridge believes that they all have done it.
                self.scene.live(&format!("zigbee2mqtt/{name}"), &json.to_string());
            }
            return;
        }
        if topic == "zigbee2mqtt/bridge/request/action" {
            let place = usize::from(json["params"]["network_address"] == 8);
            let answer = if self.lamps[place] == Lamp::Dead {
                json!({"data": {}, "status": "error", "error": "Delivery failed", "transaction": json["transaction"]})
            } else {
                let bytes = [24, 2, 1, 0, 0, 0, 16, u8::from(self.on[place])];
                let data = json!({"clusterID": 6, "data": {"data": bytes}});
                json!({"data": data, "status": "ok", "transaction": json["transaction"]})
            };
            return self.scene.live("zigbee2mqtt/bridge/response/action", &answer.to_string());
        }
        let place = NAMES.iter().position(|name| topic == format!("zigbee2mqtt/{name}/get"));
        let place = place.unwrap_or_else(|| panic!("{topic} is not expected"));
        let name = NAMES[place];
        if self.lamps[place] == Lamp::Dead {
            // It says the same only once.
            if !std::mem::replace(&mut self.logged, true) {
                let line = format!(
                    "z2m: Publish 'get' 'state' from '{name}' failed: 'Error: x failed (Delivery failed for '7'.)'"
                );
                let line = json!({"level": "error", "message": line}).to_string();
                self.scene.live("zigbee2mqtt/bridge/logging", &line);
            }
            return;
        }
        let state = if self.on[place] { "ON" } else { "OFF" };
        self.scene.live(&format!("zigbee2mqtt/{name}"), &json!({"state": state}).to_string());
    }
}

fn device(name: &str, address: u64) -> Json {
    json!({
        "friendly_name": name, "ieee_address": format!("0x{address}"), "network_address": address,
        "endpoints": {"1": {"clusters": {"input": ["genOnOff"]}}},
        "definition": {"exposes": [{"type": "switch", "features": [{"property": "state"}]}]},
    })
}

#[test]
fn the_answer_is_the_worst_of_what_the_members_do() {
    use Lamp::{Dead, Misses, Obeys};
    for (table, dead) in [(GET, "Delivery failed for '7'"), (RAW, "Delivery failed")] {
        let on = "confirmed: power ON";
        let off = "refused: still OFF";
        let cases = [
            ([Obeys, Obeys], 200, on.to_owned()),
            ([Obeys, Misses], 500, format!("b: {off}; hall/a: {on}")),
            ([Misses, Obeys], 500, format!("hall/a: {off}; b: {on}")),
            ([Misses, Misses], 500, off.to_owned()),
            ([Dead, Obeys], 503, format!("hall/a: unreachable: {dead}; b: {on}")),
            ([Dead, Misses], 500, format!("b: {off}; hall/a: unreachable: {dead}")),
        ];
        for (lamps, status, text) in cases {
            let mut home = Home::new(table, lamps);
            let id = home.scene.switch(true);
            home.run(5_100);
            home.scene.expect_verdict(id, status, &text);
            assert_eq!(home.told[0], json!({"state": "ON"}), "{table} {lamps:?}");
        }
    }
}

#[test]
fn a_group_that_obeys_is_told_once_and_confirmed_soon() {
    for (table, within) in [(GET, 1_000), (RAW, 300)] {
        let mut home = Home::new(table, [Lamp::Obeys; 2]);
        let given = home.scene.now;
        let id = home.scene.switch(true);
        home.run(5_000);
        home.scene.expect_verdict(id, 200, "confirmed: power ON");
        let took = home.scene.verdicts[0].1 - given;
        assert!(took <= within, "{table}: {took} ms");
        assert_eq!(home.told.len(), 1, "{table}");
    }
}

#[test]
fn what_the_bridge_reports_of_the_members_confirms_nothing() {
    let mut scene = Scene::of(GET);
    let id = scene.switch(true);
    for _ in 0..4 {
        for name in NAMES {
            scene.live(&format!("zigbee2mqtt/{name}"), r#"{"state":"ON"}"#);
        }
        scene.live("zigbee2mqtt/all", r#"{"state":"ON"}"#);
        scene.pass(10);
    }
    scene.pass(5_000);
    let [(_, _, verdict)] = &scene.verdicts[..] else { panic!("{id}: {:?}", scene.verdicts) };
    assert_eq!(verdict.status(), 409, "{verdict}");
}

#[test]
fn a_report_of_something_else_does_not_pass_for_the_answer_of_a_member() {
    let mut home = Home::new(GET, [Lamp::Obeys, Lamp::Misses]);
    let id = home.scene.switch(true);
    let mut asked = BTreeMap::<String, usize>::new();
    for step in 0..260 {
        for publication in home.scene.take() {
            let json: Json = serde_json::from_slice(&publication.payload).unwrap();
            if publication.topic.ends_with("/get") {
                *asked.entry(publication.topic.clone()).or_default() += 1;
                // The plug's meter reports between question and answer what the bridge believes.
                if publication.topic == "zigbee2mqtt/b/get" && step < 20 {
                    home.scene.live("zigbee2mqtt/b", r#"{"state":"ON","power":12}"#);
                }
            }
            home.arrive(&publication.topic, &json);
        }
        home.scene.pass(20);
    }
    home.scene.expect_verdict(id, 500, "b: refused: still OFF; hall/a: confirmed: power ON");
    assert!(asked["zigbee2mqtt/b/get"] > 2, "{asked:?}");
}

#[test]
fn a_group_is_on_where_any_of_it_is_and_a_toggle_is_made_explicit() {
    let toggle = || Wanted { power: Some(Switch::Toggle), ..Wanted::default() };
    for table in [GET, RAW] {
        let mut home = Home::new(table, [Lamp::Obeys; 2]);
        let id = home.scene.command(toggle());
        home.run(2_000);
        home.scene.expect_verdict(id, 200, "confirmed: power ON");
        // One goes off by itself, and says so.
        home.on[0] = false;
        home.scene.live("zigbee2mqtt/hall/a", r#"{"state":"OFF"}"#);
        home.run(8_000);
        assert!(home.scene.observed.last().unwrap().ends_with(": power ON"), "{table}");
        let id = home.scene.command(toggle());
        home.run(2_000);
        home.scene.expect_verdict(id, 200, "confirmed: power OFF");
        assert!(home.scene.observed.last().unwrap().ends_with(": power OFF"), "{table}");
        assert_eq!(home.told, [json!({"state": "ON"}), json!({"state": "OFF"})]);
    }
    let mut scene = Scene::of(GET);
    let id = scene.command(toggle());
    scene.expect_verdict(id, 409, "indeterminate: the present state is not known");
    scene.expect_sent(&[]);
}

#[test]
fn a_newer_command_replaces_an_older_one_at_once() {
    let mut scene = Scene::of(GET);
    let first = scene.switch(true);
    scene.pass(10);
    let second = scene.switch(false);
    scene.expect_verdict(first, 409, "indeterminate: a newer command replaced it");
    scene.expect_open(second);
    scene.expect_sent(&[
        ("zigbee2mqtt/all/set", r#"{"state":"ON"}"#),
        ("zigbee2mqtt/all/set", r#"{"state":"OFF"}"#),
    ]);
}

#[test]
fn what_one_member_cannot_is_told_before_anything_is_sent() {
    let mut home = Home::new(RAW, [Lamp::Obeys; 2]);
    home.scene.take();
    let id = home.scene.command(Wanted { brightness: Some(20), ..Wanted::default() });
    home.scene.expect_verdict(id, 422, "hall/a: hall/a has no brightness");
    home.scene.expect_sent(&[]);
}

#[test]
fn a_group_is_away_once_all_of_it_is() {
    let mut home = Home::new(RAW, [Lamp::Dead, Lamp::Obeys]);
    home.scene.switch(true);
    home.run(6_000);
    assert_eq!(home.scene.confirmer.availability(), &Availability::Online);
    home.lamps = [Lamp::Dead; 2];
    home.scene.switch(false);
    home.run(6_000);
    let Availability::Offline { part: Part::Device, reason, .. } =
        home.scene.confirmer.availability()
    else {
        panic!("{:?}", home.scene.confirmer.availability())
    };
    assert_eq!(reason, "hall/a: Delivery failed; b: Delivery failed");
    home.scene.live("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#);
    let id = home.scene.switch(false);
    home.scene.expect_verdict(id, 503, "unreachable: Zigbee2MQTT is offline");
    home.scene.handle(Event::Link { up: false });
    let id = home.scene.switch(false);
    home.scene.expect_verdict(id, 503, "unreachable: no connection to the broker");
}

#[test]
fn a_member_that_comes_back_is_told_again() {
    let mut home = Home::new(RAW, [Lamp::Obeys, Lamp::Dead]);
    let id = home.scene.switch(true);
    home.run(1_500);
    home.lamps[1] = Lamp::Obeys;
    home.run(3_600);
    home.scene.expect_verdict(id, 200, "confirmed: power ON");
    assert!(home.told.len() > 1);
}
