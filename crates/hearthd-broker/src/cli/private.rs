//! Writes files that not everybody may read.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

/// Who may read a file besides its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Nobody.
    Owner,
    /// The group of the file that there is, else that of the broker's user.
    Broker,
    /// Everybody.
    All,
}

/// Puts a file in the place of the one before; a power cut leaves one of them whole.
pub(super) fn replace(path: &Path, text: &str, readers: Readers) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Broker => {
            if let Some(group) = group_of(path) {
                // Without root's rights the file stays the caller's own.
                let _ = fchown(&file, None, Some(group));
            }
            0o640
        }
        Readers::All => 0o644,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    // Whoever watches the file sees one change: a file that is closed after its renaming is another.
    drop(file);
    fs::rename(&draft, path)?;
    File::open(folder(path))?.sync_all()
}

/// Returns the folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn group_of(path: &Path) -> Option<u32> {
    if let Ok(metadata) = fs::metadata(path) {
        return Some(metadata.gid());
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups
        .lines()
        .find_map(|line| line.strip_prefix("hearth-broker:")?.split(':').nth(1)?.parse().ok())
}
