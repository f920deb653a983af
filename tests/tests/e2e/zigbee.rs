//! A lamp behind Zigbee2MQTT: the answer is what the lamp did, not what Zigbee2MQTT says.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use hearthd_tests::{
    Client, Message, Result, Zigbee2Mqtt,
    process::eventually,
    zigbee2mqtt::{BULB, Mode, SPOT, THERMOMETER, VALVE},
};

use crate::home::{Broker, Home, Setup};

/// A home with a lamp behind Zigbee2MQTT that is reached, and a group that it is in.
async fn home(setup: Setup, more: &str) -> Result<(Home, Zigbee2Mqtt)> {
    let mut home = Home::prepare(setup, |config| {
        config.tables += "[bridges]\nallow = [\"zigbee2mqtt/#\"]\n";
        config.devices += &lamp("lamp", "hall/bulb", more);
        let comma = if more.is_empty() { "" } else { ", " };
        let members = r#"members = ["zigbee2mqtt/hall/bulb", "zigbee2mqtt/hall/spot"]"#;
        config.devices += &lamp("all", "all", &format!("{members}{comma}{more}"));
    })
    .await?;
    let bridge = Zigbee2Mqtt::start(&home.broker.access("zigbee2mqtt")).await?;
    home.daemon.start(&mut home.phone).await?;
    ready(&mut home).await?;
    Ok((home, bridge))
}

fn lamp(id: &str, name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(
        "[devices.{id}]\nplugin = \"light\"\n[devices.{id}.config]\nbackend = \"zigbee2mqtt\"\n\
         brightness = true\nzigbee2mqtt = {{ topic = \"zigbee2mqtt/{name}\"{comma}{more} }}\n"
    )
}

