//! Offers of bridges, with the messages that they keep at a broker.

use super::*;

/// Reads messages of which each has a topic and a payload.
fn offers(messages: &[(&str, Value)]) -> Vec<Offered> {
    let messages = messages
        .iter()
        .map(|(topic, payload)| ((*topic).to_owned(), payload.to_string().into_bytes()));
    read(&messages.collect())
}

fn parsed(offered: &[Offered]) -> toml::Table {
    let text = to_snippet(offered);
    text.parse().unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn bulb(name: &str) -> Value {
    json!({
        "friendly_name": name, "type": "Router", "power_source": "Mains (single phase)",
        "definition": {"vendor": "IKEA", "model": "LED1545G12", "exposes": [
            {"type": "light", "features": [
                {"name": "state", "property": "state", "type": "binary"},
                {"name": "brightness", "property": "brightness", "value_max": 254, "value_min": 0},
                {"name": "color_temp", "property": "color_temp", "value_min": 250, "value_max": 454},
            ]},
            {"type": "enum", "name": "effect", "property": "effect"},
        ]},
    })
}

#[test]
fn a_bulb_of_zigbee2mqtt_becomes_a_light_with_its_range() {
    let devices =
        json!([{"friendly_name": "Coordinator", "type": "Coordinator"}, bulb("Hall/Desk lamp")]);
    let offered = offers(&[("zigbee2mqtt/bridge/devices", devices)]);
    let config = parsed(&offered);
    let expected: toml::Table = r#"
        bridges = { allow = ["zigbee2mqtt/#"] }
        [devices.hall-desk-lamp]
        plugin = "light"
        [devices.hall-desk-lamp.config]
        backend = "zigbee2mqtt"
        brightness = true
        color_temperature = { min = 2203, max = 4000 }
        zigbee2mqtt = { topic = "zigbee2mqtt/Hall/Desk lamp" }
    "#
    .parse()
    .unwrap();
    assert_eq!(config, expected);
    assert!(
        to_snippet(&offered).contains(
            "# Hall/Desk lamp: IKEA LED1545G12, on and off, brightness, 2203 to 4000 K\n"
        )
    );
}

#[test]
fn each_output_of_a_device_is_a_light_of_its_own() {
    let endpoint = |end: &str| json!({"type": "switch", "endpoint": end, "features": [{"name": "state", "property": format!("state_{end}")}]});
    let devices = json!([{
        "friendly_name": "stairs", "type": "Router",
        "definition": {"vendor": "Tuya", "model": "TS0002", "exposes": [endpoint("left"), endpoint("right")]},
    }]);
    let config = parsed(&offers(&[("z/bridge/devices", devices)]));
    for end in ["left", "right"] {
        let table = &config["devices"][&format!("stairs-{end}")]["config"]["zigbee2mqtt"];
        assert_eq!(table["suffix"].as_str(), Some(end));
        assert_eq!(table["base"].as_str(), Some("z"));
    }
}

#[test]
fn a_valve_belongs_into_a_thermostat_and_a_sensor_is_one() {
    let devices = json!([
        {"friendly_name": "valve", "type": "EndDevice", "power_source": "Battery", "definition": {
            "vendor": "SONOFF", "model": "TRVZB", "exposes": [
                {"type": "climate", "features": [{"property": "current_heating_setpoint"}]},
                {"type": "switch", "features": [{"name": "state", "property": "child_lock"}]},
            ]}},
        {"friendly_name": "hall", "type": "EndDevice", "power_source": "Battery", "definition": {
            "vendor": "SONOFF", "model": "SNZB-02", "exposes": [
                {"type": "numeric", "property": "temperature"}, {"type": "numeric", "property": "humidity"},
            ]}},
        {"friendly_name": "remote", "type": "EndDevice", "definition": {"exposes": []}},
    ]);
    let offered = offers(&[("zigbee2mqtt/bridge/devices", devices)]);
    let text = to_snippet(&offered);
    let valve = "# in a thermostat: actuator = { zigbee2mqtt = { setpoint = \"current_heating_setpoint\", \
                 sleepy = true, topic = \"zigbee2mqtt/valve\" }, valve = true }\n";
    assert!(text.contains(valve), "{text}");
    let sensor = "[devices.hall]\nplugin = \"sensor\"\n[devices.hall.config]\n\
                  zigbee2mqtt = { topic = \"zigbee2mqtt/hall\" }\ntemperature = \"/temperature\"\n\
                  humidity = \"/humidity\"\n# or in a thermostat: sensors = [{ mqtt = { \
                  topic = \"zigbee2mqtt/hall\", pointer = \"/temperature\" } }]\n";
    assert!(text.contains(sensor), "{text}");
    assert!(
        text.contains("# remote: not known to Zigbee2MQTT\n# no plugin of the package serves it\n"),
        "{text}"
    );
    let devices = parsed(&offered)["devices"].clone();
    assert_eq!(devices.as_table().unwrap().keys().collect::<Vec<_>>(), ["hall"]);
}

#[test]
fn a_button_is_a_sensor_with_events() {
    let device = |name: &str, values: Value| {
        json!({"friendly_name": name, "type": "EndDevice", "definition": {"exposes": [
            {"type": "numeric", "property": "battery"},
            {"type": "enum", "property": "action", "values": values},
        ]}})
    };
    let devices = json!([
        device("bell", json!(["single", "double", "hold"])),
        device("dial", json!(["rotate_left", "rotate_right"])),
    ]);
    let config = parsed(&offers(&[("zigbee2mqtt/bridge/devices", devices)]));
    assert_eq!(config["devices"]["bell"]["config"]["button"].as_str(), Some("/action"));
    assert!(config["devices"].get("dial").is_none(), "its words would have to be named");
}

#[test]
fn a_group_names_its_members_and_what_all_of_them_can() {
    let with_address = |mut device: Value, address: &str| {
        device["ieee_address"] = address.into();
        device
    };
    let plug = json!({"friendly_name": "plug", "type": "Router", "definition": {"exposes": [
        {"type": "switch", "features": [{"name": "state", "property": "state"}]},
    ]}});
    let blind = json!({"friendly_name": "blind", "type": "Router", "definition": {"exposes": []}});
    let devices = json!([
        with_address(bulb("desk"), "0x1"),
        with_address(bulb("Hall/Lamp"), "0x2"),
        with_address(plug, "0x3"),
        with_address(blind, "0x4"),
    ]);
    let of = |addresses: &[&str]| {
        let members: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"ieee_address": address, "endpoint": 1}))
            .collect();
        let groups = json!([
            {"friendly_name": "all", "members": members},
            {"friendly_name": "empty", "members": []},
        ]);
        let messages = [
            ("zigbee2mqtt/bridge/devices", devices.clone()),
            ("zigbee2mqtt/bridge/groups", groups),
        ];
        let offered = offers(&messages);
        let [group] = &offered[4..] else { panic!("{offered:?}") };
        (parsed(&offered)["devices"].get("all").cloned(), group.about.clone())
    };
    let (lamps, about) = of(&["0x1", "0x2", "0x2"]);
    let expected: toml::Table = r#"
        backend = "zigbee2mqtt"
        brightness = true
        color_temperature = { min = 2203, max = 4000 }
        zigbee2mqtt = { topic = "zigbee2mqtt/all", members = ["zigbee2mqtt/desk", "zigbee2mqtt/Hall/Lamp"] }
    "#
    .parse()
    .unwrap();
    assert_eq!(lamps.unwrap()["config"].as_table(), Some(&expected));
    assert_eq!(about, "a group of 2 lights of Zigbee2MQTT, on and off, brightness, 2203 to 4000 K");
    let (with_plug, about) = of(&["0x1", "0x3", "0x4", "0x9"]);
    let config = with_plug.unwrap()["config"].clone();
    assert!(config.get("brightness").is_none() && config.get("color_temperature").is_none());
    assert!(about.contains("without 2 other members, which are not read back"), "{about}");
    assert_eq!(of(&["0x4"]).0, None, "there is no light in it");
}

