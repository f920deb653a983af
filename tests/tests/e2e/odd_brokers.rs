//! Brokers that say or do what most do not: the hub works with less, or says what it waits for.

mod offers;
mod refusals;
mod senders;
mod wills;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Message, OddBroker, Oddities, Result, client::PATIENCE,
};
use rumqttc::v5::mqttbytes::v5::Packet;
use tempfile::TempDir;

/// A hub at an odd broker, and a phone that finds the broker ordinary.
struct Home {
    phone: Client,
    daemon: Daemon,
    broker: OddBroker,
    _folder: TempDir,
}

impl Home {
    async fn start(odd: impl FnOnce(&mut Oddities)) -> Result<Self> {
        let mut home = Self::prepare(odd, |_| {}).await?;
        home.daemon.start(&mut home.phone).await?;
        Ok(home)
    }

    /// Makes all ready except that the hub does not run.
    async fn prepare(
        odd: impl FnOnce(&mut Oddities),
        change: impl FnOnce(&mut DaemonConfig),
    ) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let broker = OddBroker::start(odd).await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        change(&mut config);
        let daemon = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
        let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
        phone.subscribe("response/phone/+").await?;
        Ok(Self { phone, daemon, broker, _folder: folder })
    }

    /// Makes a request of the phone's; `what` is `device/property`.
    fn ask(what: &str, payload: impl Into<Bytes>) -> Message {
        // Never the same twice: the hub would answer as it did before.
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let data = format!("request {}", ASKED.fetch_add(1, Ordering::Relaxed));
        Message::new(format!("cmnd/{what}"), payload).respond_to("response/phone/e2e", data)
    }

    /// Sends a request and requires that it is carried out.
    async fn switch(&mut self, what: &str, payload: &str) -> Result<()> {
        let answer = self.phone.request(Self::ask(what, payload.to_owned())).await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), payload), "{what}");
        Ok(())
    }

    /// Returns the filters of each SUBSCRIBE of the hub.
    fn subscribes(&self) -> Vec<Vec<String>> {
        subscribes(&self.broker.packets(HUB))
    }

    /// Starts the hub again and returns what it publishes about the time in between.
    async fn absence_after_restart(&mut self) -> Result<serde_json::Value> {
        let topic = self.daemon.absence(None);
        self.phone.subscribe(&topic).await?;
        self.daemon.start(&mut self.phone).await?;
        let now = |message: &Message| message.topic == topic && !message.retain;
        self.phone.expect("the absence", PATIENCE, now).await?.json()
    }

    /// Waits until the hub has connected so often, and requires that it took its time: each pause may be half of what it
    /// is meant to be, a quarter of a second at first and twice as much each time.
    async fn backs_off(&self, connections: usize) -> Result<()> {
        let connected = self.broker.connections(HUB).len();
        let enough = |packets: &[Packet]| {
            let connect = |packet: &&Packet| matches!(packet, Packet::Connect(..));
            (packets.iter().filter(connect).count() >= connected + connections).then_some(())
        };
        self.broker.until("another connection", HUB, UNHURRIED, enough).await?;
        let times = &self.broker.connections(HUB)[connected - 1..];
        let shortest = |pause: usize| Duration::from_millis(125 << pause);
        for (pause, pair) in times.windows(2).enumerate() {
            let took = pair[1] - pair[0];
            assert!(took >= shortest(pause), "pause {pause} took {took:?}\n{}", self.daemon.log());
        }
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The test harness shows this only where the test fails.
        eprintln!("--- log of hearthd\n{}", self.daemon.log());
    }
}

/// Returns the filters of each SUBSCRIBE.
fn subscribes(packets: &[Packet]) -> Vec<Vec<String>> {
    let filters = |packet: &Packet| match packet {
        Packet::Subscribe(subscribe) => {
            Some(subscribe.filters.iter().map(|filter| filter.path.clone()).collect())
        }
        _ => None,
    };
    packets.iter().filter_map(filters).collect()
}

/// The hub's client ID.
const HUB: &str = "hearthd-demo";
/// How long a test waits for what the hub itself waits with.
const UNHURRIED: Duration = Duration::from_secs(90);

#[tokio::test]
async fn an_ordinary_broker_has_everything_that_doctor_looks_for() -> Result<()> {
    let mut home = Home::start(|odd| odd.vouches = true).await?;
    home.switch("light-in-bedroom/power", "ON").await?;
    home.broker.change(|odd| odd.connack.response_information = Some("alice".into()));
    let examined = home.daemon.command(&["doctor", "--timeout", "5s"]).await?;
    assert_eq!(examined.code, Some(0), "{examined:?}");
    // Whether this machine has a page is not the broker's.
    let mut others = examined.stdout.lines().filter(|line| !line.starts_with("note  page"));
    assert!(others.all(|line| line.starts_with("ok ")), "{examined:?}");
    Ok(())
}
