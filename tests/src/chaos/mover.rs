//! One who carries the moving ledger from hub to hub: out of one configuration, then into the other.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    WRITE_BEHIND,
    house::Home,
    plan::{self, Hub, Ledger},
    record::{Asked, Notebook, key},
    say,
    schedule::{Move, Reading},
    steady::Steady,
};
use crate::{Access, Message, Result};

/// Who edits the configurations.
pub(super) struct Mover {
    steady: Steady,
    notebook: Arc<Notebook>,
    own: String,
    asked: u32,
}

impl Mover {
    /// Connects and subscribes to a Response Topic of its own.
    pub(super) async fn connect(access: &Access, notebook: Arc<Notebook>) -> Result<Self> {
        let own = plan::response(NAME);
        let steady = Steady::connect(access, NAME, vec![own.clone()]).await?;
        Ok(Self { steady, notebook, own, asked: 0 })
    }

    /// Moves the ledger as often as there is time for; where a request to it stays open for long, it stays once.
    pub(super) async fn run(
        mut self,
        moves: Vec<Move>,
        homes: [&Home; 2],
        length: Duration,
    ) -> Result<()> {
        let end = Instant::now() + length;
        for Move { after, reading } in moves {
            sleep(after).await;
            if Instant::now() >= end {
                break;
            }
            let Some(from) = self.notebook.open().moving_at.take() else { continue };
            if !self.is_at_rest().await {
                self.notebook.open().moving_at = Some(from);
                continue;
            }
            let to = from.other();
            let what = format!("the moving ledger goes to the {} ({reading:?})", to.name());
            say(self.notebook.now(), &what);
            let moving = self.carry(home(homes, from), home(homes, to), reading);
            let Ok(moved) = timeout(MOVED, moving).await else {
                // It is nowhere, and the inspector says so.
                say(self.notebook.now(), "the moving ledger does not arrive");
                return Ok(());
            };
            moved?;
            let mut record = self.notebook.open();
            record.moving_at = Some(to);
            record.moves += 1;
        }
        Ok(())
    }

    /// Takes the ledger from one hub, gives it to the other, and waits until it answers there.
    async fn carry(&mut self, from: &Home, to: &Home, reading: Reading) -> Result<()> {
        self.change(from, false, reading).await?;
        self.change(to, true, reading).await?;
        self.is_kept().await;
        Ok(())
    }

    /// Waits until nobody waits for an answer of the ledger; what a killed broker has lost never comes.
    async fn is_at_rest(&self) -> bool {
        let end = Instant::now() + REST;
        while Instant::now() < end {
            let now = self.notebook.now();
            let is_open = |asked: &Asked| {
                asked.ledger == Ledger::Moving
                    && asked.answers.is_empty()
                    && asked.acknowledged.is_none_or(|at| at + LOST_AFTER > now)
            };
            if !self.notebook.open().requests.values().any(is_open) {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// Changes a hub's configuration and waits until it says that it has, or does not have, the ledger.
    async fn change(&mut self, home: &Home, has_moving: bool, reading: Reading) -> Result<()> {
        home.configure(has_moving)?;
        match reading {
            Reading::Reload => home.reload(&self.notebook).await?,
            Reading::Restart => home.restart(&self.notebook).await?,
        }
        let first = self.asked + 1;
        loop {
            let answer = self.ask(plan::request(home.hub.client_id(), "devices"), first).await;
            let listed = answer.map(|answer| answer.text());
            if listed.is_some_and(|listed| listed.contains(Ledger::Moving.id()) == has_moving) {
                return Ok(());
            }
        }
    }

    /// Waits until the ledger answers, and the broker has had time to write who is subscribed to its requests.
    async fn is_kept(&mut self) {
        let (mut first, mut kills) = (self.asked + 1, self.broker_kills());
        loop {
            if self.broker_kills() != kills {
                // An answer to a question from before a kill says nothing about what the broker knows after it.
                (first, kills) = (self.asked + 1, self.broker_kills());
            }
            let read = self.ask(plan::request(Ledger::Moving.id(), "level"), first).await;
            if read.is_some_and(|read| read.status() == Some(200)) {
                sleep(WRITE_BEHIND).await;
                if self.broker_kills() == kills {
                    return;
                }
            }
        }
    }

    fn broker_kills(&self) -> usize {
        self.notebook.open().broker_kills.len()
    }

    /// Asks for something, and returns what is answered to this or to an earlier question from the `first` on, which a hub
    /// that has much to catch up with answers late; none where no answer comes for a while.
    async fn ask(&mut self, topic: String, first: u32) -> Option<Message> {
        self.asked += 1;
        let mut request =
            Message::new(topic, "").respond_to(&self.own, format!("{NAME}-{}", self.asked));
        request.expiry = Some(EXPIRY);
        self.steady.publish(request).await;
        let asked = first..=self.asked;
        let is_answer = |message: &Message| {
            key(message).is_some_and(|data| {
                let number = data.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('-'));
                number.and_then(|number| number.parse().ok()).is_some_and(|n| asked.contains(&n))
            })
        };
        let end = Instant::now() + ANSWERED;
        while let Some(message) = self.steady.next_before(end).await {
            if is_answer(&message) {
                sleep(PAUSE).await;
                return Some(message);
            }
        }
        None
    }
}

fn home(homes: [&Home; 2], hub: Hub) -> &Home {
    let [cellar, attic] = homes;
    if hub == Hub::Cellar { cellar } else { attic }
}

const NAME: &str = "chaos-mover";
/// How long it waits for the answers to what was asked before.
const REST: Duration = Duration::from_secs(8);
/// What has no answer by then is lost: longer than any fault of a schedule, and than the back-off after it.
const LOST_AFTER: Duration = Duration::from_secs(25);
/// What a move takes at most, with a kill of the broker and of both hubs between; a hub that is behind for longer, where
/// a busy disk keeps its broker, would hold up the run for ever.
const MOVED: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// How long it waits for an answer before it asks anew.
const ANSWERED: Duration = Duration::from_secs(1);
/// Message Expiry Interval in seconds.
const EXPIRY: u32 = 30;
