//! How long a confirmed answer takes for a lamp behind Zigbee2MQTT, beside the bare message and the state that follows.

use std::time::{Duration, Instant};

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Failure, Message, Result, Zigbee2Mqtt, daemon::under,
};
use tempfile::TempDir;

use super::{
    Effort, median,
    stage::{Broker, BrokerKind},
};

/// What one way of reading back took with one broker.
#[derive(Debug)]
pub(crate) struct Confirmation {
    pub(crate) broker: BrokerKind,
    /// Whether the lamp is read by `bridge/request/action`.
    pub(crate) raw: bool,
    /// The median of each round in milliseconds: from a bare message to the state that Zigbee2MQTT reports.
    pub(crate) bare_ms: Vec<f64>,
    /// From a request to its answer 200.
    pub(crate) confirmed_ms: Vec<f64>,
}

/// Measures both brokers, with both ways of reading a lamp back.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Vec<Confirmation>> {
    let mut all = Vec::new();
    for broker in BrokerKind::ALL {
        for raw in [false, true] {
            println!("a lamp behind Zigbee2MQTT, {}, raw = {raw}", broker.name());
            let mut home = Home::prepare(built, broker, raw).await?;
            let (mut bare_ms, mut confirmed_ms) = (Vec::new(), Vec::new());
            for _ in 0..effort.rounds.max(2) {
                bare_ms.push(median(home.round(Way::Bare).await?));
                confirmed_ms.push(median(home.round(Way::Confirmed).await?));
            }
            all.push(Confirmation { broker, raw, bare_ms, confirmed_ms });
            home.hub.terminate().await?;
        }
    }
    Ok(all)
}

#[derive(Clone, Copy)]
enum Way {
    Bare,
    Confirmed,
}

/// A home with one lamp, which obeys at once.
struct Home {
    hub: Daemon,
    phone: Client,
    bare: Client,
    prefix: Option<String>,
    on: bool,
    asked: u32,
    _bridge: Zigbee2Mqtt,
    _broker: Broker,
    _folder: TempDir,
}

impl Home {
    async fn prepare(built: &Built, kind: BrokerKind, raw: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(kind, built, folder.path()).await?;
        let bridge = Zigbee2Mqtt::start(&broker.access("zigbee2mqtt")).await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        config.plugins = &["light"];
        config.tables += "[bridges]\nallow = [\"zigbee2mqtt/#\"]\n";
        config.devices = format!(
            "[devices.lamp]\nplugin = \"light\"\n[devices.lamp.config]\nbackend = \"zigbee2mqtt\"\n\
             zigbee2mqtt = {{ topic = \"{LAMP}\", raw = {raw} }}\n"
        );
        let mut hub = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
        let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
        let prefix = phone.response_information().map(str::to_owned);
        for own in ["response/phone/bench", "state/lamp/power"] {
            phone.subscribe(&under(prefix.as_deref(), own)).await?;
        }
        hub.start(&mut phone).await?;
        let mut bare = Client::connect(&broker.access("zigbee2mqtt"), "bare").await?;
        bare.subscribe(LAMP).await?;
        let (on, asked) = (false, 0);
        let (_bridge, _broker, _folder) = (bridge, broker, folder);
        let mut home = Self { hub, phone, bare, prefix, on, asked, _bridge, _broker, _folder };
        home.until_it_answers().await?;
        Ok(home)
    }

    /// Waits until the hub has heard of the lamp.
    async fn until_it_answers(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.request("OFF").await?.status() != Some(200) {
            if Instant::now() > end {
                return Err(Failure::new("the lamp confirms nothing"));
            }
        }
        Ok(())
    }

    /// Switches the lamp some times; returns how long each took in milliseconds.
    async fn round(&mut self, way: Way) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for _ in 0..EACH {
            self.on = !self.on;
            let power = if self.on { "ON" } else { "OFF" };
            let start = Instant::now();
            match way {
                Way::Bare => self.set_bare(power).await?,
                Way::Confirmed => {
                    let answer = self.request(power).await?;
                    if answer.status() != Some(200) {
                        return Err(Failure(format!("{power} was not confirmed: {answer:?}")));
                    }
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
            self.settle(power).await?;
        }
        Ok(times)
    }

    /// Publishes what everybody publishes, and waits for the state; the first that comes is still the old one.
    async fn set_bare(&mut self, power: &str) -> Result<()> {
        let set = Message::new(format!("{LAMP}/set"), format!("{{\"state\":\"{power}\"}}"));
        self.bare.publish(set).await?;
        let says = format!("\"state\":\"{power}\"");
        let is_it = |message: &Message| message.topic == LAMP && message.text().contains(&says);
        self.bare.expect("the state", PATIENCE, is_it).await.map(|_| ())
    }

    async fn request(&mut self, power: &str) -> Result<Message> {
        self.asked += 1;
        let to = under(self.prefix.as_deref(), "response/phone/bench");
        let topic = under(self.prefix.as_deref(), "cmnd/lamp/power");
        let data = self.asked.to_be_bytes().to_vec();
        self.phone.request(Message::new(topic, power.to_owned()).respond_to(to, data)).await
    }

    /// Waits until the hub has published the state, and nobody is at anything any more.
    async fn settle(&mut self, power: &str) -> Result<()> {
        let state = under(self.prefix.as_deref(), "state/lamp/power");
        let is_it = |message: &Message| message.topic == state && message.text() == power;
        self.phone.expect("the hub's state", PATIENCE, is_it).await?;
        tokio::time::sleep(REST).await;
        let marker = under(self.prefix.as_deref(), "response/phone/bench");
        self.phone.drain(&marker).await?;
        // What has come meanwhile is of no use: the next waits for a state of its own.
        while self.bare.expect("more", Duration::ZERO, |m| m.topic == LAMP).await.is_ok() {}
        Ok(())
    }
}

const LAMP: &str = "zigbee2mqtt/hall/bulb";
/// Commands of one round.
const EACH: usize = 10;
/// The hub reads back what others have switched.
const REST: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(30);