#[test]
fn each_relay_of_a_tasmota_is_a_light() {
    let config = json!({
        "dn": "Cellar", "fn": ["Washer", "Dryer", null], "md": "Sonoff 4CH", "t": "tasmota_C0FFEE",
        "ft": "%prefix%/%topic%/", "rl": [1, 1, 0], "lt_st": 0,
    });
    let config = parsed(&offers(&[("tasmota/discovery/C0FFEE/config", config)]));
    assert_eq!(config["devices"]["washer"]["config"]["tasmota"]["index"].as_integer(), Some(1));
    assert_eq!(config["devices"]["dryer"]["config"]["tasmota"]["index"].as_integer(), Some(2));
    let allow = config["bridges"]["allow"].as_array().unwrap();
    let expected = ["cmnd/tasmota_C0FFEE/#", "stat/tasmota_C0FFEE/#", "tele/tasmota_C0FFEE/#"];
    assert_eq!(allow.iter().map(|one| one.as_str().unwrap()).collect::<Vec<_>>(), expected);
}

#[test]
fn a_light_of_a_tasmota_has_what_its_channels_can() {
    let config = json!({
        "dn": "Desk", "fn": [null], "md": "Bulb", "t": "desk", "ft": "home/%topic%/%prefix%/", "rl": [2], "lt_st": 5,
    });
    let config = parsed(&offers(&[("tasmota/discovery/AA/config", config)]));
    let desk = &config["devices"]["desk"]["config"];
    assert_eq!(desk["color"].as_bool(), Some(true));
    assert_eq!(desk["color_temperature"]["max"].as_integer(), Some(6_500));
    assert_eq!(desk["tasmota"]["full_topic"].as_str(), Some("home/%topic%/%prefix%/"));
    assert_eq!(config["bridges"]["allow"][0].as_str(), Some("home/desk/cmnd/#"));
}

