//! The store's file: how it is opened, who may read it, and where it is moved when it cannot be used.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use redb::{Builder, Database};
use tracing::warn;

use super::{CACHE_BYTES, StoreError};

/// Opens the file, waits a moment for who has it, and puts one aside that is no store.
pub(super) fn open_or_put_aside(directory: &Path, path: &Path) -> Result<Database, StoreError> {
    let end = Instant::now() + RELEASE_TIMEOUT;
    let mut opened = open(directory, path);
    while matches!(opened, Err(StoreError::InUse(_))) && Instant::now() < end {
        thread::sleep(RELEASE_TIMEOUT / 50);
        opened = open(directory, path);
    }
    match opened {
        Err(error) if error.is_damage() => {
            put_aside(path, CORRUPT, &error)?;
            open(directory, path)
        }
        opened => opened,
    }
}

/// Opens the file, or makes it; only its owner may read it, whatever the umask is.
pub(super) fn open(directory: &Path, path: &Path) -> Result<Database, StoreError> {
    private_folder(directory)
        .map_err(|source| StoreError::Folder { path: directory.to_owned(), source })?;
    private_file(path).map_err(|source| StoreError::Open {
        path: path.to_owned(),
        source: Box::new(redb::Error::Io(source)),
    })?;
    builder().create(path).map_err(|error| match error.into() {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::InUse(path.to_owned())
        }
        other => StoreError::Open { path: path.to_owned(), source: Box::new(other) },
    })
}

/// Sets how every store is opened: each page is compared with its checksum, so that a byte that has changed on the card
/// makes the file a damaged one. A plain open trusts a file that was closed in order.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes a folder that no other user may read; an existing one keeps its mode.
pub(super) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the file where it is not there, and takes the rights of others away.
fn private_file(path: &Path) -> io::Result<()> {
    // Opened only where it is new: who closes a file gives up the locks that its process has on it.
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.permissions().mode();
            if mode & 0o077 != 0
                && let Err(cause) = fs::set_permissions(path, Permissions::from_mode(PRIVATE))
            {
                warn!(%cause, file = %path.display(), "other users may read the store");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Renames a file that cannot be used, so that a person may still look at it.
pub(super) fn put_aside(
    path: &Path,
    extension: &str,
    cause: &dyn std::error::Error,
) -> Result<(), StoreError> {
    let aside = free_name(path, extension);
    warn!(%cause, put_aside_as = %aside.display(), "the store cannot be used; starting without it");
    fs::rename(path, &aside).map_err(|source| StoreError::Folder { path: path.to_owned(), source })
}

/// Returns an unused name; if there are [`MOST_ASIDE`] files already, that of the oldest.
fn free_name(path: &Path, extension: &str) -> PathBuf {
    let name = |n: usize| match n {
        1 => path.with_extension(extension),
        n => path.with_extension(format!("{extension}-{n}")),
    };
    let age = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let names = (1..=MOST_ASIDE).map(name);
    // What is not there has no age, which comes first.
    names.min_by_key(age).expect("there is more than one name")
}

impl StoreError {
    /// Returns whether the file itself is what is wrong.
    pub(super) fn is_damage(&self) -> bool {
        let Self::Open { source, .. } = self else { return false };
        match &**source {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted => true,
            redb::Error::Io(cause) => is_damage(cause),
            _ => false,
        }
    }
}

/// Returns whether an error of reading is about what was read, and not about reading.
pub(super) fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// A daemon that was killed while it started a process leaves its lock to that for a moment.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read and written by its owner alone.
const PRIVATE: u32 = 0o600;
/// The extension of a damaged store, or of what is none.
pub(super) const CORRUPT: &str = "corrupt";
/// The extension of a store that a newer version has written.
pub(super) const NEWER: &str = "newer";
/// How many of each are kept: a card has little room.
const MOST_ASIDE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_that_were_put_aside_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.redb");
        let cause = io::Error::other("broken");
        for n in 0..6u64 {
            fs::write(&file, n.to_string()).unwrap();
            let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(n);
            fs::File::open(&file).unwrap().set_modified(written).unwrap();
            put_aside(&file, CORRUPT, &cause).unwrap();
        }
        let content = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let names = ["state.corrupt", "state.corrupt-2", "state.corrupt-3", "state.corrupt-4"];
        assert_eq!(names.map(content), ["4", "5", "2", "3"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_ASIDE);
    }

    #[test]
    fn nobody_else_reads_the_store_whatever_the_rights_were_before() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("state");
        let file = folder.join("state.redb");
        drop(open(&folder, &file).unwrap());
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o750)).unwrap();
        drop(open(&folder, &file).unwrap());
        assert_eq!((mode(&folder), mode(&file)), (0o750, 0o600));
    }
}
