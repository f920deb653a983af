//! What CONNACK offers, or does not, and what the broker adds to a message.

use std::collections::BTreeSet;

use hearthd_tests::{Message, Result, client::PATIENCE};
use rumqttc::v5::mqttbytes::v5::Packet;

use super::{HUB, Home};

#[tokio::test]
async fn without_wildcards_each_declared_property_has_its_own_filter() -> Result<()> {
    let unavailable = Some(0);
    let mut home =
        Home::start(|odd| odd.connack.wildcard_subscription_available = unavailable).await?;
    home.switch("light-in-bedroom/power", "ON").await?;
    home.switch("living-room/target_temperature", "21.5").await?;
    let filters: BTreeSet<String> = home.subscribes().concat().into_iter().collect();
    assert!(filters.iter().all(|filter| !filter.contains(['+', '#'])), "{filters:?}");
    for device in ["light-in-bedroom", "living-room"] {
        let described = home.phone.request(Home::ask(&format!("{device}/describe"), "")).await?;
        let described = described.json()?;
        let declared = described["properties"].as_object().expect("properties have names");
        assert!(declared.len() > 1, "{described}");
        for property in declared.keys().map(String::as_str).chain(["get", "set", "describe"]) {
            let filter = format!("cmnd/{device}/{property}");
            assert!(filters.contains(&filter), "{filter}: {filters:?}");
        }
    }
    let ran = home.daemon.command(&["request", "light-in-bedroom", "power", "OFF"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "OFF\n"), "{ran:?}");
    let status = home.daemon.command(&["status"]).await?;
    assert!(status.stdout.contains("does not offer filters with wildcards"), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn without_a_keep_alive_one_connection_holds() -> Result<()> {
    let odd = |odd: &mut hearthd_tests::Oddities| odd.connack.server_keep_alive = Some(0);
    let mut home = Home::prepare(odd, |config| config.keep_alive = "5s").await?;
    home.daemon.start(&mut home.phone).await?;
    let connected = home.broker.connections(HUB).len();
    let pinged = |packets: &[Packet]| {
        let pings = packets.iter().filter(|packet| matches!(packet, Packet::PingReq(_)));
        (pings.count() >= 2).then_some(())
    };
    home.broker.until("PINGREQ in the hub's own time", HUB, PATIENCE, pinged).await?;
    home.switch("light-in-bedroom/power", "ON").await?;
    assert_eq!(home.broker.connections(HUB).len(), connected, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn a_receive_maximum_of_0_is_told_and_waited_out() -> Result<()> {
    let mut home = Home::prepare(|odd| odd.connack.receive_max = Some(0), |_| {}).await?;
    home.phone.subscribe(&home.daemon.presence(None)).await?;
    home.daemon.spawn()?;
    home.daemon.logged("CONNACK with a Receive Maximum of 0").await?;
    home.backs_off(3).await?;
    let said = home.phone.drain("response/phone/marker").await?;
    assert!(said.iter().all(|message| message.text() != "online"), "{said:?}");
    // The first connection has no relay that could say why it ends.
    let codes = home.broker.disconnects(HUB);
    assert!(codes.len() >= 2 && codes.iter().all(|code| *code == 0x82), "{codes:?}");
    home.broker.change(|odd| odd.connack.receive_max = None);
    home.daemon.online(&mut home.phone).await?;
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn response_information_that_is_too_long_is_told_and_not_kept() -> Result<()> {
    let mut home = Home::prepare(|_| {}, |_| {}).await?;
    home.broker.change(|odd| odd.connack.response_information = Some("a".repeat(65_535)));
    // The phone had connected before, and knows of no prefix.
    home.daemon.start(&mut home.phone).await?;
    home.daemon.logged("the prefix has 65535 bytes").await?;
    home.switch("light-in-bedroom/power", "ON").await?;
    let ran = home.daemon.command(&["request", "light-in-bedroom", "power", "OFF"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "OFF\n"), "{ran:?}");
    home.daemon.kill9()?;
    home.broker.change(|odd| odd.connack.response_information = Some("alice".into()));
    let presence = home.daemon.presence(Some("alice"));
    home.phone.subscribe(&presence).await?;
    home.daemon.spawn()?;
    let online = |message: &Message| message.topic == presence && message.text() == "online";
    home.phone.expect("`online` below the prefix", PATIENCE, online).await?;
    Ok(())
}

#[tokio::test]
async fn a_client_id_of_the_brokers_choice_is_told() -> Result<()> {
    let mut home = Home::start(|odd| {
        odd.connack.assigned_client_identifier = Some("client-1".into());
    })
    .await?;
    home.daemon.logged("lack=\"the hub's client ID; it assigns `client-1`\"").await?;
    home.switch("light-in-bedroom/power", "ON").await?;
    // It assigns the same to everybody, so a command can only say what it has done.
    let told = "the broker gives every client of this account the client ID `client-1`";
    for command in [&["status"][..], &["doctor"]] {
        let ran = home.daemon.command(command).await?;
        assert_eq!(ran.code, Some(69), "{ran:?}");
        assert!(ran.stderr.contains(told) && ran.stderr.contains("--user"), "{ran:?}");
    }
    home.daemon.logged("another client uses this hub's client ID").await
}

#[tokio::test]
async fn commands_leave_the_hub_alone_where_everybody_has_a_client_id_of_the_brokers_choice()
-> Result<()> {
    let home = Home::start(|odd| odd.assigns_each = true).await?;
    home.daemon.logged("lack=\"the hub's client ID; it assigns `auto-").await?;
    let connections = home.broker.connections(HUB).len();
    let ran = home.daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ON\n"), "{ran:?}");
    let ran = home.daemon.command(&["status"]).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(home.broker.connections(HUB).len(), connections, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn an_answer_that_the_broker_is_too_small_for_says_so() -> Result<()> {
    let mut home = Home::start(|odd| odd.connack.max_packet_size = Some(600)).await?;
    let answer = home.phone.request(Home::ask("living-room/describe", "")).await?;
    assert_eq!(answer.status(), Some(500), "{}", answer.text());
    assert!(answer.text().contains("the broker's Maximum Packet Size"), "{}", answer.text());
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn a_broker_of_mqtt_3_1_1_is_called_so() -> Result<()> {
    const SO: &str = "the broker does not speak MQTT 5";
    let mut home = Home::prepare(|odd| odd.speaks_3_1_1 = true, |_| {}).await?;
    home.daemon.spawn()?;
    home.daemon.logged(SO).await?;
    home.backs_off(3).await?;
    let examined = home.daemon.command(&["doctor", "--timeout", "5s"]).await?;
    let told = format!("{}{}", examined.stdout, examined.stderr);
    assert!(told.contains(SO), "{examined:?}");
    assert_ne!(examined.code, Some(0), "{examined:?}");
    Ok(())
}

#[tokio::test]
async fn an_expiry_that_the_broker_adds_is_told_and_dates_no_request() -> Result<()> {
    let mut home = Home::start(|odd| odd.added_expiry = Some(86_400)).await?;
    home.daemon.logged("the broker adds an expiry to every message").await?;
    let status = home.daemon.command(&["status"]).await?;
    assert!(status.stdout.contains("the broker adds an expiry to every message"), "{status:?}");
    let examined = home.daemon.command(&["doctor", "--timeout", "5s"]).await?;
    assert!(examined.stdout.contains("the broker adds 86400 s"), "{examined:?}");

    home.daemon.terminate().await?;
    let unmarked = Home::ask("light-in-bedroom/power", "ON");
    let own = Message { expiry: Some(600), ..Home::ask("light-in-bedroom/brightness", "40") };
    let own = own.with_property("expiry", "600");
    home.phone.publish(unmarked.clone()).await?;
    home.phone.publish(own.clone()).await?;
    home.daemon.spawn()?;
    let answer_to = |request: &Message| {
        let data = request.correlation_data.clone();
        move |m: &Message| m.topic == "response/phone/e2e" && m.correlation_data == data
    };
    let answer = home.phone.expect("409", PATIENCE, answer_to(&unmarked)).await?;
    assert_eq!((answer.status(), answer.property("reason")), (Some(409), Some("stale")));
    let answer = home.phone.expect("200", PATIENCE, answer_to(&own)).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "40"));
    Ok(())
}
