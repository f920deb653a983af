//! What everybody writes down while the run goes on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::Message;

/// Everything that was seen; [`Tally`](super::Tally) judges it. Times count from the start of the run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The requests by their Correlation Data.
    pub requests: BTreeMap<String, Asked>,
    /// The lines of the ledger: what was executed, in order.
    pub lines: Vec<String>,
    /// The wills by their generation.
    pub wills: BTreeMap<String, WillSeen>,
    /// When the broker was killed.
    pub broker_kills: Vec<Duration>,
    /// How often the hub was killed.
    pub hub_kills: usize,
    /// How often the hub connected with Clean Start, which throws away what the broker held for it.
    pub clean_starts: usize,
    /// How often the link broke, by the kind of fault.
    pub faults: BTreeMap<&'static str, usize>,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whether it asks for a line of the ledger, which must not be written twice.
    pub line: bool,
    /// When its requester had the broker's PUBACK.
    pub acknowledged: Option<Duration>,
    /// What came on its Response Topic.
    pub answers: Vec<Said>,
    /// Whether the broker sent a copy of it to the hub.
    pub delivered: bool,
    /// When the hub acknowledged a copy of it to the broker.
    pub hub_acknowledged: Option<Duration>,
    /// When the broker last acknowledged an answer to it to the hub.
    pub answer_taken: Option<Duration>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// `__stat`.
    pub status: u16,
    /// `__stMsg`.
    pub message: Option<String>,
    /// The payload.
    pub payload: String,
}

/// One will.
#[derive(Clone, Debug, Default)]
pub struct WillSeen {
    /// When the watcher first saw it.
    pub watched: Option<Duration>,
    /// Whether a copy of it went to the hub.
    pub reached_hub: bool,
    /// Whether the watcher has tried to acknowledge it.
    pub answered: bool,
    /// When the broker had the watcher's acknowledgement.
    pub acknowledged: Option<Duration>,
    /// The outcomes that the hub told, each once, in the order of its first appearance.
    pub outcomes: Vec<String>,
}

/// A [`Record`] that several tasks write to.
#[derive(Debug)]
pub(super) struct Notebook {
    started: Instant,
    record: Mutex<Record>,
}

impl Notebook {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), record: Mutex::default() }
    }

    /// Returns the time since the start of the run.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Opens the record; nobody waits with it in hand.
    pub(super) fn open(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Notes an answer; what answers no request of this run is not one.
    pub(super) fn answered(&mut self, message: &Message) {
        let asked = key(message).and_then(|key| self.requests.get_mut(&key));
        if let (Some(asked), Some(status)) = (asked, message.status()) {
            let text = message.property("__stMsg").map(str::to_owned);
            asked.answers.push(Said { status, message: text, payload: message.text() });
        }
    }

    /// Notes an outcome that the hub told.
    pub(super) fn told(&mut self, absence: &serde_json::Value) {
        let facts = (absence["generation"].as_str(), absence["outcome"].as_str());
        if let (Some(generation), Some(outcome)) = facts {
            let will = self.wills.entry(generation.to_owned()).or_default();
            if !will.outcomes.iter().any(|told| told == outcome) {
                will.outcomes.push(outcome.to_owned());
            }
        }
    }
}

/// Returns the Correlation Data as text.
pub(super) fn key(message: &Message) -> Option<String> {
    String::from_utf8(message.correlation_data.as_deref()?.to_vec()).ok()
}

/// Returns the generation of a will or of an answer to one.
pub(super) fn generation(correlation_data: &[u8]) -> String {
    correlation_data.iter().map(|byte| format!("{byte:02x}")).collect()
}
