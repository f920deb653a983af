//! The thread that writes the store.
//!
//! Everything that waits when the thread is ready goes into one transaction. So many requests at once cost one write to
//! the card, and an answer is never stored without the state that it tells of. A change that a PUBACK waits for is
//! written within milliseconds; a change that nothing waits for is written with the next one, or a second later.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hearthd_core::{Announced, Change, JournalRecord, Memory, RequestKey, Served};
use redb::{Database, ReadableTableMetadata as _, TableDefinition, TableHandle, WriteTransaction};
use tracing::{error, info};

use super::{
    ANNOUNCED, BOOT, CHILDREN, Cause, DEVICES, FILTERS, FORMAT, HUB, JOURNAL, MEMORY, SERVED,
    StoreError, StoreEvent, TODAY, before, contents::read_rows, inbox::Inbox, rows::Rows,
};

/// Opens the file again.
pub(super) type Opener = Box<dyn FnMut() -> Result<Database, StoreError> + Send>;

/// The thread's state.
pub(super) struct Writer {
    /// None after a failure: redb wants the file opened again then.
    opened: Option<Opened>,
    open: Opener,
    boot: Option<String>,
    pending: Pending,
    /// The newest revision that came.
    newest: u64,
    /// Why the last attempt failed; each reason is logged once.
    failure: Option<String>,
    pub(super) retry_interval: Duration,
}

/// The file, and what it holds where.
pub(super) struct Opened {
    /// Its journal is of an earlier version.
    pub(super) is_of_before: bool,
    pub(super) database: Database,
    pub(super) rows: Rows,
}

/// What the file does not hold yet; of each thing the newest.
#[derive(Debug, Default)]
pub(super) struct Pending {
    memory: Option<Memory>,
    /// None where the request is forgotten.
    journal: BTreeMap<RequestKey, Option<JournalRecord>>,
    /// None where nothing is left of a device.
    served: BTreeMap<Arc<str>, Option<Served>>,
    /// By topic; none where nothing is retained there.
    announced: BTreeMap<String, Option<Announced>>,
    /// Empty where nothing is remembered.
    children: BTreeMap<String, Bytes>,
    /// The journal is of an earlier version, and is written anew in today's form.
    is_of_before: bool,
    /// None where a device's state is forgotten.
    devices: BTreeMap<String, Option<Bytes>>,
    /// The journal was given up while it could not be written: what the file holds of it is of no use.
    journal_lost: bool,
}

impl Writer {
    /// Makes the writer; what it read of an earlier boot is written again as it reads now.
    ///
    /// Without a database nothing was read, and what the file holds of the journal is of no use.
    pub(super) fn new(
        opened: Result<Opened, String>,
        open: Opener,
        boot: Option<String>,
        journal: &[JournalRecord],
    ) -> Self {
        let mut pending = Pending { journal_lost: opened.is_err(), ..Pending::default() };
        pending.is_of_before = opened.as_ref().is_ok_and(|opened| opened.is_of_before);
        let anew = |record: &&JournalRecord| {
            pending.is_of_before || record.reply.expires == Some(Duration::ZERO)
        };
        let anew: Vec<_> = journal.iter().filter(anew).collect();
        for record in anew {
            pending.change(Change::Record(record.clone()));
        }
        let (opened, failure) = match opened {
            Ok(opened) => (Some(opened), None),
            Err(cause) => (None, Some(cause)),
        };
        Self { opened, open, boot, pending, newest: 0, failure, retry_interval: RETRY_INTERVAL }
    }

    /// Removes the state of a device that no longer exists.
    pub(super) fn forget(&mut self, device: String) {
        info!(device, "removed the saved state of a device that is not configured");
        self.pending.devices.insert(device, None);
    }

    /// Writes until the inbox is closed; after a failure it tries again in intervals.
    pub(super) fn run(mut self, inbox: &Inbox, report: &impl Fn(StoreEvent)) {
        let mut retry: Option<Instant> = None;
        if let Some(cause) = &self.failure {
            error!(cause, "the store cannot be opened; going on without it");
            report(self.event());
            retry = Some(Instant::now() + self.retry_interval);
        }
        loop {
            let (changes, ended) = inbox.take(retry);
            let news = !changes.is_empty();
            for (revision, change) in changes {
                self.newest = revision;
                self.pending.change(change);
            }
            let before = self.failure.clone();
            // A store that fails is tried again in its time, however much waits for it.
            if ended || retry.is_none_or(|retry| retry <= Instant::now()) {
                retry = self.write().err().map(|()| Instant::now() + self.retry_interval);
            }
            if news || before != self.failure {
                report(self.event());
            }
            if self.failure.is_some() {
                self.pending.bound();
            }
            if ended {
                return;
            }
        }
    }

    /// Reports how far everything that has arrived is written.
    fn event(&self) -> StoreEvent {
        let revision = self.newest;
        match &self.failure {
            None => StoreEvent::Stored { revision },
            Some(error) => StoreEvent::Failed { revision, error: error.clone() },
        }
    }

