//! Many homes on one cluster, each with a prefix of its own: what that costs, and that no home notices another one or
//! the death of a node.
//!
//! Some homes have a real hub; the others have the core of one, which costs the cluster the same. Each has a phone that
//! asks for lines with unique IDs all the time.

mod cluster;
mod core_hub;
mod debian;
mod home;
mod intruder;
mod phone;
mod real_hub;
mod report;
mod socket;
mod tally;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

pub use self::tally::Outcome;
use self::{
    cluster::{Cluster, Count, NODES},
    core_hub::{CoreHub, RECONNECT_SPREAD},
    home::Home,
    phone::Phone,
    real_hub::RealHub,
    tally::Return,
};
use crate::{Built, Doing, Failure, Result};

/// How many homes, and how much to ask of them.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Homes on the cluster.
    pub homes: usize,
    /// How many of them have a real hub.
    pub hubs: usize,
    /// Each phone asks once in this time.
    pub every: Duration,
    /// How long the fleet is measured at rest, and how long with requests.
    pub measure: Duration,
}

/// What the homes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Resting,
    Asking,
    /// Nobody asks anew; what has no answer is repeated.
    Settling,
    Over,
}

impl Plan {
    /// Plays everything with the programs of `built`; tools are installed below `tools`, and the run leaves its logs in
    /// `folder`.
    ///
    /// # Errors
    /// Where something cannot be started, or a hub does not come back.
    pub async fn play(self, built: &Built, tools: &Path, folder: &Path) -> Result<Outcome> {
        let homes: Vec<_> = (1..=self.homes).map(|number| Arc::new(Home::new(number))).collect();
        let names: Vec<_> = homes.iter().map(|home| home.name.clone()).collect();
        let cluster = Cluster::start(tools, folder, &names).await?;
        let (stage, _) = watch::channel(Stage::Resting);
        let hubs = Vec::new();
        let mut fleet = Fleet { plan: self, homes, hubs, cluster, stage, tasks: JoinSet::new() };
        let mut outcome = Outcome { plan: self, ..Outcome::default() };
        fleet.measure(built, folder, &mut outcome).await?;
        outcome.intrusions = intruder::try_everything(&fleet.homes, fleet.cluster.ports()).await?;
        fleet.kill_node(&mut outcome).await?;
        fleet.restart_nodes(&mut outcome).await?;
        fleet.end(&mut outcome).await?;
        Ok(outcome)
    }
}

/// Everything that runs.
struct Fleet {
    plan: Plan,
    homes: Vec<Arc<Home>>,
    /// The real hubs, those of the first homes.
    hubs: Vec<RealHub>,
    cluster: Cluster,
    stage: watch::Sender<Stage>,
    /// Phones, and hubs that are the core alone.
    tasks: JoinSet<()>,
}

impl Fleet {
    /// Lets the homes come one after the other, and measures them at rest and with requests.
    async fn measure(&mut self, built: &Built, folder: &Path, outcome: &mut Outcome) -> Result<()> {
        outcome.empty = self.cost().await?;
        let plugins = folder.join("plugins");
        built.copy_plugins(&["ledger"], &plugins)?;
        let ports = self.cluster.ports();
        let begun = Moment::now();
        for home in &self.homes {
            let phone = Phone::new(home.clone(), ports, self.plan.every);
            self.tasks.spawn(phone.run(self.stage.subscribe()));
            sleep(BETWEEN).await;
            if self.hubs.len() < self.plan.hubs {
                let mut hub = RealHub::prepare(built, folder, &plugins, home, ports)?;
                hub.daemon.spawn()?;
                self.hubs.push(hub);
                sleep(BETWEEN).await;
            } else {
                let hub = CoreHub::new(home.clone(), ports);
                self.tasks.spawn(hub.run(self.stage.subscribe()));
            }
        }
        self.every("`online`", |fleet, home| fleet.online_after(home, begun).is_some()).await?;
        outcome.started_in = begun.on_clock.elapsed();
        println!("{} homes are online after {:.0?}", self.homes.len(), outcome.started_in);
        sleep(CALM).await;
        outcome.before_rest = self.cost().await?;
        sleep(self.plan.measure).await;
        outcome.after_rest = self.cost().await?;
        self.stage.send_replace(Stage::Asking);
        sleep(self.plan.measure).await;
        outcome.after_requests = self.cost().await?;
        for home in &self.homes {
            let facts = home.facts();
            let took = facts.asked.values().filter_map(|asked| Some(asked.answered?.0));
            outcome.took.extend(took);
        }
        outcome.took.sort();
        Ok(())
    }

