//! What everybody writes down while the run goes on.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    lamp::LampSeen,
    plan::{FORGED, Hub, Ledger},
};
use crate::Message;

/// Everything that was seen; [`Tally`](super::Tally) judges it. Times count from the start of the run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The requests by their Correlation Data.
    pub requests: BTreeMap<String, Asked>,
    /// The lines of all ledgers that requesters ask for lines, each ledger's in order: what was executed.
    pub lines: Vec<String>,
    /// The wills by their generation.
    pub wills: BTreeMap<String, WillSeen>,
    /// When the broker was killed.
    pub broker_kills: Vec<Duration>,
    /// The hubs for which the broker has dropped messages, because too many waited.
    pub queue_was_full: BTreeSet<Hub>,
    /// How often each hub was killed.
    pub hub_kills: BTreeMap<Hub, usize>,
    /// How often each hub was started, whether it was killed before or restarted in order.
    pub(super) lives: BTreeMap<Hub, usize>,
    /// How often a hub connected with Clean Start, which throws away what the broker held for it.
    pub clean_starts: usize,
    /// How often a link broke, by the kind of fault.
    pub faults: BTreeMap<&'static str, usize>,
    /// Where the ledger is that moves; none while it does.
    pub moving_at: Option<Hub>,
    /// How often it has moved.
    pub moves: usize,
    /// What the hub in the attic did about what it took for wills of the other one, by their Correlation Data.
    pub guarded: BTreeMap<String, Guarded>,
    /// How often the relay was told to take over.
    pub relayed: usize,
    /// Repeated answers to requests that set something: how many, and those that were not true any more.
    pub repeats: usize,
    /// Repeated answers that say what is not so.
    pub untrue_repeats: Vec<String>,
    /// What the hostile requester published, by kind.
    pub hostile: BTreeMap<&'static str, usize>,
    /// What came of the lamp behind Zigbee2MQTT.
    pub lamp: LampSeen,
    /// What is not as it should be once everything has come to rest.
    pub unrest: Vec<String>,
}

/// One request of an honest requester.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The device.
    pub ledger: Ledger,
    /// The hub that has it.
    pub owner: Hub,
    /// Whether it asks for a line of the ledger, which must not be written twice.
    pub line: bool,
    /// What it sets the property to; nobody else does.
    pub value: String,
    /// Whether its requester asks again although nothing is wrong.
    pub insisted: bool,
    /// When its requester had the broker's PUBACK.
    pub acknowledged: Option<Duration>,
    /// What came on its Response Topic.
    pub answers: Vec<Said>,
    /// What the hostile requester has used its Response Topic and Correlation Data for, once it had been answered.
    pub reuse: Option<Reuse>,
    /// What came after that.
    pub answers_after_reuse: Vec<Said>,
    /// The life of the owner to which the broker first sent a copy of it.
    pub delivered_to: Option<usize>,
    /// When the owner acknowledged a copy of it to the broker.
    pub hub_acknowledged: Option<Duration>,
    /// When the broker last acknowledged an answer to it to the owner.
    pub answer_taken: Option<Duration>,
    /// The statuses of what the other hub answered.
    pub answered_elsewhere: Vec<u16>,
}

/// Why a request came once more from somebody who had not made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// With the same content, and so that it must be taken for a repeat.
    Repeat,
    /// In any other way: what comes is an answer to that.
    Other,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `__stat`.
    pub status: u16,
    /// `__stMsg`.
    pub message: Option<String>,
    /// The payload.
    pub payload: String,
    /// `reason`.
    pub reason: Option<String>,
    /// `first_status`.
    pub first_status: Option<u16>,
}

impl Said {
    pub(super) fn in_message(message: &Message) -> Option<Self> {
        Some(Self {
            status: message.status()?,
            message: message.property("__stMsg").map(str::to_owned),
            payload: message.text(),
            reason: message.property("reason").map(str::to_owned),
            first_status: message.property("first_status").and_then(|status| status.parse().ok()),
        })
    }

    /// Returns the status of the first answer where this one says that that one is not true any more.
    pub(super) fn superseded(&self) -> Option<u16> {
        self.first_status.filter(|_| self.reason.as_deref() == Some("superseded"))
    }

    /// Returns whether both can be answers to one request.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        match (self.superseded(), other.superseded()) {
            (Some(first), Some(second)) => first == second,
            (Some(first), None) => first == other.status,
            (None, Some(second)) => self.status == second,
            (None, None) => {
                (self.status, &self.message, &self.payload)
                    == (other.status, &other.message, &other.payload)
            }
        }
    }
}

