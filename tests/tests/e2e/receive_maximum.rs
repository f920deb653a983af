//! Nothing is lost, however few messages the broker takes at a time.

use std::collections::BTreeSet;

use hearth_tests::{Client, Message, Result, client::PATIENCE};

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
