//! What the hub does when the network between it and the broker breaks.

use std::time::{Duration, Instant};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Fault, FaultProxy, HearthBroker, Message,
    Mosquitto, Result, Shim, client::PATIENCE, mosquitto::Kind,
};
use tempfile::TempDir;

#[tokio::test]
async fn a_cut_link_publishes_the_will_and_the_hub_comes_back_by_itself() -> Result<()> {
    let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
    let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
    let built = Built::for_this_test()?;
    let watcher = mosquitto.access(Some("alice"));
    let change = |config: &mut DaemonConfig| config.will_delay = "0s";
    let mut home = Home::start(&built, shim.access("alice"), &watcher, change).await?;
    let absence = home.daemon.absence(Some("alice"));
    home.watcher.subscribe(&absence).await?;
    home.proxy.refuse(true);
    home.proxy.cut();
    home.says("offline").await?;
    home.proxy.refuse(false);
    let fits = |m: &Message| m.topic == absence;
    let decided = home.watcher.expect("absence", Duration::from_secs(30), fits).await?.json()?;
    assert_eq!(decided["outcome"], "unconsumed", "{decided}");
    Ok(())
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_and_the_hub_comes_back_when_the_fault_ends() -> Result<()>
{
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, folder.path()).await?;
    let change = |config: &mut DaemonConfig| config.keep_alive = "5s";
    let watcher = broker.access("phone");
    let mut home = Home::start(&built, broker.access("hub"), &watcher, change).await?;
    home.proxy.set(Fault::HalfOpen);
    let begin = Instant::now();
    home.daemon.logged("no connection to the broker").await?;
    let noticed = begin.elapsed();
    // The broker gives up likewise (MQTT 3.1.2.10) and publishes the will.
    home.says("offline").await?;
    home.proxy.set(Fault::None);
    home.says("online").await?;
    let bound = Duration::from_secs(5).mul_f32(1.5) + SLACK;
    assert!(noticed <= bound, "noticed after {noticed:?}, not within {bound:?}");
    Ok(())
}

/// A hub behind a proxy; its watcher is not.
struct Home {
    watcher: Client,
    daemon: Daemon,
    proxy: FaultProxy,
    _folder: TempDir,
}

impl Home {
    async fn start(
        built: &Built,
        mut hub: Access,
        watcher: &Access,
        change: impl FnOnce(&mut DaemonConfig),
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let proxy = FaultProxy::start(hub.port).await?;
        hub.port = proxy.port();
        let mut config = DaemonConfig::new(hub);
        change(&mut config);
        let mut daemon = Daemon::prepare(built, folder.path(), &config)?;
        let mut watcher = Client::connect(watcher, "watcher").await?;
        watcher.subscribe(&daemon.presence(Some("alice"))).await?;
        daemon.spawn()?;
        let mut home = Self { watcher, daemon, proxy, _folder: folder };
        home.says("online").await?;
        Ok(home)
    }

    /// Waits for a presence that is being published now.
    async fn says(&mut self, presence: &str) -> Result<Message> {
        let topic = self.daemon.presence(Some("alice"));
        let fits = |m: &Message| m.topic == topic && m.text() == presence && !m.retain;
        self.watcher.expect(presence, PATIENCE, fits).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The test harness shows this only where the test fails.
        eprintln!("--- log of hearthd\n{}", self.daemon.log());
    }
}

/// What a busy machine may take beyond one and a half keep alive intervals.
const SLACK: Duration = Duration::from_secs(10);
