//! Devices that cannot reach what they stand for, and come back, and what happens at one: in the daemon.

use std::{fs, path::Path, time::Duration};

use hearthd_tests::{Message, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    home::{Home, Setup},
    in_c::compile,
};

#[tokio::test]
async fn a_light_whose_lamp_is_not_there_is_unreachable_until_it_comes() -> Result<()> {
    let machine = tempfile::tempdir()?;
    let table = format!(
        "[devices.lamp]\nplugin = \"light\"\n[devices.lamp.config]\nbackend = \"led\"\n\
         root = {:?}\nled = {{ name = \"lamp\" }}\n",
        machine.path()
    );
    let mut home = home_with(Setup::Bundled, &["light", "thermostat"], &table).await?;
    let told = expect_status(&mut home, "lamp", "unreachable").await?;
    let since = told.property("since").unwrap_or_default().to_owned();
    assert!(since.ends_with('Z') && since.len() == 20, "{since}");
    let reason = told.property("reason").unwrap_or_default().to_owned();
    assert!(reason.starts_with("no such LED `lamp`"), "{reason}");

    let read = home.answer("lamp/power", "").await?;
    assert_eq!((read.status(), read.property("reason")), (Some(503), Some("unreachable")));
    assert_eq!(read.property("since"), Some(&*since));
    let facts = read.json()?;
    assert_eq!((&facts["last_known"], &facts["since"]), (&json!("OFF"), &json!(since)));
    let all = home.answer("lamp/get", "").await?;
    assert_eq!((all.status(), &all.json()?["last_known"]["power"]), (Some(503), &json!("OFF")));
    let set = home.answer("lamp/power", "ON").await?;
    assert_eq!((set.status(), set.property("reason")), (Some(503), Some("unreachable")));
    assert_eq!(home.answer("lamp/describe", "").await?.status(), Some(200));
    let examined = home.daemon.command(&["doctor"]).await?;
    let line = format!("`lamp` is unreachable since {since}: no such LED `lamp`");
    assert!(examined.stdout.contains(&line), "{examined:?}");
    home.light_is_off().await?;

    let listed = home.daemon.command(&["devices"]).await?.stdout;
    let entry = listed.split("\nlamp").nth(1).unwrap_or(&listed);
    assert!(entry.contains("unreachable") && entry.contains(&reason), "{listed}");
    assert!(entry.contains(&format!("since {since}")), "{listed}");
    let status = home.daemon.command(&["status"]).await?.stdout;
    assert!(status.contains("1 unreachable"), "{status}");
    let report = home.answer("hearthd-demo/status", "").await?.json()?;
    assert_eq!(report["devices"]["unreachable"], 1, "{report}");

    with_led(machine.path())?;
    // The light tries again by itself; a request is quicker.
    home.daemon.logged("device unreachable").await?;
    let on = home.answer("lamp/power", "ON").await?;
    assert_eq!((on.status(), on.text().as_str()), (Some(200), "ON"));
    let back = expect_status(&mut home, "lamp", "ready").await?;
    assert_eq!((back.property("reason"), back.property("since")), (None, None));
    assert_eq!(home.answer("lamp/power", "").await?.text(), "ON");
    Ok(())
}

#[tokio::test]
async fn a_thermostat_without_a_sensor_is_unreachable_until_one_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let room = folder.path().join("room");
    fs::write(&room, "18.5\n")?;
    let table = format!(
        "[devices.study]\nplugin = \"thermostat\"\n[devices.study.config]\nbackend = \"hardware\"\n\
         period = \"2s\"\nsensors = [{{ file = {{ path = {room:?} }} }}]\n\
         actuator = {{ simulated = {{}} }}\n"
    );
    let mut home = home_with(Setup::Mosquitto, &["light", "thermostat"], &table).await?;
    let known = expect_state(&mut home, "study/current_temperature", "18.5").await?;
    assert!(known.property("reason").is_none());
    fs::remove_file(&room)?;
    let told = expect_status(&mut home, "study", "unreachable").await?;
    let reason = told.property("reason").unwrap_or_default();
    assert!(reason.starts_with("sensors[0]: "), "{reason}");
    let read = home.answer("study/current_temperature", "").await?;
    assert_eq!((read.status(), &read.json()?["last_known"]), (Some(503), &json!(18.5)));
    let set = home.answer("study/target_temperature", "21").await?;
    assert_eq!(set.status(), Some(200), "the wish is taken: {set:?}");
    let marker = home.topic("response/phone/marker");
    home.phone.drain(&marker).await?;
    fs::write(&room, "19.0\n")?;
    expect_status(&mut home, "study", "ready").await?;
    let read = home.answer("study/current_temperature", "").await?;
    assert_eq!((read.status(), read.text().as_str()), (Some(200), "19"));
    Ok(())
}

