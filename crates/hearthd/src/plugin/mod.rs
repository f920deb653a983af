//! Plugin files: how they are checked and loaded, and the kinds that they contain.
//!
//! A plugin's code first runs in an inspection, a separate process: if the code crashes there, the daemon goes on.

pub(crate) mod child;
pub(crate) mod children;
mod crash_report;
mod file;
mod filter;
pub mod identity;
mod inspection;
pub(crate) mod ipc;
pub(crate) mod launch;
pub(crate) mod process;
pub(crate) mod system;
pub(crate) mod traffic;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

pub(crate) use hearthd_core::property::STATUS;
use hearthd_core::{DeclaredTopics, property::Declaration};

pub use crate::boundary::library::KindTable;
use crate::sync::lock;
pub(crate) use crash_report::REPORT_BEGINS;
pub use file::{Exposed, PluginFile};
use identity::IdentityError;
use inspection::Inspection;
pub(crate) use inspection::Objection;
use ipc::{Described, Examination};
pub use launch::Launcher;
pub(crate) use process::HostProcess;

/// What a device declares.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) properties: Vec<Declaration>,
    pub(crate) topics: DeclaredTopics,
    /// Whether it may add devices of its own.
    pub(crate) adds: bool,
}

/// The kinds of every plugin that may be used.
#[derive(Debug)]
pub struct Plugins {
    kinds: BTreeMap<String, DeviceKind>,
    files: Vec<Arc<PluginFile>>,
    launcher: Launcher,
    inspection: Mutex<Inspection>,
}

/// One kind of device.
#[derive(Clone, Debug)]
pub struct DeviceKind {
    name: String,
    origin: Origin,
}

/// Where the code of a kind comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// Linked into this program.
    Linked(KindTable),
    File(Arc<PluginFile>),
}

/// Why a plugin is not used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A folder of the plugin path cannot be used.
    #[error("read the plugin folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody beside root and the hub's user may change what the hub would run.
    #[error("load plugin {}: {exposed}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What they may change.
        exposed: Exposed,
    },
    /// The file is not a plugin that runs here.
    #[error("load plugin {}: {source}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// There is no room for a private copy, or it may not be written.
    #[error("copy plugin {} into the state folder: {source}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be loaded.
    #[error("load plugin {}: {reason}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Two files hold kinds of one name.
    #[error("load plugin {}: kind `{kind}` is already provided by {}", path.display(), other.display())]
    Duplicate {
        /// The kind.
        kind: String,
        /// The file that is refused.
        path: PathBuf,
        /// The file that came first.
        other: PathBuf,
    },
}

impl DeviceKind {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind's functions; loads them into this process where they are not yet.
    ///
    /// # Errors
    /// Where the system cannot load the file after all.
    pub(crate) fn table(&self) -> Result<KindTable, String> {
        match &self.origin {
            Origin::Linked(table) => Ok(*table),
            Origin::File(file) => file.table(&self.name),
        }
    }

    /// Returns the private copy to load; none for a kind that is linked in.
    pub(crate) fn file(&self) -> Option<&str> {
        match &self.origin {
            Origin::Linked(_) => None,
            Origin::File(file) => Some(file.copy()),
        }
    }

    /// Returns whether the kind is the daemon's own code, or was built with it.
    pub(crate) fn is_own_build(&self) -> bool {
        match &self.origin {
            Origin::Linked(_) => true,
            Origin::File(file) => file.identity().is_own_build(),
        }
    }

    /// Returns the process that the file's devices share, for a process with these limits; starts it where none runs.
    pub(crate) fn shared_process(&self, launcher: &Launcher) -> Result<Arc<HostProcess>, String> {
        match &self.origin {
            Origin::Linked(_) => Err(NO_PROCESS.into()),
            Origin::File(file) => file.process(launcher),
        }
    }

    /// Returns whether a panic ends the process that the kind runs in.
    pub(crate) fn panic_aborts(&self) -> bool {
        matches!(&self.origin, Origin::File(file) if file.identity().panic_aborts())
    }

    /// Returns whether both are the same code.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Origin::Linked(one), Origin::Linked(other)) => {
                std::ptr::eq(one.table(), other.table())
            }
            (Origin::File(one), Origin::File(other)) => Arc::ptr_eq(one, other),
            (Origin::Linked(_), Origin::File(_)) | (Origin::File(_), Origin::Linked(_)) => false,
        }
    }
}

