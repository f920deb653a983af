//! Chaos: the daemon against real brokers, with SIGKILLs and a breaking network, and everything counted.
//!
//! Requesters and a watcher connect to the broker directly and keep their sessions, so that what they count is
//! reliable. The hub connects through a [`FaultProxy`], which also tells who had taken over what.
//! Executions are counted by a device that writes to a file. The schedule is derived from a seed; real time cannot be
//! replayed, so the same seed breaks the same things at about the same moments.

mod evidence;
mod house;
mod record;
mod requester;
mod schedule;
mod steady;
mod table;
mod tally;
mod watcher;

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

pub use self::{
    house::BrokerKind,
    record::{Asked, Record, Said, WillSeen},
    schedule::{Break, BreakKind, Kill, Schedule, Victim},
    table::table,
    tally::Tally,
};
use self::{
    house::{Broker, House},
    record::Notebook,
    requester::Requester,
    watcher::Watcher,
};
use crate::{Built, Daemon, Doing, Failure, Fault, FaultProxy, Result};

/// One run against one broker.
#[derive(Clone, Debug)]
pub struct Run {
    /// The broker.
    pub broker: BrokerKind,
    /// What the requesters' choices are derived from.
    pub seed: u64,
    /// What is broken.
    pub schedule: Schedule,
    /// How long the requesters ask.
    pub length: Duration,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was seen.
    pub record: Record,
    /// The judgement.
    pub tally: Tally,
}

impl Run {
    /// Plans a run whose schedule is derived from the seed.
    pub fn derive(broker: BrokerKind, seed: u64, length: Duration) -> Self {
        Self { broker, seed, schedule: Schedule::derive(seed, length), length }
    }

    /// Runs with all state and logs in an empty folder, and leaves there what was seen.
    ///
    /// # Errors
    /// Where something does not start, or ends by itself.
    pub async fn play(self, built: &Built, folder: &Path) -> Result<Outcome> {
        let notebook = Arc::new(Notebook::new());
        let mut house = House::start(built, self.broker, folder, &notebook).await?;
        let stage = watch::Sender::new(Stage::Breaking);
        let people = self.people(&house, &notebook, &stage).await?;
        let Schedule { kills, breaks } = self.schedule;
        let House { broker, proxy, hub, .. } = &mut house;
        let end = async {
            sleep(self.length).await;
            Ok(())
        };
        tokio::try_join!(
            kill(kills, hub, broker, &notebook),
            break_link(breaks, proxy, &notebook),
            end,
        )?;
        stage.send_replace(Stage::Settling);
        settle(&notebook).await;
        stage.send_replace(Stage::Over);
        let gone = people.join_all();
        timeout(PEOPLE_GO, gone).await.doing("a requester does not end")?;
        let status = house.hub.terminate().await?;
        if !status.success() {
            return Err(Failure(format!("hearthd ended: {status}\n{}", house.hub.log())));
        }
        let mut record = notebook.open().clone();
        record.lines = house.lines()?;
        let file = folder.join("record.txt");
        std::fs::write(&file, format!("{record:#?}\n")).doing(file.display())?;
        let tally = Tally::of(&record, WRITE_BEHIND);
        Ok(Outcome { record, tally })
    }

    /// Sends the requesters and the watcher to work.
    async fn people(
        &self,
        house: &House,
        notebook: &Arc<Notebook>,
        stage: &watch::Sender<Stage>,
    ) -> Result<JoinSet<()>> {
        let mut people = JoinSet::new();
        let access = house.broker.direct();
        let watcher = Watcher::connect(&access, "hearthd-demo", Arc::clone(notebook)).await?;
        people.spawn(watcher.run(stage.subscribe()));
        for n in 0..REQUESTERS {
            let rng = Rng::with_seed(self.seed.wrapping_add(n));
            let name = format!("chaos-{n}");
            let requester = Requester::connect(&access, name, Arc::clone(notebook), rng).await?;
            people.spawn(requester.run(stage.subscribe()));
        }
        Ok(people)
    }
}

/// What everybody is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Ask while things break.
    Breaking,
    /// Ask no more, and listen.
    Settling,
    /// Go.
    Over,
}

async fn kill(
    kills: Vec<Kill>,
    hub: &mut Daemon,
    broker: &mut Broker,
    notebook: &Notebook,
) -> Result<()> {
    for Kill { after, victim, down } in kills {
        sleep(after).await;
        let now = notebook.now();
        match victim {
            Victim::Hub => {
                say(now, &format!("SIGKILL hearthd, back after {down:?}"));
                notebook.open().hub_kills += 1;
                hub.kill9()?;
                sleep(down).await;
                hub.spawn()?;
            }
            Victim::Broker => {
                say(now, &format!("SIGKILL the broker, back after {down:?}"));
                notebook.open().broker_kills.push(now);
                broker.stop()?;
                sleep(down).await;
                broker.start_again().await?;
            }
        }
    }
    Ok(())
}

async fn break_link(breaks: Vec<Break>, proxy: &FaultProxy, notebook: &Notebook) -> Result<()> {
    for Break { after, kind, lasting } in breaks {
        sleep(after).await;
        let name = kind.name();
        *notebook.open().faults.entry(name).or_default() += 1;
        match kind {
            BreakKind::Cut => {
                say(notebook.now(), name);
                proxy.cut();
            }
            BreakKind::CutWithinAPacket => {
                say(notebook.now(), name);
                proxy.cut_within_a_packet();
            }
            BreakKind::Fault(fault) => {
                say(notebook.now(), &format!("{fault:?} for {lasting:?}"));
                proxy.set(fault);
                sleep(lasting).await;
                proxy.set(Fault::None);
            }
        }
    }
    Ok(())
}

/// Waits until nothing more is owed, and a little longer for what should not come.
async fn settle(notebook: &Notebook) {
    let end = Instant::now() + SETTLE_AT_MOST;
    let owed = || {
        let tally = Tally::of(&notebook.open(), WRITE_BEHIND);
        !tally.unanswered.is_empty() || tally.wills_untold > 0
    };
    while Instant::now() < end && owed() {
        sleep(Duration::from_millis(250)).await;
    }
    sleep(SETTLE_AT_LEAST).await;
}

fn say(at: Duration, what: &str) {
    println!("  {:>6.1} s  {what}", at.as_secs_f64());
}

const REQUESTERS: u64 = 3;
/// A killed broker may lose what it acknowledged this long before: `hearth-broker` writes four times a second, and
/// Mosquitto is made to.
const WRITE_BEHIND: Duration = Duration::from_secs(1);
/// The quiet period after all faults: longer than any back-off that they can have led to.
const SETTLE_AT_MOST: Duration = Duration::from_secs(40);
const SETTLE_AT_LEAST: Duration = Duration::from_secs(3);
const PEOPLE_GO: Duration = Duration::from_secs(20);
