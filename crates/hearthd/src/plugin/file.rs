//! A plugin file, and the private copy that is loaded instead of it.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    PluginError,
    identity::{Identity, IdentityError},
    launch::Launcher,
    process::HostProcess,
};
use crate::{
    boundary::{
        library::{self, KindTable},
        plugin_log::PluginLog,
    },
    sync::lock,
};

/// A plugin file that has been looked at; its private copy goes with it.
#[derive(Debug)]
pub struct PluginFile {
    path: PathBuf,
    copy: String,
    identity: Identity,
    kinds: Vec<String>,
    /// The kinds' functions, once they are loaded into this process.
    tables: OnceLock<Result<Vec<KindTable>, String>>,
    /// The process that its devices share, while there is one.
    process: Mutex<Weak<HostProcess>>,
}

/// What somebody may change beside root and the user that the hub runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    path: PathBuf,
    /// It is the folder that the file is in.
    is_folder: bool,
    to: Others,
}

/// Who may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// Every user of the machine.
    Everybody,
    /// The members of this group.
    Group(u32),
    /// The user that owns it.
    Owner(u32),
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, path) = (if self.is_folder { "its folder" } else { "it" }, self.path.display());
        match self.to {
            Others::Everybody => {
                write!(f, "{what} is writable by everybody; run `chmod o-w {path}`")
            }
            Others::Group(group) => {
                write!(f, "{what} is writable by the group {group}; run `chmod g-w {path}`")
            }
            Others::Owner(user) => {
                write!(f, "{what} belongs to the user {user}; run `chown root {path}`")
            }
        }
    }
}

impl PluginFile {
    /// Looks at a file; takes it from `known` where it is the same as then.
    pub(super) fn open(
        path: &Path,
        staging: &Path,
        known: &[Arc<Self>],
        list_kinds: impl FnOnce(&str) -> Result<Vec<String>, String>,
    ) -> Result<Arc<Self>, PluginError> {
        if let Some(exposed) = exposed(path) {
            return Err(PluginError::Exposed { path: path.to_owned(), exposed });
        }
        let identity =
            |source: IdentityError| PluginError::Identity { path: path.to_owned(), source };
        let content = fs::read(path).map_err(|error| identity(error.into()))?;
        let same = |file: &&Arc<Self>| {
            file.path == path && fs::read(&file.copy).is_ok_and(|copy| copy == content)
        };
        if let Some(file) = known.iter().find(same) {
            return Ok(Arc::clone(file));
        }
        let mut file = Self {
            path: path.to_owned(),
            copy: String::new(),
            identity: Identity::parse(&content).map_err(identity)?,
            kinds: Vec::new(),
            tables: OnceLock::new(),
            process: Mutex::default(),
        };
        let fail = |reason: String| PluginError::Load { path: path.to_owned(), reason };
        file.copy = make_copy(path, staging, &content)
            .map_err(|source| PluginError::Copy { path: path.to_owned(), source })?;
        file.kinds = list_kinds(&file.copy).map_err(fail)?;
        Ok(Arc::new(file))
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the file says about itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the names of the kinds that it holds.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// Returns the path of the private copy.
    pub(super) fn copy(&self) -> &str {
        &self.copy
    }

    /// Returns the process that its devices share; starts it where none runs, or one with other limits.
    pub(super) fn process(&self, launcher: &Launcher) -> Result<Arc<HostProcess>, String> {
        let mut known = lock(&self.process);
        if let Some(process) = known.upgrade()
            && process.serves(launcher.limits())
        {
            return Ok(process);
        }
        let log = Arc::new(PluginLog::new(&self.identity.name));
        let process = HostProcess::start(launcher, &self.identity.name, log)?;
        *known = Arc::downgrade(&process);
        Ok(process)
    }

    /// Returns a kind's functions, from the code in this process.
    pub(super) fn table(&self, kind: &str) -> Result<KindTable, String> {
        let tables = self.tables.get_or_init(|| {
            library::load(Path::new(&self.copy), Arc::new(PluginLog::new(&self.identity.name)))
        });
        let tables = tables.as_ref().map_err(Clone::clone)?;
        let table = tables.iter().find(|table| table.name() == kind);
        table.copied().ok_or_else(|| format!("the file holds no kind `{kind}`"))
    }
}

impl Drop for PluginFile {
    fn drop(&mut self) {
        // The folder is emptied at the next start; code that is loaded stays without its file.
        let _ = fs::remove_file(&self.copy);
    }
}

/// Copies a plugin under a name that no other copy ever has: one that is loaded must never change.
fn make_copy(path: &Path, staging: &Path, content: &[u8]) -> io::Result<String> {
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let copy = staging.join(format!("{stem}-{}.so", COPIES.fetch_add(1, Ordering::Relaxed)));
    let text = copy.to_str().ok_or_else(|| {
        let text = format!("{} is not UTF-8", copy.display());
        io::Error::new(io::ErrorKind::InvalidFilename, text)
    })?;
    fs::write(&copy, content)?;
    Ok(text.to_owned())
}

/// Finds out whether somebody else could have the hub run code: whoever may change the file, or its folder, where a file
/// can be replaced. A folder with the sticky bit is no better: its users may add files.
fn exposed(path: &Path) -> Option<Exposed> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    [(path, false), (folder, true)].into_iter().find_map(|(path, is_folder)| {
        let metadata = fs::metadata(path).ok()?;
        let to = others(metadata.mode(), (metadata.uid(), metadata.gid()), user)?;
        Some(Exposed { path: path.to_owned(), is_folder, to })
    })
}

/// Returns who may change what has this mode, owner and group, beside root and the user and group of this process.
fn others(mode: u32, (owner, group): (u32, u32), (user, own_group): (u32, u32)) -> Option<Others> {
    const ROOT: u32 = 0;
    if mode & OTHERS_WRITE != 0 {
        Some(Others::Everybody)
    } else if mode & GROUP_WRITES != 0 && ![ROOT, own_group].contains(&group) {
        Some(Others::Group(group))
    } else if ![ROOT, user].contains(&owner) {
        Some(Others::Owner(owner))
    } else {
        None
    }
}

const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_hubs_user_may_change_what_the_hub_runs() {
        let hub = (990, 991);
        for (mode, owner, expected) in [
            (0o644, (0, 0), None),
            (0o775, (0, 0), None),
            (0o775, (990, 991), None),
            (0o644, (990, 1000), None),
            (0o646, (0, 0), Some(Others::Everybody)),
            (0o664, (0, 1000), Some(Others::Group(1000))),
            (0o644, (1000, 1000), Some(Others::Owner(1000))),
            (0o1777, (0, 0), Some(Others::Everybody)),
        ] {
            assert_eq!(others(mode, owner, hub), expected, "{mode:o} {owner:?}");
        }
    }
}
