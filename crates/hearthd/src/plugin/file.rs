//! A plugin file, and the private copy that is loaded instead of it.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
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

/// What everybody may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WritableBy {
    /// The file itself.
    File(PathBuf),
    /// The folder that it is in.
    Folder(PathBuf),
}

impl WritableBy {
    /// Returns the path.
    pub fn path(&self) -> &Path {
        let (Self::File(path) | Self::Folder(path)) = self;
        path
    }
}

impl fmt::Display for WritableBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "it",
            Self::Folder(_) => "its folder",
        })
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
        if let Some(by) = writable_by_everybody(path) {
            return Err(PluginError::Writable { path: path.to_owned(), by });
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

/// What everybody may write to, nobody should run; a folder where each may delete only what is his is no better.
fn writable_by_everybody(path: &Path) -> Option<WritableBy> {
    let is_open = |path: &Path| {
        let metadata = fs::metadata(path).ok();
        metadata.is_some_and(|m| m.permissions().mode() & OTHERS_WRITE != 0)
    };
    if is_open(path) {
        return Some(WritableBy::File(path.to_owned()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    is_open(folder).then(|| WritableBy::Folder(folder.to_owned()))
}

const OTHERS_WRITE: u32 = 0o002;
