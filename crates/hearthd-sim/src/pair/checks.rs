//! The promises of hub and broker.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::Message;

use super::{
    Event, World,
    hub::{self, WILL_DELAY},
    ms,
    phone::{Phone, WATCHER},
};

/// What was asked, done and said.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    asked: BTreeMap<String, Asked>,
    /// When each request was carried out.
    executed: BTreeMap<String, Vec<Duration>>,
    wills: BTreeMap<String, Will>,
    /// The connection that each hub has with the broker, as the broker knows it.
    armed: BTreeMap<usize, Armed>,
}

/// A request, and what became of it.
#[derive(Debug, Default)]
struct Asked {
    line: bool,
    /// When the phone last sent it again, so that the broker may have it twice: without a mark, what is idempotent is
    /// asked twice.
    again: Option<Duration>,
    /// PUBACK came: none yet, taken, or refused.
    taken: Option<bool>,
    /// Status and reason of each answer.
    answers: Vec<(u16, String)>,
}

/// A will, by the half of its generation that hubs tell.
#[derive(Debug, Default)]
struct Will {
    seen: bool,
    /// The broker had time to publish it.
    is_due: Option<Duration>,
    acknowledging: bool,
    /// The broker has the acknowledgement.
    acknowledged: bool,
    outcome: Option<String>,
}

/// The connection of a hub that carries a will, and when it ended without DISCONNECT.
#[derive(Debug)]
struct Armed {
    link: u64,
    generation: Option<String>,
    ended: Option<Duration>,
}

impl Ledger {
    /// Notes a request that a phone sends.
    pub(super) fn asked(&mut self, key: &str, line: bool) {
        self.asked.insert(key.to_owned(), Asked { line, ..Asked::default() });
    }

    /// Notes that a phone sends it once more.
    pub(super) fn asked_again(&mut self, now: Duration, key: &str) {
        if let Some(asked) = self.asked.get_mut(key) {
            asked.again = Some(now);
        }
    }

    /// Notes what PUBACK says of a request.
    pub(super) fn request_taken(&mut self, key: &str, taken: bool) {
        if let Some(asked) = self.asked.get_mut(key) {
            asked.taken = Some(taken);
        }
    }

    /// Notes that a device carries a request out.
    pub(super) fn executed(&mut self, key: &str, now: Duration) {
        self.executed.entry(key.to_owned()).or_default().push(now);
    }

    /// Notes an answer as the phone sees it.
    pub(super) fn answered(&mut self, key: &str, message: &Message) {
        let status = message.user_property("__stat").and_then(|status| status.parse().ok());
        let reason = message.user_property("reason").unwrap_or_default().to_owned();
        if let (Some(asked), Some(status)) = (self.asked.get_mut(key), status) {
            asked.answers.push((status, reason));
        }
    }

    /// Notes that the watcher has seen a will.
    pub(super) fn seen(&mut self, generation: &str) {
        self.will(generation).seen = true;
    }

    /// Notes that the watcher sends an acknowledgement of a will.
    pub(super) fn acknowledging(&mut self, generation: &str) {
        self.will(generation).acknowledging = true;
    }

    /// Notes what PUBACK says of that acknowledgement.
    pub(super) fn acknowledged(&mut self, generation: &str, taken: bool) {
        self.will(generation).acknowledged |= taken;
    }

    /// Notes the outcome that the hub tells of a will.
    pub(super) fn told(&mut self, generation: &str, outcome: &str) {
        self.will(generation).outcome = Some(outcome.to_owned());
    }

    /// A connection with this will is accepted.
    pub(super) fn hub_is_connected(&mut self, hub: usize, link: u64, generation: Option<String>) {
        self.armed.insert(hub, Armed { link, generation, ended: None });
    }

    /// The next connection comes: whatever was due long before has been published.
    pub(super) fn hub_connects(&mut self, hub: usize, now: Duration) {
        let Some(Armed { generation: Some(generation), ended: Some(ended), .. }) =
            self.armed.remove(&hub)
        else {
            return;
        };
        if ended + WILL_DELAY + ms(100) < now {
            self.will(&generation).is_due = Some(ended + WILL_DELAY);
        }
    }

    /// DISCONNECT has arrived: the broker must not publish the will.
    pub(super) fn hub_says_goodbye(&mut self, hub: usize, link: u64) {
        if self.armed.get(&hub).is_some_and(|armed| armed.link == link) {
            self.armed.remove(&hub);
        }
    }

    /// The broker has noticed the end of a hub's connection: the will is due after its delay.
    pub(super) fn hub_is_gone(&mut self, hub: usize, link: u64, now: Duration) {
        if let Some(armed) = self.armed.get_mut(&hub).filter(|armed| armed.link == link) {
            armed.ended.get_or_insert(now);
        }
    }

