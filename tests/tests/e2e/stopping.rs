//! SIGTERM: what is in flight is answered, and the hub says `offline` itself.

use std::{path::PathBuf, time::Duration};

use hearthd_tests::{
    Doing, Message, Result,
    client::PATIENCE,
    process::{Signal, eventually},
};

use crate::{
    home::{Home, Setup},
    isolation::rogue_home,
};

/// A home with a device that answers once a file is there.
async fn patient_home() -> Result<(Home, PathBuf)> {
    let folder = tempfile::tempdir()?.keep();
    let (begun, go) = (folder.join("begun"), folder.join("go"));
    let script = "touch \"$0\"; until [ -e \"$1\" ]; do sleep 0.01; done";
    let mut home = Home::prepare(Setup::Mosquitto, |config| {
        config.plugins = &["light", "thermostat", "command"];
        config.devices += &format!(
            "[devices.gate]\nplugin = \"command\"\n[devices.gate.config.properties.open]\n\
             type = \"switch\"\nset = {{ run = [\"sh\", \"-c\", {script:?}, {begun:?}, {go:?}] }}\n"
        );
    })
    .await?;
    home.daemon.start(&mut home.phone).await?;
    let request = home.ask("gate/open", "ON");
    home.phone.publish(request).await?;
    eventually("the program's start", PATIENCE, || Ok(begun.exists().then_some(()))).await?;
    Ok((home, go))
}

#[tokio::test]
async fn a_hub_that_is_told_to_end_answers_first_and_leaves_in_order() -> Result<()> {
    let (mut home, go) = patient_home().await?;
    home.daemon.process()?.signal(Signal::TERM)?;
    home.daemon.logged("stopping").await?;
    std::fs::write(&go, "").doing(go.display())?;
    let answer = home.phone.expect_on("response/phone/e2e").await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));
    let presence = home.daemon.presence(None);
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    let farewell = home.phone.expect("`offline`", PATIENCE, offline).await?;
    assert_eq!(farewell.response_topic, None, "it is no will");
    let process = home.daemon.process()?;
    let status = eventually("the end of hearthd", PATIENCE, || process.ended()).await?;
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(go.parent().doing("a folder")?)?;
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_hub_at_once() -> Result<()> {
    let (mut home, go) = patient_home().await?;
    home.daemon.process()?.signal(Signal::TERM)?;
    home.daemon.logged("stopping").await?;
    let process = home.daemon.process()?;
    assert!(process.ended()?.is_none(), "it waits for its device");
    process.signal(Signal::INT)?;
    // Well before the answer's deadline and the grace period are over.
    let status = eventually("the end of hearthd", Duration::from_secs(4), || process.ended());
    assert_eq!(status.await?.code(), Some(70));
    std::fs::remove_dir_all(go.parent().doing("a folder")?)?;
    Ok(())
}

#[tokio::test]
async fn a_check_that_hangs_does_not_keep_the_hub_from_ending() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let config = home.daemon.config().to_owned();
    let hanging = "[devices.hanging]\nplugin = \"rogue\"\nconfig.describe = \"chatter\"\n";
    std::fs::write(&config, std::fs::read_to_string(&config)? + hanging)?;
    let request = home.ask("hearthd-demo/reload", "");
    home.phone.publish(request).await?;
    home.daemon.logged("reloading").await?;
    home.daemon.process()?.signal(Signal::TERM)?;
    let topic = home.topic("response/phone/e2e");
    let answer = home.phone.expect_on(&topic).await?;
    assert_eq!(answer.status(), Some(503), "{answer:?}");
    let process = home.daemon.process()?;
    // Well before the check's own deadline, and before the grace period of the answers is over.
    let status = eventually("the end of hearthd", Duration::from_secs(4), || process.ended());
    assert!(status.await?.success());
    Ok(())
}
