//! What survives a restart: one redb file, written by one thread.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hearth_core::Memory;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tracing::{error, warn};

const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
const DEVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("devices");
const MEMORY: &str = "memory";

/// What the store held at the start.
#[derive(Debug, Default)]
pub struct Contents {
    /// The hub's memory.
    pub memory: Memory,
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
    Memory { revision: u64, memory: Memory },
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
        let contents = read(&database).unwrap_or_else(|cause| {
            warn!(%cause, file = %path.display(), "the store cannot be read; starting without it");
            Contents::default()
        });
        let (commands, inbox) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("store".into())
            .spawn(move || write_on(&database, &inbox, &stored))
            .expect("the system can start a thread");
        Ok((Self { commands, writer }, contents))
    }

    /// Writes the hub's memory durably.
    pub fn put_memory(&self, revision: u64, memory: Memory) {
        // The writer lives as long as this sender.
        let _ = self.commands.send(Command::Memory { revision, memory });
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

fn read(database: &Database) -> Result<Contents, Box<dyn std::error::Error>> {
    let mut contents = Contents::default();
    let transaction = database.begin_read()?;
    match transaction.open_table(HUB) {
        Ok(table) => {
            if let Some(value) = table.get(MEMORY)? {
                contents.memory = serde_json::from_slice(value.value())?;
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    match transaction.open_table(DEVICES) {
        Ok(table) => {
            for row in table.iter()? {
                let (id, state) = row?;
                contents.devices.insert(id.value().to_owned(), state.value().to_owned());
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(contents)
}

/// Writes the memory at once, and devices at most once a second.
fn write_on(database: &Database, inbox: &mpsc::Receiver<Command>, stored: &impl Fn(u64)) {
    let mut devices = BTreeMap::new();
    let mut due: Option<Instant> = None;
    loop {
        let wait = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
        let received = if due.is_some() {
            inbox.recv_timeout(wait)
        } else {
            inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        };
        let mut newest = None;
        let ended = matches!(received, Err(mpsc::RecvTimeoutError::Disconnected));
        for command in received.into_iter().chain(inbox.try_iter()) {
            match command {
                Command::Memory { revision, memory } => newest = Some((revision, memory)),
                Command::Device { id, state } => {
                    devices.insert(id, state);
                    due.get_or_insert_with(|| Instant::now() + DEVICE_INTERVAL);
                }
            }
        }
        let devices_due = ended || due.is_some_and(|due| due <= Instant::now());
        if newest.is_some() || (devices_due && !devices.is_empty()) {
            let memory = newest.as_ref().map(|(_, memory)| memory);
            match write(database, memory, &devices) {
                Ok(()) => {
                    devices.clear();
                    due = None;
                }
                Err(cause) => {
                    error!(%cause, "the store cannot be written; going on without it");
                    due = Some(Instant::now() + RETRY_INTERVAL);
                }
            }
        }
        // A hub that cannot write its store still answers: durability is lost, and the log says so.
        if let Some((revision, _)) = newest {
            stored(revision);
        }
        if ended {
            return;
        }
    }
}

fn write(
    database: &Database,
    memory: Option<&Memory>,
    devices: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    if let Some(memory) = memory {
        let bytes = serde_json::to_vec(memory)?;
        transaction.open_table(HUB)?.insert(MEMORY, bytes.as_slice())?;
    }
    if !devices.is_empty() {
        let mut table = transaction.open_table(DEVICES)?;
        for (id, state) in devices {
            table.insert(id.as_str(), state.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

const FILE: &str = "state.redb";
const CACHE_BYTES: usize = 256 * 1024;
const DEVICE_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use hearth_core::KnownPrefix;

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
        store.put_memory(7, memory());
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
}
