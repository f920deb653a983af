//! The thread that writes the store.
//!
//! Everything that waits when the thread is ready goes into one transaction. So many requests at once cost one write to
//! the card, and an answer is never stored without the state that it tells of. A change that a PUBACK waits for is
//! written within milliseconds; a change that nothing waits for is written with the next one, or a second later.

use std::time::{Duration, Instant};

use hearthd_core::{Change, JournalRecord};
use redb::Database;
use tracing::{error, info};

use super::{
    Cause, StoreError, StoreEvent, contents::read_rows, inbox::Inbox, pending::Pending, rows::Rows,
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
        let mut pending = Pending::default();
        pending.journal_lost = opened.is_err();
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
        self.pending.forget_device(device);
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
            let news = changes.is_some();
            if let Some((revision, changes)) = changes {
                self.newest = revision;
                self.pending.append(changes);
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

const RETRY_INTERVAL: Duration = Duration::from_secs(5);
