//! More than one hub in a home, and clients that are mistaken.

use std::fs;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Message, Result, client::PATIENCE, daemon::under,
    process::Signal,
};

use crate::home::{Broker, Home, Setup};

/// Two hubs at one broker.
struct Neighbours {
    phone: Client,
    attic: Daemon,
    cellar: Daemon,
    prefix: Option<String>,
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Neighbours {
    async fn prepare(setup: Setup, devices: [&str; 2]) -> Result<Self> {
        Self::with_ids(setup, ["hearthd-demo-attic", "hearthd-demo-cellar"], devices).await
    }

    async fn with_ids(setup: Setup, ids: [&str; 2], devices: [&str; 2]) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(setup, &built, &folder).await?;
        let hub = |name: &str, id: &str, devices: &str| {
            let mut config = DaemonConfig::new(broker.access("hub"));
            config.client_id = id.into();
            config.devices = lights(devices);
            Daemon::prepare(&built, &folder.path().join(name), &config)
        };
        let (attic, cellar) =
            (hub("attic", ids[0], devices[0])?, hub("cellar", ids[1], devices[1])?);
        let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
        let prefix = phone.response_information().map(str::to_owned);
        phone.subscribe(&under(prefix.as_deref(), "response/phone/+")).await?;
        Ok(Self { phone, attic, cellar, prefix, broker, folder })
    }

    async fn start(&mut self) -> Result<()> {
        self.attic.start(&mut self.phone).await?;
        self.cellar.start(&mut self.phone).await?;
        Ok(())
    }

    fn topic(&self, rest: &str) -> String {
        under(self.prefix.as_deref(), rest)
    }

    /// Writes other devices into a hub's configuration.
    fn has_now(&self, name: &str, devices: &str) -> Result<()> {
        let file = self.folder.path().join(name).join("hearthd.toml");
        let text = fs::read_to_string(&file)?;
        let (before, _) = text.split_once("[devices.").doing("find the devices")?;
        fs::write(&file, format!("{before}{}", lights(devices)))?;
        Ok(())
    }

    /// Looks what the broker has retained of a device's status: its text, and the hub that says so.
    async fn retained_status(&self, device: &str) -> Result<Option<(String, Option<String>)>> {
        let mut observer = Client::connect(&self.broker.access("guardian"), "guardian").await?;
        let topic = self.topic(&format!("state/{device}/status"));
        let marker = self.topic("response/guardian/marker");
        observer.subscribe(&marker).await?;
        observer.subscribe(&topic).await?;
        let seen = observer.drain(&marker).await?;
        let status = seen.into_iter().find(|message| message.topic == topic);
        Ok(status.map(|status| (status.text(), status.property("hub").map(str::to_owned))))
    }
}

