//! A broker with several addresses.

use std::time::Duration;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, FaultProxy, Message, Mosquitto, Result,
    mosquitto::Kind,
    process::{eventually, free_port, run},
};

#[tokio::test]
async fn the_addresses_of_a_broker_are_tried_in_turn() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start(Kind::Open).await?;
    let access = mosquitto.access(None);
    let (closed, first, second) = (
        free_port()?,
        FaultProxy::start(access.port).await?,
        FaultProxy::start(access.port).await?,
    );
    let built = Built::for_this_test()?;
    let config = DaemonConfig::new(access.clone());
    let file = config.write(&built, folder.path())?;
    let text = std::fs::read_to_string(&file).doing("read")?;
    let url = |port: u16| format!("\"mqtt://127.0.0.1:{port}\"");
    let nodes = [closed, first.port(), second.port()].map(url).join(", ");
    let text = text.replace(&url(access.port), &format!("[{nodes}]"));
    std::fs::write(&file, text).doing("write")?;

    let mut phone = Client::connect(&access, "phone").await?;
    phone.subscribe("response/p/1").await?;
    let mut hub = Daemon::prepared(&built, file, "hearthd-demo")?;
    hub.start(&mut phone).await?;
    assert!(hub.log().contains(&format!("port={closed}")), "{}", hub.log());
    // A node goes: the session is at the others.
    let cut = format!("port={}", first.port());
    drop(first);
    eventually("the hub at another node", Duration::from_secs(60), || {
        let log = hub.log();
        let after = log.split_once(&cut).map(|(_, after)| after);
        Ok(after.filter(|after| after.contains("online session_present=true")).map(drop))
    })
    .await?;
    let request = Message::new("cmnd/light-in-bedroom/power", "ON").respond_to("response/p/1", "1");
    assert_eq!(phone.request(request).await?.status(), Some(200));
    // So do the commands.
    let config = hub.config().display().to_string();
    let arguments = ["request", "--config", &config, "light-in-bedroom", "power", "OFF"];
    let ran = run(hub.program(), arguments, Duration::from_secs(60)).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "OFF\n"), "{ran:?}");
    // Where nobody answers, they name each address.
    let ports = [closed, free_port()?];
    let nodes = ports.map(url).join(", ");
    let text = format!("[broker]\nurl = [{nodes}]\n");
    let file = folder.path().join("nobody.toml");
    std::fs::write(&file, text).doing("write")?;
    let file = file.display().to_string();
    let arguments = ["request", "--config", &file, "light-in-bedroom", "power", "OFF"];
    let ran = run(hub.program(), arguments, Duration::from_secs(60)).await?;
    let named = |port| ran.stderr.contains(&format!("127.0.0.1:{port}"));
    assert!(ran.code == Some(69) && ports.into_iter().all(named), "{ran:?}");
    Ok(())
}
