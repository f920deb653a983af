//! The broker's state on disk: one redb file, written by a separate thread.

mod file;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tracing::{error, info};

use crate::core::{Change, Table};

pub(crate) use file::put_old_storage_aside;

/// What the store had when it was opened: each table with its records, in the order of [`Table::ALL`].
pub(crate) type Records = Vec<(Table, Vec<u8>, Vec<u8>)>;

/// The opened store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    database: Database,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The folder cannot be made.
    #[error("create {path}: {source}; choose another `[storage] directory` or change its owner")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{0} is in use; is another hearth-broker running?")]
    InUse(PathBuf),
    /// The file cannot be opened, read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: Box<redb::Error>,
    },
    /// A file cannot be put aside.
    #[error("move {path} aside: {source}")]
    Aside {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Store {
    /// Opens the store of a folder and reads it. A file that is no store is put aside, with a line in the log.
    ///
    /// # Errors
    /// Where the folder or the file cannot be used.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Records), StoreError> {
        let path = directory.join(FILE);
        file::private_folder(directory)
            .map_err(|source| StoreError::Folder { path: directory.to_owned(), source })?;
        let attempt = file::open(&path).and_then(|database| {
            let records = read(&database).map_err(|source| failed(&path, source))?;
            Ok((database, records))
        });
        let (database, records) = match attempt {
            Err(error) if file::is_damage(&error) => {
                file::put_damaged_aside(&path, &error)?;
                (file::open(&path)?, Records::new())
            }
            other => other?,
        };
        let database = file::compacted(database, &path, size_of(&records))?;
        Ok((Self { path, database }, records))
    }

    /// Writes changes durably, all or none of them.
    ///
    /// # Errors
    /// Where the disk does not take them; nothing is changed then.
    pub(crate) fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        write(&self.database, changes).map_err(|source| failed(&self.path, source))
    }

    /// Starts the thread that writes; `written` is called on it with the number of every batch.
    pub(crate) fn start(self, written: impl Fn(u64) + Send + 'static) -> Writer {
        // The core makes no batch before it has the one before, so there is always room.
        let (batches, incoming) = sync_channel(1);
        let thread = std::thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || self.run(&incoming, &written));
        Writer { batches: Some(batches), thread: thread.ok() }
    }

    fn run(mut self, incoming: &Receiver<(u64, Vec<Change>)>, written: &impl Fn(u64)) {
        while let Ok((batch, changes)) = incoming.recv() {
            let mut told = false;
            while let Err(error) = self.write(&changes) {
                if !told {
                    error!(%error, "the store cannot be written; acknowledgements wait for it");
                    told = true;
                }
                std::thread::sleep(RETRY);
                // After a disk error, redb refuses everything until the file is opened again.
                self = match self.reopened() {
                    Ok(store) => store,
                    Err(error) => {
                        error!(%error, "the store cannot be opened again");
                        return;
                    }
                };
            }
            if told {
                info!("the store is written again");
            }
            written(batch);
        }
    }

    fn reopened(self) -> Result<Self, StoreError> {
        let Self { path, database } = self;
        drop(database);
        loop {
            match file::open(&path) {
                Ok(database) => return Ok(Self { path, database }),
                Err(error) if file::is_damage(&error) => return Err(error),
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }
}

/// The thread that writes the store.
#[derive(Debug)]
pub(crate) struct Writer {
    batches: Option<SyncSender<(u64, Vec<Change>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Hands a batch over; returns whether the thread is still there.
    pub(crate) fn write(&self, batch: u64, changes: Vec<Change>) -> bool {
        self.batches.as_ref().is_some_and(|batches| batches.send((batch, changes)).is_ok())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told by itself.
            let _ = thread.join();
        }
    }
}

fn read(database: &Database) -> Result<Records, redb::Error> {
    let transaction = database.begin_read()?;
    let mut records = Records::new();
    for table in Table::ALL {
        let opened = match transaction.open_table(definition(table)) {
            Ok(opened) => opened,
            Err(redb::TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for record in opened.iter()? {
            let (key, value) = record?;
            records.push((table, key.value().to_vec(), value.value().to_vec()));
        }
    }
    Ok(records)
}

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for table in Table::ALL {
        let of_table: Vec<&Change> =
            changes.iter().filter(|change| change.table == table).collect();
        if of_table.is_empty() {
            continue;
        }
        let mut opened = transaction.open_table(definition(table))?;
        for change in of_table {
            match &change.value {
                Some(value) => drop(opened.insert(change.key.as_slice(), value.as_slice())?),
                None => drop(opened.remove(change.key.as_slice())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Sessions => "sessions",
        Table::Subscriptions => "subscriptions",
        Table::Received => "received",
        Table::Bodies => "bodies",
        Table::Entries => "entries",
        Table::Retained => "retained",
        Table::Cursors => "cursors",
    })
}

fn size_of(records: &Records) -> u64 {
    records.iter().map(|(_, key, value)| (key.len() + value.len()) as u64).sum()
}

fn failed(path: &Path, source: redb::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), source: Box::new(source) }
}

const FILE: &str = "broker.redb";
const RETRY: Duration = Duration::from_secs(1);
