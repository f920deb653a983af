//! A model of the store with group commit: at any time a prefix of the changes is synced; and it may fail.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Announced, Change, JournalRecord, Kept, Memory, Message, RequestKey, Served, Urgency,
};

/// The store of one hub, across its lives.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) memory: Memory,
    pub(crate) records: BTreeMap<RequestKey, JournalRecord>,
    pub(crate) served: BTreeMap<Arc<str>, Served>,
    pub(crate) announced: BTreeMap<String, Announced>,
    /// What the devices have saved.
    pub(crate) saved: BTreeMap<String, Bytes>,
    pending: VecDeque<(u64, Change)>,
    /// The newest revision that came.
    newest: u64,
    /// When the changes that wait are durable, or tried again.
    commits_at: Option<Duration>,
    pub(crate) latency: Duration,
    /// Whether the next write fails: the disk is full.
    pub(crate) is_full: bool,
    /// When a write failed first, until one succeeds.
    failing_since: Option<Duration>,
    /// When the hub is told that what it has just written is not held.
    reports_at: Option<Duration>,
    /// The journal was given up while it could not be written.
    journal_lost: bool,
}

/// What the store says to the hub.
#[derive(Debug)]
pub(crate) enum Event {
    /// It holds everything up to a revision; these records are new.
    Stored { revision: u64, records: Vec<JournalRecord> },
    /// It holds nothing new.
    Failed { revision: u64 },
}

/// What a life of the daemon leaves in the store.
#[derive(Debug)]
pub(crate) struct Remains {
    /// The records written at the end.
    pub(crate) records: Vec<JournalRecord>,
    /// What the hub did from this time on without the store is lost.
    pub(crate) lost_since: Option<Duration>,
}

/// What ends a life without any chance to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    None,
    /// The file is gone or unreadable: the hub starts with nothing.
    Lost,
    /// The file is one that was kept with another broker.
    Elsewhere,
}

impl Store {
    /// Queues a change; what the hub does not wait for may lie for a second.
    pub(crate) fn write(&mut self, now: Duration, revision: u64, change: Change) {
        let due = now
            + match change.urgency() {
                Urgency::Now | Urgency::Soon => self.latency,
                Urgency::Whenever => LAZY,
            };
        if self.is_failing() {
            self.reports_at.get_or_insert(now + self.latency);
        } else {
            self.commits_at = Some(self.commits_at.map_or(due, |at| at.min(due)));
        }
        self.newest = revision;
        self.pending.push_back((revision, change));
    }

    /// Returns the memory that was written last, durable or not.
    pub(crate) fn latest(&self) -> &Memory {
        let pending = self.pending.iter().rev().find_map(|(_, change)| match change {
            Change::Memory(memory) => Some(memory),
            Change::Record(_)
            | Change::Answer(_)
            | Change::Forget(_)
            | Change::Served(_)
            | Change::Unserved(_)
            | Change::Announced(_)
            | Change::Withdrawn(_)
            | Change::Device { .. }
            | Change::Children { .. }
            | Change::Await => None,
        });
        pending.unwrap_or(&self.memory)
    }

    /// Whether a crash now would leave a trace of a request; of one without a name nobody can tell.
    pub(crate) fn holds(&self, request: &Message) -> bool {
        let (Some(topic), Some(data)) = (&request.response_topic, &request.correlation_data) else {
            return true;
        };
        // Long Correlation Data is shortened, and the account that the broker vouches for is not known here.
        let begin = &data[..data.len().min(VERBATIM)];
        self.records.keys().any(|key| match key {
            RequestKey::Correlated { response_topic, correlation_data, .. } => {
                **response_topic == *topic && correlation_data.starts_with(begin)
            }
            RequestKey::Guard { .. } | RequestKey::Packet(_) => false,
        })
    }