/// One will.
#[derive(Clone, Debug, Default)]
pub struct WillSeen {
    /// When a watcher first saw it.
    pub watched: Option<Duration>,
    /// Whether a copy of it went to its hub.
    pub reached_hub: bool,
    /// Whether a copy of it went to the hub that guards.
    pub reached_guard: bool,
    /// Whether a watcher, or the hub that guards, has tried to acknowledge it.
    pub answered: bool,
    /// When the broker first had such an acknowledgement.
    pub acknowledged: Option<Duration>,
    /// Whether the hostile requester has acknowledged it, having seen it published.
    pub impostor: bool,
    /// The outcomes that the hub told, each once, in the order of its first appearance.
    pub outcomes: Vec<String>,
    /// Whether the hub told of an acknowledgement of a watcher's, or of the hub that guards.
    pub told_true: bool,
    /// Whether it told of one of the hostile requester's.
    pub told_forged: bool,
}

/// What the hub that guards did about one `offline`.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    /// The statuses of its acknowledgements.
    pub statuses: Vec<u16>,
}

/// A [`Record`] that several tasks write to.
#[derive(Debug)]
pub(super) struct Notebook {
    started: Instant,
    record: Mutex<Record>,
    /// The requests that were answered last, and when.
    answered: Mutex<VecDeque<(Duration, String)>>,
}

impl Notebook {
    pub(super) fn new() -> Self {
        let started = Instant::now();
        Self { started, record: Mutex::default(), answered: Mutex::default() }
    }

    /// Returns the time since the start of the run.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Opens the record; nobody waits with it in hand.
    pub(super) fn open(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an answer; what answers no request of this run is not one.
    pub(super) fn answered(&self, message: &Message) {
        let (Some(key), Some(said)) = (key(message), Said::in_message(message)) else { return };
        let mut record = self.open();
        let Some(asked) = record.requests.get_mut(&key) else { return };
        if asked.reuse.is_some() {
            return asked.answers_after_reuse.push(said);
        }
        asked.answers.push(said);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.push_back((self.now(), key));
        if answered.len() > LAST_ANSWERED {
            answered.pop_front();
        }
    }

    /// Lists the requests that were answered within this time.
    pub(super) fn lately_answered(&self, within: Duration) -> Vec<String> {
        let since = self.now().saturating_sub(within);
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().filter(|(at, _)| *at >= since).map(|(_, key)| key.clone()).collect()
    }
}

impl Record {
    /// Notes an outcome that a hub told.
    pub(super) fn told(&mut self, absence: &serde_json::Value) {
        let facts = (absence["generation"].as_str(), absence["outcome"].as_str());
        let (Some(generation), Some(outcome)) = facts else { return };
        let will = self.will_named(generation);
        if !will.outcomes.iter().any(|told| told == outcome) {
            will.outcomes.push(outcome.to_owned());
        }
        let acknowledgements = absence["acknowledgements"].as_array();
        for acknowledgement in acknowledgements.into_iter().flatten() {
            let payload = acknowledgement["payload"].as_str().unwrap_or_default();
            let told = if payload.starts_with(FORGED) {
                &mut will.told_forged
            } else {
                &mut will.told_true
            };
            *told = true;
        }
    }

    /// Finds a will by the half of its generation that hubs tell; other messages of its connection have that as well.
    fn will_named(&mut self, name: &str) -> &mut WillSeen {
        let alike = || self.wills.iter().filter(|(generation, _)| generation.starts_with(name));
        let seen = alike().find(|(_, will)| will.watched.is_some() || will.reached_hub);
        let generation = seen.or(alike().next()).map(|(generation, _)| generation.clone());
        self.wills.entry(generation.unwrap_or_else(|| name.to_owned())).or_default()
    }

    /// Notes that somebody who may has acknowledged a will, or has tried to.
    pub(super) fn acknowledges(&mut self, generation: &str) {
        self.wills.entry(generation.to_owned()).or_default().answered = true;
    }

    /// Notes that the broker has such an acknowledgement.
    pub(super) fn acknowledged(&mut self, generation: &str, now: Duration) {
        if let Some(will) = self.wills.get_mut(generation) {
            will.acknowledged.get_or_insert(now);
        }
    }
}

/// Returns the Correlation Data as text.
pub(super) fn key(message: &Message) -> Option<String> {
    String::from_utf8(message.correlation_data.as_deref()?.to_vec()).ok()
}

/// How many answered requests are remembered by their order.
const LAST_ANSWERED: usize = 256;
