//! Wills at a broker that keeps less than was asked for, or changes them.

use hearthd_tests::{Client, Message, Oddities, Result, client::PATIENCE, process::eventually};
use rumqttc::v5::mqttbytes::QoS;

use super::{HUB, Home};

#[tokio::test]
async fn a_session_that_ends_with_its_connection_is_told_and_proves_nothing() -> Result<()> {
    let told = "lack=\"a session that lives longer than 0 s\"";
    unknown_though_acknowledged(|odd| odd.connack.session_expiry_interval = Some(0), told).await
}

#[tokio::test]
async fn a_session_that_ends_before_the_hub_is_back_is_told_and_proves_nothing() -> Result<()> {
    let told = "lack=\"a session that lives longer than 1 s\"";
    unknown_though_acknowledged(|odd| odd.connack.session_expiry_interval = Some(1), told).await
}

#[tokio::test]
async fn a_session_at_qos_0_is_told_and_proves_nothing() -> Result<()> {
    let told = "the broker grants only QoS 0";
    unknown_though_acknowledged(|odd| odd.granted = QoS::AtMostOnce, told).await
}

#[tokio::test]
async fn doctor_names_a_will_that_lost_its_response_topic() -> Result<()> {
    let home = Home::prepare(|odd| odd.wills_lose_response_topic = true, |_| {}).await?;
    let examined = home.daemon.command(&["doctor", "--timeout", "5s"]).await?;
    assert_eq!(examined.code, Some(1), "{examined:?}");
    let will = examined.stdout.lines().find(|line| line.contains(" will ")).unwrap_or_default();
    assert!(will.contains("the broker drops the Response Topic"), "{examined:?}");
    Ok(())
}

#[tokio::test]
async fn a_will_that_keeps_its_delay_is_named_and_read_on_the_next_connection() -> Result<()> {
    let mut home = Home::start(|odd| odd.wills_keep_delay = true).await?;
    home.daemon.kill9()?;
    let offline = |message: &Message| message.text() == "offline";
    home.phone.expect("the will", PATIENCE, offline).await?;
    home.daemon.start(&mut home.phone).await?;
    home.daemon.logged("a packet with the property 0x18 (Will Delay Interval)").await?;
    home.daemon.logged("absence outcome=").await?;
    // The first connection ended over it, so what else came to that one is not known.
    let wills = home.daemon.command(&["will"]).await?;
    assert!(wills.stdout.contains("unknown, but published"), "{wills:?}");
    Ok(())
}

/// Acknowledges the hub's will while the hub cannot hear of it, and requires that the hub claims nothing of that.
async fn unknown_though_acknowledged(odd: impl FnOnce(&mut Oddities), told: &str) -> Result<()> {
    let mut oddities = Oddities::default();
    odd(&mut oddities);
    let is_cut = oddities.connack.session_expiry_interval.is_some();
    let mut home = Home::start(|odd| *odd = oddities).await?;
    home.daemon.logged(told).await?;
    // An answer is out, so the store knows of the connection.
    home.switch("light-in-bedroom/power", "ON").await?;
    home.daemon.kill9()?;
    let offline = |message: &Message| message.text() == "offline";
    let will = home.phone.expect("the will", PATIENCE, offline).await?;
    let gone = || Ok((!is_cut || !home.broker.has_session(HUB)).then_some(()));
    eventually("the end of the session", PATIENCE, gone).await?;
    let mut guardian = Client::connect(&home.broker.access("guardian"), "guardian").await?;
    let topic = will.response_topic.expect("a will is a request");
    let data = will.correlation_data;
    let acknowledgement = Message { correlation_data: data, ..Message::new(topic, "boiler off") };
    guardian.publish(acknowledgement).await?;
    let absence = home.absence_after_restart().await?;
    assert_eq!(absence["outcome"], "unknown", "{absence}");
    let published = absence["published"].as_str();
    assert!(matches!(published, Some("yes" | "not-known")), "{absence}");
    Ok(())
}
