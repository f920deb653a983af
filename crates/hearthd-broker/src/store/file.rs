//! The store's file: how it is opened, and where it is moved when it cannot be used.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use redb::Database;
use tracing::{error, info, warn};

use super::{FILE, StoreError, failed};

/// Opens the file, or makes it; only its owner may read it.
pub(super) fn open(path: &Path) -> Result<Database, StoreError> {
    let is_new = !path.exists();
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|source| failed(path, redb::Error::Io(source)))?;
    // Each page is compared with its checksum: a plain open trusts a file that was closed in order. What is left of a
    // damaged one may still take redb by surprise.
    let opened = std::panic::catch_unwind(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)
    });
    match opened.map(|opened| opened.map_err(redb::Error::from)) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch)) => {
            Err(StoreError::InUse(path.to_owned()))
        }
        Ok(Err(source)) => {
            if is_new {
                // What is left of one that the disk had no room for would pass for a damaged store.
                let _ = fs::remove_file(path);
            }
            Err(failed(path, source))
        }
        Err(_) => Err(failed(path, redb::Error::Corrupted("it cannot be read at all".into()))),
    }
}

/// Returns unused space to the file system, if there is much of it: a file that grew stays large.
pub(super) fn compacted(
    mut database: Database,
    path: &Path,
    used: u64,
) -> Result<Database, StoreError> {
    let size = || fs::metadata(path).map_or(0, |metadata| metadata.len());
    let before = size();
    if before < SMALL || before / WASTE < used {
        return Ok(database);
    }
    match database.compact() {
        Ok(_) => {
            info!(before, after = size(), "the store was compacted");
            Ok(database)
        }
        Err(error) => {
            // Nothing is lost by it; but after an error of the disk redb wants the file opened anew.
            warn!(%error, "the store could not be compacted");
            drop(database);
            open(path)
        }
    }
}

/// Makes a folder that no other user may read; an existing one keeps its mode.
pub(super) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Returns whether an error says that the file is no store, rather than that it cannot be reached.
pub(super) fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::File { source, .. } => match &**source {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::RepairAborted => true,
            redb::Error::Io(error) => {
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
            _ => false,
        },
        StoreError::Folder { .. } | StoreError::InUse(_) | StoreError::Aside { .. } => false,
    }
}

/// Moves a file that is no store aside, in the place of the one before it.
pub(super) fn put_damaged_aside(path: &Path, why: &StoreError) -> Result<(), StoreError> {
    let aside = path.with_extension("redb.damaged");
    error!(
        %why, aside = %aside.display(),
        "the store is damaged and was moved aside: the broker starts without sessions and retained messages"
    );
    fs::rename(path, aside).map_err(|source| StoreError::Aside { path: path.to_owned(), source })
}

/// Moves what the broker of another make kept in the folder aside; returns where to, if there was anything.
///
/// # Errors
/// Where it cannot be moved.
pub(crate) fn put_old_storage_aside(directory: &Path) -> Result<Option<PathBuf>, StoreError> {
    let failed = |source| StoreError::Aside { path: directory.to_owned(), source };
    if directory.join(FILE).exists() || !directory.exists() {
        return Ok(None);
    }
    let aside = directory.join(OLD);
    let mut moved = false;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name() == OLD {
            continue;
        }
        private_folder(&aside).map_err(failed)?;
        fs::rename(entry.path(), aside.join(entry.file_name())).map_err(failed)?;
        moved = true;
    }
    if !moved {
        return Ok(None);
    }
    warn!(
        aside = %aside.display(),
        "the store of the previous broker was moved aside: the broker starts without its sessions and retained messages"
    );
    Ok(Some(aside))
}

/// Memory that redb keeps pages in: everything is read once, at the start.
const CACHE_BYTES: usize = 1024 * 1024;
/// A file below this size is not worth the time.
const SMALL: u64 = 8 * 1024 * 1024;
/// A file so many times as large as what is in it is compacted.
const WASTE: u64 = 4;
/// Where the files of the broker before go.
const OLD: &str = "before";
