//! Nothing is lost, however few messages the broker takes at a time, and however many it sends.

use std::collections::BTreeSet;

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Message, Mosquitto, Result, client::PATIENCE,
};

use crate::home::{Broker, Home, Setup};

#[tokio::test]
async fn every_request_is_answered_whatever_the_brokers_receive_maximum() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |_| {}).await?;
    // It also shrinks and grows between two connections of the same daemon.
    for (round, receive_maximum) in [20, 1, 65_535, 2].into_iter().enumerate() {
        let Broker::Mosquitto(mosquitto) = &mut home.broker else { unreachable!("the setup") };
        mosquitto.stop()?;
        mosquitto.set_receive_maximum(receive_maximum);
        mosquitto.start_again().await?;
        home.phone = Client::connect(&home.broker.access("phone"), "phone").await?;
        home.phone.subscribe("response/phone/+").await?;
        if round == 0 {
            home.daemon.start(&mut home.phone).await?;
        } else {
            let presence = home.daemon.presence(None);
            home.phone.subscribe(&presence).await?;
            home.daemon.online(&mut home.phone).await?;
        }
        let mut wanted = BTreeSet::new();
        for brightness in 1..=60 {
            let request = home.ask("light-in-bedroom/brightness", brightness.to_string());
            wanted.insert(request.correlation_data.clone());
            home.phone.publish(request).await?;
        }
        let asked = wanted.clone();
        while !wanted.is_empty() {
            // An answer that the broker had not acknowledged when it ended comes once more.
            let is_answer = |m: &Message| asked.contains(&m.correlation_data);
            let what = format!("{} answers at Receive Maximum {receive_maximum}", wanted.len());
            let answer = home.phone.expect(&what, PATIENCE, is_answer).await?;
            assert_eq!(answer.status(), Some(200), "{}", answer.text());
            assert!(wanted.remove(&answer.correlation_data), "answered twice");
        }
    }
    Ok(())
}

/// Mosquitto 2.0.11 sends a returning session all that it has queued, whatever its client's Receive Maximum.
#[tokio::test]
async fn every_request_that_waited_at_the_broker_is_answered_once() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start_configured(ROOMY).await?;
    let access = mosquitto.access(None);
    let mut daemon = Daemon::prepare(&built, folder.path(), &DaemonConfig::new(access.clone()))?;
    let mut phone = Client::connect(&access, "phone").await?;
    phone.subscribe("response/phone/+").await?;
    daemon.start(&mut phone).await?;
    daemon.terminate().await?;
    for number in 0..WAITING {
        let request = Message::new("cmnd/light-in-bedroom/power", "ON")
            .respond_to("response/phone/e2e", number.to_be_bytes().to_vec());
        phone.publish(Message { expiry: Some(600), ..request }).await?;
    }
    daemon.spawn()?;
    let mut answered = BTreeSet::new();
    while answered.len() < WAITING as usize {
        let what = format!("an answer after {}", answered.len());
        let is_answer = |m: &Message| m.topic == "response/phone/e2e";
        let answer = phone.expect(&what, PATIENCE, is_answer).await?;
        assert!(matches!(answer.status(), Some(200 | 429)), "{}", answer.text());
        assert!(answered.insert(answer.correlation_data.clone()), "answered twice");
    }
    daemon.online(&mut phone).await?;
    let more = phone.drain("response/phone/marker").await?;
    assert!(more.iter().all(|m| m.topic != "response/phone/e2e"), "answered twice");
    daemon.terminate().await?;
    Ok(())
}

/// More than the hub's queue for the broker ever held.
const WAITING: u32 = 8000;
const ROOMY: &str = "listener 1883 127.0.0.1\nallow_anonymous true\npersistence false\n\
                     set_tcp_nodelay true\nmax_inflight_messages 1024\nmax_queued_messages 20000\n";
