//! One who asks both hubs: requests at a steady rate, some with a Message Expiry, and everything that comes back.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{sync::watch, time::Instant};

use super::{
    Stage,
    plan::{self, Hub, Ledger},
    record::{Asked, Notebook},
    steady::{RETRY, Steady},
};
use crate::{Access, Message, Result};

/// A requester that is ready to ask.
pub(super) struct Requester {
    name: String,
    response_topic: String,
    steady: Steady,
    notebook: Arc<Notebook>,
    rng: Rng,
    /// Tells its values from those of other requesters.
    number: u32,
    asked: u32,
    /// What it asks once more, and when.
    again: VecDeque<(Instant, Message)>,
}

impl Requester {
    /// Connects and subscribes to a Response Topic of its own.
    pub(super) async fn connect(
        access: &Access,
        number: u32,
        notebook: Arc<Notebook>,
        rng: Rng,
    ) -> Result<Self> {
        let name = format!("chaos-{number}");
        let response_topic = plan::response(&name);
        let steady = Steady::connect(access, &name, vec![response_topic.clone()]).await?;
        let (asked, again) = (0, VecDeque::new());
        Ok(Self { name, response_topic, steady, notebook, rng, number, asked, again })
    }

    /// Asks until the faults are over, and listens until the run is.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) {
        let mut next = Instant::now();
        loop {
            let stage = *stage.borrow();
            let now = Instant::now();
            match stage {
                Stage::Breaking if self.again.front().is_some_and(|(due, _)| *due <= now) => {
                    if let Some((_, request)) = self.again.pop_front() {
                        self.steady.publish(request.with_property(RETRY, "to be sure")).await;
                    }
                }
                Stage::Breaking if next <= now => {
                    self.ask().await;
                    next = Instant::now() + Duration::from_millis(self.rng.u64(PACE_MS));
                }
                Stage::Breaking | Stage::Settling => {
                    let until = next.max(now + LOOK_UP);
                    if let Some(message) = self.steady.next_before(until).await {
                        self.notebook.answered(&message);
                    }
                }
                Stage::Over => return,
            }
        }
    }

    async fn ask(&mut self) {
        self.asked += 1;
        let key = format!("{}-{}", self.name, self.asked);
        let line = self.rng.u8(..4) > 0;
        let value = if line {
            key.clone()
        } else {
            // No two requesters ask for the same level.
            (self.number * LEVELS + self.asked % LEVELS).to_string()
        };
        let asked = self.choose(&key, Asked { line, value: value.clone(), ..Asked::default() });
        let topic = plan::request(asked.ledger.id(), if line { "line" } else { "level" });
        let mut request = Message::new(topic, value).respond_to(&self.response_topic, key.clone());
        request.expiry = (self.rng.u8(..2) == 0).then_some(EXPIRY);
        self.steady.publish(request.clone()).await;
        let now = self.notebook.now();
        if asked.insisted {
            let due = Instant::now() + Duration::from_millis(self.rng.u64(AGAIN_MS));
            self.again.push_back((due, request));
        }
        if let Some(asked) = self.notebook.open().requests.get_mut(&key) {
            asked.acknowledged = Some(now);
        }
    }

    /// Chooses a ledger and writes down that it is asked; nobody asks the one that moves while it does.
    fn choose(&mut self, key: &str, asked: Asked) -> Asked {
        let mut record = self.notebook.open();
        let (ledger, owner) = match (self.rng.u8(..5), record.moving_at) {
            (0, Some(hub)) => (Ledger::Moving, hub),
            (1 | 2, _) => (Ledger::Attic, Hub::Attic),
            _ => (Ledger::Cellar, Hub::Cellar),
        };
        // A ledger that has moved knows nothing of what it was asked before.
        let insisted = ledger != Ledger::Moving && self.rng.u8(..INSISTED) == 0;
        let asked = Asked { ledger, owner, insisted, ..asked };
        record.requests.insert(key.to_owned(), asked.clone());
        asked
    }
}

/// Milliseconds between two requests.
const PACE_MS: std::ops::Range<u64> = 20..200;
/// Milliseconds after which it asks once more, and one of how many requests it asks so.
const AGAIN_MS: std::ops::Range<u64> = 0..1500;
const INSISTED: u8 = 12;
/// How many levels each requester has.
const LEVELS: u32 = 1_000_000;
/// Message Expiry Interval in seconds: longer than the hub is ever away, so that an answer is owed.
const EXPIRY: u32 = 60;
/// How long it takes at most to notice that the stage has changed.
const LOOK_UP: Duration = Duration::from_millis(20);
