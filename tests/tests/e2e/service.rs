//! The hub as a service of systemd: when it is ready, how it says that it is, and what shows that it lives.

use std::time::Duration;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, HearthBroker, Result, Systemd,
    client::PATIENCE,
    process::{Signal, eventually},
};
use tempfile::TempDir;

use crate::{
    home::{Home, Setup},
    isolation::rogue_home_with,
};

#[tokio::test]
async fn the_service_is_ready_once_it_is_online_and_its_status_follows_the_connection() -> Result<()>
{
    let mut service = Service::prepare().await?;
    service.broker.stop()?;
    service.daemon.spawn()?;
    let heard = service.systemd.expect("STATUS=offline: ", PATIENCE).await?;
    assert!(heard.iter().all(|told| !told.contains("READY=1")), "{heard:#?}");
    let offline = heard.last().map(String::as_str).unwrap_or_default();
    assert!(offline.contains("onnection refused (os error 111), again in "), "{offline}");
    assert!(offline.contains(" s; devices: 2 "), "{offline}");

    service.broker.start_again().await?;
    let heard = service.systemd.expect("READY=1", PATIENCE).await?;
    assert!(heard.iter().all(|told| !told.contains("STATUS=online") || told.contains("READY=1")));
    let address = format!("STATUS=online as hub at 127.0.0.1:{}", service.port);
    let first = format!("{address}, connection 1; devices: 2 ready\n");
    assert!(heard.last().is_some_and(|told| told.contains(&first)), "{first}: {heard:#?}");
    let mut watcher = Client::connect(&service.broker.access("phone"), "watcher").await?;
    let presence = service.daemon.presence(Some("alice"));
    watcher.subscribe(&presence).await?;
    assert_eq!(watcher.expect_on(&presence).await?.text(), "online", "it had been said before");

    service.broker.stop()?;
    service.systemd.expect("STATUS=offline: ", PATIENCE).await?;
    service.broker.start_again().await?;
    let again = service.systemd.expect(&format!("{address}, connection 2; "), PATIENCE).await?;
    assert!(again.iter().all(|told| !told.contains("READY=1")), "it is ready once: {again:#?}");
    Ok(())
}

#[tokio::test]
async fn a_reload_and_the_end_are_announced() -> Result<()> {
    let mut service = Service::prepare().await?;
    service.daemon.spawn()?;
    service.systemd.expect("READY=1", PATIENCE).await?;
    service.daemon.process()?.signal(Signal::HUP)?;
    let told = service.systemd.expect("RELOADING=1\nMONOTONIC_USEC=", PATIENCE).await?;
    assert!(told.iter().all(|told| !told.contains("READY=1")), "{told:#?}");
    service.systemd.expect("READY=1", PATIENCE).await?;
    service.daemon.process()?.signal(Signal::TERM)?;
    service.systemd.expect("STOPPING=1\nSTATUS=stopping", PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_hangs_keeps_no_sign_of_life_back_and_a_stopped_hub_gives_none() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let systemd = Systemd::listen(folder.path())?;
    let mut home = rogue_home_with(Setup::Mosquitto, |daemon| {
        daemon.set_environment("NOTIFY_SOCKET", systemd.path());
        daemon.set_environment("WATCHDOG_USEC", WATCHDOG_USEC);
    })
    .await?;
    systemd.expect("READY=1", PATIENCE).await?;
    let request = home.ask("within/job", "hang");
    home.phone.publish(request).await?;
    let request = home.ask("apart/job", "hang");
    home.phone.publish(request).await?;
    systemd.expect(" stalled", PATIENCE).await?;
    for _ in 0..5 {
        systemd.expect("WATCHDOG=1", PATIENCE).await?;
    }
    home.light_is_off().await?;
    let process = home.daemon.process()?;
    process.signal(Signal::STOP)?;
    let stat = format!("/proc/{}/stat", process.id());
    let stopped = || Ok(std::fs::read_to_string(&stat)?.contains(") T ").then_some(()));
    eventually("the stop", PATIENCE, stopped).await?;
    systemd.heard();
    tokio::time::sleep(4 * PING_INTERVAL).await;
    let heard = systemd.heard();
    process.signal(Signal::CONT)?;
    assert_eq!(heard, [""; 0], "it was stopped");
    systemd.expect("WATCHDOG=1", PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn a_watchdog_that_watches_another_process_gets_no_sign_of_life() -> Result<()> {
    let mut service = Service::prepare().await?;
    service.daemon.set_environment("WATCHDOG_USEC", WATCHDOG_USEC);
    service.daemon.set_environment("WATCHDOG_PID", "1");
    service.daemon.spawn()?;
    let heard = service.systemd.expect("READY=1", PATIENCE).await?;
    tokio::time::sleep(4 * PING_INTERVAL).await;
    let heard = [heard, service.systemd.heard()].concat();
    assert!(heard.iter().all(|told| !told.contains("WATCHDOG=1")), "{heard:#?}");
    Ok(())
}

#[tokio::test]
async fn the_broker_is_ready_once_it_listens_and_lives_as_long_as_it_answers() -> Result<()> {
    let service = Service::prepare().await?;
    let heard = service.broker_systemd.expect("READY=1", PATIENCE).await?;
    assert_eq!(heard.len(), 1, "{heard:#?}");
    for _ in 0..3 {
        // Each is an answer of its own, with accounts and sessions as for any client.
        service.broker_systemd.expect("WATCHDOG=1", PATIENCE).await?;
    }
    assert_eq!(service.broker.log(), "", "that is no news");
    Ok(())
}

#[tokio::test]
async fn anybody_may_ask_the_hub_how_it_is() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let report = home.answer("hearthd-demo/status", "").await?.json()?;
    assert_eq!(report["devices"], serde_json::json!({"ready": 2}), "{report}");
    let told = home.daemon.command(&["status"]).await?;
    let line = report["status"].as_str().unwrap_or_default();
    assert!(line.starts_with("online as hub at 127.0.0.1:"), "{line}");
    assert_eq!((told.code, told.stdout.lines().next()), (Some(0), Some(line)), "{told:?}");
    assert_eq!(report["online"], true, "{report}");
    Ok(())
}

/// A hub and a broker that tell two sockets of ours how they are; the hub does not run yet.
struct Service {
    systemd: Systemd,
    broker_systemd: Systemd,
    broker: HearthBroker,
    port: u16,
    daemon: Daemon,
    _folder: TempDir,
}

impl Service {
    async fn prepare() -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let systemd = Systemd::listen(folder.path())?;
        let at_broker = folder.path().join("broker");
        std::fs::create_dir(&at_broker)?;
        let broker_systemd = Systemd::listen(&at_broker)?;
        let broker = HearthBroker::start_with(&built, &at_broker, |command| {
            command.env("NOTIFY_SOCKET", broker_systemd.path());
            command.env("WATCHDOG_USEC", WATCHDOG_USEC);
        })
        .await?;
        let config = DaemonConfig::new(broker.access("hub"));
        let mut daemon = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
        daemon.set_environment("NOTIFY_SOCKET", systemd.path());
        let port = config.access.port;
        Ok(Self { systemd, broker_systemd, broker, port, daemon, _folder: folder })
    }
}

/// systemd would end a service after so many microseconds without a sign of life; it wants one in half of them.
const WATCHDOG_USEC: &str = "200000";
const PING_INTERVAL: Duration = Duration::from_millis(100);