fn lights(ids: &str) -> String {
    let one = |id: &str| format!("[devices.{id}]\nplugin = \"light\"\n");
    ids.split_whitespace().map(one).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn each_request_has_one_answer_from_the_hub_that_has_the_device() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Neighbours::prepare(setup, ["attic-lamp", "cellar-lamp"]).await?;
        home.start().await?;
        let own = home.topic("response/phone/neighbours");
        for round in 0..20 {
            let device = ["attic-lamp", "cellar-lamp"][round % 2];
            let payload = ["ON", "OFF"][round / 2 % 2];
            let request = Message::new(home.topic(&format!("cmnd/{device}/power")), payload)
                .respond_to(own.clone(), format!("n{round}"));
            let answer = home.phone.request(request).await?;
            assert_eq!(
                (answer.status(), answer.text().as_str()),
                (Some(200), payload),
                "{setup:?}"
            );
        }
        for hub in ["hearthd-demo-attic", "hearthd-demo-cellar"] {
            let request = Message::new(home.topic(&format!("cmnd/{hub}/devices")), "")
                .respond_to(own.clone(), hub);
            let listed = home.phone.request(request).await?;
            assert_eq!(listed.status(), Some(200), "{setup:?}");
        }
        // Whatever else had been said would have come before this.
        let more = home.phone.drain(&own).await?;
        let answers: Vec<_> = more.iter().filter(|message| message.topic == own).collect();
        assert!(answers.is_empty(), "{setup:?}: {answers:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_goes_while_its_hub_is_down_is_taken_back_and_what_moved_is_left_alone() -> Result<()>
{
    for setup in Setup::ALL {
        let mut home = Neighbours::prepare(setup, ["stays moves goes", "other"]).await?;
        home.start().await?;
        let states = home.topic("state/+/status");
        home.phone.subscribe(&states).await?;
        home.attic.kill9()?;
        home.has_now("attic", "stays")?;
        home.has_now("cellar", "other moves")?;
        home.cellar.process()?.signal(Signal::HUP)?;
        home.cellar.logged("reloaded").await?;
        let moved = home.topic("state/moves/status");
        let by_cellar =
            |m: &Message| m.topic == moved && m.property("hub") == Some("hearthd-demo-cellar");
        home.phone.expect("the cellar tells of `moves`", PATIENCE, by_cellar).await?;
        home.attic.start(&mut home.phone).await?;
        let gone = home.topic("state/goes/status");
        let cleared = |m: &Message| m.topic == gone && m.payload.is_empty();
        home.phone.expect("`goes` is cleared", PATIENCE, cleared).await?;
        home.attic.logged("cleared the retained messages").await?;
        assert_eq!(home.retained_status("goes").await?, None, "{setup:?}");
        let of = |hub: &str| Some(("ready".to_owned(), Some(format!("hearthd-demo-{hub}"))));
        assert_eq!(home.retained_status("moves").await?, of("cellar"), "{setup:?}");
        assert_eq!(home.retained_status("stays").await?, of("attic"), "{setup:?}");
    }
    Ok(())
}

#[tokio::test]
async fn two_hubs_with_one_device_both_say_so() -> Result<()> {
    let mut home = Neighbours::prepare(Setup::Mosquitto, ["lamp", "lamp"]).await?;
    home.start().await?;
    for (hub, other) in [(&home.attic, "hearthd-demo-cellar"), (&home.cellar, "hearthd-demo-attic")]
    {
        hub.logged("another hub claims this device too").await?;
        let status = hub.command(&["status"]).await?;
        assert!(status.stdout.contains(&format!("`lamp` is also served by {other}")), "{status:?}");
    }
    Ok(())
}

#[tokio::test]
async fn two_hubs_with_one_client_id_say_why_and_do_not_fight() -> Result<()> {
    let ids = ["hearthd-demo", "hearthd-demo"];
    let mut home = Neighbours::with_ids(Setup::Mosquitto, ids, ["lamp", "shelf"]).await?;
    home.start().await?;
    home.attic.logged("another client uses this hub's client ID").await?;
    let connections = home.attic.log().matches(" online ").count();
    assert!(connections <= 8, "{}", home.attic.log());
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_and_is_not_answered_leaves_an_event_and_a_line() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let events = home.topic("event/+");
    home.phone.subscribe(&events).await?;
    let topic = home.topic("cmnd/light-in-bedroom/brightness");
    home.phone.publish(Message::new(topic, "999")).await?;
    let event = home.phone.expect_on(&home.topic("event/light-in-bedroom")).await?;
    let told = event.json()?;
    assert_eq!(
        (told["status"].as_u64(), told["property"].as_str()),
        (Some(422), Some("brightness"))
    );
    assert!(!event.retain);
    home.daemon.logged("request without a Response Topic failed").await
}

#[tokio::test]
async fn a_refused_response_topic_is_told_with_the_line_that_would_allow_it() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    let request = Message::new(home.topic("cmnd/light-in-bedroom/power"), "ON")
        .respond_to("zigbee2mqtt/siren/set", "x");
    home.phone.publish(request).await?;
    home.daemon.logged("request not executed").await?;
    home.daemon.logged(r#"[responses] allow = [\"zigbee2mqtt/siren/set\"]"#).await?;
    home.light_is_off().await
}
