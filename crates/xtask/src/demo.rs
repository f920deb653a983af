//! `cargo xtask demo`: one evening at home, on real parts, each step verified.

use std::{path::Path, time::Duration};

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Message, Result,
    client::PATIENCE,
};

use crate::{play, transcript::Transcript, unless_interrupted};

/// What `cargo xtask demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keep the broker and the hub running at the end, and print the address of the page for phones.
    #[arg(long)]
    keep: bool,
}

/// Builds, plays the scene in a temporary folder, and fails unless every step was seen.
pub(crate) async fn demo(options: &Options) -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = tempfile::tempdir()?;
    let (mut broker, mut hub) = unless_interrupted(scene(&built, folder.path())).await?;
    println!("\nEvery step was seen. To play by hand: cargo xtask run");
    if options.keep {
        play::keep(&built, folder.path(), &mut broker, &mut hub).await
    } else {
        hub.terminate().await.map(drop)
    }
}

async fn scene(built: &Built, folder: &Path) -> Result<(HearthBroker, Daemon)> {
    let mut transcript = Transcript::default();
    let played = tokio::time::timeout(DEADLINE, play(built, folder, &mut transcript));
    let played = played.await.doing(format!("the scene took longer than {DEADLINE:?}"));
    played.and_then(|played| played).map_err(|failure| {
        let log = std::fs::read_to_string(folder.join("hub/hearthd.log"));
        let log = log.unwrap_or_else(|_| "hearthd was not started".into());
        Failure(format!("{}\n\nlog of hearthd:\n{log}", transcript.blame(&failure)))
    })
}

async fn play(
    built: &Built,
    folder: &Path,
    transcript: &mut Transcript,
) -> Result<(HearthBroker, Daemon)> {
    transcript.step("A broker and a hub start");
    let broker = HearthBroker::start(built, &folder.join("broker")).await?;
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    let mut guardian = Client::connect(&broker.access("guardian"), "guardian").await?;
    let config = DaemonConfig::new(broker.access("hub"));
    let mut hub = Daemon::prepare(built, &folder.join("hub"), &config)?;
    let online = hub.start(&mut guardian).await?;
    let prefix = phone.response_information().map(str::to_owned);
    let prefix = prefix.doing("the broker gave no Response Information")?;
    transcript.note(&format!(
        "hearth-broker listens on 127.0.0.1:{} and says in CONNACK: Response Information = {prefix}",
        config.access.port
    ));
    transcript.message("hub says", &online);

    light(transcript, &mut phone, &prefix).await?;
    thermostat(transcript, &mut phone, &prefix).await?;
    crash(transcript, &mut hub, &mut guardian, &prefix).await?;
    transcript.step("`hearthd will` tells the same on the command line");
    let told = hub.command(&["will"]).await?;
    transcript.note(told.stdout.trim_end());
    let consumed = told.code == Some(0) && told.stdout.contains("consumed");
    transcript.require(consumed, &format!("`hearthd will` said {told:?}"))?;
    Ok((broker, hub))
}

async fn light(transcript: &mut Transcript, phone: &mut Client, prefix: &str) -> Result<()> {
    transcript.step("The phone switches the bedroom light on");
    let response_topic = format!("{prefix}/response/phone/light");
    phone.subscribe(&response_topic).await?;
    transcript.note(&format!("phone subscribes to {response_topic}"));
    let request = request(format!("{prefix}/cmnd/light-in-bedroom/power"), "ON", &response_topic)?;
    transcript.message("phone asks", &request);
    let answer = phone.request(request.clone()).await?;
    transcript.message("light answers", &answer);
    let same = answer.correlation_data == request.correlation_data;
    transcript.require(same, "the answer has other Correlation Data")?;
    let done = answer.status() == Some(200) && answer.text() == "ON";
    transcript.require(done, "the answer is not 200 ON")
}

async fn thermostat(transcript: &mut Transcript, phone: &mut Client, prefix: &str) -> Result<()> {
    transcript.step("The phone sets the thermostat, and the room warms");
    let response_topic = format!("{prefix}/response/phone/thermostat");
    phone.subscribe(&response_topic).await?;
    let temperature = format!("{prefix}/state/living-room/current_temperature");
    phone.subscribe(&temperature).await?;
    let wanted = r#"{"mode":"heat","target_temperature":22.5}"#;
    let request = request(format!("{prefix}/cmnd/living-room/set"), wanted, &response_topic)?;
    transcript.message("phone asks", &request);
    let answer = phone.request(request).await?;
    transcript.message("thermostat answers", &answer);
    transcript.require(answer.status() == Some(200), "the answer is not 200")?;
    let mut before = f64::INFINITY;
    let mut rises = 0;
    while rises < 3 {
        let state = phone.expect_on(&temperature).await?;
        let now: f64 = state.text().parse().doing("a temperature")?;
        transcript.message("thermostat reports", &state);
        if now > before {
            rises += 1;
        }
        before = now;
    }
    Ok(())
}

async fn crash(
    transcript: &mut Transcript,
    hub: &mut Daemon,
    guardian: &mut Client,
    prefix: &str,
) -> Result<()> {
    transcript.step("The hub is killed with SIGKILL; the broker publishes its will");
    // The broker writes sessions behind; a moment later they are safe.
    tokio::time::sleep(Duration::from_millis(500)).await;
    hub.kill9()?;
    let presence = hub.presence(Some(prefix));
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    let will = guardian.expect("the will", PATIENCE, offline).await?;
    transcript.message("guardian receives", &will);
    let response_topic = will.response_topic.clone().doing("the will has no Response Topic")?;
    let generation = will.correlation_data.clone().doing("the will has no Correlation Data")?;

    transcript.step("The guardian takes over and acknowledges the will");
    let acknowledgement = Message {
        correlation_data: Some(generation.clone()),
        ..Message::new(response_topic, "watching the heating")
    };
    let acknowledgement =
        acknowledgement.with_property("client_id", "guardian").with_property("__stat", "200");
    transcript.message("guardian answers", &acknowledgement);
    guardian.publish(acknowledgement).await?;

    transcript.step("The hub comes back and reports who consumed its will");
    let absence = hub.absence(Some(prefix));
    guardian.subscribe(&absence).await?;
    let online = hub.start(guardian).await?;
    transcript.message("hub says", &online);
    let now = |m: &Message| m.topic == absence && !m.retain;
    let report = guardian.expect("the hub's report", PATIENCE, now).await?;
    let facts = report.json()?;
    transcript.note(&format!("hub reports on {absence}"));
    transcript.note(&serde_json::to_string_pretty(&facts)?);
    let same = facts["generation"].as_str().is_some_and(|it| generation.starts_with(it.as_bytes()));
    transcript.require(same, "the report is about another will")?;
    let consumed = facts["outcome"] == "consumed";
    transcript.require(consumed, "the outcome is not `consumed`")?;
    let by = &facts["acknowledgements"][0]["responder"];
    transcript.require(by == "guardian", "the guardian is not named")
}

fn request(topic: String, payload: &'static str, response_topic: &str) -> Result<Message> {
    let mut data = [0; 8];
    getrandom::fill(&mut data).doing("random Correlation Data")?;
    Ok(Message::new(topic, payload).respond_to(response_topic, data.to_vec()))
}

const DEADLINE: Duration = Duration::from_secs(60);
