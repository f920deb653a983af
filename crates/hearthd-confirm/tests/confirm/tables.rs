//! The tables of a configuration: the topics that follow from them, and what is wrong with them.

use hearthd_confirm::{Esphome, Property, Tasmota, Zigbee2Mqtt};

use crate::scene::backend;

#[test]
fn the_topics_follow_from_the_table() {
    let cases: [(&str, &[&str], &[&str]); 10] = [
        (
            r#"zigbee2mqtt = { topic = "zigbee2mqtt/a/b" }"#,
            &[
                "zigbee2mqtt/a/b",
                "zigbee2mqtt/a/b/availability",
                "zigbee2mqtt/bridge/state",
                "zigbee2mqtt/bridge/logging",
            ],
            &["zigbee2mqtt/a/b/set", "zigbee2mqtt/a/b/get"],
        ),
        (
            r#"zigbee2mqtt = { topic = "z/b", base = "z", raw = true }"#,
            &[
                "z/b",
                "z/b/availability",
                "z/bridge/state",
                "z/bridge/logging",
                "z/bridge/devices",
                "z/bridge/response/action",
            ],
            &["z/b/set", "z/bridge/request/action"],
        ),
        (
            r#"zigbee2mqtt = { topic = "z/all", base = "z", members = ["z/a/b", "z/c"] }"#,
            &[
                "z/a/b",
                "z/a/b/availability",
                "z/c",
                "z/c/availability",
                "z/bridge/state",
                "z/bridge/logging",
            ],
            &["z/all/set", "z/a/b/get", "z/c/get"],
        ),
        (
            r#"zigbee2mqtt = { topic = "z/all", base = "z", members = ["z/c"], raw = true }"#,
            &[
                "z/c",
                "z/c/availability",
                "z/bridge/state",
                "z/bridge/logging",
                "z/bridge/devices",
                "z/bridge/response/action",
            ],
            &["z/all/set", "z/bridge/request/action"],
        ),
        (
            r#"tasmota = { topic = "k" }"#,
            &[
                "stat/k/RESULT",
                "stat/k/POWER",
                "stat/k/DIMMER",
                "stat/k/CT",
                "stat/k/HSBCOLOR",
                "tele/k/STATE",
                "tele/k/LWT",
            ],
            &[
                "cmnd/k/POWER",
                "cmnd/k/Dimmer",
                "cmnd/k/CT",
                "cmnd/k/HSBColor1",
                "cmnd/k/HSBColor2",
                "cmnd/k/HSBColor",
            ],
        ),
        (
            r#"shelly = { topic = "s" }"#,
            &["s/hearthd/rpc", "s/status/switch:0", "s/online"],
            &["s/rpc"],
        ),
        (
            r#"shelly = { topic = "s", generation = 1, component = "light:1" }"#,
            &["s/light/1/status", "s/online"],
            &["s/light/1/set", "s/command"],
        ),
        (
            r#"esphome = { topic = "n", climate = "c" }"#,
            &["n/climate/c/target_temperature/state", "n/status"],
            &["n/climate/c/target_temperature/command"],
        ),
        (r#"wled = { topic = "w" }"#, &["w/g", "w/c", "w/status"], &["w/api"]),
        (
            r#"topics = { power = { command = "p/set", state = "p" }, brightness = { command = "p/set", state = "p", pointer = "/b" } }"#,
            &["p"],
            &["p/set"],
        ),
    ];
    for (table, subscribe, publish) in cases {
        let backend = backend(table);
        assert_eq!(backend.problems(), [], "{table}");
        let topics = backend.declared_topics();
        assert_eq!(topics.subscribe, subscribe, "{table}");
        assert_eq!(topics.publish, publish, "{table}");
        assert!(table.starts_with(backend.family()));
    }
}

#[test]
fn what_is_published_was_declared() {
    use hearthd_confirm::{Color, Event, Wanted};
    let wanted = [
        Wanted { power: Some(true.into()), ..Wanted::default() },
        Wanted { brightness: Some(20), ..Wanted::default() },
        Wanted { color_temperature: Some(3_000), ..Wanted::default() },
        Wanted { color: Some(Color { hue: 1.0, saturation: 99.0 }), ..Wanted::default() },
        Wanted { setpoint: Some(21.0), ..Wanted::default() },
    ];
    for table in [
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/a/b" }"#,
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/a/b", raw = true }"#,
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/all", members = ["zigbee2mqtt/a/b"] }"#,
        r#"zigbee2mqtt = { topic = "zigbee2mqtt/all", members = ["zigbee2mqtt/a/b"], raw = true }"#,
        r#"tasmota = { topic = "k", index = 3 }"#,
        r#"shelly = { topic = "s", component = "cct:0" }"#,
        r#"shelly = { topic = "s", component = "rgb:0" }"#,
        r#"shelly = { topic = "s", component = "light:0", generation = 1 }"#,
        r#"shelly = { topic = "s", component = "white:0", generation = 1 }"#,
        r#"shelly = { topic = "s", generation = 1 }"#,
        r#"esphome = { topic = "n", light = "c" }"#,
        r#"esphome = { topic = "n", switch = "c" }"#,
        r#"esphome = { topic = "n", climate = "c" }"#,
        r#"wled = { topic = "w" }"#,
        r#"topics = { setpoint = { command = "p/set", state = "p" }, get = { topic = "p/get" } }"#,
    ] {
        let declared = backend(table).declared_topics().publish;
        let mut published = 0;
        for wanted in &wanted {
            let mut scene = crate::scene::Scene::of(table);
            scene.retained(
                "zigbee2mqtt/bridge/devices",
                r#"[{"friendly_name":"a/b","ieee_address":"0x1","network_address":1}]"#,
            );
            scene.command(wanted.clone());
            scene.handle(Event::Refresh);
            scene.pass(6_000);
            for (topic, _) in scene.sent() {
                assert!(declared.contains(&topic), "{table}: {topic}");
                published += 1;
            }
        }
        assert!(published > 0, "{table}");
    }
}

#[test]
fn what_is_wrong_in_a_table_is_told_with_its_place() {
    let cases: [(&str, &[&str]); 13] = [
        (r#"zigbee2mqtt = { topic = "z2m/a" }"#, &["zigbee2mqtt.topic"]),
        (r#"zigbee2mqtt = { topic = "zigbee2mqtt" }"#, &["zigbee2mqtt.topic"]),
        (r#"zigbee2mqtt = { topic = "zigbee2mqtt/bridge/x" }"#, &["zigbee2mqtt.topic"]),
        (r#"zigbee2mqtt = { topic = "zigbee2mqtt/+" }"#, &["zigbee2mqtt.topic"]),
        (r#"zigbee2mqtt = { topic = "zigbee2mqtt/a", endpoint = 0 }"#, &["zigbee2mqtt.endpoint"]),
        (
            r#"zigbee2mqtt = { topic = "zigbee2mqtt/a", members = ["zigbee2mqtt/a", "z/b", "zigbee2mqtt/c", "zigbee2mqtt/c"], sleepy = true, suffix = "l", optimistic = false, endpoint = 2 }"#,
            &[
                "zigbee2mqtt.members",
                "zigbee2mqtt.members",
                "zigbee2mqtt.members",
                "zigbee2mqtt.endpoint",
                "zigbee2mqtt.suffix",
                "zigbee2mqtt.optimistic",
                "zigbee2mqtt.sleepy",
            ],
        ),
        (r#"tasmota = { topic = "", index = 0 }"#, &["tasmota.topic", "tasmota.index"]),
        (r#"tasmota = { topic = "k", full_topic = "%topic%" }"#, &["tasmota.full_topic"]),
        (r#"shelly = { topic = "$SYS", generation = 3 }"#, &["shelly.topic", "shelly.generation"]),
        (r#"shelly = { topic = "s", component = "relay:0" }"#, &["shelly.component"]),
        (r#"esphome = { topic = "n", light = "a", switch = "b" }"#, &["esphome"]),
        (r#"wled = { topic = "w//x" }"#, &["wled.topic"]),
        (
            r#"topics = { power = { command = "p", state = "p", payload = "x", on = "1", off = "1" }, optimistic = true }"#,
            &["topics.power", "topics.power", "topics.power", "topics.optimistic"],
        ),
    ];
    for (table, places) in cases {
        let found: Vec<&str> =
            backend(table).problems().into_iter().map(|(place, _)| place).collect();
        assert_eq!(found, places, "{table}");
    }
    assert_eq!(backend("topics = {}").problems().len(), 1);
}

#[test]
fn unknown_keys_are_refused() {
    assert!(toml::from_str::<Zigbee2Mqtt>("topic = \"a\"\nqos = 1").is_err());
    assert!(toml::from_str::<Tasmota>("topic = \"a\"\nqos = 1").is_err());
    assert!(toml::from_str::<Esphome>("topic = \"a\"\nqos = 1").is_err());
}

#[test]
fn a_table_says_what_its_device_can_have() {
    let has = |table: &str| {
        let backend = backend(table);
        let all = [
            Property::Power,
            Property::Brightness,
            Property::ColorTemperature,
            Property::Color,
            Property::Setpoint,
        ];
        let names = all.into_iter().filter(|p| backend.has(*p)).map(Property::as_str);
        (names.collect::<Vec<_>>().join(" "), backend.has_transition())
    };
    let cases = [
        (r#"tasmota = { topic = "k" }"#, "power brightness color_temperature color", false),
        (r#"shelly = { topic = "s" }"#, "power", false),
        (
            r#"shelly = { topic = "s", component = "cct:0" }"#,
            "power brightness color_temperature",
            true,
        ),
        (r#"shelly = { topic = "s", component = "rgb:0" }"#, "power brightness color", true),
        (r#"esphome = { topic = "n", switch = "c" }"#, "power", false),
        (r#"esphome = { topic = "n", climate = "c" }"#, "setpoint", false),
        (r#"wled = { topic = "w" }"#, "power brightness color", true),
        (r#"topics = { power = { command = "a", state = "b" } }"#, "power", false),
    ];
    for (table, properties, transition) in cases {
        assert_eq!(has(table), (properties.to_owned(), transition), "{table}");
    }
}