    /// What the broker has just seen may not be on its disk.
    pub(super) fn broker_ended(&mut self, now: Duration) {
        for armed in self.armed.values_mut() {
            armed.ended = armed.ended.filter(|ended| *ended + WRITTEN < now);
        }
    }

    /// Connections end with the broker, which finds out when it starts.
    pub(super) fn broker_started(&mut self, now: Duration) {
        for armed in self.armed.values_mut() {
            armed.ended.get_or_insert(now);
        }
    }

    fn will(&mut self, generation: &str) -> &mut Will {
        let half = generation.get(..8).unwrap_or(generation);
        self.wills.entry(half.to_owned()).or_default()
    }

    fn faults(&self, watched_since: Option<Duration>) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, asked) in &self.asked {
            let Asked { line, again, taken, answers } = asked;
            let times = self.executed.get(key).map_or(&[][..], Vec::as_slice);
            let executed = times.len();
            // Nothing was done for a 429, so a repeat of it may well be answered otherwise.
            let is_told =
                |(status, reason): &&(u16, String)| reason != "superseded" && *status != BUSY;
            let first = answers.iter().find(is_told).or(answers.first());
            match (taken, first) {
                (Some(true), None) => {
                    faults.push(format!("{key}: acknowledged, and never answered"))
                }
                (None, _) => faults.push(format!("{key}: never acknowledged")),
                _ => {}
            }
            let agrees = |answer: &(u16, String)| {
                Some(answer) == first
                    || answer.1 == "superseded"
                    || answer.0 == BUSY
                    || (!line && answer.1 == "indeterminate")
            };
            // A repeat that comes when the hub does not remember the first any more is a new request.
            let is_forgotten =
                |at| times.first().is_some_and(|first| at >= *first + hub::REMEMBERED);
            let is_asked_twice = again.is_some_and(|at| !line || is_forgotten(at));
            if !is_asked_twice && !answers.iter().all(agrees) {
                faults.push(format!("{key}: contradicting answers {answers:?}"));
            }
            let may_be_busy = self.asked.len() > hub::SHARE_OF_SENDER;
            let is_wrong = |status| status == 404 || status == BUSY && !may_be_busy;
            if answers.iter().any(|(status, _)| is_wrong(*status)) {
                faults.push(format!("{key}: {answers:?}"));
            }
            let again = times.windows(2).any(|pair| pair[1] - pair[0] < hub::REMEMBERED);
            if *line && again {
                faults.push(format!("{key}: executed {executed} times, at {times:?}"));
            }
            if *line && executed == 0 && answers.iter().any(|(status, _)| *status < 300) {
                faults.push(format!("{key}: answered {answers:?}, and not executed"));
            }
            let not_done =
                |(_, reason): &(u16, String)| matches!(reason.as_str(), "stale" | "queued");
            if executed > 0 && !answers.is_empty() && answers.iter().all(not_done) {
                faults.push(format!("{key}: answered {answers:?}, yet executed"));
            }
        }
        for (name, will) in &self.wills {
            let is_due =
                will.is_due.is_some_and(|at| watched_since.is_some_and(|since| since < at));
            if is_due && !will.seen {
                faults.push(format!("the will {name} was due, and nobody saw it"));
            }
            let wrong = match will.outcome.as_deref() {
                Some("consumed") => !will.acknowledging,
                Some("not-published") => will.seen,
                Some("unconsumed") => will.acknowledged,
                _ => false,
            };
            if wrong {
                faults.push(format!("the will {name}: {will:?}"));
            }
        }
        faults
    }
}

/// How long it takes at most until what nobody waits for is on the broker's disk.
const WRITTEN: Duration = Duration::from_millis(2_500);
/// The status of a request that found no room.
const BUSY: u16 = 429;

impl World<'_> {
    /// Looks at everything once all has come to rest.
    pub(super) fn check_at_rest(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let auditor = self.phones.len();
        self.phones.push(Phone::with_filter(auditor, "home/#".into()));
        self.after(Duration::ZERO, Event::PhoneConnects(auditor));
        self.run_until(self.now + Duration::from_secs(5));
        let mut faults = self.ledger.faults(self.phones[WATCHER].subscribed_at);
        let has = |topic: &str| {
            let on = |message: &&Message| message.topic == topic;
            self.phones[auditor].retained.iter().rfind(on).map(|message| message.payload.clone())
        };
        for side in &self.hubs {
            for (topic, expected) in [
                (format!("home/hub/{}/presence", side.client_id()), "online"),
                (format!("home/state/{}/power", side.device()), side.power),
            ] {
                let found = has(&topic);
                if found.as_deref() != Some(expected.as_bytes()) {
                    faults.push(format!("{topic}: retained is {found:?}, not {expected}"));
                }
            }
        }
        faults.extend(self.mail.faults(&self.phones[auditor].retained));
        if let Some(fault) = faults.into_iter().next() {
            self.violate(fault);
        }
    }
}