impl Plugins {
    /// Looks at every `*.so` of these folders, in the order of their names, through private copies in `staging`.
    ///
    /// What cannot be used is left out and reported.
    pub fn load(path: &[PathBuf], staging: &Path, launcher: &Launcher) -> (Self, Vec<PluginError>) {
        let plugins = Self::none(launcher);
        if let Some(folder) = path.iter().find(|folder| lies_in(folder, staging)) {
            let text = "lies in the folder that is emptied for private copies; choose another";
            let source = io::Error::new(io::ErrorKind::InvalidInput, text);
            return (plugins, vec![PluginError::Folder { path: folder.clone(), source }]);
        }
        if let Err(source) = empty_folder(staging) {
            return (plugins, vec![PluginError::Folder { path: staging.to_owned(), source }]);
        }
        plugins.load_again(path, staging, launcher)
    }

    /// Looks at the folders anew; a file that has not changed is kept as it is.
    pub(crate) fn load_again(
        &self,
        path: &[PathBuf],
        staging: &Path,
        launcher: &Launcher,
    ) -> (Self, Vec<PluginError>) {
        let mut plugins = Self::none(launcher);
        let mut errors = Vec::new();
        for folder in path {
            match shared_objects(folder) {
                Err(source) => errors.push(PluginError::Folder { path: folder.clone(), source }),
                Ok(files) => {
                    for file in files {
                        if let Err(error) = plugins.add(&file, staging, &self.files) {
                            errors.push(error);
                        }
                    }
                }
            }
        }
        (plugins, errors)
    }

    /// Looks at one file.
    ///
    /// # Errors
    /// Where it is not a plugin that runs here.
    pub fn load_file(
        file: &Path,
        staging: &Path,
        launcher: &Launcher,
    ) -> Result<Self, PluginError> {
        let mut plugins = Self::none(launcher);
        plugins.add(file, staging, &[])?;
        plugins.end_inspection();
        Ok(plugins)
    }

    /// Makes an empty set.
    pub fn none(launcher: &Launcher) -> Self {
        Self {
            kinds: BTreeMap::new(),
            files: Vec::new(),
            launcher: launcher.clone(),
            inspection: Mutex::default(),
        }
    }

    /// Makes a set of kinds that are linked into this program.
    pub fn from_kinds(kinds: impl IntoIterator<Item = KindTable>, launcher: &Launcher) -> Self {
        let entry = |table: KindTable| {
            let name = table.name().to_owned();
            (name.clone(), DeviceKind { name, origin: Origin::Linked(table) })
        };
        Self { kinds: kinds.into_iter().map(entry).collect(), ..Self::none(launcher) }
    }

    /// Returns the kind of this name.
    pub fn kind(&self, name: &str) -> Option<&DeviceKind> {
        self.kinds.get(name)
    }

    /// Returns the names of all kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// Returns the files that another set does not have, or had with other content.
    pub(crate) fn new_files(&self, before: &Self) -> Vec<PathBuf> {
        let known =
            |file: &&Arc<PluginFile>| before.files.iter().any(|other| Arc::ptr_eq(file, other));
        self.files.iter().filter(|file| !known(file)).map(|file| file.path().to_owned()).collect()
    }

    /// Returns how processes are started that run plugins.
    pub(crate) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// Checks a device's table; returns what the device declares.
    pub(crate) fn examine(&self, kind: &DeviceKind, config: &str) -> Result<Declared, Objection> {
        let described = match &kind.origin {
            Origin::Linked(table) => examine(*table, config).map_err(Objection::Problems),
            Origin::File(file) => {
                lock(&self.inspection).examine(&self.launcher, file.copy(), &kind.name, config)
            }
        };
        declared(described?).map_err(|message| Objection::Problems(whole(message)))
    }

    /// Asks where a device's table has secrets, as JSON Pointers.
    pub(crate) fn secrets(
        &self,
        kind: &DeviceKind,
        config: &serde_json::Value,
    ) -> Result<Vec<String>, Objection> {
        let config = config.to_string();
        let secrets = match &kind.origin {
            Origin::Linked(table) => table.secrets(&config),
            Origin::File(file) => lock(&self.inspection)
                .secrets(&self.launcher, file.copy(), &kind.name, &config)
                .map_err(Objection::Unsound)?,
        };
        secrets.map_err(|message| Objection::Problems(whole(message)))
    }