    /// Kills the first node, and at the same moment half of the real hubs that it has, which come back later.
    async fn kill_node(&mut self, outcome: &mut Outcome) -> Result<()> {
        let ports = self.cluster.ports();
        let on_it = |home: &Home| home.nodes_of_hub(ports)[0] == ports[0];
        let mut killed: Vec<_> =
            (0..self.hubs.len()).filter(|hub| on_it(&self.homes[*hub])).collect();
        killed.truncate(killed.len().div_ceil(2));
        let moment = Moment::now();
        self.cluster.kill(0)?;
        for hub in &killed {
            self.hubs[*hub].daemon.kill9()?;
        }
        let moved: Vec<_> = (0..self.homes.len())
            .filter(|it| on_it(&self.homes[*it]) && !killed.contains(it))
            .collect();
        self.back("one node killed", &moved, moment, SPREAD, outcome).await?;
        let was_killed = |home: &usize| killed.contains(home);
        self.every("the wills of the killed hubs", |fleet, home| {
            !was_killed(&home) || !fleet.homes[home].facts().wills.is_empty()
        })
        .await?;
        outcome.wills_took = moment.on_clock.elapsed();
        println!("the wills of {} killed hubs came after {:.0?}", killed.len(), outcome.wills_took);
        let moment = Moment::now();
        for hub in &killed {
            self.hubs[*hub].daemon.spawn()?;
        }
        self.back("the killed hubs started", &killed, moment, None, outcome).await?;
        outcome.killed = killed.len();
        self.cluster.start_node(0).await
    }

    /// Restarts one node after the other, in order; each has all hubs when it is stopped.
    async fn restart_nodes(&mut self, outcome: &mut Outcome) -> Result<()> {
        let all: Vec<_> = (0..self.homes.len()).collect();
        for node in (0..NODES).rev() {
            let (_, connections) = self.cluster.count().await?;
            let what = format!("a node with {} connections stopped", connections[node]);
            sleep(HELD).await;
            let moment = Moment::now();
            self.cluster.stop(node).await?;
            self.back(&what, &all, moment, SPREAD, outcome).await?;
            self.cluster.start_node(node).await?;
        }
        Ok(())
    }

    /// Waits until these homes' hubs are online again, and notes when each was.
    async fn back(
        &self,
        what: &str,
        homes: &[usize],
        since: Moment,
        spread: Option<Duration>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let returned = |fleet: &Self, home: usize| {
            !homes.contains(&home) || fleet.online_after(home, since).is_some()
        };
        self.every(what, returned).await?;
        let after = homes.iter().filter_map(|home| self.online_after(*home, since));
        let reached = homes.iter().filter_map(|home| self.reached_after(*home, since));
        let back = Return::new(what, spread, after.collect(), reached.collect());
        println!("{}", back.line());
        outcome.returns.push(back);
        Ok(())
    }

    /// Returns how long after a moment a hub was online for the first time.
    fn online_after(&self, home: usize, since: Moment) -> Option<Duration> {
        if let Some(hub) = self.hubs.get(home) {
            return hub.online_after(since.by_date);
        }
        let facts = self.homes[home].facts();
        Some(*facts.online.iter().find(|at| **at > since.on_clock)? - since.on_clock)
    }

    /// Returns how long after a moment a hub reached a node; of a real hub nobody knows.
    fn reached_after(&self, home: usize, since: Moment) -> Option<Duration> {
        let facts = self.homes[home].facts();
        Some(*facts.reached.iter().find(|at| **at > since.on_clock)? - since.on_clock)
    }

    /// Waits for every answer, ends the hubs, and counts.
    async fn end(mut self, outcome: &mut Outcome) -> Result<()> {
        self.stage.send_replace(Stage::Settling);
        let answered = |fleet: &Self, home: usize| {
            fleet.homes[home].facts().asked.values().all(|asked| asked.answered.is_some())
        };
        if let Err(Failure(why)) = self.every("an answer to every request", answered).await {
            println!("{why}");
        }
        // What a late outcome of a will may take.
        sleep(CALM).await;
        for hub in &mut self.hubs {
            hub.daemon.terminate().await?;
        }
        self.stage.send_replace(Stage::Over);
        while self.tasks.join_next().await.is_some() {}
        for (index, home) in self.homes.iter().enumerate() {
            let lines = self.hubs.get(index).map(RealHub::lines);
            outcome.add(home, lines);
        }
        Ok(())
    }

    /// Waits until this holds for every home.
    async fn every(&self, what: &str, holds: impl Fn(&Self, usize) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut left: Vec<_> = (0..self.homes.len()).collect();
        loop {
            left.retain(|home| !holds(self, *home));
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                let names = left.iter().take(5).map(|home| &*self.homes[*home].name);
                let names = names.collect::<Vec<_>>().join(", ");
                let many = left.len();
                return Err(Failure(format!("{what}: not seen of {many} homes: {names}, ...")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn cost(&self) -> Result<Cost> {
        let (nodes, _) = self.cluster.count().await.doing("count")?;
        let (redis_memory, redis_cpu) = self.cluster.redis()?;
        Ok(Cost { nodes, redis_memory, redis_cpu, at: Some(Instant::now()) })
    }
}

/// A moment, by the clock of this process and by the system's, which the logs of the hubs have.
#[derive(Clone, Copy, Debug)]
struct Moment {
    on_clock: Instant,
    by_date: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { on_clock: Instant::now(), by_date: SystemTime::now() }
    }
}

/// What the cluster has cost so far.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    nodes: Count,
    redis_memory: u64,
    redis_cpu: Duration,
    at: Option<Instant>,
}

const SPREAD: Option<Duration> = Some(RECONNECT_SPREAD);
/// Between two that start.
const BETWEEN: Duration = Duration::from_millis(20);
const CALM: Duration = Duration::from_secs(5);
/// After this long without trouble, a hub's next attempt to connect is its first one again.
const HELD: Duration = Duration::from_secs(61);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
