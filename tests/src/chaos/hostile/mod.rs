//! One who should not have been let in: it sees all that a phone may see, and publishes what would do harm.
//!
//! All that it publishes carries the user property [`FORGED`], for those who count. It stays within what a hub can
//! hold against on a broker that vouches for nobody: where whoever has seen a will acknowledges it, nobody can tell
//! that from a guardian.

mod arsenal;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

pub(super) use self::arsenal::Act;
use super::{
    Stage,
    plan::{self, FORGED, Hub, Ledger},
    record::Notebook,
};
use crate::{Access, Client, Message, Result};

/// A hostile requester.
pub(super) struct Hostile {
    access: Access,
    client: Option<Client>,
    notebook: Arc<Notebook>,
    rng: Rng,
    seen: Seen,
    /// Whether the broker tells the hubs that it is not who it claims to be.
    vouched: bool,
    /// How much it has published, which tells its payloads apart.
    count: u32,
}

/// What it has seen on the broker.
#[derive(Debug, Default)]
struct Seen {
    /// Correlation Data of the hubs' own messages, wills aside, that it has not yet acknowledged.
    fresh: VecDeque<Bytes>,
    /// The same, the last ones.
    tokens: VecDeque<Bytes>,
    /// Correlation Data of wills.
    wills: VecDeque<(Hub, Bytes)>,
    /// Wills that it will acknowledge.
    tempting: VecDeque<(Hub, Bytes)>,
    /// Correlation Data of requests and answers.
    others: VecDeque<Bytes>,
    /// Topics on which it has left something.
    littered: BTreeSet<String>,
}

impl Hostile {
    /// Connects and subscribes to everything.
    pub(super) async fn connect(
        access: &Access,
        vouched: bool,
        notebook: Arc<Notebook>,
        rng: Rng,
    ) -> Result<Self> {
        let (access, seen) = (access.clone(), Seen::default());
        let mut hostile = Self { access, client: None, notebook, rng, seen, vouched, count: 0 };
        hostile.try_connect().await?;
        Ok(hostile)
    }

    /// Does harm until the faults are over, takes back what a hub takes back, and leaves.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) {
        let mut next = Instant::now();
        let mut litters = true;
        while *stage.borrow() != Stage::Over {
            self.look(next.min(Instant::now() + LOOK_UP)).await;
            if next > Instant::now() {
                continue;
            }
            next = Instant::now() + Duration::from_millis(self.rng.u64(PACE_MS));
            if *stage.borrow() == Stage::Breaking {
                let act = arsenal::draw(&mut self.rng);
                for message in self.perform(act) {
                    self.publish(act, message).await;
                }
            } else if litters {
                litters = !self.take_back().await;
            }
        }
    }

    /// Publishes once: what was lost is not said again, so that nothing of it may be carried out twice.
    async fn publish(&mut self, act: Act, message: Message) -> bool {
        self.count += 1;
        let message = message.with_property(FORGED, &self.count.to_string());
        *self.notebook.open().hostile.entry(act.name()).or_default() += 1;
        let Some(client) = &mut self.client else { return false };
        let done = client.publish(message).await.is_ok();
        if !done {
            self.client = None;
        }
        done
    }

    /// Clears what it has left on topics where a hub would not.
    async fn take_back(&mut self) -> bool {
        while let Some(topic) = self.seen.littered.first().cloned() {
            let clear = Message { retain: true, ..Message::new(topic.clone(), "") };
            if !self.publish(Act::Clear, clear).await {
                return false;
            }
            self.seen.littered.remove(&topic);
        }
        true
    }

    /// Takes in what comes until a point in time, and connects where it is not.
    async fn look(&mut self, until: Instant) {
        if self.client.is_none() && self.try_connect().await.is_err() {
            self.client = None;
            return sleep(PAUSE).await;
        }
        while let Some(client) = &mut self.client {
            let left = until.saturating_duration_since(Instant::now());
            match client.expect("anything", left, |_| true).await {
                Ok(message) => self.seen.take_in(message),
                Err(_) if Instant::now() >= until => return,
                Err(_) => self.client = None,
            }
        }
    }

    async fn try_connect(&mut self) -> Result<()> {
        let client = self.client.insert(Client::connect(&self.access, NAME).await?);
        client.overhear(&plan::under("#")).await
    }
}

impl Seen {
    fn take_in(&mut self, message: Message) {
        let Some(data) = message.correlation_data.filter(|data| data.len() <= LONGEST) else {
            return;
        };
        if message.user_properties.iter().any(|(name, _)| name == FORGED) {
            return;
        }
        let from = |topic: &str| {
            Hub::BOTH.into_iter().find(|hub| {
                topic == hub.presence()
                    || ["fence", "session", "retained"].iter().any(|own| topic == hub.response(own))
            })
        };
        let Some(hub) = from(&message.topic) else {
            if !self.wills.iter().any(|(_, will)| *will == data) {
                keep(&mut self.others, data);
            }
            return;
        };
        if &message.payload[..] == b"offline" && message.response_topic.is_some() {
            if !self.wills.iter().any(|(_, will)| *will == data) {
                if is_tempting(&data) {
                    keep(&mut self.tempting, (hub, data.clone()));
                }
                keep(&mut self.wills, (hub, data));
            }
        } else if !self.tokens.contains(&data) {
            keep(&mut self.fresh, data.clone());
            keep(&mut self.tokens, data);
        }
    }
}

/// Returns whether it acknowledges a will that it has seen published: some, so that the others show what is forged.
fn is_tempting(data: &Bytes) -> bool {
    data.last().is_some_and(|last| last.is_multiple_of(4))
}

fn keep<T>(all: &mut VecDeque<T>, one: T) {
    all.push_back(one);
    if all.len() > KEPT {
        all.pop_front();
    }
}

/// Returns one of the two ledgers that stay where they are.
fn some_ledger(rng: &mut Rng) -> Ledger {
    if rng.bool() { Ledger::Cellar } else { Ledger::Attic }
}

const NAME: &str = "chaos-hostile";
/// Milliseconds between two acts.
const PACE_MS: std::ops::Range<u64> = 40..180;
const LOOK_UP: Duration = Duration::from_millis(50);
/// How long it waits before it tries to connect again.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of each kind it remembers.
const KEPT: usize = 256;
/// Correlation Data that is longer is its own.
const LONGEST: usize = 256;
