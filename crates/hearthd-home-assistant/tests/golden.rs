//! What is announced, whole: each message stands in a file of `tests/golden`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p hearthd-home-assistant` writes the files anew.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use hearthd_core::{
    Announced, Announcement, Announcer as _, Known, KnownStatus,
    property::Declaration,
    topic::{Prefix, Templates},
};
use hearthd_home_assistant::{Device, HomeAssistant};
use serde_json::{Value as Json, json};

/// A device with declarations in the plugin ABI's form.
fn device(id: &str, kind: &str, declarations: &[(&str, Json)]) -> Device {
    let declare = |(name, declaration): &(&str, Json)| {
        let declaration = Declaration::parse(name, declaration.to_string().as_bytes()).unwrap();
        ((*name).to_owned(), declaration)
    };
    Device {
        id: id.into(),
        name: None,
        room: None,
        kind: kind.into(),
        declarations: declarations.iter().map(declare).collect(),
        deadline: Duration::from_secs(5),
    }
}

/// The light of the configuration that is shipped, with all that a light can have.
fn light() -> Device {
    let light = device(
        "light-in-bedroom",
        "light",
        &[
            ("power", json!({ "type": "switch", "title": "Power" })),
            ("brightness", json!({ "type": "integer", "min": 0, "max": 100, "unit": "%" })),
            (
                "transition",
                json!({ "type": "number", "min": 0, "max": 60, "step": 0.1, "unit": "s" }),
            ),
            (
                "color_temperature",
                json!({ "type": "integer", "min": 2200, "max": 6500, "unit": "K" }),
            ),
            ("alert", json!({ "type": "text", "access": "r", "title": "Alert" })),
        ],
    );
    Device { name: Some("Bedroom light".into()), room: Some("Bedroom".into()), ..light }
}

/// A light with white and with colors, as the plugin declares it.
fn colorful() -> Device {
    let color_temperature = json!({ "type": "integer", "min": 2200, "max": 6500, "unit": "K" });
    let color_mode = json!({
        "type": "enum", "values": ["color_temperature", "color"], "access": "r",
    });
    device(
        "ribbon",
        "light",
        &[
            ("power", json!({ "type": "switch" })),
            ("brightness", json!({ "type": "integer", "min": 0, "max": 100, "unit": "%" })),
            ("color_temperature", color_temperature),
            ("color", json!({ "type": "text" })),
            ("color_mode", color_mode),
        ],
    )
}

/// A stranger's light that has nothing but colors.
fn beacon() -> Device {
    let declarations =
        [("power", json!({ "type": "switch" })), ("color", json!({ "type": "text" }))];
    device("beacon", "stranger", &declarations)
}

fn thermostat() -> Device {
    let modes = ["off", "heat", "auto"];
    let presets = ["none", "comfort", "eco", "away", "boost"];
    let degrees = |more: Json| {
        let mut declaration = json!({ "type": "number", "unit": "°C" });
        declaration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        declaration
    };
    let heating = device(
        "heating",
        "thermostat",
        &[
            ("target_temperature", degrees(json!({ "min": 5, "max": 30, "step": 0.5 }))),
            ("current_temperature", degrees(json!({ "access": "r" }))),
            ("mode", json!({ "type": "enum", "values": modes })),
            ("preset", json!({ "type": "enum", "values": presets })),
            (
                "action",
                json!({ "type": "enum", "values": ["off", "idle", "heating"], "access": "r" }),
            ),
            ("alert", json!({ "type": "text", "access": "r" })),
            ("window", json!({ "type": "enum", "values": ["closed", "open"], "access": "r" })),
        ],
    );
    Device { name: Some("Heating".into()), ..heating }
}

