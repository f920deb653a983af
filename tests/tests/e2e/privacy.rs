//! Where answers must not go.

use std::time::Duration;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Message, Mosquitto, Result, Shim, mosquitto::Kind,
};

use crate::home::{Home, Setup};

#[tokio::test]
async fn two_users_behind_one_broker_do_not_see_each_others_answers() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
    let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
    let mut homes = Vec::new();
    for user in ["alice", "bob"] {
        let mut config = DaemonConfig::new(shim.access(user));
        config.client_id = format!("hearthd-{user}");
        let mut daemon = Daemon::prepare(&built, &folder.path().join(user), &config)?;
        let mut phone = Client::connect(&shim.access(user), &format!("phone-{user}")).await?;
        assert_eq!(phone.response_information(), Some(user));
        for everybody in ["alice/#", "bob/#", "#"] {
            // Mosquitto grants the subscription and withholds what the rules forbid.
            let _ = phone.subscribe(everybody).await;
        }
        daemon.start(&mut phone).await?;
        homes.push((user, daemon, phone));
    }
    for (user, daemon, phone) in &mut homes {
        let request = Message::new(format!("{user}/cmnd/light-in-bedroom/power"), "ON")
            .respond_to(format!("{user}/response/phone/same"), "same data");
        let answer = phone.request(request).await;
        assert_eq!(answer.map_err(|e| format!("{e}\n{}", daemon.log())).unwrap().text(), "ON");
    }
    for (user, _, phone) in &mut homes {
        let own = format!("{user}/");
        let foreign = |m: &Message| !m.topic.starts_with(&own);
        let seen = phone.expect("foreign", Duration::from_millis(300), foreign).await;
        assert!(seen.is_err(), "{user} sees {seen:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_response_topic_of_another_user_is_refused_and_nothing_is_executed() -> Result<()> {
    for setup in [Setup::Shimmed, Setup::Bundled] {
        refused(setup, "bob/response/phone/1").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_topic_below_a_dollar_topic_is_refused_and_nothing_is_executed() -> Result<()> {
    for setup in [Setup::Mosquitto, Setup::Bundled] {
        refused(setup, "$SYS/broker/version").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_topic_where_requests_come_in_is_refused_and_nothing_is_executed() -> Result<()>
{
    refused(Setup::Mosquitto, "cmnd/light-in-bedroom/power").await?;
    refused(Setup::Bundled, "alice/cmnd/light-in-bedroom/power").await?;
    refused(Setup::Bundled, "alice/hub/hearthd-demo/presence").await
}

#[tokio::test]
async fn a_response_topic_with_a_wildcard_is_refused_by_broker_or_hub() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start(setup).await?;
        for topic in ["response/phone/#", "response/+/1"] {
            let mut rogue = Client::connect(&home.broker.access("tablet"), "rogue").await?;
            let mut request = home.ask("light-in-bedroom/power", "ON");
            request.response_topic = Some(home.topic(topic));
            // A broker may already disconnect whoever sends this (MQTT 3.3.2.3.5).
            let _ = rogue.publish(request).await;
        }
        home.light_is_off().await?;
    }
    Ok(())
}

async fn refused(setup: Setup, response_topic: &str) -> Result<()> {
    let mut home = Home::start(setup).await?;
    let mut request = home.ask("light-in-bedroom/power", "ON");
    request.response_topic = Some(response_topic.into());
    home.phone.publish(request).await?;
    home.light_is_off().await?;
    home.daemon.logged("Response Topic").await
}
