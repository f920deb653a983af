//! What survives a restart: one redb file, written by one thread.
//!
//! Whatever waits when the thread comes to it goes into one transaction, so that many requests at once cost one
//! write to the card; what nobody waits for goes with the next, or a second later.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hearth_core::{Change, Memory, Record, RequestKey};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};
use tracing::{error, info, warn};

const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
const DEVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("devices");
/// Keys and records in postcard's form; another form gets another name.
const JOURNAL: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("journal-1");
const MEMORY: &str = "memory";
/// The boot in which the journal was written: its times mean nothing in another.
const BOOT: &str = "boot";

/// What the store held at the start.
#[derive(Debug, Default)]
pub struct Contents {
    /// The hub's memory.
    pub memory: Memory,
    /// The requests that may be delivered again.
    pub journal: Vec<Record>,
    /// The saved states of devices.
    pub devices: BTreeMap<String, Vec<u8>>,
}

/// The writing end of the store.
#[derive(Debug)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    writer: thread::JoinHandle<()>,
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

enum Command {
    Change { revision: u64, change: Box<Change> },
    Device { id: String, state: Vec<u8> },
}

impl Store {
    /// Opens the store in a folder, and starts its writer; `stored` hears of each durable revision.
    ///
    /// A file that is not a store is put aside with a warning, because a hub that does not start is worse.
    ///
    /// # Errors
    /// Where the folder or the file cannot be used, or another process has the file.
    pub fn open(
        directory: &Path,
        stored: impl Fn(u64) + Send + 'static,
    ) -> Result<(Self, Contents), StoreError> {
        fs::create_dir_all(directory)
            .map_err(|source| StoreError::Folder { path: directory.to_owned(), source })?;
        let path = directory.join(FILE);
        let database = match open_file(&path) {
            Ok(database) => database,
            Err(error @ (StoreError::InUse(_) | StoreError::Folder { .. })) => return Err(error),
            Err(error) => {
                put_aside(&path, &error)?;
                open_file(&path)?
            }
        };
        let boot = boot_id();
        let contents = read(&database, &boot).unwrap_or_else(|cause| {
            warn!(%cause, file = %path.display(), "the store cannot be read; starting without it");
            Contents::default()
        });
        let (commands, inbox) = mpsc::channel();
        let journal = contents.journal.clone();
        let writer = thread::Builder::new()
            .name("store".into())
            .spawn(move || Writer::new(database, boot, &journal).run(&inbox, &stored))
            .expect("the system can start a thread");
        Ok((Self { commands, writer }, contents))
    }

    /// Writes a change of the hub's: at once if it is urgent, else within a second.
    pub fn put(&self, revision: u64, change: Change) {
        // The writer lives as long as this sender.
        let _ = self.commands.send(Command::Change { revision, change: Box::new(change) });
    }

    /// Writes a device's state within a second.
    pub fn put_device(&self, id: String, state: Vec<u8>) {
        let _ = self.commands.send(Command::Device { id, state });
    }

    /// Writes what is left and ends the writer.
    pub fn close(self) {
        drop(self.commands);
        if self.writer.join().is_err() {
            error!("the store's writer has panicked");
        }
    }
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    opened.map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        other => StoreError::Open { path: path.to_owned(), source: Box::new(other.into()) },
    })
}

fn put_aside(path: &Path, cause: &StoreError) -> Result<(), StoreError> {
    let aside = path.with_extension("corrupt");
    warn!(%cause, put_aside_as = %aside.display(), "the store cannot be opened; starting without it");
    fs::rename(path, &aside).map_err(|source| StoreError::Folder { path: path.to_owned(), source })
}

type Cause = Box<dyn std::error::Error>;

