//! Devices that use MQTT topics of their own, through a whole hub.

use std::time::Duration;

use hearthd_tests::{Built, Client, Doing, Message, Result};

use crate::{
    authoring::compile_c,
    home::{Home, Setup},
};

const KITCHEN: &str = "[devices.kitchen]\nplugin = \"bridge\"\ndeadline = \"2s\"\n\
                       [devices.kitchen.config]\ntopic = \"bulbs/kitchen\"\n";
const APART: &str = "[devices.apart]\nplugin = \"bridge\"\ndeadline = \"2s\"\nisolation = \"process\"\n\
                     [devices.apart.config]\ntopic = \"bulbs/apart\"\n";
const ALLOWED: &str = "[bridges]\nallow = [\"bulbs/#\"]\n";
const C_PLUG: &str = include_str!("../../../crates/hearthd-sdk/examples/mqtt_plug.c");
const PATIENCE: Duration = Duration::from_secs(20);

/// A home with bridges, and whatever is behind their topics.
struct Bridged {
    home: Home,
    bulb: Client,
}

impl Bridged {
    async fn start(setup: Setup, tables: &str, devices: &str) -> Result<Self> {
        let mut bridged = Self::prepare(setup, tables, devices).await?;
        bridged.home.daemon.start(&mut bridged.home.phone).await?;
        Ok(bridged)
    }

    /// Makes all ready except that the hub does not run.
    async fn prepare(setup: Setup, tables: &str, devices: &str) -> Result<Self> {
        let home = Home::prepare(setup, |config| {
            config.tables += tables;
            config.devices += devices;
        })
        .await?;
        let bridge = Built::for_this_test()?.plugin("bridge");
        let folder = home.daemon.config().parent().doing("the configuration is in a folder")?;
        std::fs::copy(&bridge, folder.join("plugins/bridge.so")).doing(bridge.display())?;
        let mut bulb = Client::connect(&home.broker.access("bulb"), "bulb").await?;
        bulb.subscribe("bulbs/+/set").await?;
        bulb.subscribe("bulbs/+/ask").await?;
        Ok(Self { home, bulb })
    }

    /// Waits until a device says that there is a connection, or what else.
    async fn link(&mut self, device: &str, wanted: &str) -> Result<()> {
        let topic = self.home.topic(&format!("state/{device}/link"));
        self.home.phone.subscribe(&topic).await?;
        let is_it = |m: &Message| m.topic == topic && m.text() == wanted;
        self.home.phone.expect(wanted, PATIENCE, is_it).await.map(|_| ())
    }

    /// Asks a device to switch on, and returns what reaches the other side.
    async fn ask_on(&mut self, device: &str) -> Result<Message> {
        let request = self.home.ask(&format!("{device}/power"), "ON");
        self.home.phone.publish(request).await?;
        let topic = format!("bulbs/{device}/set");
        self.bulb.expect("the command", PATIENCE, |m| m.topic == topic).await
    }

    async fn answer(&mut self) -> Result<Message> {
        let is_it = |m: &Message| m.topic.ends_with("response/phone/e2e");
        self.home.phone.expect("the answer", PATIENCE, is_it).await
    }
}