/// Waits until the hub has heard of the lamp.
async fn ready(home: &mut Home) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = home.answer("lamp/power", "").await?;
        if answer.status() == Some(200) {
            return Ok(());
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn said(answer: &Message) -> (Option<u16>, String) {
    (answer.status(), answer.text())
}

#[tokio::test]
async fn every_answer_is_what_the_lamp_did() -> Result<()> {
    for setup in [Setup::Bundled, Setup::Mosquitto] {
        let (mut home, mut bridge) = home(setup, "").await?;
        for power in ["ON", "OFF", "ON", "ON"] {
            assert_eq!(said(&home.answer("lamp/power", power).await?), (Some(200), power.into()));
        }
        let set = home.answer("lamp/set", r#"{"brightness": 40, "power": "ON"}"#).await?;
        assert_eq!(set.status(), Some(200), "{set:?}");
        for mode in [Mode::Lies, Mode::Refuses] {
            bridge.set_mode(BULB, mode)?;
            let refused = home.answer("lamp/power", "OFF").await?;
            assert_eq!(refused.status(), Some(500), "{setup:?} {mode:?} {refused:?}");
            assert!(refused.text().contains("still ON"), "{setup:?} {mode:?} {refused:?}");
        }
        bridge.set_mode(BULB, Mode::IsDead)?;
        let dead = home.answer("lamp/power", "OFF").await?;
        assert_eq!(dead.status(), Some(503), "{setup:?} {dead:?}");
        bridge.set_mode(BULB, Mode::Obeys)?;
        assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
        // It does it, and what it says of that comes late: in the time there is it may not be sure.
        bridge.set_mode(BULB, Mode::IsSlow)?;
        let slow = home.answer("lamp/power", "ON").await?;
        assert!(matches!(slow.status(), Some(200 | 409)), "{setup:?} {slow:?}");
        bridge.set_mode(BULB, Mode::Obeys)?;
        home.light_is_off().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_group_is_answered_by_what_each_of_its_lamps_did() -> Result<()> {
    for (setup, more) in [(Setup::Bundled, ""), (Setup::Mosquitto, "raw = true")] {
        let (mut home, mut bridge) = home(setup, more).await?;
        for power in ["ON", "OFF", "ON"] {
            let answer = home.answer("all/power", power).await?;
            assert_eq!(said(&answer), (Some(200), power.into()), "{setup:?}");
            until(&mut home, "lamp/power", power).await?;
        }
        let dimmed = home.answer("all/set", r#"{"brightness": 40, "power": "ON"}"#).await?;
        assert_eq!(dimmed.status(), Some(200), "{setup:?} {dimmed:?}");
        // One of the two has not heard of it, and Zigbee2MQTT believes that it has.
        bridge.set_mode(SPOT, Mode::Lies)?;
        let (status, text) = said(&home.answer("all/power", "OFF").await?);
        assert_eq!(status, Some(500), "{setup:?} {text}");
        let told = "hall/spot: refused: still ON; hall/bulb: confirmed: power OFF";
        assert!(text.contains(told), "{setup:?} {text}");
        until(&mut home, "all/power", "ON").await?;
        bridge.set_mode(SPOT, Mode::IsDead)?;
        let (status, text) = said(&home.answer("all/power", "OFF").await?);
        assert_eq!(status, Some(503), "{setup:?} {text}");
        assert!(text.contains("hall/spot: unreachable: "), "{setup:?} {text}");
        assert!(text.contains("hall/bulb: confirmed: power OFF"), "{setup:?} {text}");
        bridge.set_mode(SPOT, Mode::Obeys)?;
        let answer = home.answer("all/power", "OFF").await?;
        assert_eq!(said(&answer), (Some(200), "OFF".into()), "{setup:?}");
        until(&mut home, "all/power", "OFF").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bridge_that_is_killed_is_told_and_comes_back() -> Result<()> {
    let (mut home, mut bridge) = home(Setup::Bundled, "").await?;
    assert_eq!(said(&home.answer("lamp/power", "ON").await?), (Some(200), "ON".into()));
    let status = home.topic("state/lamp/status");
    home.phone.subscribe(&status).await?;
    bridge.stop()?;
    let is_away =
        |message: &Message| message.topic == status && message.text().contains("unreachable");
    home.phone.expect("the lamp's status", Duration::from_secs(30), is_away).await?;
    let away = home.answer("lamp/power", "OFF").await?;
    assert_eq!(away.status(), Some(503), "{away:?}");
    assert!(away.text().contains("offline"), "{away:?}");
    bridge.start_again().await?;
    ready(&mut home).await?;
    assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_restarted_in_between_loses_nothing() -> Result<()> {
    let (mut home, bridge) = home(Setup::Bundled, "").await?;
    assert_eq!(said(&home.answer("lamp/power", "ON").await?), (Some(200), "ON".into()));
    let Broker::Bundled(broker) = &mut home.broker else { unreachable!("that is its set-up") };
    broker.stop()?;
    broker.start_again().await?;
    eventually("Zigbee2MQTT at the broker", Duration::from_secs(60), || {
        Ok(bridge.log().matches("Connected to MQTT server").nth(1).map(|_| ()))
    })
    .await?;
    home.phone = Client::connect(&home.broker.access("phone"), "phone").await?;
    let responses = home.topic("response/phone/+");
    home.phone.subscribe(&responses).await?;
    ready(&mut home).await?;
    assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
    Ok(())
}

#[tokio::test]
async fn twenty_requests_at_once_are_each_answered_once() -> Result<()> {
    let (mut home, _bridge) = home(Setup::Mosquitto, "raw = true").await?;
    let answers = home.topic("response/phone/e2e");
    let is_answer = |message: &Message| message.topic == answers;
    let mut open = BTreeSet::new();
    for index in 0..20 {
        let power = if index % 2 == 0 { "ON" } else { "OFF" };
        let request = home.ask("lamp/power", power);
        open.insert(request.correlation_data.clone());
        home.phone.publish(request).await?;
    }
    let mut last = None;
    while !open.is_empty() {
        let answer = home.phone.expect("an answer", Duration::from_secs(30), is_answer).await?;
        assert!(open.remove(&answer.correlation_data), "answered twice: {answer:?}");
        assert!(matches!(answer.status(), Some(200 | 409)), "{answer:?}");
        last = Some(answer);
    }
    let last = last.expect("there were twenty");
    assert_eq!(said(&last), (Some(200), "OFF".into()), "the last one wins");
    Ok(())
}

#[tokio::test]
async fn what_the_doctor_offers_is_a_configuration_that_works() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |config| {
        config.plugins = &["light", "sensor", "thermostat"];
    })
    .await?;
    let _bridge = Zigbee2Mqtt::start(&home.broker.access("zigbee2mqtt")).await?;
    let listed = home.daemon.command(&["doctor", "--devices"]).await?;
    let (_, offered) = listed.stdout.split_once("# What is on the broker.").unwrap_or_default();
    let mut config = std::fs::read_to_string(home.daemon.config())?;
    config += offered;
    std::fs::write(home.daemon.config(), config)?;
    let checked = home.daemon.command(&["check"]).await?;
    assert_eq!(checked.code, Some(0), "{checked:?} {listed:?}");
    home.daemon.start(&mut home.phone).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while home.answer("hall-bulb/power", "").await?.status() != Some(200) {
        assert!(tokio::time::Instant::now() < deadline, "{listed:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let set = home.answer("hall-bulb/set", r#"{"brightness": 40, "color_temperature": 3000}"#);
    let set = set.await?;
    assert_eq!(set.status(), Some(200), "{set:?}");
    Ok(())
}

/// Starts a hub whose thermostat heats with what this part of its table says: it measures 18 °C, and is asked for 21.
async fn heated_room(table: &str) -> Result<(Home, Zigbee2Mqtt)> {
    let mut home = Home::prepare(Setup::Bundled, |config| {
        config.plugins = &["light", "thermostat"];
        config.tables += "[bridges]\nallow = [\"zigbee2mqtt/#\"]\n";
        config.devices += "[devices.room]\nplugin = \"thermostat\"\n[devices.room.config]\n\
            backend = \"hardware\"\n\
            sensors = [{ mqtt = { topic = \"zigbee2mqtt/thermometer\", pointer = \"/temperature\" } }]\n";
        config.devices += table;
    })
    .await?;
    let bridge = Zigbee2Mqtt::start(&home.broker.access("zigbee2mqtt")).await?;
    home.daemon.start(&mut home.phone).await?;
    bridge.report(THERMOMETER, "msTemperatureMeasurement", "measuredValue", 1_800)?;
    until(&mut home, "room/current_temperature", "18").await?;
    let heat = home.answer("room/set", r#"{"mode": "heat", "target_temperature": 21}"#).await?;
    assert_eq!(heat.status(), Some(200), "{heat:?}");
    Ok((home, bridge))
}

#[tokio::test]
async fn a_thermostat_measures_and_heats_through_zigbee2mqtt() -> Result<()> {
    let (mut home, mut bridge) = heated_room(
        "period = \"2s\"\nmin_on = \"0s\"\nmin_off = \"0s\"\n\
         actuator = { zigbee2mqtt = { topic = \"zigbee2mqtt/hall/bulb\" } }\n",
    )
    .await?;
    assert_eq!(said(&home.answer("room/action", "").await?), (Some(200), "heating".into()));
    bridge.report(THERMOMETER, "msTemperatureMeasurement", "measuredValue", 2_300)?;
    until(&mut home, "room/action", "idle").await?;
    // What it wants cannot be had, and what it was stays.
    bridge.set_mode(BULB, Mode::Refuses)?;
    let refused = home.answer("room/target_temperature", "28").await?;
    assert_eq!(refused.status(), Some(500), "{refused:?}");
    assert_eq!(said(&home.answer("room/target_temperature", "").await?), (Some(200), "21".into()));
    Ok(())
}

#[tokio::test]
async fn what_a_lamp_does_after_its_answer_becomes_its_state() -> Result<()> {
    for more in ["", "raw = true"] {
        let (mut home, mut bridge) = home(Setup::Bundled, more).await?;
        assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
        bridge.set_mode(BULB, Mode::IsDelayed)?;
        let early = home.answer("lamp/power", "ON").await?;
        assert!(matches!(early.status(), Some(409 | 500 | 503)), "{more} {early:?}");
        bridge.set_mode(BULB, Mode::Obeys)?;
        until(&mut home, "lamp/power", "ON").await?;
        // One that lies makes Zigbee2MQTT believe what is not so.
        bridge.set_mode(BULB, Mode::Lies)?;
        let refused = home.answer("lamp/power", "OFF").await?;
        assert_eq!(refused.status(), Some(500), "{more} {refused:?}");
        until(&mut home, "lamp/power", "ON").await?;
        // It hears nothing, and then what it was told last.
        bridge.set_mode(BULB, Mode::Sleeps)?;
        let asleep = home.answer("lamp/power", "OFF").await?;
        assert!(matches!(asleep.status(), Some(409 | 500 | 503)), "{more} {asleep:?}");
        bridge.set_mode(BULB, Mode::Obeys)?;
        until(&mut home, "lamp/power", "OFF").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_is_killed_within_a_request_answers_it_in_its_next_life() -> Result<()> {
    let (mut home, mut bridge) = home(Setup::Mosquitto, "raw = true").await?;
    assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
    let mut spy = Client::connect(&home.broker.access("spy"), "spy").await?;
    spy.subscribe("zigbee2mqtt/hall/bulb/set").await?;
    bridge.set_mode(BULB, Mode::IsSlow)?;
    let request = home.ask("lamp/power", "ON");
    let (topic, data) = (request.response_topic.clone(), request.correlation_data.clone());
    home.phone.publish(request).await?;
    spy.expect_on("zigbee2mqtt/hall/bulb/set").await?;
    home.daemon.kill9()?;
    bridge.set_mode(BULB, Mode::Obeys)?;
    home.daemon.start(&mut home.phone).await?;
    let is_answer = |message: &Message| {
        Some(&message.topic) == topic.as_ref() && message.correlation_data == data
    };
    let answer = home.phone.expect("the answer", Duration::from_secs(30), is_answer).await?;
    assert!(matches!(answer.status(), Some(200 | 409 | 503)), "{answer:?}");
    until(&mut home, "lamp/power", "ON").await?;
    goes_off(&mut home).await
}

/// Requires that an answer agrees with what the lamp was switched to last, and that the state comes to agree as well.
async fn agrees(home: &mut Home, bridge: &Zigbee2Mqtt, answer: &Message) -> Result<()> {
    let is_on = || -> Result<bool> {
        let states = std::fs::read_to_string(bridge.states())?;
        Ok(states.lines().last().is_some_and(|line| line.ends_with(" 1")))
    };
    match answer.status() {
        Some(200) => assert!(is_on()?, "{answer:?}"),
        Some(500) => assert!(!is_on()?, "{answer:?}"),
        status => assert!(matches!(status, Some(409 | 503)), "{answer:?}"),
    }
    let power = if is_on()? { "ON" } else { "OFF" };
    until(home, "lamp/power", power).await
}

/// Asks a lamp that takes its time for ON, and waits until the bridge is told; returns the request's Correlation Data.
async fn is_told_slowly(home: &mut Home, bridge: &mut Zigbee2Mqtt) -> Result<Option<Bytes>> {
    bridge.set_mode(BULB, Mode::IsSlow)?;
    let mut spy = Client::connect(&home.broker.access("zigbee2mqtt"), "spy").await?;
    spy.subscribe("zigbee2mqtt/hall/bulb/set").await?;
    let request = home.ask("lamp/power", "ON");
    let data = request.correlation_data.clone();
    home.phone.publish(request).await?;
    spy.expect_on("zigbee2mqtt/hall/bulb/set").await?;
    Ok(data)
}

/// Has the lamp switched off: what is left of an earlier command may make that uncertain once, on a slow machine.
async fn goes_off(home: &mut Home) -> Result<()> {
    let mut answer = home.answer("lamp/power", "OFF").await?;
    if answer.status() == Some(409) {
        until(home, "lamp/power", "OFF").await?;
        answer = home.answer("lamp/power", "OFF").await?;
    }
    assert_eq!(said(&answer), (Some(200), "OFF".into()));
    Ok(())
}

#[tokio::test]
async fn a_bridge_that_is_killed_within_a_request_costs_no_false_answer() -> Result<()> {
    for (setup, more) in [(Setup::Bundled, ""), (Setup::Mosquitto, "raw = true")] {
        let (mut home, mut bridge) = home(setup, more).await?;
        assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
        let data = is_told_slowly(&mut home, &mut bridge).await?;
        bridge.stop()?;
        bridge.set_mode(BULB, Mode::Obeys)?;
        bridge.start_again().await?;
        let is_answer = |message: &Message| message.correlation_data == data;
        let answer = home.phone.expect("the answer", Duration::from_secs(30), is_answer).await?;
        agrees(&mut home, &bridge, &answer).await?;
        goes_off(&mut home).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_killed_within_a_request_costs_no_false_answer() -> Result<()> {
    let (mut home, mut bridge) = home(Setup::Bundled, "raw = true").await?;
    let access = home.broker.access("phone");
    home.phone = Client::resume(&access, "phone").await?;
    let responses = home.topic("response/phone/+");
    home.phone.subscribe(&responses).await?;
    assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
    let data = is_told_slowly(&mut home, &mut bridge).await?;
    let Broker::Bundled(broker) = &mut home.broker else { unreachable!("that is its set-up") };
    broker.stop()?;
    broker.start_again().await?;
    home.phone = Client::resume(&access, "phone").await?;
    let is_answer = |message: &Message| message.correlation_data == data;
    let answer = home.phone.expect("the answer", Duration::from_secs(30), is_answer).await?;
    bridge.set_mode(BULB, Mode::Obeys)?;
    eventually("Zigbee2MQTT at the broker", Duration::from_secs(60), || {
        Ok(bridge.log().matches("Connected to MQTT server").nth(1).map(|_| ()))
    })
    .await?;
    agrees(&mut home, &bridge, &answer).await?;
    goes_off(&mut home).await
}

#[tokio::test]
async fn nonsense_on_a_lamps_topics_changes_nothing() -> Result<()> {
    for more in ["", "raw = true"] {
        let (mut home, _bridge) = home(Setup::Bundled, more).await?;
        assert_eq!(said(&home.answer("lamp/power", "ON").await?), (Some(200), "ON".into()));
        let mut stranger = Client::connect(&home.broker.access("zigbee2mqtt"), "stranger").await?;
        let huge = format!(r#"{{"state": "OFF", "padding": "{}"#, "x".repeat(500_000));
        let payloads: [&[u8]; 8] = [
            b"",
            b"{\"state\": \"OFF\"",
            b"\xff\xfe\x00OFF",
            b"[\"OFF\"]",
            b"{\"state\": 0, \"brightness\": \"40\", \"color_temp\": {}}",
            b"{\"status\": \"ok\", \"transaction\": \"hearthd-1\", \"data\": {}}",
            b"null",
            huge.as_bytes(),
        ];
        for topic in
            ["hall/bulb", "hall/bulb/availability", "bridge/state", "bridge/response/action"]
        {
            for payload in payloads {
                let topic = format!("zigbee2mqtt/{topic}");
                stranger.publish(Message::new(topic, payload.to_vec())).await?;
            }
        }
        // A state that is told by whoever it is, and is not so, is read back.
        stranger.publish(Message::new("zigbee2mqtt/hall/bulb", r#"{"state": "OFF"}"#)).await?;
        let read = home.answer("lamp/power", "").await?;
        assert_eq!(said(&read), (Some(200), "ON".into()), "{more}");
        assert_eq!(said(&home.answer("lamp/power", "OFF").await?), (Some(200), "OFF".into()));
    }
    Ok(())
}

#[tokio::test]
async fn a_radiator_valve_is_confirmed_pending_and_unreachable() -> Result<()> {
    let (mut home, mut bridge) = heated_room(
        "actuator = { zigbee2mqtt = { topic = \"zigbee2mqtt/valve\", sleepy = true }, valve = true }\n",
    )
    .await?;
    until(&mut home, "room/valve", "confirmed").await?;
    bridge.set_mode(VALVE, Mode::Sleeps)?;
    // The thermostat has the target at once, and the valve when it wakes.
    let warmer = home.answer("room/target_temperature", "23").await?;
    assert_eq!(said(&warmer), (Some(200), "23".into()));
    until(&mut home, "room/valve", "pending").await?;
    bridge.set_mode(VALVE, Mode::Obeys)?;
    bridge.report(VALVE, "hvacThermostat", "localTemp", 1_900)?;
    until(&mut home, "room/valve", "confirmed").await?;
    bridge.stop()?;
    until(&mut home, "room/valve", "unreachable").await?;
    Ok(())
}

/// Waits until a read gives this.
async fn until(home: &mut Home, what: &str, value: &str) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = home.answer(what, "").await?;
        if said(&answer) == (Some(200), value.to_owned()) {
            return Ok(());
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
