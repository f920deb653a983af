//! One who asks: requests at a pace, some with a Message Expiry, and everything that comes back.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::{sync::watch, time::Instant};

use super::{
    Stage,
    record::{Asked, Notebook},
    steady::Steady,
};
use crate::{Access, Message, Result};

/// A requester that is ready to ask.
pub(super) struct Requester {
    name: String,
    response_topic: String,
    steady: Steady,
    notebook: Arc<Notebook>,
    rng: Rng,
    asked: u32,
}

impl Requester {
    /// Connects and subscribes to a Response Topic of its own.
    pub(super) async fn connect(
        access: &Access,
        name: String,
        notebook: Arc<Notebook>,
        rng: Rng,
    ) -> Result<Self> {
        let response_topic = format!("alice/response/{name}/chaos");
        let steady = Steady::connect(access, &name, vec![response_topic.clone()]).await?;
        Ok(Self { name, response_topic, steady, notebook, rng, asked: 0 })
    }

    /// Asks until the faults are over, and listens until the run is.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) {
        let mut next = Instant::now();
        loop {
            let stage = *stage.borrow();
            match stage {
                Stage::Breaking if next <= Instant::now() => {
                    self.ask().await;
                    next = Instant::now() + Duration::from_millis(self.rng.u64(PACE_MS));
                }
                Stage::Breaking | Stage::Settling => {
                    let until = next.max(Instant::now() + LOOK_UP);
                    if let Some(message) = self.steady.next_before(until).await {
                        self.notebook.open().answered(&message);
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
        let (property, payload) =
            if line { ("line", key.clone()) } else { ("level", self.asked.to_string()) };
        let topic = format!("alice/cmnd/ledger/{property}");
        let mut request =
            Message::new(topic, payload).respond_to(&self.response_topic, key.clone());
        request.expiry = (self.rng.u8(..2) == 0).then_some(EXPIRY);
        let asked = Asked { line, ..Asked::default() };
        self.notebook.open().requests.insert(key.clone(), asked);
        self.steady.publish(request).await;
        let now = self.notebook.now();
        if let Some(asked) = self.notebook.open().requests.get_mut(&key) {
            asked.acknowledged = Some(now);
        }
    }
}

/// Milliseconds between two requests.
const PACE_MS: std::ops::Range<u64> = 20..150;
/// Message Expiry Interval in seconds: longer than the hub is ever away, so that an answer is owed.
const EXPIRY: u32 = 60;
/// How long it takes at most to notice that the stage has changed.
const LOOK_UP: Duration = Duration::from_millis(20);
