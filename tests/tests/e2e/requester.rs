//! What the commands that ask say about whoever should answer.

use std::time::{Duration, Instant};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Message, Mosquitto, Result, Shim,
    client::PATIENCE, daemon::under, mosquitto::Kind, process::Ran,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::home::{Home, Setup};

/// Tells of a device as a hub does.
fn status(home: &Home, device: &str) -> Message {
    let topic = home.topic(&format!("state/{device}/status"));
    Message { retain: true, ..Message::new(topic, "ready") }
}

/// Has the phone take requests for a device.
async fn serve(home: &mut Home, device: &str) -> Result<()> {
    let requests = home.topic(&format!("cmnd/{device}/+"));
    home.phone.subscribe(&requests).await
}

/// Status, payload and further user properties.
type Answer<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Runs a command while the phone answers its request with each of these.
async fn answered(
    home: &mut Home,
    arguments: &[&str],
    answers: &[Answer<'_>],
) -> Result<(Ran, Message)> {
    let topic = home.topic("cmnd/lamp/power");
    let Home { phone, daemon, .. } = home;
    let respond = async {
        let request = phone.expect_on(&topic).await?;
        for (status, payload, properties) in answers {
            let response_topic = request.response_topic.clone().doing("a Response Topic")?;
            let data = request.correlation_data.clone();
            let response = Message::new(response_topic, payload.as_bytes().to_vec());
            let response = Message { correlation_data: data, ..response };
            let properties = [("__stat", *status)].into_iter().chain(properties.iter().copied());
            let response =
                properties.fold(response, |all, (name, value)| all.with_property(name, value));
            phone.publish(response).await?;
        }
        Ok::<Message, hearthd_tests::Failure>(request)
    };
    let (ran, request) = tokio::join!(daemon.command(arguments), respond);
    Ok((ran?, request?))
}

/// Checks what is said of a device that nobody serves: at once, with the question.
///
/// The bundled broker does not tell that nobody is subscribed: there it is said once nobody has answered.
async fn nobody_serves(home: &Home, setup: Setup, device: &str, question: &str) -> Result<()> {
    let mut arguments = vec!["request", device, "power", "ON"];
    arguments.extend(["--timeout", if setup == Setup::Bundled { "1s" } else { "60s" }]);
    let begin = Instant::now();
    let ran = home.daemon.command(&arguments).await?;
    assert!(begin.elapsed() < Duration::from_secs(30), "{setup:?}: {:?}", begin.elapsed());
    assert_eq!(ran.stdout, "", "{setup:?}");
    if setup == Setup::Bundled && ran.code == Some(75) {
        let expected = format!("within 1s: no hub tells of a device `{device}`{question}\n");
        assert!(ran.stderr.ends_with(&expected), "{setup:?} {ran:?}");
    } else {
        let expected = format!("hearthd: nobody serves `{device}`{question}\n");
        assert_eq!((ran.code, ran.stderr), (Some(69), expected), "{setup:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_that_nobody_serves_is_told_with_the_one_that_was_meant() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::prepare(setup, |_| {}).await?;
        home.phone.publish(status(&home, "lamp")).await?;
        nobody_serves(&home, setup, "lmap", "; did you mean `lamp`?").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_never_was_here_is_told_at_once() -> Result<()> {
    for setup in [Setup::Mosquitto, Setup::Shimmed] {
        let mut home = Home::prepare(setup, |_| {}).await?;
        let hub = home.daemon.command(&["status"]).await?;
        assert_eq!(hub.code, Some(69), "{setup:?} {hub:?}");
        let expected = "hearthd: nobody serves `hearthd-demo`, and no hub tells of it: \
                        is its hub running?\n";
        assert_eq!(hub.stderr, expected, "{setup:?}");
        home.phone.publish(status(&home, "lamp")).await?;
        let known = home.daemon.command(&["describe", "lamp"]).await?;
        let expected = "hearthd: nobody serves `lamp`: is its hub running?\n";
        assert_eq!((known.code, known.stderr.as_str()), (Some(69), expected), "{setup:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_responder_without_a_status_is_asked_and_heard() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::prepare(setup, |_| {}).await?;
        serve(&mut home, "lamp").await?;
        let arguments = ["request", "lamp", "power", "ON"];
        let (ran, request) = answered(&mut home, &arguments, &[("200", "ON", &[])]).await?;
        let said = (ran.code, ran.stdout.as_str(), ran.stderr.as_str());
        assert_eq!(said, (Some(0), "ON\n", ""), "{setup:?}");
        assert_eq!(request.text(), "ON", "{setup:?}");
        assert_eq!(request.property("retry"), None, "{setup:?}: it is sent once");
    }
    Ok(())
}

#[tokio::test]
async fn a_subscriber_that_does_not_answer_is_waited_for_and_no_hub_tells_of_it() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::prepare(setup, |_| {}).await?;
        home.phone.publish(status(&home, "lamp")).await?;
        serve(&mut home, "lmap").await?;
        let ran = home.daemon.command(&["request", "lmap", "power", "--timeout", "2s"]).await?;
        assert_eq!(ran.code, Some(75), "{setup:?} {ran:?}");
        let expected = "within 2s: no hub tells of a device `lmap`; did you mean `lamp`?\n";
        assert!(ran.stderr.ends_with(expected), "{setup:?} {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_whose_hub_is_away_is_not_asked() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::prepare(setup, |_| {}).await?;
        serve(&mut home, "lamp").await?;
        let status = status(&home, "lamp").with_property("hub", "hearthd-attic");
        home.phone.publish(status).await?;
        let presence = home.topic("hub/hearthd-attic/presence");
        let offline = Message { retain: true, ..Message::new(presence.clone(), "offline") }
            .with_property("client_id", "hearthd-attic")
            .with_property("connected_at", "2026-11-28T14:00:00Z");
        let ended = offline.clone().with_property("at", "2026-11-28T15:00:00Z");
        let will = offline.respond_to(home.topic("response/hearthd-attic/will"), "generation");
        for (presence, expected) in [
            (ended, "hub hearthd-attic is away since 2026-11-28T15:00:00Z"),
            (will, "hub hearthd-attic is away: its connection of 2026-11-28T14:00:00Z was lost"),
        ] {
            home.phone.publish(presence).await?;
            let ran = home.daemon.command(&["request", "lamp", "power", "ON"]).await?;
            let said = (ran.code, ran.stderr);
            assert_eq!(said, (Some(69), format!("hearthd: {expected}\n")), "{setup:?}");
            let hub = home.topic("response/phone/marker");
            assert_eq!(home.phone.drain(&hub).await?, [], "{setup:?}: nothing was sent");
        }
        let online = Message { retain: true, ..Message::new(presence, "online") };
        home.phone.publish(online).await?;
        let arguments = ["request", "lamp", "power", "ON"];
        let (ran, _) = answered(&mut home, &arguments, &[("200", "ON", &[])]).await?;
        assert_eq!(ran.code, Some(0), "{setup:?} {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_was_killed_is_told_as_away() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = killed(setup).await?;
        for question in [&["status"][..], &["devices"], &["will"]] {
            let ran = home.daemon.command(question).await?;
            assert_eq!(ran.code, Some(69), "{setup:?} {ran:?}");
            let begin = "hearthd: hub hearthd-demo is away: its connection of 20";
            assert!(ran.stderr.starts_with(begin), "{setup:?} {ran:?}");
            assert!(ran.stderr.ends_with(" was lost\n"), "{setup:?} {ran:?}");
        }
        home.daemon.start(&mut home.phone).await?;
        let ran = home.daemon.command(&["status"]).await?;
        assert_eq!(ran.code, Some(0), "{setup:?} {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_that_the_running_hub_does_not_have_is_told_likewise() -> Result<()> {
    for setup in Setup::ALL {
        let home = Home::start(setup).await?;
        let question = "; did you mean `light-in-bedroom`?";
        nobody_serves(&home, setup, "light-in-bedrom", question).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_device_of_a_hub_that_was_killed_is_not_switched_late() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = killed(setup).await?;
        let ran = home.daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
        assert_eq!(ran.code, Some(69), "{setup:?} {ran:?}");
        assert!(ran.stderr.contains("hub hearthd-demo is away: "), "{setup:?} {ran:?}");
        home.daemon.start(&mut home.phone).await?;
        home.light_is_off().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_ended_in_order_is_away_since_then() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::start(setup).await?;
        assert!(home.daemon.terminate().await?.success());
        let ran = home.daemon.command(&["status"]).await?;
        assert_eq!(ran.code, Some(69), "{setup:?} {ran:?}");
        assert!(ran.stderr.contains("hub hearthd-demo is away since 20"), "{setup:?} {ran:?}");
    }
    Ok(())
}

/// Starts a home, kills the hub, and waits for the will.
async fn killed(setup: Setup) -> Result<Home> {
    let mut home = Home::start(setup).await?;
    // Its lights are there, and the broker has been told so.
    assert_eq!(home.answer("light-in-bedroom/power", "OFF").await?.status(), Some(200));
    home.daemon.kill9()?;
    let presence = home.daemon.presence(home.prefix.as_deref());
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    home.phone.expect("the will", PATIENCE, offline).await?;
    Ok(home)
}

#[tokio::test]
async fn the_answer_of_whoever_has_the_device_wins_over_a_404() -> Result<()> {
    for setup in Setup::ALL {
        let mut home = Home::prepare(setup, |_| {}).await?;
        serve(&mut home, "lamp").await?;
        let arguments = ["request", "lamp", "power", "ON"];
        let foreign = ("404", "there is no device `lamp`", &[][..]);
        let answers = [foreign, ("200", "ON", &[])];
        let (ran, _) = answered(&mut home, &arguments, &answers).await?;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ON\n"), "{setup:?} {ran:?}");
        let answers = [foreign, ("422", "too bright", &[])];
        let (ran, _) = answered(&mut home, &arguments, &answers).await?;
        assert_eq!(ran.code, Some(1), "{setup:?} {ran:?}");
        assert_eq!(ran.stderr, "hearthd: 422: too bright\n", "{setup:?}");
        let begin = Instant::now();
        let arguments = ["request", "lamp", "power", "ON", "--timeout", "60s"];
        let (ran, _) = answered(&mut home, &arguments, &[foreign]).await?;
        assert_eq!(ran.code, Some(1), "{setup:?} {ran:?}");
        assert_eq!(ran.stderr, "hearthd: 404: there is no device `lamp`\n", "{setup:?}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{setup:?}: {:?}", begin.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn what_an_answer_says_about_itself_is_told() -> Result<()> {
    let mut home = Home::prepare(Setup::Bundled, |_| {}).await?;
    serve(&mut home, "lamp").await?;
    let first = ("repeated", "2026-11-28T15:00:00Z");
    let superseded = [("__stMsg", "it is OFF now"), ("reason", "superseded"), first];
    let arguments = ["request", "lamp", "power", "ON"];
    let (ran, _) = answered(&mut home, &arguments, &[("409", "{}", &superseded)]).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let expected = "hearthd: repeated; first answered at 2026-11-28T15:00:00Z\n\
                    hearthd: 409 superseded: it is OFF now\n";
    assert_eq!(ran.stderr, expected);
    let (ran, _) = answered(&mut home, &arguments, &[("200", "ON", &[first])]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ON\n"), "{ran:?}");
    let expected = "hearthd: repeated; first answered at 2026-11-28T15:00:00Z\n";
    assert_eq!(ran.stderr, expected);
    let arguments = ["request", "lamp", "power", "ON", "--json"];
    let (ran, _) = answered(&mut home, &arguments, &[("409", "{}", &superseded)]).await?;
    let value: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!(value["status"], 409, "{value}");
    let properties = value["user_properties"].to_string();
    assert!(properties.contains(r#"["reason","superseded"]"#), "{properties}");
    assert!(properties.contains(r#"["repeated","2026-11-28T15:00:00Z"]"#), "{properties}");
    Ok(())
}

#[tokio::test]
async fn the_command_line_finds_the_prefix_that_the_daemon_uses() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let mosquitto = Mosquitto::start(Kind::Open).await?;
    let shim = Shim::start(mosquitto.port(), |_| "BACK,alice".into()).await?;
    let mut config = DaemonConfig::new(shim.access("alice"));
    config.tables = "[response_information]\nfallback = \"home\"\n".into();
    let mut daemon = Daemon::prepare(&built, folder.path(), &config)?;
    let mut phone = Client::connect(&mosquitto.access(None), "phone").await?;
    phone.subscribe(&daemon.presence(Some("home"))).await?;
    daemon.spawn()?;
    let presence = daemon.presence(Some("home"));
    phone.expect(&presence, PATIENCE, |m| m.topic == presence && m.text() == "online").await?;
    let ran = daemon.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ON\n"), "{ran:?}");
    let mut required = config;
    required.tables = "[response_information]\nrequired = true\nfallback = \"home\"\n".into();
    let required = Daemon::prepare(&built, &folder.path().join("required"), &required)?;
    let ran = required.command(&["request", "light-in-bedroom", "power", "ON"]).await?;
    assert_eq!(ran.code, Some(78), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_ends_the_connection_over_a_filter_is_asked_with_less() -> Result<()> {
    let built = Built::for_this_test()?;
    let mosquitto = Mosquitto::start(Kind::Open).await?;
    let mut phone = Client::connect(&mosquitto.access(None), "phone").await?;
    let ready = |device: &str| {
        let topic = under(None, &format!("state/{device}/status"));
        Message { retain: true, ..Message::new(topic, "ready") }
    };
    phone.publish(ready("lamp")).await?;
    for (hated, expected) in [
        ("none", "; did you mean `lamp`?\n"),
        ("state/+/status", ", and no hub tells of it: is its hub running?\n"),
        ("/status", ": is its hub running?\n"),
    ] {
        let folder = tempfile::tempdir()?;
        let strict = Strict::start(mosquitto.port(), hated).await?;
        let config = DaemonConfig::new(Access { port: strict.port, login: None });
        let daemon = Daemon::prepare(&built, folder.path(), &config)?;
        let ran = daemon.command(&["request", "lmap", "power", "ON"]).await?;
        let expected = format!("hearthd: nobody serves `lmap`{expected}");
        assert_eq!((ran.code, ran.stderr), (Some(69), expected), "{hated}");
    }
    Ok(())
}

/// Ends each connection over which a text goes to the broker.
struct Strict {
    port: u16,
    task: JoinHandle<()>,
}

impl Strict {
    async fn start(broker_port: u16, hated: &'static str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(async move { Self::link(client, broker_port, hated).await.ok() });
            }
        });
        Ok(Self { port, task })
    }

    async fn link(client: TcpStream, broker_port: u16, hated: &str) -> std::io::Result<()> {
        let broker = TcpStream::connect(("127.0.0.1", broker_port)).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_broker, mut to_broker) = broker.into_split();
        let forward = async {
            let mut packet = [0; 4096];
            loop {
                let length = from_client.read(&mut packet).await?;
                let packet = &packet[..length];
                let is_hated = packet.windows(hated.len()).any(|part| part == hated.as_bytes());
                if length == 0 || is_hated {
                    return Ok(());
                }
                to_broker.write_all(packet).await?;
            }
        };
        tokio::select! {
            ended = forward => ended,
            ended = copy(&mut from_broker, &mut to_client) => ended.map(drop),
        }
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_negative_number_is_a_payload() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |_| {}).await?;
    serve(&mut home, "lamp").await?;
    for number in ["-5", "-0.5"] {
        let arguments = ["request", "lamp", "power", number, "--json"];
        let (ran, request) = answered(&mut home, &arguments, &[("200", number, &[])]).await?;
        assert_eq!((ran.code, request.text().as_str()), (Some(0), number), "{ran:?}");
        let value: serde_json::Value = serde_json::from_str(&ran.stdout)?;
        assert_eq!(value["payload"], number, "{value}");
    }
    Ok(())
}
