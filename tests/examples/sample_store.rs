//! Makes a sample of what a hub stores, for the tests of later versions that take it over.
//!
//! `cargo run -p hearthd-tests --example sample_store -- state.redb` writes one with the programs in `target/debug`.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, ExitCode},
};

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Message, Result,
    built::workspace, client::PATIENCE, process::eventually,
};

const PREFIX: Option<&str> = Some("alice");

fn main() -> ExitCode {
    let Some(output) = std::env::args_os().nth(1) else {
        eprintln!("usage: sample_store FILE");
        return ExitCode::from(64);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.doing("start tokio").and_then(|runtime| runtime.block_on(make(output.as_ref()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sample_store: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn make(output: &Path) -> Result<()> {
    let built = Built::in_folder(&workspace().join("target/debug"));
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, &folder.path().join("broker")).await?;
    let ledger = FullPipe::new(folder.path())?;
    let mut config = DaemonConfig::new(broker.access("hub"));
    config.plugins = &["light", "thermostat", "ledger"];
    config.devices += &format!(
        "[devices.ledger]\nplugin = \"ledger\"\n[devices.ledger.config]\nfile = {:?}\n{GUARD}",
        ledger.path
    );
    let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    let mut phone = Client::connect(&broker.access("phone"), "phone").await?;
    phone.subscribe("alice/response/phone/+").await?;
    phone.subscribe("alice/response/hearthd-attic/+").await?;
    let absence = hub.absence(PREFIX);
    phone.subscribe(&absence).await?;

    // The first life ends unclean, with a will that somebody acknowledges.
    hub.start(&mut phone).await?;
    hub.kill9()?;
    acknowledge_will(&hub, &broker, &mut phone).await?;
    // The second ends in order.
    hub.start(&mut phone).await?;
    phone.expect_on(&absence).await?;
    require(hub.terminate().await?.success(), "a clean end")?;
    // The third is killed while it carries out a request.
    hub.start(&mut phone).await?;
    phone.expect_on(&absence).await?;
    ask(&mut phone, "light-in-bedroom/power", "ON", "sample on", "200").await?;
    ask(&mut phone, "light-in-bedroom/power", "TOGGLE", "sample toggle", "200").await?;
    ask(&mut phone, "living-room/set", SETTING, "sample set", "200").await?;
    ask(&mut phone, "living-room/target_temperature", "99", "sample refusal", "422").await?;
    let will = Message::new("alice/hub/hearthd-attic/presence", "offline");
    let will = will.respond_to("alice/response/hearthd-attic/will", "sample will of a");
    phone.publish(will).await?;
    phone.expect_on("alice/response/hearthd-attic/will").await?;
    let store = hub.config().with_file_name("state").join("state.redb");
    stored(&store, "sample refusal").await?;
    stored(&store, "sample will of a").await?;
    stored(&store, "\"target\":21.5").await?;
    phone.publish(request("ledger/line", "never answered", "sample intent")).await?;
    stored(&store, "sample intent").await?;
    hub.kill9()?;
    fs::copy(&store, output).doing(output.display())?;
    Ok(())
}

/// Acknowledges the hub's will as `guardian`.
async fn acknowledge_will(hub: &Daemon, broker: &HearthBroker, phone: &mut Client) -> Result<()> {
    let presence = hub.presence(PREFIX);
    let offline = |m: &Message| m.topic == presence && m.text() == "offline";
    let will = phone.expect("the will", PATIENCE, offline).await?;
    let topic = will.response_topic.doing("the will has a Response Topic")?;
    let data = will.correlation_data.doing("the will has Correlation Data")?;
    let mut guardian = Client::connect(&broker.access("guardian"), "guardian").await?;
    let acknowledgement = Message::new(topic.clone(), "boiler off").with_property("__stat", "200");
    let acknowledgement = acknowledgement.with_property("client_id", "guardian");
    guardian.publish(Message { correlation_data: Some(data), ..acknowledgement }).await
}

async fn ask(
    phone: &mut Client,
    what: &str,
    payload: &str,
    data: &str,
    status: &str,
) -> Result<()> {
    let answer = phone.request(request(what, payload, data)).await?;
    require(answer.property("__stat") == Some(status), &format!("{status}, not {answer:?}"))
}

fn request(what: &str, payload: &str, data: &str) -> Message {
    let request = Message::new(format!("alice/cmnd/{what}"), payload.to_owned());
    let request = request.respond_to("alice/response/phone/sample", data.to_owned());
    let expiry = (data == "sample on").then_some(600);
    Message { expiry, ..request }
}

/// Waits until a file holds a text.
async fn stored(file: &Path, text: &str) -> Result<()> {
    let holds = || {
        let bytes = fs::read(file)?;
        Ok(bytes.windows(text.len()).any(|part| part == text.as_bytes()).then_some(()))
    };
    eventually(&format!("`{text}` in {}", file.display()), PATIENCE, holds).await
}

fn require(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Failure::new(what)) }
}

/// A named pipe that takes nothing more: whoever writes to it waits.
struct FullPipe {
    path: std::path::PathBuf,
    _reader: File,
}

impl FullPipe {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join("ledger");
        let status = Command::new("mkfifo").arg(&path).status().doing("start mkfifo")?;
        require(status.success(), "mkfifo makes a pipe")?;
        // Opened for both, it waits for nobody.
        let mut pipe = File::options().read(true).write(true).open(&path).doing("open the pipe")?;
        pipe.write_all(&[b'x'; PIPE_CAPACITY])?;
        Ok(Self { path, _reader: pipe })
    }
}

/// See pipe(7).
const PIPE_CAPACITY: usize = 64 * 1024;
const SETTING: &str = r#"{"mode": "heat", "target_temperature": 21.5}"#;
const GUARD: &str = r#"
[[guard]]
presence = "{prefix}/hub/hearthd-attic/presence"
request = { device = "light-in-bedroom", property = "power", value = "OFF" }
"#;