fn read(database: &Database, boot: &str) -> Result<Contents, Cause> {
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    let mut same_boot = false;
    if let Some(table) = open_table(&transaction, HUB)? {
        if let Some(value) = table.get(MEMORY)? {
            contents.memory = serde_json::from_slice(value.value())?;
        }
        same_boot = table.get(BOOT)?.is_some_and(|value| value.value() == boot.as_bytes());
    }
    if let Some(table) = open_table(&transaction, DEVICES)? {
        for row in table.iter()? {
            let (id, state) = row?;
            contents.devices.insert(id.value().to_owned(), state.value().to_owned());
        }
    }
    if let Some(table) = open_table(&transaction, JOURNAL)? {
        for row in table.iter()? {
            match postcard::from_bytes::<Record>(row?.1.value()) {
                Ok(record) => contents.journal.push(of_this_boot(record, same_boot)),
                Err(cause) => warn!(%cause, "a request of the journal cannot be read"),
            }
        }
    }
    Ok(contents)
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

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The thread that writes.
struct Writer {
    database: Database,
    boot: String,
    pending: Pending,
    /// Whether the last attempt failed, which is said once.
    failing: bool,
}

/// What the file does not hold yet; of each thing the newest.
#[derive(Debug, Default)]
struct Pending {
    memory: Option<Memory>,
    /// None where the request is forgotten.
    journal: BTreeMap<RequestKey, Option<Record>>,
    devices: BTreeMap<String, Vec<u8>>,
    /// The journal was given up while it could not be written: what the file holds of it is of no use.
    journal_lost: bool,
}

impl Writer {
    /// Makes the writer; what it read of an earlier boot is written again as it reads now.
    fn new(database: Database, boot: String, journal: &[Record]) -> Self {
        let mut pending = Pending::default();
        for record in journal.iter().filter(|record| record.reply.expires == Some(Duration::ZERO)) {
            pending.change(Change::Record(record.clone()));
        }
        Self { database, boot, pending, failing: false }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>, stored: &impl Fn(u64)) {
        let mut due: Option<Instant> = None;
        loop {
            let received = match due {
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            let ended = matches!(received, Err(mpsc::RecvTimeoutError::Disconnected));
            let (mut newest, mut urgent) = (None, false);
            for command in received.into_iter().chain(inbox.try_iter()) {
                match command {
                    Command::Change { revision, change } => {
                        newest = Some(revision);
                        urgent |= change.is_urgent();
                        self.pending.change(*change);
                    }
                    Command::Device { id, state } => {
                        self.pending.devices.insert(id, state);
                    }
                }
                due.get_or_insert_with(|| Instant::now() + LAZY_INTERVAL);
            }
            if urgent || ended || due.is_some_and(|due| due <= Instant::now()) {
                due = self.write().err().map(|()| Instant::now() + RETRY_INTERVAL);
            }
            // A hub that cannot write its store still answers: durability is lost, and the log says so.
            if let Some(revision) = newest {
                stored(revision);
            }
            if ended {
                return;
            }
        }
    }

    fn write(&mut self) -> Result<(), ()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match self.pending.write_to(&self.database, &self.boot) {
            Ok(()) => {
                self.pending = Pending::default();
                if std::mem::replace(&mut self.failing, false) {
                    info!("the store is written again");
                }
                Ok(())
            }
            Err(cause) => {
                if !std::mem::replace(&mut self.failing, true) {
                    error!(%cause, "the store cannot be written; going on without it");
                }
                self.pending.bound();
                Err(())
            }
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.memory.is_none()
            && self.journal.is_empty()
            && self.devices.is_empty()
            && !self.journal_lost
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Memory(memory) => self.memory = Some(memory),
            Change::Record(record) => {
                self.journal.insert(record.key.clone(), Some(record));
            }
            Change::Forget(key) => {
                self.journal.insert(key, None);
            }
        }
    }

    /// Keeps a store that cannot be written from filling the memory.
    fn bound(&mut self) {
        if self.journal.len() > JOURNAL_BOUND {
            self.journal.clear();
            self.journal_lost = true;
        }
    }

    fn write_to(&self, database: &Database, boot: &str) -> Result<(), Cause> {
        let transaction = database.begin_write()?;
        if let Some(memory) = &self.memory {
            let bytes = serde_json::to_vec(memory)?;
            let mut table = transaction.open_table(HUB)?;
            table.insert(MEMORY, bytes.as_slice())?;
            table.insert(BOOT, boot.as_bytes())?;
        }
        if self.journal_lost {
            transaction.delete_table(JOURNAL)?;
        }
        if !self.journal.is_empty() {
            let mut table = transaction.open_table(JOURNAL)?;
            for (key, record) in &self.journal {
                let key = postcard::to_allocvec(key)?;
                match record {
                    Some(record) => {
                        let bytes = postcard::to_allocvec(record)?;
                        table.insert(key.as_slice(), bytes.as_slice())?;
                    }
                    None => {
                        table.remove(key.as_slice())?;
                    }
                }
            }
        }
        if !self.devices.is_empty() {
            let mut table = transaction.open_table(DEVICES)?;
            for (id, state) in &self.devices {
                table.insert(id.as_str(), state.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

const FILE: &str = "state.redb";
const CACHE_BYTES: usize = 256 * 1024;
/// How long what nobody waits for may wait for company.
const LAZY_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// More than the hub's journal can hold, with what it forgets beside.
const JOURNAL_BOUND: usize = 4096;

#[cfg(test)]
mod tests {
    use hearth_core::{Answer, KnownPrefix, QoS, Reply};

    use super::*;

    fn memory() -> Memory {
        Memory { prefix: Some(KnownPrefix { prefix: None }), ..Memory::default() }
    }

    #[test]
    fn what_was_put_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, revisions) = mpsc::channel();
        let (store, contents) =
            Store::open(folder.path(), move |revision| sender.send(revision).unwrap()).unwrap();
        assert_eq!(contents.memory, Memory::default());
        store.put(7, Change::Memory(memory()));
        store.put_device("lamp".into(), b"on".to_vec());
        assert_eq!(revisions.recv_timeout(Duration::from_secs(10)).unwrap(), 7);
        store.close();
        let (_store, contents) = Store::open(folder.path(), |_| {}).unwrap();
        assert_eq!(contents.memory, memory());
        assert_eq!(contents.devices["lamp"], b"on");
    }

    #[test]
    fn a_file_that_is_no_store_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"this is not a database, whatever it says").unwrap();
        let (_store, contents) = Store::open(folder.path(), |_| {}).unwrap();
        assert_eq!(contents.memory, Memory::default());
        assert!(folder.path().join("state.corrupt").exists());
    }

    #[test]
    fn a_store_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_store, _) = Store::open(folder.path(), |_| {}).unwrap();
        let error = Store::open(folder.path(), |_| {}).unwrap_err();
        assert!(matches!(error, StoreError::InUse(_)), "{error}");
    }

    fn record(n: u32, expires: Option<Duration>) -> Record {
        let key = RequestKey::Correlated {
            response_topic: "alice/response/phone/lamp".into(),
            correlation_data: n.to_be_bytes().to_vec().into(),
        };
        Record {
            key,
            content: n.into(),
            device: "lamp".into(),
            property: "power".into(),
            reply: Reply {
                response_topic: Some("alice/response/phone/lamp".into()),
                correlation_data: Some(n.to_be_bytes().to_vec().into()),
                qos: QoS::AtLeastOnce,
                expires,
            },
            answer: Some(Answer::text("ON")),
            delivered: false,
        }
    }

    fn journal_after(changes: impl IntoIterator<Item = Change>) -> Vec<Record> {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), |_| {}).unwrap();
        for (revision, change) in (1..).zip(changes) {
            store.put(revision, change);
        }
        store.close();
        Store::open(folder.path(), |_| {}).unwrap().1.journal
    }

    #[test]
    fn the_journal_keeps_what_was_put_and_not_what_was_forgotten() {
        let (one, two) = (record(1, Some(Duration::from_secs(9))), record(2, None));
        let changed = Record { delivered: true, ..one.clone() };
        let journal = journal_after([
            Change::Memory(memory()),
            Change::Record(one),
            Change::Record(two.clone()),
            Change::Record(changed.clone()),
            Change::Forget(two.key),
        ]);
        assert_eq!(journal, [changed]);
    }

    #[test]
    fn requesters_of_an_earlier_boot_have_gone() {
        // No memory was written, so the file does not know the boot.
        let journal = journal_after([Change::Record(record(1, Some(Duration::from_secs(9))))]);
        assert_eq!(journal, [record(1, Some(Duration::ZERO))]);
    }

    #[test]
    fn the_file_stays_bounded_however_many_requests_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, revisions) = mpsc::channel();
        let (store, _) =
            Store::open(folder.path(), move |revision| sender.send(revision).unwrap()).unwrap();
        let mut revision = 0;
        for round in 0..60 {
            for n in 0..1000 {
                revision += 1;
                store.put(revision, Change::Record(record(round * 1000 + n, None)));
            }
            while revisions.recv_timeout(Duration::from_secs(30)).unwrap() < revision {}
            for n in 0..1000 {
                revision += 1;
                store.put(revision, Change::Forget(record(round * 1000 + n, None).key));
            }
        }
        store.close();
        let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
        assert!(size <= 4 * 1024 * 1024, "{size} bytes");
    }
}