#[tokio::test]
async fn a_program_that_cannot_reach_its_device_says_so_with_its_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let code = code_file(&folder, "0")?;
    let script = r#"["sh", "-c", "echo ON; exit $(cat \"$0\")", "#;
    let table = format!(
        "[devices.pump]\nplugin = \"command\"\n[devices.pump.config.properties.power]\n\
         type = \"switch\"\nget = {{ run = {script}{code:?}], every = \"1s\" }}\n\
         set = {{ run = {script}{code:?}] }}\n"
    );
    let mut home = home_with(Setup::Bundled, &["light", "thermostat", "command"], &table).await?;
    expect_state(&mut home, "pump/power", "ON").await?;
    code_file(&folder, "69")?;
    let told = expect_status(&mut home, "pump", "unreachable").await?;
    assert_eq!(told.property("reason"), Some("sh: exit status: 69"));
    let read = home.answer("pump/power", "").await?;
    assert_eq!((read.status(), &read.json()?["last_known"]), (Some(503), &json!("ON")));
    assert_eq!(home.answer("pump/power", "OFF").await?.status(), Some(503));
    // A hub that starts again has the program asked again, and says what it says now.
    home.daemon.kill9()?;
    let marker = home.topic("response/phone/marker");
    home.phone.drain(&marker).await?;
    home.daemon.start(&mut home.phone).await?;
    expect_status(&mut home, "pump", "unreachable").await?;
    home.phone.drain(&marker).await?;
    code_file(&folder, "0")?;
    expect_status(&mut home, "pump", "ready").await?;
    assert_eq!(home.answer("pump/power", "").await?.text(), "ON");
    Ok(())
}

/// In the hub and in a process of its own.
#[tokio::test]
async fn a_plugin_in_c_says_what_it_cannot_reach_and_what_happens() -> Result<()> {
    let table = |id: &str, isolation: &str| {
        format!("[devices.{id}]\nplugin = \"reports\"\nisolation = \"{isolation}\"\n")
    };
    let devices = table("within", "none") + &table("apart", "process");
    let mut home = Home::prepare(Setup::Bundled, |config| config.devices += &devices).await?;
    let plugins = home.daemon.config().with_file_name("plugins");
    compile("reports.c", &plugins.join("reports.so")).await?;
    for filter in ["state/+/+", "event/+"] {
        let filter = home.topic(filter);
        home.phone.subscribe(&filter).await?;
    }
    home.daemon.start(&mut home.phone).await?;
    for device in ["within", "apart"] {
        let job = format!("{device}/job");
        assert_eq!(home.answer(&job, "lose").await?.status(), Some(200));
        let told = expect_status(&mut home, device, "unreachable").await?;
        assert_eq!(told.property("reason"), Some("the cable is cut"));
        let read = home.answer(&job, "").await?;
        assert_eq!((read.status(), &read.json()?["last_known"]), (Some(503), &json!("none")));
        let failed = home.answer(&job, "nonsense").await?;
        assert_eq!((failed.status(), failed.property("reason")), (Some(503), Some("unreachable")));
        let marker = home.topic("response/phone/marker");
        home.phone.drain(&marker).await?;
        assert_eq!(home.answer(&job, "find").await?.status(), Some(200));
        expect_status(&mut home, device, "ready").await?;
        assert_eq!(home.answer(&job, "").await?.text(), "none");

        assert_eq!(home.answer(&job, "ring wrongly").await?.status(), Some(422));
        assert_eq!(home.answer(&job, "ring").await?.status(), Some(200));
        let topic = home.topic(&format!("event/{device}"));
        let told = home.phone.expect_on(&topic).await?;
        assert_eq!(told.json()?, json!({ "event": "double", "property": "bell" }));
        assert!(!told.retain && told.property("hub").is_some(), "{told:?}");
        assert_eq!(home.answer(&format!("{device}/bell"), "").await?.status(), Some(422));
    }
    Ok(())
}

/// Starts a home with one device more, whose status and states the phone hears.
async fn home_with(setup: Setup, plugins: &'static [&'static str], table: &str) -> Result<Home> {
    let mut home = Home::prepare(setup, |config| {
        config.plugins = plugins;
        config.devices += table;
    })
    .await?;
    let states = home.topic("state/+/+");
    home.phone.subscribe(&states).await?;
    home.daemon.start(&mut home.phone).await?;
    Ok(home)
}

/// Waits until a device's status is told to be this.
async fn expect_status(home: &mut Home, device: &str, word: &str) -> Result<Message> {
    expect_state(home, &format!("{device}/status"), word).await
}

async fn expect_state(home: &mut Home, what: &str, text: &str) -> Result<Message> {
    let topic = home.topic(&format!("state/{what}"));
    home.phone.expect(what, PATIENCE, |m: &Message| m.topic == topic && m.text() == text).await
}

/// Says with which code the pump's program ends.
fn code_file(folder: &TempDir, code: &str) -> Result<std::path::PathBuf> {
    let file = folder.path().join("code");
    // At once: a program that reads half of it would end otherwise.
    let written = folder.path().join("written");
    fs::write(&written, code)?;
    fs::rename(&written, &file)?;
    Ok(file)
}

fn with_led(root: &Path) -> Result<()> {
    let led = root.join("sys/class/leds/lamp");
    fs::create_dir_all(&led)?;
    fs::write(led.join("max_brightness"), "1\n")?;
    fs::write(led.join("brightness"), "0\n")?;
    fs::write(led.join("trigger"), "[none]\n")?;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