    /// Ends the process of the inspection, which nothing needs until the next one.
    pub(crate) fn end_inspection(&self) {
        lock(&self.inspection).end();
    }

    fn add(
        &mut self,
        path: &Path,
        staging: &Path,
        known: &[Arc<PluginFile>],
    ) -> Result<(), PluginError> {
        let inspection = &self.inspection;
        let list_kinds = |copy: &str| lock(inspection).list_kinds(&self.launcher, copy);
        let file = PluginFile::open(path, staging, known, list_kinds)?;
        for kind in file.kinds() {
            if let Some(DeviceKind { origin: Origin::File(other), .. }) = self.kinds.get(kind) {
                return Err(PluginError::Duplicate {
                    kind: kind.clone(),
                    path: path.to_owned(),
                    other: other.path().to_owned(),
                });
            }
        }
        for name in file.kinds() {
            let kind = DeviceKind { name: name.clone(), origin: Origin::File(Arc::clone(&file)) };
            self.kinds.insert(name.clone(), kind);
        }
        self.files.push(file);
        Ok(())
    }
}

/// Checks a table by calling the plugin in this process.
pub(crate) fn examine(kind: KindTable, config: &str) -> Examination {
    let problems = kind.check_config(config);
    if problems.is_empty() { describe(kind, config).map_err(whole) } else { Err(problems) }
}

/// Asks a plugin in this process what a device with a table is.
pub(crate) fn describe(kind: KindTable, config: &str) -> Result<Described, String> {
    let (properties, topics) = (kind.describe(config)?, kind.topics(config)?);
    Ok(Described { properties, topics, adds: kind.may_add(config) })
}

/// Parses what a plugin says of a device.
pub(crate) fn declared(described: Described) -> Result<Declared, String> {
    Ok(Declared {
        properties: Declaration::of_device(described.properties)?,
        topics: DeclaredTopics::parse(&described.topics)?,
        adds: described.adds,
    })
}

/// A problem of the table as a whole.
fn whole(message: String) -> Vec<(String, String)> {
    vec![(String::new(), message)]
}

fn shared_objects(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "so") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn lies_in(folder: &Path, staging: &Path) -> bool {
    match (folder.canonicalize(), staging.canonicalize()) {
        (Ok(folder), Ok(staging)) => folder.starts_with(staging),
        // What does not exist cannot be emptied.
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Leaves the folder itself in place: it may be where systemd permits execution.
fn empty_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Why a kind that is linked in cannot be isolated.
pub(crate) const NO_PROCESS: &str = "its kind is built into the hub and has no process";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn staging_in_a_folder_of_the_plugin_path_keeps_the_plugins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.so");
        fs::write(&file, "not a plugin").unwrap();
        let config = Config::parse(Path::new("c.toml"), "").unwrap();
        let launcher = Launcher::new(config.containment.limits);
        let (_, errors) = Plugins::load(&[folder.path().to_owned()], folder.path(), &launcher);
        assert!(file.exists(), "the plugin was deleted: {errors:?}");
    }

    #[test]
    fn emptying_a_folder_leaves_the_folder_itself() {
        use std::os::unix::fs::MetadataExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("plugins");
        empty_folder(&folder).unwrap();
        let before = fs::metadata(&folder).unwrap().ino();
        fs::create_dir(folder.join("a")).unwrap();
        fs::write(folder.join("a/b"), "").unwrap();
        fs::write(folder.join("lamp-0.so"), "").unwrap();
        empty_folder(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert_eq!(fs::metadata(&folder).unwrap().ino(), before);
    }

    #[test]
    fn a_property_called_status_is_refused() {
        let pair = |name: &str| vec![(name.to_owned(), r#"{"type": "switch"}"#.to_owned())];
        assert_eq!(Declaration::of_device(pair("power")).unwrap().len(), 1);
        let error = Declaration::of_device(pair("status")).unwrap_err();
        assert_eq!(error, "`status` is taken: the hub says there how the device is");
    }
}
