//! What the hub learns about its will after it was away.

use std::time::Duration;

use hearthd_tests::{Client, Message, Result, client::PATIENCE};
use serde_json::Value;

use crate::home::{Broker, Home, Setup};

#[tokio::test]
async fn a_will_acknowledged_while_the_hub_is_away_is_consumed_on_mosquitto() -> Result<()> {
    acknowledged_while_away(Setup::Mosquitto).await
}

#[tokio::test]
async fn a_will_acknowledged_while_the_hub_is_away_is_consumed_behind_the_shim() -> Result<()> {
    acknowledged_while_away(Setup::Shimmed).await
}

#[tokio::test]
async fn a_will_acknowledged_while_the_hub_is_away_is_consumed_on_the_bundled_broker() -> Result<()>
{
    acknowledged_while_away(Setup::Bundled).await
}

#[tokio::test]
async fn a_will_that_nobody_acknowledged_is_unconsumed() -> Result<()> {
    for setup in Setup::ALL {
        let (mut home, will) = home_with_published_will(setup).await?;
        let absence = absence_after_restart(&mut home).await?;
        assert_eq!(absence["outcome"], "unconsumed", "{setup:?} {absence}");
        assert_eq!(absence["generation"], name(&will), "{setup:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_returns_within_the_delay_has_a_will_that_was_not_published() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start_with(setup, |config| config.will_delay = "60s").await?;
        home.answer("light-in-bedroom/power", "ON").await?;
        home.daemon.kill9()?;
        let absence = absence_after_restart(&mut home).await?;
        assert_eq!(absence["outcome"], "not-published", "{setup:?} {absence}");
        assert_eq!(absence["clean"], false, "{setup:?} {absence}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_ended_in_order_has_a_will_that_was_not_published() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    let presence = home.daemon.presence(None);
    assert!(home.daemon.terminate().await?.success());
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    let offline = home.phone.expect("`offline`", PATIENCE, offline).await?;
    assert_eq!(offline.response_topic, None, "no will, so no request");
    let absence = absence_after_restart(&mut home).await?;
    assert_eq!((&absence["outcome"], &absence["clean"]), (&"not-published".into(), &true.into()));
    Ok(())
}

#[tokio::test]
async fn a_will_whose_session_was_lost_is_unknown() -> Result<()> {
    let mut home = Home::start_with(Setup::Mosquitto, |config| config.will_delay = "60s").await?;
    home.answer("light-in-bedroom/power", "ON").await?;
    home.daemon.kill9()?;
    let Broker::Mosquitto(mosquitto) = &mut home.broker else { unreachable!("the setup") };
    mosquitto.stop()?;
    mosquitto.start_again().await?;
    home.phone = Client::connect(&home.broker.access("phone"), "phone").await?;
    let absence = absence_after_restart(&mut home).await?;
    assert_eq!(absence["outcome"], "unknown", "{absence}");
    Ok(())
}

async fn acknowledged_while_away(setup: Setup) -> Result<()> {
    let (mut home, will) = home_with_published_will(setup).await?;
    assert_eq!(will.correlation_data.as_ref().map(|data| data.len()), Some(16));
    let response_topic = will.response_topic.clone().expect("a will is a request");
    assert_eq!(response_topic, home.topic("response/hearthd-demo/will"));
    let mut guardian = Client::connect(&home.broker.access("guardian"), "guardian").await?;
    let acknowledgement = Message {
        correlation_data: will.correlation_data.clone(),
        ..Message::new(response_topic, "took over the heating")
    };
    let acknowledgement = acknowledgement.with_property("client_id", "guardian");
    guardian.publish(acknowledgement.with_property("__stat", "200")).await?;

    let absence = absence_after_restart(&mut home).await?;
    assert_eq!(absence["outcome"], "consumed", "{setup:?} {absence}");
    assert_eq!(absence["generation"], name(&will), "{setup:?}");
    assert_eq!(absence["clean"], false, "{setup:?}");
    let first = &absence["acknowledgements"][0];
    assert_eq!(first["responder"], "guardian", "{setup:?} {absence}");
    assert_eq!(first["payload"], "took over the heating", "{setup:?} {absence}");
    assert_eq!(first["status"], 200, "{setup:?} {absence}");
    assert_eq!(first["before_fence"], true, "{setup:?} {absence}");
    let told = home.daemon.command(&["will"]).await?;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("consumed") && told.stdout.contains("guardian"), "{told:?}");
    Ok(())
}

/// Starts a home, kills the hub, and waits for the will.
async fn home_with_published_will(setup: Setup) -> Result<(Home, Message)> {
    let mut home = Home::start(setup).await?;
    home.answer("light-in-bedroom/power", "ON").await?;
    // The bundled broker writes behind: give it time to keep the session.
    tokio::time::sleep(Duration::from_millis(400)).await;
    home.daemon.kill9()?;
    let presence = home.daemon.presence(home.prefix.as_deref());
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    let will = home.phone.expect("the will", PATIENCE, offline).await?;
    Ok((home, will))
}

/// Starts the hub again and returns what it publishes about the time in between.
async fn absence_after_restart(home: &mut Home) -> Result<Value> {
    let topic = home.daemon.absence(home.prefix.as_deref());
    home.phone.subscribe(&topic).await?;
    home.daemon.start(&mut home.phone).await?;
    let now = |m: &Message| m.topic == topic && !m.retain;
    home.phone.expect("the absence", PATIENCE, now).await?.json()
}

/// What the hub tells of a will's generation: its first half, which does not let anybody acknowledge the will.
fn name(will: &Message) -> String {
    let generation = will.correlation_data.as_deref().unwrap_or_default();
    String::from_utf8_lossy(&generation[..generation.len() / 2]).into_owned()
}
