//! What survives a restart: one redb file, written by one thread.

mod before;
mod inbox;
mod rows;
mod writer;

#[cfg(test)]
mod disk;
#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hearth_core::{Change, Kept, Record, Served};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError,
};
use tracing::{error, warn};

use inbox::Inbox;
use rows::Rows;
use writer::{Opened, Opener, Writer};

const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
const DEVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("devices");
/// Records in postcard's form, as [`Rows`] knows; another form gets another name.
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal-3");
/// What may be left of devices at the broker: the names of properties as JSON, by device.
const SERVED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("served");
const MEMORY: &str = "memory";
/// The boot in which the journal was written: its times mean nothing in another.
const BOOT: &str = "boot";

/// What the store held at the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// What the hub remembers.
    pub kept: Kept,
    /// The saved states of devices.
    pub devices: BTreeMap<String, Vec<u8>>,
}

/// What the store reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// It holds this revision and all before it.
    Stored {
        /// The revision.
        revision: u64,
    },
    /// It cannot be written; it tries again by itself, and then reports that it could.
    Failed {
        /// The newest revision that it was given.
        revision: u64,
        /// Why.
        error: String,
    },
}

/// The writing end of the store.
#[derive(Debug)]
pub struct Store {
    inbox: Arc<Inbox>,
    writer: Option<thread::JoinHandle<()>>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("make the state folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file cannot be opened.
    #[error("open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

impl Store {
    /// Opens the store; `report` is called with what becomes of revisions, from another thread.
    ///
    /// A file that is no store, or a damaged one, is put aside: a hub must come up again without a person. A card
    /// that is full or has become read-only is waited for, with nothing remembered until then.
    ///
    /// # Errors
    /// Where the folder may not be used, or another daemon uses it.
    pub fn open(
        directory: &Path,
        report: impl Fn(StoreEvent) + Send + 'static,
    ) -> Result<(Self, Contents), StoreError> {
        let path = directory.join(FILE);
        let boot = boot_id();
        let (opened, contents) = match open_and_read(directory, &path, boot.as_deref()) {
            Ok((opened, contents)) => (Ok(opened), contents),
            Err(error) if error.may_pass() => (Err(error.to_string()), Contents::default()),
            Err(error) => return Err(error),
        };
        let writer = Writer::new(opened, opener(directory, &path), boot, &contents.kept.journal);
        Ok((Self::start(writer, report), contents))
    }

    fn start(writer: Writer, report: impl Fn(StoreEvent) + Send + 'static) -> Self {
        let inbox = Arc::new(Inbox::default());
        let taken = Arc::clone(&inbox);
        let writer = thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(&taken, &report))
            .expect("the system can start a thread");
        Self { inbox, writer: Some(writer) }
    }

    /// Writes a change of the hub's: as soon as somebody waits for it, or within a second.
    pub fn put(&self, revision: u64, change: Change) {
        self.inbox.put(revision, change);
    }

    /// Writes what is left and ends the writer.
    pub fn close(mut self) {
        self.inbox.close();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            error!("the store's writer has panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl StoreError {
    /// Returns whether the same may work later without anybody's doing: the card is full, or the kernel has made it
    /// read-only because it fails.
    pub fn may_pass(&self) -> bool {
        let cause = match self {
            Self::Folder { source, .. } => source,
            Self::InUse(_) => return false,
            Self::Open { source, .. } => match &**source {
                redb::Error::Io(cause) => cause,
                _ => return false,
            },
        };
        matches!(
            cause.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge
                | io::ErrorKind::ReadOnlyFilesystem
        ) || cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
    }
}

/// Opens the file again after a failure, which may have left less than a whole one where there was none before.
fn opener(directory: &Path, path: &Path) -> Opener {
    let (directory, path) = (directory.to_owned(), path.to_owned());
    Box::new(move || open_or_put_aside(&directory, &path))
}

/// Opens the file, and reads what it holds; one that cannot be read is put aside as well.
fn open_and_read(
    directory: &Path,
    path: &Path,
    boot: Option<&str>,
) -> Result<(Opened, Contents), StoreError> {
    let database = open_or_put_aside(directory, path)?;
    match read(&database, boot) {
        Ok((contents, rows, is_of_before)) => {
            Ok((Opened { database, rows, is_of_before }, contents))
        }
        Err(cause) => {
            drop(database);
            put_aside(path, &*cause)?;
            let database = open_file(directory, path)?;
            let opened = Opened { database, rows: Rows::default(), is_of_before: false };
            Ok((opened, Contents::default()))
        }
    }
}

fn open_or_put_aside(directory: &Path, path: &Path) -> Result<Database, StoreError> {
    let end = Instant::now() + RELEASE_TIMEOUT;
    let mut opened = open_file(directory, path);
    while matches!(opened, Err(StoreError::InUse(_))) && Instant::now() < end {
        thread::sleep(RELEASE_TIMEOUT / 50);
        opened = open_file(directory, path);
    }
    match opened {
        Err(error) if is_damaged(&error) => {
            put_aside(path, &error)?;
            open_file(directory, path)
        }
        opened => opened,
    }
}

fn open_file(directory: &Path, path: &Path) -> Result<Database, StoreError> {
    fs::create_dir_all(directory)
        .map_err(|source| StoreError::Folder { path: directory.to_owned(), source })?;
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        other => StoreError::Open { path: path.to_owned(), source: Box::new(other.into()) },
    })
}

/// Returns whether the file itself is what is wrong.
fn is_damaged(error: &StoreError) -> bool {
    let StoreError::Open { source, .. } = error else { return false };
    match &**source {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted => true,
        redb::Error::Io(cause) => {
            matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

fn put_aside(path: &Path, cause: &dyn std::error::Error) -> Result<(), StoreError> {
    let aside = path.with_extension("corrupt");
    warn!(%cause, put_aside_as = %aside.display(), "the store cannot be used; starting without it");
    fs::rename(path, &aside).map_err(|source| StoreError::Folder { path: path.to_owned(), source })
}

type Cause = Box<dyn std::error::Error>;

fn read(database: &Database, boot: Option<&str>) -> Result<(Contents, Rows, bool), Cause> {
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    let mut same_boot = false;
    if let Some(table) = open_table(&transaction, HUB)? {
        if let Some(value) = table.get(MEMORY)? {
            contents.kept.memory = serde_json::from_slice(value.value())?;
        }
        let written_in = table.get(BOOT)?;
        same_boot = written_in.is_some_and(|value| Some(value.value()) == boot.map(str::as_bytes));
    }
    if let Some(table) = open_table(&transaction, DEVICES)? {
        for row in table.iter()? {
            let (id, state) = row?;
            contents.devices.insert(id.value().to_owned(), state.value().to_owned());
        }
    }
    if let Some(table) = open_table(&transaction, SERVED)? {
        for row in table.iter()? {
            let (device, properties) = row?;
            let properties = serde_json::from_slice(properties.value())?;
            contents.kept.served.push(Served { device: device.value().into(), properties });
        }
    }
    let journal = read_journal(&transaction)?;
    let rows = rows_of(&journal);
    let earlier = before::read_journal(&transaction)?;
    let is_of_before = !earlier.is_empty();
    let records = earlier.into_iter().chain(journal.into_iter().map(|(_, record)| record));
    contents.kept.journal = records.map(|record| of_this_boot(record, same_boot)).collect();
    Ok((contents, rows, is_of_before))
}

fn read_rows(database: &Database) -> Result<Rows, Cause> {
    Ok(rows_of(&read_journal(&database.begin_read()?)?))
}

fn rows_of(journal: &[(u64, Record)]) -> Rows {
    Rows::holding(journal.iter().map(|(row, record)| (*row, record.key.clone())))
}

fn read_journal(transaction: &ReadTransaction) -> Result<Vec<(u64, Record)>, Cause> {
    let mut journal = Vec::new();
    let Some(table) = open_table(transaction, JOURNAL)? else { return Ok(journal) };
    for entry in table.iter()? {
        let (row, record) = entry?;
        match postcard::from_bytes::<Record>(record.value()) {
            Ok(record) => journal.push((row.value(), record)),
            Err(cause) => warn!(%cause, "a request of the journal cannot be read"),
        }
    }
    Ok(journal)
}

/// Opens a table; none where it was never written.
fn open_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<redb::ReadOnlyTable<K, V>>, TableError> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Marks a requester of an earlier boot as gone, because nobody knows how long the system was off.
fn of_this_boot(mut record: Record, same_boot: bool) -> Record {
    if !same_boot && record.reply.expires.is_some() {
        record.reply.expires = Some(Duration::ZERO);
    }
    record
}

/// Names the boot; a boot without a name is like no other, not even like itself.
fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// A daemon that was killed while it started a process leaves its lock to that for a moment.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
const FILE: &str = "state.redb";
const CACHE_BYTES: usize = 256 * 1024;
