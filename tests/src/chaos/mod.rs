//! Chaos: the daemon against real brokers, with SIGKILLs and a breaking network, and everything counted.
//!
//! Two hubs live under one prefix, the one guards the other, and a ledger moves between them. Requesters and watchers
//! connect to the broker directly and keep their sessions, so that what they count is reliable; among them is one who is
//! hostile. Each hub connects through a `FaultProxy`, which also tells who had taken over what.
//! Executions are counted by devices that write to files. The schedule is derived from a seed; real time cannot be
//! replayed, so the same seed breaks the same things at about the same moments.

mod breaking;
mod evidence;
mod hostile;
mod house;
mod inspector;
mod lamp;
mod mover;
mod plan;
mod record;
mod requester;
mod schedule;
mod steady;
mod table;
mod tally;
mod truth;
mod watcher;

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use self::{
    hostile::Hostile, house::House, lamp::Switcher, mover::Mover, record::Notebook,
    requester::Requester, watcher::Watcher,
};
pub use self::{
    house::BrokerKind,
    lamp::LampSeen,
    plan::{Hub, Ledger},
    record::{Asked, Guarded, Record, Reuse, Said, WillSeen},
    schedule::{Break, BreakKind, Kill, Move, Reading, Schedule, Trouble, Victim},
    table::table,
    tally::Tally,
};
use crate::{Built, Doing, Result};

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
    /// Whether the hub in the attic has a lamp behind a real Zigbee2MQTT.
    pub zigbee2mqtt: bool,
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
        Self { broker, seed, schedule: Schedule::derive(seed, length), length, zigbee2mqtt: false }
    }

    /// Puts a lamp behind a real Zigbee2MQTT into the attic, where it is calmer then.
    #[must_use]
    pub fn with_a_lamp(self) -> Self {
        Self { schedule: self.schedule.with_a_calm_attic(), zigbee2mqtt: true, ..self }
    }

    /// Runs with all state and logs in an empty folder, and leaves there what was seen.
    ///
    /// # Errors
    /// Where something does not start, or ends by itself.
    pub async fn play(self, built: &Built, folder: &Path) -> Result<Outcome> {
        let notebook = Arc::new(Notebook::new());
        let mut house =
            House::start(built, self.broker, self.zigbee2mqtt, folder, &notebook).await?;
        let stage = watch::Sender::new(Stage::Breaking);
        let people = self.people(&house, &notebook, &stage).await?;
        let mover = Mover::connect(&house.broker.direct(), Arc::clone(&notebook)).await?;
        let switcher = self.switcher(&house).await?;
        let Schedule { cellar, attic, moves } = self.schedule;
        let House { broker, cellar: in_cellar, attic: in_attic, .. } = &mut house;
        let end = async {
            sleep(self.length).await;
            Ok(())
        };
        let lamp = async {
            match switcher {
                Some(switcher) => switcher.run(self.length, &notebook).await,
                None => Ok(LampSeen::default()),
            }
        };
        let (.., lamp) = tokio::try_join!(
            breaking::kill(cellar.kills, in_cellar, Some(broker), &notebook),
            breaking::kill(attic.kills, in_attic, None, &notebook),
            breaking::break_link(cellar.breaks, in_cellar, &notebook),
            breaking::break_link(attic.breaks, in_attic, &notebook),
            mover.run(moves, [in_cellar, in_attic], self.length),
            end,
            lamp,
        )?;
        stage.send_replace(Stage::Settling);
        settle(&notebook).await;
        stage.send_replace(Stage::Over);
        let gone = people.join_all();
        timeout(PEOPLE_GO, gone).await.doing("a requester does not end")?;
        let unrest = inspector::inspect(&house.broker.direct(), &notebook).await?;
        for hub in Hub::BOTH {
            house.home(hub).end().await?;
        }
        let mut record = notebook.open().clone();
        record.unrest = unrest;
        record.lamp = lamp;
        record.queue_was_full = house.broker.dropped_for();
        record.lines = house.lines()?;
        record.relayed = house.relayed()?;
        let file = folder.join("record.txt");
        std::fs::write(&file, format!("{record:#?}\n")).doing(file.display())?;
        let tally = Tally::of(&record, WRITE_BEHIND);
        Ok(Outcome { record, tally })
    }

    /// Starts Zigbee2MQTT, if the run has one.
    async fn switcher(&self, house: &House) -> Result<Option<Switcher>> {
        if !self.zigbee2mqtt {
            return Ok(None);
        }
        let (bridge, base) = house.broker.bridge();
        let rng = Rng::with_seed(self.seed.wrapping_add((REQUESTERS + 1).into()));
        Switcher::start(&bridge, base, &house.broker.direct(), rng).await.map(Some)
    }

    /// Sends the requesters, the watchers and the hostile one to work.
    async fn people(
        &self,
        house: &House,
        notebook: &Arc<Notebook>,
        stage: &watch::Sender<Stage>,
    ) -> Result<JoinSet<()>> {
        let mut people = JoinSet::new();
        let access = house.broker.direct();
        for hub in Hub::BOTH {
            let watcher = Watcher::connect(&access, hub, Arc::clone(notebook)).await?;
            people.spawn(watcher.run(stage.subscribe()));
        }
        let rng = |n: u32| Rng::with_seed(self.seed.wrapping_add(n.into()));
        for n in 0..REQUESTERS {
            let requester = Requester::connect(&access, n, Arc::clone(notebook), rng(n)).await?;
            people.spawn(requester.run(stage.subscribe()));
        }
        let access = house.broker.hostile();
        let (vouched, rng) = (house.broker.vouches(), rng(REQUESTERS));
        let hostile = Hostile::connect(&access, vouched, Arc::clone(notebook), rng).await?;
        people.spawn(hostile.run(stage.subscribe()));
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

/// Waits until nothing more is owed, and a little longer for what should not come.
async fn settle(notebook: &Notebook) {
    let end = Instant::now() + SETTLE_AT_MOST;
    let owed = || {
        let tally = Tally::of(&notebook.open(), WRITE_BEHIND);
        !tally.unanswered.is_empty()
            || tally.wills_untold > 0
            || !tally.wrong_outcomes.is_empty()
            || !tally.guardians_left_out.is_empty()
    };
    while Instant::now() < end && owed() {
        sleep(Duration::from_millis(250)).await;
    }
    sleep(SETTLE_AT_LEAST).await;
}

fn say(at: Duration, what: &str) {
    println!("  {:>6.1} s  {what}", at.as_secs_f64());
}

const REQUESTERS: u32 = 3;
/// A killed broker may lose what it acknowledged this long before: `hearth-broker` writes four times a second, and
/// Mosquitto is made to.
const WRITE_BEHIND: Duration = Duration::from_secs(1);
/// The quiet period after all faults: longer than any back-off that they can have led to.
const SETTLE_AT_MOST: Duration = Duration::from_secs(40);
const SETTLE_AT_LEAST: Duration = Duration::from_secs(3);
const PEOPLE_GO: Duration = Duration::from_secs(20);
