//! What many devices and phones cost, and many requests that waited while the hub was away.

use std::{
    fmt::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Failure, Message, Process, Result,
    daemon::under,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{
    Effort,
    crowd::{self, Crowd},
    load::{self, Question, Until},
    median, memory_kb,
    peers::Peers,
    stage::{LIGHTS, lights, start_mosquitto},
};

/// What was measured.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) devices: Vec<Devices>,
    /// The same, where half of the lights are behind one base topic of Zigbee2MQTT.
    pub(crate) bridged: Vec<Devices>,
    pub(crate) hubs: Vec<Hubs>,
    pub(crate) retained: Vec<Devices>,
    pub(crate) queued: Vec<Queued>,
    pub(crate) crowds: Vec<Crowd>,
}

/// So many hubs in one home, each with ten lights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hubs {
    pub(crate) count: usize,
    /// Of all of them, for each.
    pub(crate) resident_kb: u64,
    /// Of one request at a time to one of them.
    pub(crate) median_us: f64,
}

/// A hub with so many lights, or in a home with so many retained states of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    pub(crate) count: usize,
    pub(crate) resident_kb: u64,
    /// From the start of the process to `online`.
    pub(crate) start_ms: f64,
    /// Of one request at a time to one of them.
    pub(crate) median_us: f64,
}

/// A hub that finds so many requests when it comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) count: usize,
    pub(crate) peak_kb: u64,
    /// From the start of the process to the last answer; none where one never came.
    pub(crate) answered_ms: Option<f64>,
    /// Answers that do not tell of success, and requests without any.
    pub(crate) failed: u64,
    pub(crate) unanswered: f64,
}

/// Starts hubs of all sizes, each behind a Mosquitto of its own: one that keeps the sessions of others queues every
/// request for them, too.
pub(crate) async fn measure(built: &Built, peers: &Peers, effort: Effort) -> Result<Growth> {
    let mut devices = Vec::new();
    for &count in effort.devices {
        println!("{count} devices");
        let lights = lights("light", count, "none");
        devices.push(with_devices(built, count, lights, 0, effort).await?);
    }
    let mut bridged = Vec::new();
    for &count in effort.devices.iter().filter(|count| **count > 1) {
        println!("{count} devices, half of them behind a bridge");
        let behind = behind_a_bridge(count / 2);
        let lights = lights("light", count - count / 2, "none") + &behind;
        bridged.push(with_devices(built, count, lights, 0, effort).await?);
    }
    let mut hubs = Vec::new();
    for &count in effort.hubs {
        println!("{count} hubs");
        hubs.push(with_hubs(built, count, effort).await?);
    }
    let mut retained = Vec::new();
    for &count in effort.retained {
        println!("{count} retained states of others");
        let lights = lights("light", LIGHTS, "none");
        retained.push(with_devices(built, count, lights, count, effort).await?);
    }
    let mut queued = Vec::new();
    for &count in effort.queued {
        println!("{count} requests queued");
        queued.push(with_queue(built, count).await?);
    }
    let crowds = crowd::measure(built, peers, effort).await?;
    Ok(Growth { devices, bridged, hubs, retained, queued, crowds })
}

/// A hub that was online once, behind a Mosquitto of its own.
struct Home {
    hub: Daemon,
    phone: Client,
    access: Access,
    _mosquitto: Process,
    _folder: tempfile::TempDir,
}

impl Home {
    /// The first start learns the prefix; the second is that of every day.
    async fn prepare(built: &Built, devices: String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (mosquitto, port) = start_mosquitto(folder.path()).await?;
        let access = Access { port, login: None };
        let mut config = DaemonConfig::new(access.clone());
        config.plugins = &["light"];
        config.devices = devices;
        let mut hub = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
        let mut phone = Client::connect(&access, "phone").await?;
        hub.start(&mut phone).await?;
        hub.terminate().await?;
        Ok(Self { hub, phone, access, _mosquitto: mosquitto, _folder: folder })
    }
}

async fn with_devices(
    built: &Built,
    count: usize,
    lights: String,
    retained: usize,
    effort: Effort,
) -> Result<Devices> {
    let Home { hub, phone, access, .. } = &mut Home::prepare(built, lights).await?;
    for number in 0..retained {
        let mut state = Message::new(format!("state/other-{number}/power"), "ON");
        state.retain = true;
        phone.publish(state).await?;
    }
    // Whatever the first start has said shall not be taken for the second.
    phone.subscribe(MARKER).await?;
    phone.drain(MARKER).await?;
    let begin = Instant::now();
    hub.spawn()?;
    hub.online(phone).await?;
    let start_ms = begin.elapsed().as_secs_f64() * 1000.0;
    let median_us = latency(built, access, None, effort).await?;
    let resident_kb = memory_kb(hub.process()?.id(), "VmRSS")?;
    hub.terminate().await?;
    Ok(Devices { count, resident_kb, start_ms, median_us })
}