    fn write(&mut self) -> Result<(), ()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.try_write() {
            Ok(()) => {
                self.pending = Pending::default();
                if self.failure.take().is_some() {
                    info!("the store is written again");
                }
                Ok(())
            }
            Err(cause) => {
                self.opened = None;
                let cause = cause.to_string();
                if self.failure.as_ref() != Some(&cause) {
                    error!(cause, "the store cannot be written; going on without it");
                }
                self.failure = Some(cause);
                Err(())
            }
        }
    }

    fn try_write(&mut self) -> Result<(), Cause> {
        let Opened { database, rows, .. } = match &mut self.opened {
            Some(opened) => opened,
            None => {
                let database = (self.open)()?;
                let lost = self.pending.journal_lost;
                let rows = if lost { Rows::default() } else { read_rows(&database)? };
                self.opened.insert(Opened { database, rows, is_of_before: false })
            }
        };
        self.pending.write_to(database, rows, self.boot.as_deref())
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.memory.is_none()
            && self.journal.is_empty()
            && self.devices.is_empty()
            && self.served.is_empty()
            && self.announced.is_empty()
            && self.children.is_empty()
            && !self.is_of_before
            && !self.journal_lost
    }

    /// Notes a change; of each thing the newest counts.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Memory(memory) => self.memory = Some(memory),
            Change::Record(record) | Change::Answer(record) => {
                self.journal.insert(record.key.clone(), Some(record));
            }
            Change::Forget(key) => {
                self.journal.insert(key, None);
            }
            Change::Served(served) => {
                self.served.insert(served.device.clone(), Some(served));
            }
            Change::Unserved(device) => {
                self.served.insert(device, None);
            }
            Change::Announced(announced) => {
                self.announced.insert(announced.topic.clone(), Some(announced));
            }
            Change::Withdrawn(topic) => {
                self.announced.insert(topic, None);
            }
            Change::Device { device, state } => {
                self.devices.insert(device, Some(state));
            }
            Change::Children { device, children } => {
                self.children.insert(device, children);
            }
            Change::Await => {}
        }
    }

    /// Keeps a store that cannot be written from filling the memory.
    fn bound(&mut self) {
        if self.journal.len() > JOURNAL_BOUND {
            self.journal.clear();
            self.journal_lost = true;
        }
    }

    /// Writes all in one transaction; where that fails, the rows have to be read again.
    pub(super) fn write_to(
        &self,
        database: &Database,
        rows: &mut Rows,
        boot: Option<&str>,
    ) -> Result<(), Cause> {
        let transaction = database.begin_write()?;
        if let Some(memory) = &self.memory {
            let bytes = serde_json::to_vec(memory)?;
            let mut table = transaction.open_table(HUB)?;
            table.insert(MEMORY, bytes.as_slice())?;
            table.insert(BOOT, boot.unwrap_or_default().as_bytes())?;
            table.insert(FORMAT, TODAY)?;
        }
        if self.journal_lost {
            transaction.delete_table(JOURNAL)?;
            *rows = Rows::default();
        }
        if self.is_of_before {
            transaction.delete_table(before::JOURNAL_2)?;
        }
        if !self.journal.is_empty() {
            let mut table = transaction.open_table(JOURNAL)?;
            for (key, record) in &self.journal {
                if let Some(record) = record {
                    table.insert(rows.of(key), postcard::to_allocvec(record)?.as_slice())?;
                } else if let Some(row) = rows.forget(key) {
                    table.remove(row)?;
                }
            }
        }
        if !self.served.is_empty() {
            let mut table = transaction.open_table(SERVED)?;
            for (device, served) in &self.served {
                if let Some(served) = served {
                    let properties = serde_json::to_vec(&served.properties)?;
                    table.insert(&**device, properties.as_slice())?;
                } else {
                    table.remove(&**device)?;
                }
            }
            self.write_filters(&transaction)?;
        }
        if !self.announced.is_empty() {
            let mut table = transaction.open_table(ANNOUNCED)?;
            for (topic, announced) in &self.announced {
                match announced {
                    Some(announced) => {
                        let announced = serde_json::to_vec(announced)?;
                        table.insert(topic.as_str(), announced.as_slice())?;
                    }
                    None => drop(table.remove(topic.as_str())?),
                }
            }
            drop(table);
            delete_if_empty(&transaction, ANNOUNCED)?;
        }
        if !self.children.is_empty() {
            let mut table = transaction.open_table(CHILDREN)?;
            for (id, children) in &self.children {
                match children.is_empty() {
                    true => drop(table.remove(id.as_str())?),
                    false => drop(table.insert(id.as_str(), &**children)?),
                }
            }
            drop(table);
            delete_if_empty(&transaction, CHILDREN)?;
        }
        if !self.devices.is_empty() {
            let mut table = transaction.open_table(DEVICES)?;
            for (id, state) in &self.devices {
                match state {
                    Some(state) => drop(table.insert(id.as_str(), &**state)?),
                    None => drop(table.remove(id.as_str())?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn write_filters(&self, transaction: &WriteTransaction) -> Result<(), Cause> {
        let has_filters = |served: &Served| !served.filters.is_empty();
        let is_there = transaction.list_tables()?.any(|table| table.name() == FILTERS.name());
        if !is_there && !self.served.values().flatten().any(has_filters) {
            return Ok(());
        }
        let mut table = transaction.open_table(FILTERS)?;
        for (device, served) in &self.served {
            match served.as_ref().filter(|served| has_filters(served)) {
                Some(served) => {
                    let filters = serde_json::to_vec(&served.filters)?;
                    table.insert(&**device, filters.as_slice())?;
                }
                None => drop(table.remove(&**device)?),
            }
        }
        drop(table);
        delete_if_empty(transaction, FILTERS)
    }
}

/// Deletes a table that holds nothing: a version that does not know the table reads the file then.
fn delete_if_empty(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, &str, &[u8]>,
) -> Result<(), Cause> {
    if transaction.open_table(definition)?.is_empty()? {
        transaction.delete_table(definition)?;
    }
    Ok(())
}

const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// More than the hub's journal can hold, with what it forgets beside.
const JOURNAL_BOUND: usize = 8192;
