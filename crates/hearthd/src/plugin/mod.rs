//! Plugin files: what they are, how they are loaded, and the kinds that they hold.

pub mod identity;
pub mod library;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use identity::IdentityError;
pub use library::Kind;

/// The kinds of every plugin that was loaded.
#[derive(Debug, Default)]
pub struct Plugins {
    kinds: BTreeMap<String, (Kind, PathBuf)>,
}

/// Why a plugin is not used.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A folder of the plugin path cannot be read.
    #[error("read the plugin folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a plugin that runs here.
    #[error("load plugin {}: {source}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// The system cannot load the file.
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

impl Plugins {
    /// Loads every `*.so` of these folders, in the order of their names, through private copies in `staging`.
    ///
    /// What cannot be loaded is left out and reported.
    pub fn load(path: &[PathBuf], staging: &Path) -> (Self, Vec<PluginError>) {
        let mut plugins = Self::default();
        let mut errors = Vec::new();
        if let Some(folder) = path.iter().find(|folder| lies_in(folder, staging)) {
            let text = "lies in the folder that is emptied for private copies; choose another";
            let source = io::Error::new(io::ErrorKind::InvalidInput, text);
            errors.push(PluginError::Folder { path: folder.clone(), source });
            return (plugins, errors);
        }
        if let Err(source) = empty_folder(staging) {
            errors.push(PluginError::Folder { path: staging.to_owned(), source });
            return (plugins, errors);
        }
        for folder in path {
            match shared_objects(folder) {
                Err(source) => errors.push(PluginError::Folder { path: folder.clone(), source }),
                Ok(files) => {
                    for file in files {
                        if let Err(error) = plugins.add(&file, staging) {
                            errors.push(error);
                        }
                    }
                }
            }
        }
        (plugins, errors)
    }

    /// Loads one file.
    ///
    /// # Errors
    /// Where it is not a plugin that runs here.
    pub fn load_file(file: &Path, staging: &Path) -> Result<Self, PluginError> {
        let mut plugins = Self::default();
        plugins.add(file, staging)?;
        Ok(plugins)
    }

    /// Makes a set of kinds that are linked into this program.
    pub fn from_kinds(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let entry = |kind: Kind| (kind.name().to_owned(), (kind, PathBuf::from("built in")));
        Self { kinds: kinds.into_iter().map(entry).collect() }
    }

    /// Returns the kind of this name.
    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name).map(|(kind, _)| kind)
    }

    /// Returns the names of all kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    fn add(&mut self, file: &Path, staging: &Path) -> Result<(), PluginError> {
        for kind in library::load(file, staging)? {
            if let Some((_, other)) = self.kinds.get(kind.name()) {
                return Err(PluginError::Duplicate {
                    kind: kind.name().to_owned(),
                    path: file.to_owned(),
                    other: other.clone(),
                });
            }
            self.kinds.insert(kind.name().to_owned(), (kind, file.to_owned()));
        }
        Ok(())
    }
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

fn empty_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_in_a_folder_of_the_plugin_path_keeps_the_plugins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.so");
        fs::write(&file, "not a plugin").unwrap();
        let (_, errors) = Plugins::load(&[folder.path().to_owned()], folder.path());
        assert!(file.exists(), "the plugin was deleted: {errors:?}");
    }
}
