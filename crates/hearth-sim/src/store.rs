//! A model of the store: group commit, so that at any time a prefix of the changes is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use hearth_core::{Change, Memory, Record, RequestKey, Urgency};

/// The store of one hub, across its lives.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) memory: Memory,
    pub(crate) records: BTreeMap<RequestKey, Record>,
    pending: VecDeque<(u64, Change)>,
    /// When the changes that wait are durable.
    commits_at: Option<Duration>,
    pub(crate) latency: Duration,
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
        self.commits_at = Some(self.commits_at.map_or(due, |at| at.min(due)));
        self.pending.push_back((revision, change));
    }

    /// Returns the memory that was written last, durable or not.
    pub(crate) fn latest(&self) -> &Memory {
        let pending = self.pending.iter().rev().find_map(|(_, change)| match change {
            Change::Memory(memory) => Some(memory),
            Change::Record(_) | Change::Answer(_) | Change::Forget(_) => None,
        });
        pending.unwrap_or(&self.memory)
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.commits_at
    }

    /// Makes durable what waits; returns the last revision and the records written.
    pub(crate) fn commit(&mut self) -> Option<(u64, Vec<Record>)> {
        self.commits_at = None;
        self.commit_first(self.pending.len())
    }

    /// The daemon is killed: only so many of the changes that wait become durable.
    pub(crate) fn crash(&mut self, durable: usize, damage: Damage) -> Vec<Record> {
        let written = self.commit_first(durable.min(self.pending.len()));
        self.pending.clear();
        self.commits_at = None;
        match damage {
            Damage::None => {}
            Damage::Lost => {
                self.memory = Memory::default();
                self.records.clear();
            }
            Damage::Elsewhere => self.memory.broker = Some("elsewhere".into()),
        }
        written.map(|(_, records)| records).unwrap_or_default()
    }

    fn commit_first(&mut self, count: usize) -> Option<(u64, Vec<Record>)> {
        let mut last = None;
        let mut written = Vec::new();
        for (revision, change) in self.pending.drain(..count) {
            last = Some(revision);
            match change {
                Change::Memory(memory) => self.memory = memory,
                Change::Record(record) | Change::Answer(record) => {
                    written.push(record.clone());
                    self.records.insert(record.key.clone(), record);
                }
                Change::Forget(key) => {
                    self.records.remove(&key);
                }
            }
        }
        last.map(|last| (last, written))
    }
}

/// How long a change may lie that nobody waits for.
const LAZY: Duration = Duration::from_secs(1);
