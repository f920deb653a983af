//! What a requester gets back.

use std::time::Duration;

use bytes::Bytes;
use hearthd_tests::{Client, Message, Result, client::PATIENCE};
use serde_json::json;

use crate::home::{Home, Setup};

#[tokio::test]
async fn correlation_data_comes_back_verbatim_whatever_its_bytes_and_length() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start(setup).await?;
        let large: Vec<u8> = (0..4096_u32).map(|n| n as u8).collect();
        for data in [Bytes::new(), Bytes::from_static(&[0, 255, 0xC0, b'\n']), large.into()] {
            let mut request = home.ask("light-in-bedroom/power", "ON");
            request.correlation_data = Some(data.clone());
            let length = data.len();
            let answer = home.phone.request(request).await?;
            assert_eq!(answer.correlation_data, Some(data), "{setup:?} {length} bytes");
        }
        let mut request = home.ask("light-in-bedroom/power", "OFF");
        request.correlation_data = None;
        assert_eq!(home.phone.request(request).await?.correlation_data, None, "{setup:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_is_a_complete_message_and_no_request_itself() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    for at_least_once in [true, false] {
        let mut request = home.ask("light-in-bedroom/power", "ON");
        request.at_least_once = at_least_once;
        let answer = home.phone.request(request).await?;
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.text(), "ON");
        assert_eq!(answer.at_least_once, at_least_once, "QoS of the request");
        assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
        assert_eq!(answer.payload_format, Some(1));
        assert_eq!(answer.response_topic, None);
        assert!(!answer.retain);
    }
    Ok(())
}

