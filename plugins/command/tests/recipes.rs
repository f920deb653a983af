//! The recipes of the README for devices with HTTP, with the real `curl`, against devices that the tests play.

mod fake_http;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearthd_command::Command;
use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::{Failure, FailureKind};
use serde_json::{Value, json};

use crate::fake_http::{FakeHttp, Request, Response};

/// Far more than any of these programs takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_recipe_for_wled_sets_and_reads_a_strip() {
    let strip = Arc::new(Mutex::new(
        json!({"on": false, "bri": 128, "transition": 7, "seg": [{"bri": 3}]}),
    ));
    let its = Arc::clone(&strip);
    let fake = FakeHttp::start(move |request| {
        let mut strip = its.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/json/state") => Response::json(&strip),
            ("POST", "/json/state") => {
                for (key, value) in request.json().as_object().unwrap() {
                    strip[key] = value.clone();
                }
                Response::json(&json!({"success": true}))
            }
            _ => Response::not_found(),
        }
    });
    let mut device = device("### WLED", &[("192.168.1.20", fake.address())]);
    wait_for(&device, "power", "OFF");
    wait_for(&device, "brightness", "128");
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert_eq!(set(&mut device, "brightness", "40"), Reply::Done);
    assert_eq!(
        *strip.lock().unwrap(),
        json!({"on": true, "bri": 40, "transition": 7, "seg": [{"bri": 3}]})
    );
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    assert_eq!(device.published("brightness").as_deref(), Some("40"));
    without_device(device, fake);
}

#[test]
fn the_recipe_for_shelly_switches_a_relay_and_reads_its_power() {
    let relay = Arc::new(Mutex::new(false));
    let its = Arc::clone(&relay);
    let fake = FakeHttp::start(move |request| {
        let mut relay = its.lock().unwrap();
        match request.path.as_str() {
            "/rpc/Switch.Set?id=0&on=true" => {
                Response::json(&json!({"was_on": std::mem::replace(&mut *relay, true)}))
            }
            "/rpc/Switch.Set?id=0&on=false" => {
                Response::json(&json!({"was_on": std::mem::replace(&mut *relay, false)}))
            }
            // As the firmware writes it, with white space.
            "/rpc/Switch.GetStatus?id=0" => Response::ok(format!(
                "{{\"id\":0, \"source\":\"init\", \"output\":{relay}, \"apower\":{}, \"voltage\":230.1}}",
                if *relay { "1850.5" } else { "0.0" },
            )),
            _ => Response::not_found(),
        }
    });
    let mut device = device("### Shelly", &[("192.168.1.21", fake.address())]);
    wait_for(&device, "consumption", "0");
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert!(*relay.lock().unwrap());
    assert_eq!(device.published("power").as_deref(), Some("ON"));
    wait_until(&mut device, "consumption", "1850.5");
    assert_eq!(set(&mut device, "power", "OFF"), Reply::Done);
    assert!(!*relay.lock().unwrap());
    without_device(device, fake);
}

#[test]
fn the_recipe_for_hue_believes_what_the_bridge_says_and_not_its_200() {
    let lamp = Arc::new(Mutex::new(json!({"on": false, "bri": 100, "reachable": true})));
    let its = Arc::clone(&lamp);
    let fake = FakeHttp::start(move |request| hue(&mut its.lock().unwrap(), request));
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("hue");
    let text = patient(&block("### Hue", "sh")).replace("192.168.1.22", &fake.address());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap().to_owned();
    let mut device = device("### Hue", &[("/usr/local/bin/hue", script)]);
    wait_for(&device, "power", "OFF");
    wait_for(&device, "brightness", "100");
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert_eq!(set(&mut device, "brightness", "7"), Reply::Done);
    assert_eq!(*lamp.lock().unwrap(), json!({"on": true, "bri": 7, "reachable": true}));
    assert_eq!(device.published("brightness").as_deref(), Some("7"));
    // The bridge refuses it, with status 200.
    let refused = failure(set(&mut device, "brightness", "254"));
    assert_eq!(refused.kind(), FailureKind::Failed);
    assert!(refused.message().contains("device is set to off"), "{refused:?}");
    lamp.lock().unwrap()["reachable"] = json!(false);
    let failed = failure(set(&mut device, "power", "OFF"));
    assert_eq!(failed.kind(), FailureKind::Unreachable);
    assert!(failed.message().contains("the bridge does not reach light 3"), "{failed:?}");
    lamp.lock().unwrap()["reachable"] = json!(true);
    assert_eq!(set(&mut device, "power", "ON"), Reply::Done);
    assert_eq!(device.unreachable(), None);
    without_device(device, fake);
}