#[test]
fn shellys_are_known_by_their_presence() {
    let config = parsed(&offers(&[
        ("shellies/shellydimmer2-A4CF12/online", json!(true)),
        ("shellies/announce/online", json!(true)),
        ("shellyplus1-a8032ab12345/online", json!(true)),
        ("somebody/online", json!("yes")),
    ]));
    let devices = config["devices"].as_table().unwrap();
    assert_eq!(
        devices.keys().collect::<Vec<_>>(),
        ["shellydimmer2-a4cf12", "shellyplus1-a8032ab12345"]
    );
    assert_eq!(
        devices["shellydimmer2-a4cf12"]["config"]["shelly"]["component"].as_str(),
        Some("light:0")
    );
}

#[test]
fn what_is_announced_to_home_assistant_is_offered_where_nothing_else_tells_of_it() {
    let device = json!({"name": "Kitchen", "sw": "esphome v2026.10.0"});
    let config = parsed(&offers(&[
        ("zigbee2mqtt/bridge/devices", json!([bulb("kitchen")])),
        (
            "homeassistant/light/0x1/light/config",
            json!({
                "name": null, "schema": "json", "command_topic": "zigbee2mqtt/kitchen/set", "state_topic": "zigbee2mqtt/kitchen",
            }),
        ),
        (
            "homeassistant/light/node/ceiling/config",
            json!({
                "~": "node", "name": "Ceiling", "schema": "json", "stat_t": "~/light/ceiling/state", "cmd_t": "~/light/ceiling/command",
                "brightness": true, "sup_clrm": ["color_temp"], "min_mirs": 153, "max_mirs": 500, "dev": device,
            }),
        ),
        (
            "homeassistant/switch/pump/config",
            json!({
                "name": "Pump", "command_topic": "garden/pump/set", "state_topic": "garden/pump", "payload_on": "1", "payload_off": "0",
            }),
        ),
        (
            "homeassistant/switch/odd/config",
            json!({
                "name": "Odd", "command_topic": "odd/set", "state_topic": "odd", "value_template": "{{ value_json.x }}",
            }),
        ),
        ("homeassistant/sensor/pump/config", json!({"name": "Flow", "state_topic": "garden/flow"})),
    ]));
    let devices = config["devices"].as_table().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), ["kitchen", "kitchen-ceiling", "pump"]);
    let ceiling = &devices["kitchen-ceiling"]["config"];
    assert_eq!(ceiling["esphome"]["light"].as_str(), Some("ceiling"));
    assert_eq!(ceiling["esphome"]["topic"].as_str(), Some("node"));
    assert_eq!(ceiling["color_temperature"]["min"].as_integer(), Some(2_001));
    assert_eq!(devices["pump"]["config"]["topics"]["power"]["on"].as_str(), Some("1"));
}

#[test]
fn what_a_stranger_keeps_there_is_text_and_nothing_else() {
    let name = "x\"\n[devices.evil]\nplugin = \"/tmp/evil.so\"\u{1b}[2J";
    let device = json!([{"friendly_name": name, "type": "Router", "definition": {
        "exposes": [{"type": "light", "features": []}], "vendor": "\n[broker]", "model": "\r",
    }}]);
    let config = parsed(&offers(&[("zigbee2mqtt/bridge/devices", device)]));
    assert_eq!(config["devices"].as_table().unwrap().len(), 1);
    assert!(!config.contains_key("broker"));
    for junk in [
        json!(null),
        json!([]),
        json!({"t": 5}),
        json!([[1, {}], "x"]),
        json!({"rl": "no", "t": "x"}),
    ] {
        for topic in [
            "z/bridge/devices",
            "z/bridge/groups",
            "tasmota/discovery/x/config",
            "homeassistant/light/x/config",
        ] {
            assert_eq!(offers(&[(topic, junk.clone())]), [], "{topic} {junk}");
        }
    }
}

#[test]
fn a_bridge_whose_list_is_too_large_is_told() {
    let messages = BTreeMap::from([
        ("a/bridge/state".to_owned(), Vec::new()),
        ("b/bridge/state".to_owned(), Vec::new()),
        ("b/bridge/devices".to_owned(), Vec::new()),
    ]);
    assert_eq!(without_list(&messages), ["a"]);
}

#[test]
fn device_ids_are_unique_and_short() {
    let mut taken = BTreeSet::new();
    assert_eq!(device_id("Küche", &mut taken), "kueche");
    assert_eq!(device_id("küche", &mut taken), "kueche-2");
    assert_eq!(device_id("灯", &mut taken), "device");
    assert_eq!(device_id(&"x".repeat(100), &mut taken).len(), LONGEST_ID);
}