/// A stranger's device that declares each type with each access.
fn everything() -> Device {
    let types = [
        ("switch", json!({ "type": "switch" })),
        ("integer", json!({ "type": "integer", "min": 0, "max": 10 })),
        ("number", json!({ "type": "number", "unit": "W" })),
        ("enum", json!({ "type": "enum", "values": ["low", "high"] })),
        ("text", json!({ "type": "text" })),
        ("json", json!({ "type": "json" })),
    ];
    let mut declarations = Vec::new();
    for (name, declaration) in types {
        for access in ["r", "rw", "w"] {
            let mut declaration = declaration.clone();
            declaration["access"] = access.into();
            declarations.push((format!("{name}_{access}"), declaration));
        }
    }
    declarations
        .push(("press".into(), json!({ "type": "enum", "values": ["press"], "access": "w" })));
    declarations.push(("bell".into(), json!({ "type": "event", "values": ["press", "double"] })));
    declarations.push(("doorbell".into(), json!({ "type": "event", "values": ["ring"] })));
    declarations.push(("total".into(), json!({ "type": "number", "unit": "kWh", "access": "r" })));
    declarations.push((
        "humidity".into(),
        json!({ "type": "number", "unit": "%", "access": "r", "title": "Odds and ends humidity" }),
    ));
    let declarations: Vec<_> = declarations
        .iter()
        .map(|(name, declaration)| (name.as_str(), declaration.clone()))
        .collect();
    Device {
        name: Some("Odds and ends".into()),
        ..device("odds_and-ends", "stranger", &declarations)
    }
}

fn home(devices: Vec<Device>) -> HomeAssistant {
    HomeAssistant {
        prefix: "homeassistant".into(),
        client_id: "hearthd-pi".into(),
        version: "1.2.3".into(),
        topics: Templates::default(),
        expiry: true,
        devices,
    }
}

fn announce(home: &HomeAssistant, before: &[Announced]) -> Vec<Announcement> {
    let prefix = Prefix::parse("home").unwrap();
    let details = [("reason".to_owned(), "crashed 5 times".to_owned())];
    home.announcements(&Known {
        prefix: Some(&prefix),
        before: before.iter().map(|announced| (announced.topic.as_str(), announced)).collect(),
        statuses: BTreeMap::from([
            ("heating", KnownStatus { word: "quarantined", details: &details }),
            ("lamp", KnownStatus { word: "ready", details: &[] }),
        ]),
    })
}

fn payload(announcement: &Announcement) -> Json {
    serde_json::from_slice(&announcement.payload).unwrap()
}

fn all() -> Vec<Announcement> {
    announce(&home(vec![light(), colorful(), beacon(), thermostat(), everything()]), &[])
}

#[test]
fn each_announcement_is_as_its_file_says() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let all = all();
    for announcement in &all {
        let name =
            announcement.topic.strip_prefix("homeassistant/device/hearthd_hearthd-pi/").unwrap();
        let file = folder.join(format!("{}.json", name.replace('/', "-")));
        let whole = json!({ "topic": announcement.topic, "payload": payload(announcement) });
        let text = format!("{}\n", serde_json::to_string_pretty(&whole).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_default();
        assert!(text == golden, "{} differs from {}:\n{text}", announcement.topic, file.display());
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), all.len());
}

#[test]
fn home_assistant_accepts_every_key() {
    let accepted: Json = serde_json::from_str(include_str!("accepted.json")).unwrap();
    let check = |value: &Json, accepted: &Json, place: &str| {
        for key in value.as_object().unwrap().keys() {
            let is_accepted =
                accepted.as_array().unwrap().iter().any(|known| known == key.as_str());
            assert!(is_accepted, "{place}: {key}");
        }
    };
    let check_availability = |value: &Json, place: &str| {
        for one in value["availability"].as_array().into_iter().flatten() {
            check(one, &accepted["availability"], place);
        }
    };
    for announcement in all().iter().filter(|announced| announced.topic.ends_with("/config")) {
        let (topic, payload) = (&announcement.topic, payload(announcement));
        check(&payload, &accepted["root"], topic);
        check(&payload["device"], &accepted["device"], topic);
        check(&payload["origin"], &accepted["origin"], topic);
        check_availability(&payload, topic);
        for (key, component) in payload["components"].as_object().unwrap() {
            let mut keys = component.clone();
            let platform = keys.as_object_mut().unwrap().remove("platform").unwrap();
            check(&keys, &accepted["components"][platform.as_str().unwrap()], key);
            check_availability(component, key);
        }
    }
}

#[test]
fn commands_expire_unless_home_assistant_cannot_send_such() {
    let expiring = |home: &HomeAssistant| {
        let texts = announce(home, &[]);
        let texts = texts.iter().map(|announced| String::from_utf8_lossy(&announced.payload));
        texts.map(|text| text.matches("message_expiry_interval").count()).sum::<usize>()
    };
    let mut home = home(vec![light(), thermostat()]);
    assert_ne!(expiring(&home), 0);
    home.expiry = false;
    assert_eq!(expiring(&home), 0);
}