#[tokio::test]
async fn each_mistake_has_its_status_and_a_payload_for_people() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let mistakes: [(&str, &str, u16); 6] = [
        ("living-room/target_temperature", "warm", 400),
        ("light-in-bedroom/set", "{\"power\":", 400),
        ("light-in-bedroom/colour", "red", 404),
        ("living-room/target_temperature", "99", 422),
        ("living-room/target_temperature", "21.3", 422),
        ("light-in-bedroom/brightness", "101", 422),
    ];
    for (what, payload, status) in mistakes {
        let answer = home.answer(what, payload).await?;
        assert_eq!(answer.status(), Some(status), "{what} {payload}: {}", answer.text());
        assert!(answer.property("__stMsg").is_some_and(|text| !text.is_empty()), "{what}");
        assert_eq!(answer.content_type.as_deref(), Some("application/json"), "{what}");
        let facts = answer.json()?;
        assert_eq!(facts["status"], json!(status), "{what}");
        assert_eq!(facts["message"].as_str(), answer.property("__stMsg"), "{what}");
    }
    for (what, payload) in
        [("light-in-bedroom/power", "ON"), ("light-in-bedroom/set", r#"{"power":"ON"}"#)]
    {
        let mut request = home.ask(what, payload);
        request.content_type = Some("image/png".into());
        let answer = home.phone.request(request).await?;
        assert_eq!(answer.status(), Some(415), "{what}: {}", answer.text());
    }
    home.light_is_off().await
}

#[tokio::test]
async fn set_get_and_describe_treat_several_properties_at_once() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let answer = home.answer("living-room/set", r#"{"mode":"heat","target_temperature":23}"#);
    assert_eq!(answer.await?.status(), Some(200));
    let all = home.answer("living-room/get", "").await?.json()?;
    assert_eq!((&all["mode"], &all["target_temperature"].as_f64()), (&json!("heat"), &Some(23.0)));

    let half = home.answer("living-room/set", r#"{"mode":"off","target_temperature":99}"#).await?;
    assert_eq!(half.status(), Some(422), "{}", half.text());
    assert_eq!(half.property("__propName"), Some("target_temperature"));
    assert_eq!(home.answer("living-room/mode", "").await?.text(), "heat", "all or nothing");

    let described = home.answer("living-room/describe", "").await?;
    assert_eq!(described.content_type.as_deref(), Some("application/json"));
    let text = described.json()?.to_string();
    for word in ["target_temperature", "current_temperature", "mode", "action", "30"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_hub_lists_its_devices() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let list = home.answer("hearthd-demo/devices", "").await?;
    assert_eq!(list.status(), Some(200), "{}", list.text());
    let text = list.json()?.to_string();
    assert!(text.contains("light-in-bedroom") && text.contains("living-room"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_response_topic_shows_on_the_state_topic_alone() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    home.phone.subscribe("state/light-in-bedroom/power").await?;
    home.phone.publish(Message::new("cmnd/light-in-bedroom/power", "ON")).await?;
    let on = |m: &Message| m.topic == "state/light-in-bedroom/power" && m.text() == "ON";
    home.phone.expect("the new state", PATIENCE, on).await?;
    Ok(())
}

#[tokio::test]
async fn a_retained_request_is_never_executed() -> Result<()> {
    for setup in [Setup::Mosquitto, Setup::Bundled] {
        let mut home = Home::prepare(setup, |_| {}).await?;
        let mut request = home.ask("light-in-bedroom/power", "ON");
        request.retain = true;
        home.phone.publish(request.clone()).await?;
        home.daemon.start(&mut home.phone).await?;
        home.light_is_off().await?;
        home.phone.publish(request).await?;
        home.light_is_off().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_answer_expires_when_the_request_would_have() -> Result<()> {
    let mut home = Home::start(Setup::Mosquitto).await?;
    let mut request = home.ask("light-in-bedroom/power", "ON");
    request.expiry = Some(30);
    let answer = home.phone.request(request).await?;
    assert!(answer.expiry.is_some_and(|left| (1..=30).contains(&left)), "{:?}", answer.expiry);
    assert_eq!(home.answer("light-in-bedroom/power", "").await?.expiry, None);
    Ok(())
}

#[tokio::test]
async fn two_requesters_at_once_each_get_only_their_own_answers() -> Result<()> {
    const EACH: usize = 20;
    let mut home = Home::start(Setup::Bundled).await?;
    let mut tablet = Client::connect(&home.broker.access("tablet"), "tablet").await?;
    tablet.subscribe("alice/response/tablet/+").await?;
    for n in 0..EACH {
        let data = format!("same {n}");
        let request = home.ask("light-in-bedroom/power", if n % 2 == 0 { "ON" } else { "OFF" });
        let by_tablet = Message {
            response_topic: Some("alice/response/tablet/e2e".into()),
            correlation_data: Some(data.clone().into()),
            topic: "alice/cmnd/living-room/target_temperature".into(),
            payload: "20".into(),
            ..request.clone()
        };
        let by_phone = Message { correlation_data: Some(data.into()), ..request };
        let (a, b) = tokio::join!(home.phone.publish(by_phone), tablet.publish(by_tablet));
        a.and(b)?;
    }
    for (client, topic, fits) in [
        (&mut home.phone, "alice/response/phone/e2e", ["ON", "OFF"]),
        (&mut tablet, "alice/response/tablet/e2e", ["20", "20.0"]),
    ] {
        for n in 0..EACH {
            let data = format!("same {n}");
            let own = |m: &Message| m.correlation_data.as_deref() == Some(data.as_bytes());
            let answer = client.expect(&data, PATIENCE, own).await?;
            assert_eq!(answer.topic, topic);
            assert!(fits.contains(&answer.text().as_str()), "{topic} {}", answer.text());
        }
        let more = client.expect("more", Duration::from_millis(200), |m| m.topic == topic).await;
        assert!(more.is_err(), "exactly one answer each: {more:?}");
    }
    Ok(())
}

#[tokio::test]
async fn heating_warms_the_room() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let topic = home.topic("state/living-room/current_temperature");
    home.phone.subscribe(&topic).await?;
    let before = home.answer("living-room/current_temperature", "").await?;
    let before: f64 = before.text().parse().expect("a temperature");
    let answer = home.answer("living-room/set", r#"{"mode":"heat","target_temperature":23}"#);
    assert_eq!(answer.await?.status(), Some(200));
    let warmer = |m: &Message| m.topic == topic && m.text().parse().is_ok_and(|t: f64| t > before);
    home.phone.expect("a warmer room", PATIENCE, warmer).await?;
    assert_eq!(home.answer("living-room/action", "").await?.text(), "heating");
    Ok(())
}
