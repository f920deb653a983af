//! What Home Assistant is told of a home: seen by a client with its rights.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Message, Mosquitto,
    Result, daemon::under, mosquitto::Kind, process::Signal,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::home::{Home, Setup};

#[tokio::test]
async fn every_device_is_announced_and_obeys_through_the_bundled_broker() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = bundled(&built, folder.path()).await?;
    let (hub, other) = (broker.access("hub"), access(&broker));
    obeys(&built, &folder, hub, other).await
}

#[tokio::test]
async fn every_device_is_announced_and_obeys_through_mosquitto() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Mosquitto::start(Kind::Open).await?;
    obeys(&built, &folder, broker.access(None), broker.access(None)).await
}

async fn obeys(built: &Built, folder: &TempDir, hub: Access, other: Access) -> Result<()> {
    let mut home = Announced::start(built, folder, hub, other).await?;
    let light = home.config("light-in-bedroom/").await?;
    assert_eq!(light["device"]["name"], "Bedroom light");
    let lamp = light["components"]["light_light"].clone();
    let heating = home.config("living-room/").await?;
    assert_eq!(heating["components"]["climate_climate"]["modes"], json!(["off", "heat"]));
    let about = home.config("").await?;
    assert_eq!(about["device"]["sw_version"], env!("CARGO_PKG_VERSION"));
    // The topics of the announcement lead to the device and back.
    let (command, state) = (text(&lamp["command_topic"])?, text(&lamp["state_topic"])?);
    home.assistant.subscribe(&state).await?;
    let on =
        Message { expiry: Some(5), ..Message::new(command, r#"{"power":"ON","brightness":42}"#) };
    home.assistant.publish(on).await?;
    let is_on = |m: &Message| {
        m.topic == state && m.json().is_ok_and(|s| s["power"] == "ON" && s["brightness"] == 42)
    };
    home.assistant.expect("the new state", PATIENCE, is_on).await?;
    // A command that comes to nothing, and one that does not.
    let components = &light["components"];
    let problem = text(&components["binary_sensor_problem"]["state_topic"])?;
    let event = text(&components["event_command-failed"]["state_topic"])?;
    home.assistant.subscribe(&problem).await?;
    home.assistant.subscribe(&event).await?;
    assert_eq!(home.assistant.expect_on(&problem).await?.text(), "{}");
    let bad = home.topic("cmnd/light-in-bedroom/brightness");
    home.assistant.publish(Message::new(&bad, "200")).await?;
    let failed = home.assistant.expect_on(&event).await?;
    let told = home.assistant.expect_on(&problem).await?;
    for facts in [failed.json()?, told.json()?] {
        assert_eq!(facts["status"], 422);
        assert_eq!((&facts["property"], &facts["payload"]), (&json!("brightness"), &json!("200")));
    }
    home.assistant.publish(Message::new(&bad, "20")).await?;
    assert_eq!(home.assistant.expect_on(&problem).await?.text(), "{}");
    Ok(())
}

#[tokio::test]
async fn what_goes_is_taken_back_also_while_the_hub_is_down() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = bundled(&built, folder.path()).await?;
    let mut home = Announced::start(&built, &folder, broker.access("hub"), access(&broker)).await?;
    for device in ["light-in-bedroom/", "living-room/", ""] {
        home.config(device).await?;
    }
    home.edit(|text| {
        text.replace("[home_assistant]", "[home_assistant]\nexclude = [\"living-room\"]")
    })?;
    home.daemon.process()?.signal(Signal::HUP)?;
    home.taken_back("living-room/").await?;
    // Nothing else was announced anew, and after an end in order nothing is.
    home.daemon.terminate().await?;
    home.edit(|text| {
        let (before, _) = text.split_once("[devices.living-room]").expect("it is there");
        before.replace("exclude = [\"living-room\"]", "")
    })?;
    home.daemon.start(&mut home.assistant).await?;
    home.daemon.kill9()?;
    home.edit(|text| text.replace("discovery = true", "discovery = false"))?;
    home.daemon.start(&mut home.assistant).await?;
    home.taken_back("light-in-bedroom/").await?;
    home.taken_back("").await?;
    let state = home.found("", "state");
    let gone = |m: &Message| m.topic == state && m.payload.is_empty();
    home.assistant.expect("the summary is cleared", PATIENCE, gone).await?;
    // Beside these: one announcement of each, and the summary.
    let marker = "homeassistant/marker";
    let more = home.assistant.drain(marker).await?;
    let more: Vec<_> = more.iter().filter(|m| m.topic.ends_with("/config")).collect();
    assert!(more.is_empty(), "{more:#?}");
    // A newcomer finds nothing.
    let mut newcomer = Client::connect(&access(&broker), "newcomer").await?;
    newcomer.subscribe("homeassistant/#").await?;
    assert_eq!(newcomer.drain(marker).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_gives_no_right_costs_discovery_alone() -> Result<()> {
    let tables = "[home_assistant]\ndiscovery = true\n";
    let mut home = Home::start_with(Setup::Bundled, |config| config.tables = tables.into()).await?;
    home.daemon.logged("the broker refuses discovery").await?;
    assert_eq!(home.answer("light-in-bedroom/power", "ON").await?.text(), "ON");
    assert_eq!(home.daemon.log().matches("the broker refuses discovery").count(), 1);
    let doctor = home.daemon.command(&["doctor"]).await?;
    let said = "may not publish on homeassistant/device/hearthd_hearthd-demo";
    assert!(doctor.stdout.contains(said), "{doctor:?}");
    assert!(doctor.stdout.contains("the right to `homeassistant/#`"), "{doctor:?}");
    Ok(())
}

/// A home with Home Assistant's rights, which has subscribed to all announcements.
struct Announced {
    assistant: Client,
    daemon: Daemon,
    prefix: Option<String>,
}

impl Announced {
    async fn start(built: &Built, folder: &TempDir, hub: Access, other: Access) -> Result<Self> {
        let mut config = DaemonConfig::new(hub);
        config.tables = "[home_assistant]\ndiscovery = true\n".into();
        let daemon = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
        let mut assistant = Client::connect(&other, "homeassistant").await?;
        assistant.subscribe("homeassistant/#").await?;
        let prefix = assistant.response_information().map(str::to_owned);
        let mut home = Self { assistant, daemon, prefix };
        home.daemon.start(&mut home.assistant).await?;
        Ok(home)
    }

    fn topic(&self, rest: &str) -> String {
        under(self.prefix.as_deref(), rest)
    }

    /// Names a topic of the discovery; `device` ends in a slash, or is empty for the hub.
    fn found(&self, device: &str, last: &str) -> String {
        format!("homeassistant/device/hearthd_hearthd-demo/{device}{last}")
    }

    /// Waits for an announcement.
    async fn config(&mut self, device: &str) -> Result<Value> {
        let topic = self.found(device, "config");
        self.assistant.expect_on(&topic).await?.json()
    }

    async fn taken_back(&mut self, device: &str) -> Result<()> {
        let topic = self.found(device, "config");
        let seen = self.assistant.expect_on(&topic).await?;
        if seen.payload.is_empty() { Ok(()) } else { Err(Failure(format!("{seen:?}"))) }
    }

    fn edit(&self, change: impl FnOnce(String) -> String) -> Result<()> {
        let file = self.daemon.config();
        Ok(fs::write(file, change(fs::read_to_string(file)?))?)
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().doing("a text")?.to_owned())
}

/// Starts the bundled broker with the accounts that its package makes, and one for Home Assistant.
async fn bundled(built: &Built, folder: &Path) -> Result<HearthBroker> {
    let password = folder.join("hub-password");
    fs::write(&password, "password-of-hub")?;
    fs::set_permissions(&password, Permissions::from_mode(0o600))?;
    let text = format!(
        "home = \"alice\"\n[storage]\ndirectory = {:?}\n[[account]]\nname = \"hub\"\nrole = \"hub\"\n\
         password_file = {password:?}\nclient_ids = [\"hearthd-*\"]\n\
         rights = [{{ filter = \"homeassistant/#\" }}]\n",
        folder.join("storage")
    );
    let broker = HearthBroker::start_configured(built, folder, &text).await?;
    let mut add = Command::new(built.binary("hearth-broker"));
    add.args(["account", "add", "home-assistant", "--for", "home-assistant", "--config"]);
    add.arg(folder.join("hearth-broker.toml")).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut adding = add.spawn().doing("hearth-broker account add")?;
    adding.stdin.take().doing("its input")?.write_all(b"password-of-home-assistant\n")?;
    let ended = adding.wait()?;
    if !ended.success() {
        return Err(Failure(format!("hearth-broker account add: {ended}")));
    }
    Ok(broker)
}

fn access(broker: &HearthBroker) -> Access {
    broker.access("home-assistant")
}

const PATIENCE: Duration = Duration::from_secs(60);
