//! What the daemon takes of a machine: memory at rest and after many requests, disk, dependencies.

use hearthd_tests::{Access, Built, Client, Daemon, DaemonConfig, Doing, Result, built::cargo};

use super::{
    Effort,
    load::{self, Question, Until},
    memory_kb,
    stage::{LIGHTS, lights, start_mosquitto},
};
use crate::provision::stdout_of;

/// What was measured.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// With ten devices, in kB.
    pub(crate) idle_kb: u64,
    /// How often its threads wake in a second, with ten devices, as all else that is at rest.
    pub(crate) wakes_per_second: f64,
    /// After so many requests, of QoS 1 and 0 in turn, in kB.
    pub(crate) after: Vec<(usize, u64)>,
    /// Name, size in kB, and crates that are built into it.
    pub(crate) programs: Vec<(&'static str, u64, usize)>,
}

/// Looks at a hub at rest, then again and again while it answers.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Footprint> {
    let folder = tempfile::tempdir()?;
    let (_mosquitto, port) = start_mosquitto(folder.path()).await?;
    let access = Access { port, login: None };
    let mut phone = Client::connect(&access, "phone").await?;

    let mut ten = hub(built, &access, "ten", &ten_devices(), folder.path())?;
    ten.start(&mut phone).await?;
    tokio::time::sleep(SETTLE).await;
    let idle_kb = memory_kb(ten.process()?.id(), "VmRSS")?;
    let before = wakes(ten.process()?.id())?;
    tokio::time::sleep(effort.rest).await;
    let woken = wakes(ten.process()?.id())? - before;
    let wakes_per_second = woken as f64 / effort.rest.as_secs_f64();
    ten.terminate().await?;

    let mut hub = hub(built, &access, "busy", &lights("light", LIGHTS, "none"), folder.path())?;
    hub.start(&mut phone).await?;
    let mut after = vec![(0, memory_kb(hub.process()?.id(), "VmRSS")?)];
    for step in 1..=STEPS {
        println!("{} requests", effort.endurance / STEPS * step);
        let question = Question {
            topic: "cmnd/light-{n}/power".into(),
            targets: LIGHTS,
            payloads: vec!["ON".into(), "OFF".into()],
            prefix: None,
            // What nothing waits for must not pile up either.
            qos: u8::from(step % 2 == 1),
            requesters: 1,
            in_flight: 256,
            expiry: None,
            until: Until::Count(effort.endurance / STEPS),
        };
        load::ask(built, &access, &question).await?;
        let resident = memory_kb(hub.process()?.id(), "VmRSS")?;
        after.push((effort.endurance / STEPS * step, resident));
    }
    hub.terminate().await?;

    let mut programs = Vec::new();
    for (name, package) in [("hearthd", "hearthd"), ("hearth-broker", "hearthd-broker")] {
        let size = std::fs::metadata(built.binary(name)).doing(name)?.len() / 1024;
        programs.push((name, size, dependencies(package)?));
    }
    Ok(Footprint { idle_kb, wakes_per_second, after, programs })
}

fn hub(
    built: &Built,
    access: &Access,
    name: &str,
    devices: &str,
    folder: &std::path::Path,
) -> Result<Daemon> {
    let mut config = DaemonConfig::new(access.clone());
    config.client_id = format!("hearthd-{name}");
    config.devices = devices.to_owned();
    Daemon::prepare(built, &folder.join(name), &config)
}

fn ten_devices() -> String {
    let rooms = lights("room", 5, "none").replace("\"light\"", "\"thermostat\"");
    lights("light", 5, "none") + &rooms
}

/// Counts how often the threads of a process have waited for something and been woken (proc_pid_status(5)).
fn wakes(process: u32) -> Result<u64> {
    let folder = format!("/proc/{process}/task");
    let mut wakes = 0;
    for task in std::fs::read_dir(&folder).doing(&folder)? {
        let file = task?.path().join("status");
        let status = std::fs::read_to_string(&file).doing(file.display())?;
        let count = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        wakes += count.doing("no count of switches")?.trim().parse::<u64>().doing("switches")?;
    }
    Ok(wakes)
}

/// Counts the crates of a program, itself aside.
fn dependencies(package: &str) -> Result<usize> {
    let mut cargo = cargo();
    cargo.args(["tree", "--package", package, "--edges", "normal", "--prefix", "none"]);
    let text = stdout_of(&mut cargo)?;
    let crates: std::collections::BTreeSet<_> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    Ok(crates.len().saturating_sub(1))
}

const STEPS: usize = 10;
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);
