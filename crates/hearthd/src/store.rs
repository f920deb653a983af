//! The data that survives a restart: one redb file, written by one thread.

mod before;
mod contents;
mod file;
mod inbox;
mod pending;
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
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hearthd_core::Change;
use redb::TableDefinition;
use tracing::error;

pub(crate) use contents::Contents;
use contents::{Read, Unreadable, read};
use inbox::Inbox;
use rows::Rows;
use writer::{Opened, Opener, Writer};

const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
const DEVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("devices");
/// Records in postcard's form, as [`Rows`] knows; another form gets another name.
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal-3");
/// What may be left of devices at the broker: the names of properties as JSON, by device.
const SERVED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("served");
/// The filters that the session may be subscribed to for devices themselves, as JSON, by device. It is there while a
/// device has some: a version that does not know the table puts the file aside.
const FILTERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("filters");
/// What may be retained because of announcements: the rest of each as JSON, by topic. It is there while there are some.
const ANNOUNCED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("announced");
/// What is remembered of the devices that a device has added, by that device's ID. It is there while there are some.
const CHILDREN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("children");
const MEMORY: &str = "memory";
/// Names the format of all tables; it changes where an earlier version would misread what a later one has written.
const FORMAT: &str = "format";
const TODAY: &[u8] = b"1";
/// The boot in which the journal was written: its times mean nothing in another.
const BOOT: &str = "boot";

/// What the store reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreEvent {
    /// It holds this revision and all before it.
    Stored {
        /// The revision.
        revision: u64,
    },
    /// It cannot be written. It tries again by itself, and reports when it can be written.
    Failed {
        /// The newest revision that it was given.
        revision: u64,
        /// Why.
        error: String,
    },
}

/// The writing end of the store.
#[derive(Debug)]
pub(crate) struct Store {
    inbox: Arc<Inbox>,
    writer: Option<thread::JoinHandle<()>>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
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
    /// A file that is no store, a damaged one, or one of a newer version is put aside: a hub must come up again without
    /// a person. A card that is full or has become read-only is waited for, with nothing remembered until then.
    ///
    /// The state of a device that is not configured is forgotten once nothing is left of the device at the broker: a
    /// life of the hub without it has ended then.
    ///
    /// # Errors
    /// Where the folder may not be used, or another daemon uses it.
    pub(crate) fn open(
        directory: &Path,
        is_configured: impl Fn(&str) -> bool,
        report: impl Fn(StoreEvent) + Send + 'static,
    ) -> Result<(Self, Contents), StoreError> {
        let path = directory.join(FILE);
        let boot = boot_id();
        let outcome = open_and_read_patiently(directory, &path, boot.as_deref());
        let (opened, mut contents) = match outcome {
            Ok((opened, contents)) => (Ok(opened), contents),
            Err(error) if error.may_pass() => (Err(error.to_string()), Contents::default()),
            Err(error) => return Err(error),
        };
        let mut writer =
            Writer::new(opened, opener(directory, &path), boot, &contents.kept.journal);
        for device in contents.take_forgotten(is_configured) {
            writer.forget(device);
        }
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

    /// Writes a change of the hub: as soon as something waits for it, or within a second.
    pub(crate) fn put(&self, revision: u64, change: Change) {
        self.inbox.put(revision, change);
    }

    /// Writes what is left and ends the writer.
    pub(crate) fn close(mut self) {
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
    /// read-only because it fails, or the system is short of something.
    pub(crate) fn may_pass(&self) -> bool {
        let Some(cause) = self.cause() else { return false };
        matches!(
            cause.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge
                | io::ErrorKind::ReadOnlyFilesystem
        ) || self.is_shortage()
    }

    /// Returns whether the same may work a moment later: the system is short of something, or the card fails.
    fn is_shortage(&self) -> bool {
        use rustix::io::Errno;
        let short =
            [Errno::IO, Errno::AGAIN, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        let code = self.cause().and_then(io::Error::raw_os_error);
        short.iter().any(|errno| code == Some(errno.raw_os_error()))
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Folder { source, .. } => Some(source),
            Self::InUse(_) => None,
            Self::Open { source, .. } => match &**source {
                redb::Error::Io(cause) => Some(cause),
                _ => None,
            },
        }
    }
}

type Cause = Box<dyn std::error::Error>;

/// Opens the file again after a failure, which may have left less than a whole one where there was none before.
fn opener(directory: &Path, path: &Path) -> Opener {
    let (directory, path) = (directory.to_owned(), path.to_owned());
    Box::new(move || file::open_or_put_aside(&directory, &path))
}

/// Opens the file, and reads what it holds; one that cannot be read is put aside as well.
fn open_and_read(
    directory: &Path,
    path: &Path,
    boot: Option<&str>,
) -> Result<(Opened, Contents), StoreError> {
    let database = file::open_or_put_aside(directory, path)?;
    let (extension, cause) = match read(&database, boot) {
        Ok(Read { contents, rows, is_of_before }) => {
            return Ok((Opened { database, rows, is_of_before }, contents));
        }
        Err(Unreadable::OutOfReach(source)) => {
            return Err(StoreError::Open { path: path.to_owned(), source: Box::new(source) });
        }
        Err(cause @ Unreadable::Newer(_)) => (file::NEWER, cause),
        Err(cause @ Unreadable::Broken(_)) => (file::CORRUPT, cause),
    };
    drop(database);
    file::put_aside(path, extension, &cause)?;
    let database = file::open(directory, path)?;
    let opened = Opened { database, rows: Rows::default(), is_of_before: false };
    Ok((opened, Contents::default()))
}

/// Does the same, and again for a moment where the system is short of something.
fn open_and_read_patiently(
    directory: &Path,
    path: &Path,
    boot: Option<&str>,
) -> Result<(Opened, Contents), StoreError> {
    let end = Instant::now() + SHORTAGE_TIMEOUT;
    loop {
        match open_and_read(directory, path, boot) {
            Err(error) if error.is_shortage() && Instant::now() < end => {
                thread::sleep(SHORTAGE_TIMEOUT / 20);
            }
            outcome => return outcome,
        }
    }
}

/// Makes a folder below the state folder that no other user may read or write.
///
/// # Errors
/// It cannot be made, or belongs to another user.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    file::private_folder(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Names the boot; a boot without a name is like no other, not even like itself.
fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// How long a shortage of memory or files, or a card that fails, is given at the start.
const SHORTAGE_TIMEOUT: Duration = Duration::from_secs(2);
const FILE: &str = "state.redb";
const CACHE_BYTES: usize = 256 * 1024;
