//! A bridge that adds and removes devices of its own, from the wire to the device and back.

use std::{fs, time::Duration};

use hearthd_tests::{Message, Result, built::workspace, process::Signal};

use crate::{
    home::{Home, Setup},
    in_c::compile,
};

#[tokio::test]
async fn devices_that_a_bridge_adds_live_and_go_as_any_others_in_the_hub() -> Result<()> {
    live_and_go("none", "panic").await
}

#[tokio::test]
async fn devices_that_a_bridge_adds_live_and_go_as_any_others_in_a_process() -> Result<()> {
    live_and_go("process", "abort").await
}

async fn live_and_go(isolation: &str, crash: &'static str) -> Result<()> {
    let table = format!(
        "[devices.bridge]\nplugin = \"radio\"\nroom = \"Loft\"\nisolation = \"{isolation}\"\n\
         config.search = \"1s\"\n"
    );
    let mut home = Home::prepare(Setup::Mosquitto, |config| {
        config.plugins = &["light", "thermostat", "radio"];
        config.tables += "[home_assistant]\ndiscovery = true\n";
        config.devices += &table;
    })
    .await?;
    for filter in ["state/+/+", "homeassistant/#"] {
        let filter = home.topic(filter);
        home.phone.subscribe(&filter).await?;
    }
    home.daemon.start(&mut home.phone).await?;

    // Added while the hub runs.
    assert_eq!(home.answer("bridge/find", "hall porch").await?.status(), Some(204));
    let ready = expect_state(&mut home, "bridge-hall/status", "ready").await?;
    assert_eq!(ready.property("hub"), Some("hearthd-demo"));
    expect_state(&mut home, "bridge-hall/power", "OFF").await?;
    let on = home.answer("bridge-hall/power", "ON").await?;
    assert_eq!((on.status(), on.text().as_str()), (Some(200), "ON"));
    expect_state(&mut home, "bridge-hall/power", "ON").await?;
    let announced = expect_announced(&mut home, "bridge-hall").await?.json()?;
    assert_eq!(announced["device"]["name"], "Lamp hall");
    assert_eq!(announced["device"]["suggested_area"], "Loft");
    let listed = home.daemon.command(&["devices"]).await?.stdout;
    assert!(listed.lines().any(|line| line.starts_with("bridge-porch")), "{listed}");
    let metrics = home.answer("hearthd-demo/metrics", "").await?.text();
    assert!(metrics.contains("bridge-porch"), "{metrics}");
    let checked = home.daemon.command(&["check"]).await?.stdout;
    let may = "bridge: may add devices of its own, as bridge-NAME";
    assert!(checked.lines().any(|line| line == may), "{checked}");

    // A request that comes while the hub is down waits for the bridge to find the lamp again.
    home.daemon.kill9()?;
    let request = Message { expiry: Some(60), ..home.ask("bridge-porch/power", "ON") };
    let (topic, data) = (request.response_topic.clone(), request.correlation_data.clone());
    home.phone.publish(request).await?;
    home.daemon.start(&mut home.phone).await?;
    let waiting = expect_state(&mut home, "bridge-porch/status", "restarting").await?;
    assert_eq!(waiting.property("reason"), Some("`bridge` has not added it yet"));
    let fits = |m: &Message| Some(&m.topic) == topic.as_ref() && m.correlation_data == data;
    let answer = home.phone.expect("the answer", PATIENCE, fits).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));
    expect_state(&mut home, "bridge-porch/status", "ready").await?;

    // A crash in a call of one.
    let marker = home.topic("response/phone/marker");
    home.phone.drain(&marker).await?;
    let crashed = home.answer("bridge-porch/job", crash).await?;
    assert_eq!((crashed.status(), crashed.property("reason")), (Some(503), Some("crashed")));
    expect_state(&mut home, "bridge-hall/status", "restarting").await?;
    expect_state(&mut home, "bridge-hall/status", "ready").await?;
    assert_eq!(home.answer("bridge-hall/power", "ON").await?.status(), Some(200));

    // Removed by the bridge, and with the bridge.
    assert_eq!(home.answer("bridge/lose", "hall").await?.status(), Some(204));
    expect_state(&mut home, "bridge-hall/status", "").await?;
    expect_state(&mut home, "bridge-hall/power", "").await?;
    expect_withdrawn(&mut home, "bridge-hall").await?;
    assert_eq!(home.answer("bridge-porch/power", "OFF").await?.text(), "OFF");
    let file = home.daemon.config();
    fs::write(file, fs::read_to_string(file)?.replace(&table, ""))?;
    home.daemon.process()?.signal(Signal::HUP)?;
    expect_state(&mut home, "bridge-porch/status", "").await?;
    expect_withdrawn(&mut home, "bridge-porch").await?;
    home.light_is_off().await?;

    // Nothing of them is left after a restart.
    home.daemon.terminate().await?;
    home.daemon.start(&mut home.phone).await?;
    let listed = home.daemon.command(&["devices"]).await?.stdout;
    assert!(!listed.contains("bridge"), "{listed}");
    Ok(())
}