/// The first version of the bridge's interface; a brightness of 254 is what it refuses here.
fn hue(lamp: &mut Value, request: &Request) -> Response {
    const LIGHT: &str = "/api/the-key-of-the-bridge/lights/3";
    let Some(rest) = request.path.strip_prefix(LIGHT) else {
        return Response::json(
            &json!([{"error": {"type": 1, "description": "unauthorized user"}}]),
        );
    };
    match (request.method.as_str(), rest) {
        ("GET", "") => {
            Response::json(&json!({"state": lamp, "type": "Dimmable light", "name": "Reading"}))
        }
        ("PUT", "/state") if request.json()["bri"] == 254 => Response::json(
            &json!([{"error": {"type": 201, "description": "device is set to off"}}]),
        ),
        ("PUT", "/state") => {
            let wanted = request.json();
            let (key, value) = wanted.as_object().unwrap().iter().next().unwrap();
            lamp[key] = value.clone();
            Response::json(&json!([{"success": {format!("/lights/3/state/{key}"): value}}]))
        }
        _ => Response::not_found(),
    }
}

/// Makes the device of a recipe, with other words in the place of some.
fn device(heading: &str, instead: &[(&str, String)]) -> TestDevice<Command> {
    let curl = std::process::Command::new("curl").arg("--version").output();
    assert!(
        curl.is_ok_and(|curl| curl.status.success()),
        "these tests need curl: apt install curl"
    );
    let mut table = patient(&block(heading, "toml"));
    for (word, other) in instead {
        assert!(table.contains(word) || Path::new(word).is_absolute(), "{word}");
        table = table.replace(word, other);
    }
    let table: toml::Table = table.parse().unwrap();
    let (_, device) = table["devices"].as_table().unwrap().iter().next().unwrap();
    let mut config = serde_json::to_value(&device["config"]).unwrap();
    config["timeout"] = json!(60.0);
    TestDevice::new(config)
}

/// Returns a block of the README.
fn block(heading: &str, language: &str) -> String {
    let readme = include_str!("../README.md");
    let section = readme.split(&format!("{heading}\n")).nth(1).expect("the section is there");
    let block = section.split(&format!("```{language}\n")).nth(1).expect("the block is there");
    block.split("```").next().unwrap().to_owned()
}

/// Gives curl more time than at home: the machine of a test may be busy.
fn patient(recipe: &str) -> String {
    recipe.replace("\"-m\", \"2\"", "\"-m\", \"60\"").replace("-m 1 ", "-m 60 ")
}

fn set(device: &mut TestDevice<Command>, property: &str, value: &str) -> Reply {
    match device.set(property, value) {
        Reply::Pending => device.wait_for_reply(PATIENCE),
        reply => reply,
    }
}

#[track_caller]
fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        Reply::Done | Reply::Pending | Reply::Accepted(_) | Reply::Panicked => {
            panic!("{reply:?}")
        }
    }
}

#[track_caller]
fn wait_for(device: &TestDevice<Command>, property: &str, value: &str) {
    let there = |device: &TestDevice<Command>| device.published(property).as_deref() == Some(value);
    assert!(device.wait_until(PATIENCE, there), "{property}: {:?}", device.published(property));
}

/// Waits for a value that is read from time to time.
#[track_caller]
fn wait_until(device: &mut TestDevice<Command>, property: &str, value: &str) {
    let end = std::time::Instant::now() + PATIENCE;
    while device.published(property).as_deref() != Some(value) {
        assert!(std::time::Instant::now() < end, "{property}: {:?}", device.published(property));
        device.advance(Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The device answers with an error, and then is not there any more.
fn without_device(mut device: TestDevice<Command>, fake: FakeHttp) {
    fake.refuse();
    let failed = failure(set(&mut device, "power", "ON"));
    assert!(failed.message().contains("500"), "{failed:?}");
    drop(fake);
    let failed = failure(set(&mut device, "power", "ON"));
    assert_eq!(failed.kind(), FailureKind::Unreachable, "{failed:?}");
    assert_eq!(device.unreachable().as_deref(), Some(failed.message()));
}