#[tokio::test]
async fn a_request_is_answered_once_the_device_behind_the_topics_has_confirmed_it() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let mut bridged = Bridged::start(setup, ALLOWED, &[KITCHEN, APART].concat()).await?;
        for device in ["kitchen", "apart"] {
            bridged.link(device, "up").await?;
            let set = bridged.ask_on(device).await?;
            assert_eq!((set.text().as_str(), set.retain), ("ON", false));
            assert!(set.expiry.is_some_and(|seconds| (1..=2).contains(&seconds)), "{set:?}");
            bridged.bulb.publish(Message::new(format!("bulbs/{device}"), "ON")).await?;
            let answer = bridged.answer().await?;
            assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"), "{device}");
            // One that does not confirm costs the requester one deadline.
            bridged.ask_on(device).await?;
            let answer = bridged.answer().await?;
            assert_eq!(answer.status(), Some(408), "{device} {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_reply_answers_the_request_that_asked_for_it() -> Result<()> {
    let mut bridged = Bridged::start(Setup::Bundled, ALLOWED, &[KITCHEN, APART].concat()).await?;
    for device in ["kitchen", "apart"] {
        bridged.link(device, "up").await?;
        let request = bridged.home.ask(&format!("{device}/ask"), "how warm?");
        bridged.home.phone.publish(request).await?;
        let topic = format!("bulbs/{device}/ask");
        let ask = bridged.bulb.expect("the question", PATIENCE, |m| m.topic == topic).await?;
        let data = ask.correlation_data.clone().doing("it has Correlation Data")?;
        assert_eq!(data.len(), 16);
        let to = ask.response_topic.clone().doing("it has a Response Topic")?;
        let mut reply = Message::new(to, "21.5");
        reply.correlation_data = Some(data);
        bridged.bulb.publish(reply).await?;
        let answer = bridged.answer().await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "21.5"), "{answer:?}");
        // And where none comes, the deadline.
        let request = bridged.home.ask(&format!("{device}/ask"), "how cold?");
        bridged.home.phone.publish(request).await?;
        let answer = bridged.answer().await?;
        assert!(matches!(answer.status(), Some(408 | 500)), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_retained_is_told_from_what_is_said_now_and_a_restarted_device_hears_it_again()
-> Result<()> {
    let mut bridged = Bridged::start(Setup::Bundled, ALLOWED, KITCHEN).await?;
    bridged.link("kitchen", "up").await?;
    let mut state = Message::new("bulbs/kitchen", "ON");
    state.retain = true;
    bridged.bulb.publish(state).await?;
    let last = bridged.home.topic("state/kitchen/last");
    bridged.home.phone.subscribe(&last).await?;
    let live = |m: &Message| m.topic == last && m.text() == "live ON";
    bridged.home.phone.expect("news, though the broker keeps it", PATIENCE, live).await?;
    let restart = bridged.home.ask("hearthd-demo/restart", "kitchen");
    bridged.home.phone.request(restart).await?;
    let stored = |m: &Message| m.topic == last && m.text() == "retained ON";
    bridged.home.phone.expect("what the broker keeps", PATIENCE, stored).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_whose_topics_are_not_allowed_has_failed_until_the_line_is_there() -> Result<()> {
    let mut bridged = Bridged::start(Setup::Bundled, "", KITCHEN).await?;
    let checked = bridged.home.daemon.command(&["check"]).await?;
    assert!(checked.stdout.contains("kitchen: MQTT subscribe bulbs/kitchen\n"), "{checked:?}");
    assert!(checked.stdout.contains("kitchen: MQTT publish bulbs/kitchen/set\n"), "{checked:?}");
    let line =
        "[bridges] allow = [\"bulbs/kitchen\", \"bulbs/kitchen/set\", \"bulbs/kitchen/ask\"]";
    assert!(checked.stderr.contains(line), "{checked:?}");
    let refused = bridged.home.answer("kitchen/power", "ON").await?;
    assert_eq!(refused.status(), Some(503), "{refused:?}");
    let reason = refused.property("__stMsg").unwrap_or_default().to_owned();
    assert!(reason.contains("neither below the prefix `alice` nor allowed"), "{reason}");
    assert!(reason.contains(line), "{reason}");
    let status = bridged.home.answer("kitchen/status", "").await?;
    assert_eq!(status.text(), "failed");
    // The line that it says, and a reload.
    let file = bridged.home.daemon.config().to_owned();
    let (section, key) = line.split_once(' ').doing("it is a line for the configuration")?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{section}\n{key}\n{text}"))?;
    let reload = bridged.home.ask("hearthd-demo/reload", "now");
    assert_eq!(bridged.home.phone.request(reload).await?.status(), Some(200));
    bridged.link("kitchen", "up").await?;
    bridged.ask_on("kitchen").await?;
    bridged.bulb.publish(Message::new("bulbs/kitchen", "ON")).await?;
    assert_eq!(bridged.answer().await?.status(), Some(200));
    assert_eq!(bridged.home.answer("kitchen/status", "").await?.text(), "ready");
    // What it has not declared is not sent all the same.
    let stray = bridged.home.answer("kitchen/stray", "bulbs/other/set").await?;
    let why = stray.property("__stMsg").unwrap_or_default();
    assert_eq!((stray.status(), why), (Some(500), "the device may not publish there"));
    Ok(())
}

#[tokio::test]
async fn a_filter_that_the_broker_refuses_costs_its_device_alone() -> Result<()> {
    let device = KITCHEN.replace("bulbs/", "secret/");
    let allowed = ALLOWED.replace("bulbs", "secret");
    let mut bridged = Bridged::start(Setup::Bundled, &allowed, &device).await?;
    let status = bridged.home.topic("state/kitchen/status");
    bridged.home.phone.subscribe(&status).await?;
    let failed = |m: &Message| m.topic == status && m.text() == "failed";
    let told = bridged.home.phone.expect("failed", PATIENCE, failed).await?;
    let answer = bridged.home.answer("kitchen/power", "ON").await?;
    for reason in [answer.property("__stMsg"), told.property("reason")] {
        let reason = reason.unwrap_or_default();
        assert!(reason.contains("the broker refuses its topic `secret/kitchen`"), "{reason}");
    }
    bridged.home.light_is_off().await
}

#[tokio::test]
async fn a_plug_in_c_is_confirmed_in_the_hub_and_apart() -> Result<()> {
    for isolation in ["none", "process"] {
        let device =
            format!("[devices.c-plug]\nplugin = \"mqtt-plug\"\nisolation = \"{isolation}\"\n");
        let mut bridged = Bridged::prepare(Setup::Bundled, ALLOWED, &device).await?;
        let folder = bridged.home.daemon.config().parent().doing("it is in a folder")?.to_owned();
        compile_c(C_PLUG, &folder, &folder.join("plugins/mqtt-plug.so")).await?;
        bridged.home.daemon.start(&mut bridged.home.phone).await?;
        bridged.link("c-plug", "up").await?;
        let set = bridged.ask_on("c-plug").await?;
        assert_eq!(set.text(), "ON");
        bridged.bulb.publish(Message::new("bulbs/c-plug", "ON")).await?;
        let answer = bridged.answer().await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"), "{isolation}");
    }
    Ok(())
}

#[tokio::test]
async fn two_devices_on_one_topic_are_a_line_in_check() -> Result<()> {
    let other = KITCHEN.replace("devices.kitchen", "devices.pantry");
    let devices = [KITCHEN, &other].concat();
    let mut bridged = Bridged::start(Setup::Bundled, ALLOWED, &devices).await?;
    let checked = bridged.home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(78), "{checked:?}");
    for (device, other) in [("kitchen", "pantry"), ("pantry", "kitchen")] {
        let line = format!(
            "devices.{device}.config: `{other}` publishes on its topic `bulbs/kitchen/set` as well"
        );
        assert!(checked.stderr.contains(&line), "{checked:?}");
        let answer = bridged.home.answer(&format!("{device}/power"), "ON").await?;
        assert_eq!(answer.status(), Some(503), "{answer:?}");
    }
    bridged.home.light_is_off().await
}