#[tokio::test]
async fn devices_that_a_program_adds_wait_for_it_after_a_restart_of_the_hub() -> Result<()> {
    let program = workspace().join("plugins/program/examples/radio.py");
    let table = format!(
        "[devices.radio]\nplugin = \"program\"\n[devices.radio.config]\nadds = true\n\
         command = [\"python3\", {program:?}]\n[devices.radio.config.properties]\n\
         find = {{ type = \"text\", access = \"w\" }}\nlose = {{ type = \"text\", access = \"w\" }}\n"
    );
    let mut home = Home::prepare(Setup::Bundled, |config| {
        config.plugins = &["light", "thermostat", "plugin_program"];
        config.devices += &table;
    })
    .await?;
    let states = home.topic("state/+/+");
    home.phone.subscribe(&states).await?;
    home.daemon.start(&mut home.phone).await?;
    assert_eq!(home.answer("radio/find", "hall").await?.status(), Some(204));
    expect_state(&mut home, "radio-hall/power", "OFF").await?;
    assert_eq!(home.answer("radio-hall/power", "ON").await?.text(), "ON");

    home.daemon.kill9()?;
    let request = Message { expiry: Some(60), ..home.ask("radio-hall/power", "ON") };
    let data = request.correlation_data.clone();
    home.phone.publish(request).await?;
    home.daemon.start(&mut home.phone).await?;
    let fits = |m: &Message| data.is_some() && m.correlation_data == data;
    let answer = home.phone.expect("the answer", PATIENCE, fits).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));

    assert_eq!(home.answer("radio/lose", "hall").await?.status(), Some(204));
    expect_state(&mut home, "radio-hall/status", "").await?;
    Ok(())
}

/// In the hub and in a process of its own.
#[tokio::test]
async fn a_plugin_in_c_adds_and_removes_devices() -> Result<()> {
    let table = |id: &str, isolation: &str| {
        format!("[devices.{id}]\nplugin = \"children\"\nisolation = \"{isolation}\"\n")
    };
    let devices = table("within", "none") + &table("apart", "process");
    let mut home = Home::prepare(Setup::Bundled, |config| config.devices += &devices).await?;
    let plugins = home.daemon.config().with_file_name("plugins");
    compile("children.c", &plugins.join("children.so")).await?;
    let states = home.topic("state/+/+");
    home.phone.subscribe(&states).await?;
    home.daemon.start(&mut home.phone).await?;
    for device in ["within", "apart"] {
        let (find, lose) = (format!("{device}/find"), format!("{device}/lose"));
        assert_eq!(home.answer(&find, "hall").await?.status(), Some(204));
        expect_state(&mut home, &format!("{device}-hall/power"), "OFF").await?;
        let on = home.answer(&format!("{device}-hall/power"), "ON").await?;
        assert_eq!((on.status(), on.text().as_str()), (Some(200), "ON"));
        assert_eq!(home.answer(&find, "No Name").await?.status(), Some(422));
        assert_eq!(home.answer(&lose, "porch").await?.status(), Some(422));
        assert_eq!(home.answer(&lose, "hall").await?.status(), Some(204));
        expect_state(&mut home, &format!("{device}-hall/status"), "").await?;
    }
    Ok(())
}

async fn expect_state(home: &mut Home, what: &str, text: &str) -> Result<Message> {
    let topic = home.topic(&format!("state/{what}"));
    let what = format!("{what} {text:?}");
    home.phone.expect(&what, PATIENCE, |m: &Message| m.topic == topic && m.text() == text).await
}

async fn expect_announced(home: &mut Home, device: &str) -> Result<Message> {
    let is_of = |m: &Message| is_announcement(m, device) && !m.payload.is_empty();
    home.phone.expect("it is announced", PATIENCE, is_of).await
}

async fn expect_withdrawn(home: &mut Home, device: &str) -> Result<Message> {
    let is_of = |m: &Message| is_announcement(m, device) && m.payload.is_empty();
    home.phone.expect("it is announced no more", PATIENCE, is_of).await
}

fn is_announcement(message: &Message, device: &str) -> bool {
    message.topic.starts_with("homeassistant/device/") && message.topic.contains(device)
}

const PATIENCE: Duration = Duration::from_secs(60);