/// Asks one light, one request at a time.
///
/// Several times, because where the scheduler puts broker, hub and requester makes half as much again.
pub(crate) async fn latency(
    built: &Built,
    access: &Access,
    prefix: Option<&str>,
    effort: Effort,
) -> Result<f64> {
    let mut medians = Vec::new();
    for _ in 0..LATENCY_ROUNDS {
        let until = Until::Time { warm_up: 300, measure: effort.measure };
        medians.push(load::ask(built, access, &question(prefix, 1, 1, until)).await?.median_us);
    }
    Ok(median(medians))
}

async fn with_hubs(built: &Built, count: usize, effort: Effort) -> Result<Hubs> {
    let folder = tempfile::tempdir()?;
    let (_mosquitto, port) = start_mosquitto(folder.path()).await?;
    let access = Access { port, login: None };
    let mut phone = Client::connect(&access, "phone").await?;
    let mut hubs = Vec::new();
    for number in 0..count {
        let mut config = DaemonConfig::new(access.clone());
        config.client_id = format!("hearthd-{number}");
        config.plugins = &["light"];
        let name = if number == 0 { "light".to_owned() } else { format!("hub-{number}") };
        config.devices = lights(&name, 10, "none");
        let place = folder.path().join(&config.client_id);
        let mut hub = Daemon::prepare(built, &place, &config)?;
        hub.start(&mut phone).await?;
        hubs.push(hub);
    }
    let median_us = latency(built, &access, None, effort).await?;
    let mut resident_kb = 0;
    for hub in &mut hubs {
        resident_kb += memory_kb(hub.process()?.id(), "VmRSS")?;
        hub.terminate().await?;
    }
    Ok(Hubs { count, resident_kb: resident_kb / count as u64, median_us })
}

/// Returns the tables of lights of one Zigbee2MQTT, which is not there.
fn behind_a_bridge(count: usize) -> String {
    let mut text = "[bridges]\nallow = [\"zigbee2mqtt/#\"]\n".to_owned();
    for n in 0..count {
        let table = format!("[devices.lamp-{n}]\nplugin = \"light\"\nisolation = \"none\"");
        let topic = format!("zigbee2mqtt = {{ topic = \"zigbee2mqtt/lamp-{n}\" }}");
        let _ = writeln!(text, "{table}\nconfig = {{ backend = \"zigbee2mqtt\", {topic} }}");
    }
    text
}

async fn with_queue(built: &Built, count: usize) -> Result<Queued> {
    let Home { hub, access, .. } =
        &mut Home::prepare(built, lights("light", LIGHTS, "none")).await?;
    let question = question(None, LIGHTS, count, Until::Count(count));
    let mut command = load::command(built, access, &question);
    // Without an expiry what has waited is stale.
    command.args(["--expiry", "600"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asking = command.kill_on_drop(true).spawn().doing("start hearthd-load")?;
    let mut said = BufReader::new(asking.stdout.take().doing("its output is piped")?).lines();
    if said.next_line().await?.as_deref() != Some("asked") {
        return Err(Failure::new("hearthd-load could not ask"));
    }
    let begin = Instant::now();
    hub.spawn()?;
    let line = said.next_line().await?.doing("hearthd-load has ended without a word")?;
    let answered_ms = begin.elapsed().as_secs_f64() * 1000.0;
    let peak_kb = memory_kb(hub.process()?.id(), "VmHWM")?;
    let json: serde_json::Value = serde_json::from_str(&line)?;
    let failed = load::failed(&json)?.values().sum();
    let unanswered: f64 = json["unanswered"].as_f64().doing("no number of unanswered requests")?;
    hub.terminate().await?;
    tokio::time::timeout(END, asking.wait()).await.doing("hearthd-load does not end")??;
    let answered_ms = (unanswered == 0.0).then_some(answered_ms);
    Ok(Queued { count, peak_kb, answered_ms, failed, unanswered })
}

fn question(prefix: Option<&str>, targets: usize, in_flight: usize, until: Until) -> Question {
    Question {
        topic: under(prefix, "cmnd/light-{n}/power"),
        targets,
        payloads: vec!["ON".into()],
        prefix: prefix.map(str::to_owned),
        qos: 1,
        requesters: 1,
        in_flight,
        expiry: None,
        until,
    }
}

const LATENCY_ROUNDS: usize = 5;
const MARKER: &str = "bench/marker";
const END: Duration = Duration::from_secs(10);
