//! Buttons that speak MQTT: each press is one event of the hub.

use hearthd_tests::{Client, Message, Result};
use serde_json::json;

use crate::home::{Home, Setup};

#[tokio::test]
async fn a_press_is_an_event_and_what_the_broker_has_kept_is_none() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let mut home = Home::prepare(setup, |config| {
            config.plugins = &["light", "sensor", "thermostat"];
            config.tables += "[bridges]\nallow = [\"bulbs/#\"]\n";
            config.devices += "[devices.remote]\nplugin = \"sensor\"\n[devices.remote.config]\n\
                topic = \"bulbs/remote\"\nbutton = \"/action\"\nbattery = \"/battery\"\n";
        })
        .await?;
        let mut remote = Client::connect(&home.broker.access("bulb"), "bulb").await?;
        let kept = Message::new("bulbs/remote", r#"{"action":"hold","battery":81}"#);
        remote.publish(Message { retain: true, ..kept }).await?;
        for topic in ["event/remote", "state/remote/status"] {
            let topic = home.topic(topic);
            home.phone.subscribe(&topic).await?;
        }
        home.daemon.start(&mut home.phone).await?;
        let listed = home.answer("remote/describe", "").await?.json()?.to_string();
        assert!(listed.contains("double") && listed.contains("button"), "{listed}");
        // It is heard of once something has come that was not kept.
        let ready = home.topic("state/remote/status");
        let news = Message::new("bulbs/remote", r#"{"battery":80}"#);
        remote.publish(news).await?;
        let is_ready = |m: &Message| m.topic == ready && m.text() == "ready";
        home.phone.expect("ready", hearthd_tests::client::PATIENCE, is_ready).await?;
        for (action, kind) in [("single", "press"), ("single", "press"), ("double", "double")] {
            let said = json!({"action": action, "battery": 80}).to_string();
            remote.publish(Message::new("bulbs/remote", said)).await?;
            let event = home.topic("event/remote");
            let told = home.phone.expect_on(&event).await?;
            assert_eq!(told.json()?, json!({"event": kind, "property": "button"}));
            assert!(!told.retain, "{told:?}");
        }
        let read = home.answer("remote/battery", "").await?;
        assert_eq!((read.status(), &*read.text()), (Some(200), "80"));
        let read = home.answer("remote/button", "").await?;
        assert_eq!(read.status(), Some(422), "{read:?}");
    }
    Ok(())
}