#[test]
fn identifiers_are_unique_and_come_from_the_configured_ids_alone() {
    let identifiers = |announcements: &[Announcement]| -> Vec<String> {
        let configs = announcements.iter().filter(|announced| announced.topic.ends_with("/config"));
        let components = configs.flat_map(|config| {
            let components = payload(config)["components"].as_object().unwrap().clone();
            components.into_iter().map(|(_, component)| component)
        });
        components
            .map(|component| {
                // Home Assistant keeps them apart by platform.
                format!(
                    "{} {} {}",
                    component["platform"], component["unique_id"], component["default_entity_id"]
                )
            })
            .collect()
    };
    let named = identifiers(&all());
    let mut unique = named.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), named.len());
    let mut devices = vec![light(), colorful(), beacon(), thermostat(), everything()];
    for device in &mut devices {
        (device.name, device.room) = (Some("Anything else".into()), Some("Cellar".into()));
    }
    assert_eq!(identifiers(&announce(&home(devices), &[])), named);
}

#[test]
fn no_name_repeats_the_device() {
    for announcement in all().iter().filter(|announced| announced.topic.ends_with("/config")) {
        let payload = payload(announcement);
        let device = payload["device"]["name"].as_str().unwrap().to_lowercase();
        for (key, component) in payload["components"].as_object().unwrap() {
            let name = component["name"].as_str().map(str::to_lowercase);
            assert!(!name.is_some_and(|name| name.starts_with(&device)), "{key} of {device}");
        }
    }
}

#[test]
fn a_property_that_went_is_removed_and_stays_known_as_removed() {
    let first = announce(&home(vec![light()]), &[]);
    let announced = |announcement: &Announcement| Announced {
        topic: announcement.topic.clone(),
        digest: None,
        parts: announcement.parts.clone(),
        start: None,
    };
    let mut smaller = light();
    smaller.declarations.remove("alert");
    let before: Vec<_> = first.iter().map(announced).collect();
    let second = announce(&home(vec![smaller.clone()]), &before);
    let components = payload(&second[0])["components"].clone();
    assert_eq!(components["sensor_alert"], json!({ "platform": "sensor" }));
    assert_eq!(components["binary_sensor_alert-problem"], json!({ "platform": "binary_sensor" }));
    assert_eq!(second[0].parts, first[0].parts);
    // Home Assistant may have been away: the next announcement says so again.
    let before: Vec<_> = second.iter().map(announced).collect();
    assert_eq!(announce(&home(vec![smaller]), &before), second);
    // What comes back is announced as ever.
    assert_eq!(announce(&home(vec![light()]), &before), first);
}

#[test]
fn another_type_is_another_component() {
    let with = |declaration: Json| home(vec![device("fan", "fan", &[("speed", declaration)])]);
    let first = announce(&with(json!({ "type": "enum", "values": ["low", "high"] })), &[]);
    let before = [Announced {
        topic: first[0].topic.clone(),
        digest: None,
        parts: first[0].parts.clone(),
        start: None,
    }];
    let second = announce(&with(json!({ "type": "integer", "min": 0, "max": 3 })), &before);
    let components = payload(&second[0])["components"].clone();
    assert_eq!(components["select_speed"], json!({ "platform": "select" }));
    assert_eq!(components["number_speed"]["max"], 3.0);
}

#[test]
fn what_takes_one_property_at_a_time_is_no_light() {
    let declarations = [
        ("power", json!({ "type": "switch" })),
        ("brightness", json!({ "type": "integer", "min": 0, "max": 100 })),
    ];
    let components = |kind: &str| {
        let home = home(vec![device("lamp", kind, &declarations)]);
        let components = payload(&announce(&home, &[])[0])["components"].clone();
        ["light_light", "switch_power", "number_brightness"]
            .map(|key| components.get(key).is_some())
    };
    assert_eq!(components("stranger"), [true, false, false]);
    assert_eq!(components("command"), [false, true, true]);
}

#[test]
fn a_light_has_one_state_object_and_other_devices_have_none() {
    let home = home(vec![light(), thermostat()]);
    let states = BTreeMap::from([
        ("power", &b"ON"[..]),
        ("brightness", &b"42"[..]),
        ("alert", &b"none"[..]),
    ]);
    let snapshot = home.snapshot("light-in-bedroom", &states).unwrap();
    let expected = json!({ "power": "ON", "brightness": 42, "alert": "none" });
    assert_eq!(serde_json::from_slice::<Json>(&snapshot).unwrap(), expected);
    assert_eq!(home.snapshot("heating", &states), None);
}
