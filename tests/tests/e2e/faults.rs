//! What the hub does when the network between it and the broker breaks.

use std::time::Duration;

use hearth_tests::{
    Access, Built, Client, Daemon, DaemonConfig, FaultProxy, Message, Mosquitto, Result, Shim,
    client::PATIENCE, mosquitto::Kind,
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