    /// Returns what a life of the daemon begins with.
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            memory: self.memory.clone(),
            journal: self.records.values().cloned().collect(),
            served: self.served.values().cloned().collect(),
            announced: self.announced.values().cloned().collect(),
        }
    }

    /// Whether the hub goes on without it.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// Returns when a write ends or is reported.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        [self.commits_at, self.reports_at].into_iter().flatten().min()
    }

    /// Does what is due: writes all that waits, or says that it cannot.
    pub(crate) fn on_time(&mut self, now: Duration) -> Option<Event> {
        let revision = self.newest;
        if self.commits_at.take_if(|at| *at <= now).is_some() {
            if !self.is_full {
                self.failing_since = None;
                self.reports_at = None;
                let records = self.commit_first(self.pending.len());
                return Some(Event::Stored { revision, records });
            }
            self.commits_at = Some(now + RETRY);
            if !self.is_failing() {
                self.failing_since = Some(now);
                return Some(Event::Failed { revision });
            }
        }
        self.reports_at.take_if(|at| *at <= now)?;
        self.give_up_journal();
        Some(Event::Failed { revision })
    }

    /// The daemon is killed: only so many of the changes that wait become durable, and none that cannot be written.
    pub(crate) fn crash(&mut self, durable: usize, damage: Damage) -> Remains {
        let fails = self.is_full || (self.is_failing() && durable < self.pending.len());
        let durable = if fails { 0 } else { durable.min(self.pending.len()) };
        let records = self.commit_first(durable);
        let lost_since = self.failing_since.take().filter(|_| fails);
        self.pending.clear();
        self.commits_at = None;
        self.reports_at = None;
        self.journal_lost = false;
        match damage {
            Damage::None => {}
            Damage::Lost => {
                self.memory = Memory::default();
                self.records.clear();
                self.served.clear();
                self.announced.clear();
                self.saved.clear();
            }
            Damage::Elsewhere => self.memory.broker = Some("elsewhere".into()),
        }
        Remains { records, lost_since }
    }

    /// Keeps a store that cannot be written from filling the memory.
    fn give_up_journal(&mut self) {
        if self.pending.len() <= JOURNAL_BOUND {
            return;
        }
        let key = |(_, change): &(u64, Change)| match change {
            Change::Memory(_)
            | Change::Served(_)
            | Change::Unserved(_)
            | Change::Announced(_)
            | Change::Withdrawn(_)
            | Change::Device { .. }
            | Change::Children { .. }
            | Change::Await => None,
            Change::Record(record) | Change::Answer(record) => Some(record.key.clone()),
            Change::Forget(key) => Some(key.clone()),
        };
        let keys: BTreeSet<RequestKey> = self.pending.iter().filter_map(key).collect();
        if keys.len() > JOURNAL_BOUND {
            self.pending.retain(|change| key(change).is_none());
            self.journal_lost = true;
        }
    }

    fn commit_first(&mut self, count: usize) -> Vec<JournalRecord> {
        if count > 0 && std::mem::take(&mut self.journal_lost) {
            self.records.clear();
        }
        let mut written = Vec::new();
        for (_, change) in self.pending.drain(..count) {
            match change {
                Change::Memory(memory) => self.memory = memory,
                Change::Record(record) | Change::Answer(record) => {
                    written.push(record.clone());
                    self.records.insert(record.key.clone(), record);
                }
                Change::Forget(key) => {
                    self.records.remove(&key);
                }
                Change::Served(served) => {
                    self.served.insert(served.device.clone(), served);
                }
                Change::Unserved(device) => {
                    self.served.remove(&device);
                }
                Change::Announced(announced) => {
                    self.announced.insert(announced.topic.clone(), announced);
                }
                Change::Withdrawn(topic) => {
                    self.announced.remove(&topic);
                }
                Change::Device { device, state } => {
                    self.saved.insert(device, state);
                }
                // The devices of the simulation are those of the plan.
                Change::Children { .. } | Change::Await => {}
            }
        }
        written
    }
}

/// How many bytes of Correlation Data stand in a key as they are, at least.
const VERBATIM: usize = 64;
/// How long a change may lie that nobody waits for.
const LAZY: Duration = Duration::from_secs(1);
/// How long after a failure the store is written again.
const RETRY: Duration = Duration::from_secs(5);
/// How many requests may wait for a store that cannot be written, before all of them are given up.
const JOURNAL_BOUND: usize = 6144;
