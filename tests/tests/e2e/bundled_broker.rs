//! The bundled broker by itself, seen by its clients.

use hearthd_tests::{
    Built, Client, Doing, HearthBroker, Message, Result, mosquitto::mosquitto_sub,
};

#[tokio::test]
async fn every_account_learns_the_home_and_meets_the_others_below_it() -> Result<()> {
    let (broker, _folder) = start().await?;
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    let mut hub = Client::connect(&broker.access("hub"), "hearthd-demo").await?;
    for client in [&phone, &hub] {
        assert_eq!(client.response_information(), Some("alice"));
    }
    hub.subscribe("alice/cmnd/+/+").await?;
    phone.publish(Message::new("alice/cmnd/a/b", "1").respond_to("alice/r", vec![0, 255])).await?;
    let seen = hub.expect_on("alice/cmnd/a/b").await?;
    assert_eq!(seen.response_topic.as_deref(), Some("alice/r"));
    assert_eq!(seen.correlation_data.as_deref(), Some(&[0, 255][..]));
    Ok(())
}

#[tokio::test]
async fn an_account_can_neither_publish_nor_subscribe_outside_its_home() -> Result<()> {
    let (broker, _folder) = start().await?;
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    for filter in ["alice2/#", "bob/#", "$SYS/#", "bob"] {
        assert!(phone.subscribe(filter).await.is_err(), "{filter}");
    }
    assert!(phone.publish(Message::new("bob/cmnd/a/b", "1")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn the_hubs_client_id_is_closed_to_everybody_else() -> Result<()> {
    let (broker, _folder) = start().await?;
    for client_id in ["hearthd-demo", "hearthd-demo-2"] {
        assert!(Client::connect(&broker.access("phone"), client_id).await.is_err(), "{client_id}");
        Client::connect(&broker.access("hub"), client_id).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_no_password_are_refused() -> Result<()> {
    let (broker, _folder) = start().await?;
    let mut access = broker.access("phone");
    access.login = Some(("phone".into(), "guessed".into()));
    for login in [access.login.clone(), None] {
        access.login = login;
        assert!(Client::connect(&access, "phone").await.is_err());
        let ran = mosquitto_sub(&access, &["-t", "alice/#", "-W", "5"]).await?;
        assert_ne!(ran.code, Some(0), "{ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn many_logins_leave_the_broker_small() -> Result<()> {
    let (mut broker, _folder) = start().await?;
    let access = broker.access("phone");
    for round in 0..6 {
        let phones = (0..8).map(|n| {
            let access = access.clone();
            tokio::spawn(
                async move { Client::connect(&access, &format!("phone-{round}-{n}")).await },
            )
        });
        for phone in phones.collect::<Vec<_>>() {
            phone.await.doing("a phone")??;
        }
    }
    let file = format!("/proc/{}/status", broker.process().id());
    let status = std::fs::read_to_string(&file).doing(&file)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).doing("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().doing(line)?;
    assert!(kilobytes < 64 * 1024, "{kilobytes} kB after many logins");
    Ok(())
}

async fn start() -> Result<(HearthBroker, tempfile::TempDir)> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, folder.path()).await?;
    Ok((broker, folder))
}
