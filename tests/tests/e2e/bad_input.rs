//! What the hub does about things that should not happen.

use hearthd_tests::{
    Access, Built, Daemon, DaemonConfig, Mosquitto, Result, Shim, mosquitto::Kind,
    process::free_port,
};

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_payload_of_256_kib_is_answered_400_and_the_hub_goes_on() -> Result<()> {
    for setup in [Setup::Mosquitto, Setup::Bundled] {
        let mut home = Home::start(setup).await?;
        let answer = home.answer("light-in-bedroom/power", vec![b'x'; 256 * 1024]).await?;
        assert_eq!(answer.status(), Some(400), "{setup:?} {}", answer.text());
        assert!(answer.payload.len() < 4096, "the answer does not repeat the payload");
        home.light_is_off().await?;
    }
    Ok(())
}

#[tokio::test]
async fn payloads_that_are_no_text_are_answered_400() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    for payload in [&[0xFF, 0xFE][..], b"on\0", b"{}", b"[1"] {
        let answer = home.answer("light-in-bedroom/power", payload).await?;
        let status = answer.status();
        assert!(matches!(status, Some(400 | 422)), "{payload:?} {status:?} {}", answer.text());
    }
    home.light_is_off().await
}

#[tokio::test]
async fn malformed_response_information_is_refused_and_the_plain_topics_serve() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start(Kind::Open).await?;
    let shim = Shim::start(mosquitto.port(), |_| "a/+/b".into()).await?;
    let access = shim.access("alice");
    let mut daemon = Daemon::prepare(&built, folder.path(), &DaemonConfig::new(access))?;
    let open = mosquitto.access(None);
    let mut phone = hearthd_tests::Client::connect(&open, "phone").await?;
    daemon.start(&mut phone).await?;
    daemon.logged("the prefix contains '+'").await
}

#[tokio::test]
async fn required_response_information_that_does_not_come_ends_the_daemon() -> Result<()> {
    let tables = "[response_information]\nrequired = true";
    let mut home = Home::prepare(Setup::Mosquitto, |config| config.tables = tables.into()).await?;
    home.daemon.spawn()?;
    let process = home.daemon.process()?;
    let deadline = std::time::Duration::from_secs(60);
    let ended = hearthd_tests::process::eventually("the end", deadline, || process.ended()).await?;
    assert!(!ended.success(), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_said_clearly_and_the_daemon_keeps_trying() -> Result<()> {
    let wrong = |config: &mut DaemonConfig| {
        config.access.login = Some(("hub".into(), "guessed".into()));
    };
    let mut home = Home::prepare(Setup::Bundled, wrong).await?;
    home.daemon.spawn()?;
    home.daemon.logged("password").await?;
    let asked = home.daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
    assert_eq!(asked.code, Some(77), "{asked:?}");
    assert!(!asked.stderr.is_empty(), "{asked:?}");
    let ended = home.daemon.process()?.ended()?;
    assert!(ended.is_none(), "it goes on: {ended:?}");
    assert!(!home.daemon.log().contains("guessed"), "no secret in the log");
    Ok(())
}

#[tokio::test]
async fn without_a_broker_a_request_ends_with_69_and_the_daemon_keeps_trying() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let nobody = Access { port: free_port()?, login: None };
    let mut daemon = Daemon::prepare(&built, folder.path(), &DaemonConfig::new(nobody))?;
    daemon.spawn()?;
    let asked = daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
    assert_eq!(asked.code, Some(69), "{asked:?}");
    daemon.logged("refused").await?;
    assert!(daemon.process()?.ended()?.is_none(), "{}", daemon.log());
    assert!(daemon.terminate().await?.success(), "{}", daemon.log());
    Ok(())
}
