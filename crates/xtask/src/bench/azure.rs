//! The peer that does the same job: an executor of Azure IoT Operations' RPC commands.

use std::process::Command;

use hearthd_tests::{Access, Azure, Built, Client, Daemon, DaemonConfig, Result};

use super::{
    Effort,
    load::{self, Figures, Question, Until},
    memory_kb,
    stage::{LIGHTS, lights, start_echo, start_mosquitto},
};

/// What was measured; in each pair hearthd comes first.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Requests in flight, and the figures of every round.
    pub(crate) rounds: Vec<(usize, [Vec<Figures>; 2])>,
    /// Resident before and after [`Self::endurance`] requests, in kB.
    pub(crate) resident_kb: [(u64, u64); 2],
    /// Requests in all, asked in tenths.
    pub(crate) endurance: usize,
    /// Answers per second in each tenth.
    pub(crate) tenths: [Vec<f64>; 2],
}

/// Asks both in turn on one Mosquitto: at QoS 1, and with a Message Expiry Interval, which the executor demands.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Peer> {
    let azure = Azure::provide("release")?;
    let folder = tempfile::tempdir()?;
    let (_mosquitto, port) = start_mosquitto(folder.path()).await?;
    let access = Access { port, login: None };
    let mut phone = Client::connect(&access, "phone").await?;
    let mut config = DaemonConfig::new(access.clone());
    config.plugins = &["light"];
    config.devices = lights("light", LIGHTS, "none");
    let mut hub = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
    hub.start(&mut phone).await?;
    let mut executor = Command::new(azure.executor());
    executor.arg(port.to_string()).arg("azure/{device}/power");
    let executor = start_echo(&mut executor, &folder.path().join("executor.log")).await?;
    let mut resident = || -> Result<[u64; 2]> {
        Ok([memory_kb(hub.process()?.id(), "VmRSS")?, memory_kb(executor.id(), "VmRSS")?])
    };

    let mut rounds = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut figures = [Vec::new(), Vec::new()];
        for round in 0..effort.rounds {
            for turn in 0..WHO.len() {
                let who = (turn + round) % WHO.len();
                let (warm_up, measure) = (effort.warm_up, effort.measure);
                let question = question(who, in_flight, Until::Time { warm_up, measure });
                figures[who].push(load::ask(built, &access, &question).await?);
            }
        }
        rounds.push((in_flight, figures));
    }

    let before = resident()?;
    let mut tenths = [Vec::new(), Vec::new()];
    for tenth in 1..=TENTHS {
        println!("{} requests", ENDURANCE / TENTHS * tenth);
        for (who, tenths) in tenths.iter_mut().enumerate() {
            let question = question(who, 32, Until::Count(ENDURANCE / TENTHS));
            tenths.push(load::ask(built, &access, &question).await?.per_second);
        }
    }
    let after = resident()?;
    hub.terminate().await?;
    let resident_kb = [(before[0], after[0]), (before[1], after[1])];
    Ok(Peer { rounds, resident_kb, endurance: ENDURANCE, tenths })
}

fn question(who: usize, in_flight: usize, until: Until) -> Question {
    Question {
        topic: format!("{}/light-{{n}}/power", WHO[who]),
        targets: LIGHTS,
        payloads: vec!["ON".into()],
        prefix: None,
        qos: 1,
        requesters: 1,
        in_flight,
        expiry: Some(60),
        until,
    }
}

/// Where hearthd is asked, and where the peer is.
const WHO: [&str; 2] = ["cmnd", "azure"];
const IN_FLIGHT: [usize; 2] = [1, 32];
const ENDURANCE: usize = 100_000;
const TENTHS: usize = 10;
