//! `cargo xtask chaos`: two hubs against real brokers while everything around them breaks.

use std::{path::Path, time::Duration};

use hearthd_tests::{
    Built, Doing, Failure, Result,
    built::workspace,
    chaos::{BrokerKind, Outcome, Run, table},
};

use crate::provision::provide;

/// What to break, and for how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// How long things break, against each broker.
    #[arg(long, value_name = "N", default_value = "1", value_parser = minutes)]
    minutes: Duration,
    /// What the schedule is derived from; a random one where none is given.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// The broker to run against.
    #[arg(long, value_enum, default_value_t = Brokers::Both)]
    broker: Brokers,
    /// Have a lamp behind the real Zigbee2MQTT in the house, and kill that as well; needs Node.js.
    #[arg(long)]
    zigbee2mqtt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Brokers {
    Hearth,
    Mosquitto,
    Both,
}

impl Brokers {
    fn all(self) -> &'static [BrokerKind] {
        match self {
            Self::Hearth => &[BrokerKind::Hearth],
            Self::Mosquitto => &[BrokerKind::Mosquitto],
            Self::Both => &[BrokerKind::Hearth, BrokerKind::Mosquitto],
        }
    }
}

/// Builds, breaks things, prints what was counted, and fails where something must not be so.
pub(crate) async fn chaos(options: Options) -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    if options.broker.all().contains(&BrokerKind::Mosquitto) {
        provide("chaos", &[("mosquitto", "mosquitto")])?;
    }
    if options.zigbee2mqtt {
        provide("the lamp behind Zigbee2MQTT", &[("node", "nodejs"), ("npm", "npm")])?;
    }
    let seed = options.seed.map_or_else(random, Ok)?;
    println!(
        "seed {seed}: the same breaks at about the same moments; real time cannot be replayed"
    );
    let folder = workspace().canonicalize()?.join("target/hearth-chaos");
    let mut runs = Vec::new();
    let mut ended = Ok(());
    for &broker in options.broker.all() {
        println!("\n{}, {:?}", broker.name(), options.minutes);
        let run = Run::derive(broker, seed, options.minutes);
        let run = if options.zigbee2mqtt { run.with_a_lamp() } else { run };
        match play(run, &built, &folder.join(broker.name())).await {
            Ok(outcome) => runs.push((broker, outcome)),
            Err(failure) => {
                println!("  {failure}");
                ended = ended.and(Err(failure));
            }
        }
    }
    println!("\n{}", table(&runs));
    println!("{NOTES}\n\nledger and logs: {}", folder.display());
    judge(&runs).and(ended)
}

async fn play(run: Run, built: &Built, folder: &Path) -> Result<Outcome> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).doing(folder.display())?;
    }
    std::fs::create_dir_all(folder).doing(folder.display())?;
    run.play(built, folder).await
}

fn judge(runs: &[(BrokerKind, Outcome)]) -> Result<()> {
    let mut broken = String::new();
    for (broker, outcome) in runs {
        for line in outcome.tally.broken() {
            broken += &format!("\n{}: {line}", broker.name());
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure(format!("a bar is broken{broken}"))) }
}

fn random() -> Result<u64> {
    let mut seed = [0; 4];
    getrandom::fill(&mut seed).doing("a random seed")?;
    Ok(u32::from_le_bytes(seed).into())
}

/// Reads minutes, also parts of one.
fn minutes(text: &str) -> std::result::Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number of minutes".to_owned())?;
    if !(0.1..=MOST_MINUTES).contains(&minutes) {
        return Err(format!("not between 0.1 and {MOST_MINUTES} minutes"));
    }
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

/// A week: what is counted stays in memory.
const MOST_MINUTES: f64 = 7.0 * 24.0 * 60.0;

const NOTES: &str = "\
A number marked `!` must be 0. Who lost what is decided by the proxies before the hubs and by time:
- never sent to hub: no copy of the request left the broker for the hub, and the broker was killed
  within 20 s after its PUBACK to the requester;
- write-behind: the broker was killed within 1 s after the PUBACK with which it took over what is
  missing, the request from its requester or the answer from the hub;
- dropped: the broker's log says that messages for this hub were dropped, because too many waited. On a
  machine that does other things as well, a hub that is killed every few seconds catches up slowly.
A will's outcome is excused where the broker was killed about when a watcher saw the will or had
its acknowledgement taken. Whoever has seen a will can acknowledge it, and these brokers vouch for
nobody: the hostile requester does so with a quarter of the wills, and forges the rest.
Repeated answers are held against what the same hub has answered since the first one.";
