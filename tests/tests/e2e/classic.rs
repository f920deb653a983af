//! The example that everybody knows, asked by clients that we did not write.

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Message, Mosquitto, Result, Shim,
    mosquitto::{Kind, mosquitto_rr, mosquitto_sub},
};

use crate::home::{Home, Setup};

#[tokio::test]
async fn the_classic_scene_works_letter_for_letter_on_a_plain_mosquitto() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    let state = "state/light-in-bedroom/power";
    home.phone.subscribe(state).await?;
    let request = Message::new("cmnd/light-in-bedroom/power", "ON").respond_to(state, "classic");
    let answer = home.phone.request(request).await?;
    assert_eq!((answer.topic.as_str(), answer.text().as_str()), (state, "ON"));
    assert_eq!(answer.status(), Some(200));
    Ok(())
}

#[tokio::test]
async fn mosquitto_rr_gets_its_answer_from_a_plain_mosquitto() -> Result<()> {
    let home = Home::start(Setup::Mosquitto).await?;
    // On its state topic, mosquitto_rr would take the retained state for the answer.
    let ran = mosquitto_rr(
        &home.broker.access("phone"),
        &[
            "-t",
            "cmnd/light-in-bedroom/power",
            "-e",
            "response/me/1",
            "-m",
            "ON",
            "-D",
            "publish",
            "correlation-data",
            "classic",
            "-q",
            "1",
            "-W",
            "10",
            "-F",
            "%t %p %D",
        ],
    )
    .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran.stdout.trim();
    assert!(line.starts_with("response/me/1 ON"), "{line}");
    Ok(())
}

#[tokio::test]
async fn mosquitto_rr_gets_its_answer_from_the_bundled_broker() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let ran = mosquitto_rr(
        &home.broker.access("phone"),
        &[
            "-t",
            "alice/cmnd/light-in-bedroom/power",
            "-e",
            "alice/response/me/1",
            "-m",
            "ON",
            "-q",
            "1",
            "-W",
            "10",
        ],
    )
    .await?;
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "ON"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn with_response_information_every_topic_is_under_the_prefix() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Shimmed] {
        let mut home = Home::start(setup).await?;
        home.phone.subscribe("alice/#").await?;
        home.answer("light-in-bedroom/power", "ON").await?;
        let state = home.phone.expect_on("alice/state/light-in-bedroom/power").await?;
        assert!(state.topic.starts_with("alice/"));
        let access = home.broker.access("tablet");
        let ran = mosquitto_sub(&access, &["-t", "alice/#", "-v", "-W", "1"]).await?;
        let retained: Vec<_> = ran.stdout.lines().collect();
        let has = |line: &str| retained.contains(&line);
        assert!(has("alice/hub/hearthd-demo/presence online"), "{setup:?} {retained:?}");
        assert!(has("alice/state/light-in-bedroom/power ON"), "{setup:?} {retained:?}");
        assert!(home.daemon.log().contains("alice"), "the log names the prefix");
    }
    Ok(())
}

#[tokio::test]
async fn a_watcher_of_all_topics_sees_nothing_outside_the_prefix() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start(Kind::Open).await?;
    let shim = Shim::start(mosquitto.port(), |user| format!("FRONT,homes/{user}")).await?;
    let mut watcher = Client::connect(&mosquitto.access(None), "watcher").await?;
    watcher.subscribe("#").await?;
    let config = DaemonConfig::new(shim.access("alice"));
    let mut daemon = Daemon::prepare(&built, folder.path(), &config)?;
    daemon.spawn()?;
    let presence = "homes/alice/hub/hearthd-demo/presence";
    watcher.expect_on(presence).await.doing("`FRONT,` placement").doing(daemon.log())?;
    let request = Message::new("homes/alice/cmnd/light-in-bedroom/power", "ON")
        .respond_to("homes/alice/response/watcher/1", "1");
    assert_eq!(watcher.request(request).await?.text(), "ON");
    daemon.terminate().await?;
    let seen = watcher.drain("marker").await?;
    let outside: Vec<_> = seen.iter().filter(|m| !m.topic.starts_with("homes/alice/")).collect();
    assert!(outside.is_empty(), "{outside:?}");
    Ok(())
}
