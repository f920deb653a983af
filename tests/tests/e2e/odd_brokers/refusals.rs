//! What the broker refuses, does not answer, or answers so that nobody can read it.

use std::time::{Duration, Instant};

use hearthd_tests::{
    Authority, Client, Message, OddPuback, Result, Subacks, TlsFront, client::PATIENCE,
    process::eventually, tls::Validity,
};
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;

use super::{HUB, Home, UNHURRIED, subscribes};

/// A topic that the hub publishes on whenever the lamp is switched.
const POWER: &str = "state/light-in-bedroom/power";

#[tokio::test]
async fn where_several_filters_have_no_answer_they_go_one_at_a_time() -> Result<()> {
    let mut home = Home::prepare(|odd| odd.subacks = Subacks::OneFilter, |_| {}).await?;
    home.daemon.start(&mut home.phone).await?;
    home.daemon.logged("the broker does not answer a subscription").await?;
    let subscribes = home.subscribes();
    assert!(subscribes[0].len() > 1, "{subscribes:?}");
    let singly: Vec<String> = subscribes[1..].iter().flatten().cloned().collect();
    assert!(subscribes[1..].iter().all(|filters| filters.len() == 1), "{subscribes:?}");
    assert_eq!(singly, subscribes[0], "each once, in order");
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn where_no_filter_has_an_answer_the_hub_says_so_and_is_not_online() -> Result<()> {
    let mut home = Home::prepare(|odd| odd.subacks = Subacks::Never, |_| {}).await?;
    home.phone.subscribe(&home.daemon.presence(None)).await?;
    home.daemon.spawn()?;
    home.daemon
        .logged("the broker does not answer a subscription: connecting again filters=")
        .await?;
    home.daemon
        .logged("the broker does not answer a subscription: connecting again filters=1")
        .await?;
    let said = home.phone.drain("response/phone/marker").await?;
    assert!(said.iter().all(|message| message.text() != "online"), "{said:?}");
    home.broker.change(|odd| odd.subacks = Subacks::All);
    home.daemon.online(&mut home.phone).await?;
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn filters_beyond_a_quota_are_told_once_and_asked_for_again() -> Result<()> {
    const QUOTA: usize = 5;
    const TOLD: &str = "the broker refuses a subscription";
    let mut home = Home::start(|odd| odd.filter_quota = Some(QUOTA)).await?;
    let refused = home.subscribes().concat().split_off(QUOTA);
    assert_eq!(refused, ["cmnd/living-room/+", "state/living-room/status"]);
    for filter in &refused {
        home.daemon.logged(&format!("{TOLD} filter=\"{filter}\" reason_code=0x97")).await?;
    }
    home.switch("light-in-bedroom/power", "ON").await?;
    // One more fits now, the last one does not.
    home.broker.change(|odd| odd.filter_quota = Some(QUOTA + 1));
    let again = |packets: &[_]| (subscribes(packets).last() == Some(&refused)).then_some(());
    home.broker.until("the refused filters again", HUB, UNHURRIED, again).await?;
    home.switch("living-room/target_temperature", "21.5").await?;
    assert_eq!(home.daemon.log().matches(TOLD).count(), refused.len(), "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn why_a_broker_refuses_is_told_in_its_own_words_and_never_with_the_password() -> Result<()> {
    let mut home = Home::prepare(
        |odd| {
            odd.refuses = Some(ConnectReturnCode::NotAuthorized);
            odd.connack.reason_string = Some("account locked, any password".into());
        },
        |_| {},
    )
    .await?;
    home.daemon.spawn()?;
    let words = "not authorized (0x87); the broker says: account locked, (the password) password";
    home.daemon.logged(words).await?;
    home.backs_off(2).await?;
    for command in [&["doctor"][..], &["status"], &["request", "light-in-bedroom", "power"]] {
        let ran = home.daemon.command(command).await?;
        assert_eq!(ran.code, Some(77), "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    home.phone.subscribe(&home.daemon.presence(None)).await?;
    home.broker.change(|odd| odd.refuses = None);
    home.daemon.online(&mut home.phone).await?;
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn a_refusal_behind_tls_is_told_likewise_and_the_next_connection_works() -> Result<()> {
    let tables = "[broker.tls]\nca_file = \"ca.pem\"\n";
    let mut home = Home::prepare(
        |odd| {
            odd.refuses = Some(ConnectReturnCode::Banned);
            odd.connack.reason_string = Some("until noon".into());
        },
        |config| config.tables = tables.into(),
    )
    .await?;
    let port = home.broker.access("hub").port;
    let authority = Authority::new("the home")?;
    let front = TlsFront::start(port, &authority, "localhost", Validity::Now).await?;
    let config = home.daemon.config().to_owned();
    std::fs::write(config.with_file_name("ca.pem"), authority.pem())?;
    let plain = format!("mqtt://127.0.0.1:{port}");
    let url = format!("mqtts://localhost:{}", front.port());
    std::fs::write(&config, std::fs::read_to_string(&config)?.replace(&plain, &url))?;
    home.daemon.spawn()?;
    home.daemon.logged("banned (0x8a); the broker says: until noon").await?;
    home.phone.subscribe(&home.daemon.presence(None)).await?;
    home.broker.change(|odd| odd.refuses = None);
    home.daemon.online(&mut home.phone).await?;
    home.switch("light-in-bedroom/power", "ON").await
}

#[tokio::test]
async fn a_broker_that_names_another_one_is_quoted_and_not_followed() -> Result<()> {
    let mut home = Home::prepare(
        |odd| {
            odd.refuses = Some(ConnectReturnCode::ServerMoved);
            odd.connack.server_reference = Some("mqtt2.example.org:1883".into());
        },
        |_| {},
    )
    .await?;
    home.daemon.spawn()?;
    let words =
        "the broker has moved (0x9d); the broker says to use mqtt2.example.org:1883 instead";
    home.daemon.logged(words).await?;
    let examined = home.daemon.command(&["doctor", "--timeout", "5s"]).await?;
    assert!(examined.stdout.contains(words), "{examined:?}");
    home.backs_off(2).await
}

#[tokio::test]
async fn a_state_that_the_broker_ends_connections_over_is_set_aside_until_a_reload() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    home.phone.subscribe(POWER).await?;
    home.broker.change(|odd| odd.denied = Some(POWER));
    home.phone.publish(Home::ask("light-in-bedroom/power", "ON")).await?;
    home.daemon.logged("the broker disconnected: not authorized (0x87)").await?;
    home.daemon.logged("the broker ended two connections because of this message").await?;
    // It waits until the hub is back.
    let off = Message { expiry: Some(60), ..Home::ask("light-in-bedroom/power", "OFF") };
    assert_eq!(home.phone.request(off).await?.text(), "OFF");
    let connections = home.broker.connections(HUB).len();
    home.switch("living-room/target_temperature", "21.5").await?;
    let told = "the broker ended the connection, probably because of this message topic=";
    let log = home.daemon.log();
    assert_eq!(log.matches(&format!("{told}\"{POWER}\"")).count(), 2, "{log}");
    assert_eq!(log.matches(told).count(), 2, "no other is accused");
    home.broker.change(|odd| odd.denied = None);
    home.phone.request(Home::ask("hearthd-demo/reload", "")).await?;
    let off = |message: &Message| message.topic == POWER && !message.retain;
    assert_eq!(home.phone.expect("the state", PATIENCE, off).await?.text(), "OFF");
    assert_eq!(home.broker.connections(HUB).len(), connections, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn an_answer_that_the_broker_ends_connections_over_is_given_up() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    home.broker.change(|odd| odd.denied = Some("response/phone/denied"));
    let asked = Home::ask("light-in-bedroom/power", "ON").respond_to("response/phone/denied", "1");
    home.phone.publish(asked).await?;
    home.daemon.logged("the broker ended two connections because of this message").await?;
    home.daemon
        .logged("answer not published: the broker ended connections because of its topic")
        .await?;
    let off = Message { expiry: Some(60), ..Home::ask("light-in-bedroom/power", "OFF") };
    assert_eq!(home.phone.request(off).await?.text(), "OFF");
    let connections = home.broker.connections(HUB).len();
    let waiting = || Ok((home.broker.unacknowledged(HUB) == 0).then_some(()));
    eventually("PUBACK for every request", PATIENCE, waiting).await?;
    assert_eq!(home.broker.connections(HUB).len(), connections, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn a_puback_that_cannot_be_read_is_named_and_left_in_peace() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    let odd = OddPuback { filter: POWER, reason_code: Some(0x42), times: usize::MAX };
    home.broker.change(|oddities| oddities.pubacks = vec![odd]);
    home.phone.request(Home::ask("light-in-bedroom/power", "ON")).await?;
    home.daemon
        .logged("the broker sent a PUBACK, CONNACK or DISCONNECT with the reason code 0x42")
        .await?;
    home.backs_off(4).await?;
    comes_back(&mut home, |home| home.broker.change(|odd| odd.pubacks.clear())).await
}

#[tokio::test]
async fn a_property_that_does_not_belong_is_named_and_left_out_on_the_next_connection() -> Result<()>
{
    let mut home = Home::start(|_| {}).await?;
    let connections = home.broker.connections(HUB).len();
    home.broker.change(|odd| odd.strays = Some("cmnd/light-in-bedroom/power"));
    let request = Message { expiry: Some(60), ..Home::ask("light-in-bedroom/power", "ON") };
    let answer = home.phone.request(request).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"));
    home.daemon
        .logged("the broker sent a packet with the property 0x18 (Will Delay Interval)")
        .await?;
    home.switch("light-in-bedroom/power", "OFF").await?;
    assert_eq!(home.broker.connections(HUB).len(), connections + 1, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_lost_alone() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    let connections = home.broker.connections(HUB).len();
    home.broker.change(|odd| odd.garbles = Some("cmnd/light-in-bedroom/power"));
    home.phone.publish(Home::ask("light-in-bedroom/power", "ON")).await?;
    let brightness = Message { expiry: Some(60), ..Home::ask("light-in-bedroom/brightness", "40") };
    let answer = home.phone.request(brightness).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "40"));
    home.daemon
        .logged("a message cannot be read: it was refused, and is lost topic=\"cmnd/light-in-bedroom/power\"")
        .await?;
    let waiting = || Ok((home.broker.unacknowledged(HUB) == 0).then_some(()));
    eventually("the end of that message", PATIENCE, waiting).await?;
    assert_eq!(home.broker.connections(HUB).len(), connections + 1, "{}", home.daemon.log());
    let read = home.phone.request(Home::ask("light-in-bedroom/brightness", "")).await?;
    assert_eq!(read.text(), "40");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_refused_for_now_arrives_later() -> Result<()> {
    let mut home = Home::start(|_| {}).await?;
    let odd = OddPuback { filter: "response/phone/e2e", reason_code: Some(0x97), times: 2 };
    home.broker.change(|oddities| oddities.pubacks = vec![odd]);
    home.switch("light-in-bedroom/power", "ON").await?;
    let refusal = "the broker refuses a message topic=\"response/phone/e2e\" reason_code=0x97";
    home.daemon.logged(refusal).await?;
    assert_eq!(home.daemon.log().matches(refusal).count(), 2, "{}", home.daemon.log());
    Ok(())
}

#[tokio::test]
async fn a_puback_that_never_comes_is_noticed_within_three_keep_alives() -> Result<()> {
    let mut home = Home::prepare(|_| {}, |config| config.keep_alive = "5s").await?;
    home.daemon.start(&mut home.phone).await?;
    let odd = OddPuback { filter: POWER, reason_code: None, times: usize::MAX };
    home.broker.change(|oddities| oddities.pubacks = vec![odd]);
    let begin = Instant::now();
    home.phone.request(Home::ask("light-in-bedroom/power", "ON")).await?;
    home.daemon.logged("the broker does not acknowledge a message: connecting again topic=\"state/light-in-bedroom/power\"").await?;
    let noticed = begin.elapsed();
    assert!(noticed <= Duration::from_secs(3 * 5) + SLACK, "noticed after {noticed:?}");
    comes_back(&mut home, |home| home.broker.change(|odd| odd.pubacks.clear())).await
}

/// Requires that the hub is `online` again once the broker is mended, and answers.
async fn comes_back(home: &mut Home, mend: impl FnOnce(&Home)) -> Result<()> {
    let access = home.broker.access("tablet");
    let mut tablet = Client::connect(&access, "tablet").await?;
    tablet.subscribe(&home.daemon.presence(None)).await?;
    mend(home);
    home.daemon.online(&mut tablet).await?;
    home.switch("light-in-bedroom/power", "OFF").await
}

/// What a busy machine may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
