//! Debian's redis: what the machine has, or unpacked below the build folder, which needs no root and starts no service.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Doing, Failure, Result};

/// A program, and where the libraries that it was unpacked with are.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    libraries: Option<OsString>,
}

impl Program {
    /// Finds `redis-server`, or unpacks it below `folder`.
    pub(super) fn redis(folder: &Path) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(REDIS));
        if let Some(path) = found.into_iter().find(|file| file.exists()) {
            return Ok(Self { path, libraries: None });
        }
        let root = folder.join("root");
        let path = root.join("usr/bin").join(REDIS);
        if !path.exists() {
            unpack(folder, &root).doing(REMEDY)?;
        }
        let libraries = fs::read_dir(root.join("usr/lib")).doing(root.display())?;
        let libraries = libraries.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(Self { path, libraries: Some(std::env::join_paths(libraries).doing("libraries")?) })
    }

    /// Returns the command that starts it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

fn unpack(folder: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root).doing(root.display())?;
    println!("unpacking Debian's redis below {}", folder.display());
    succeed(Command::new("apt-get").arg("download").args(PACKAGES).current_dir(folder))?;
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let file = entry.doing(folder.display())?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            succeed(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(root))?;
        }
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let output = command.output().doing(&line)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{line}: {}\n{}", output.status, said.trim_end())))
}

const REDIS: &str = "redis-server";
/// The server is in `redis-tools`; the others are what a small Debian lacks of its libraries.
const PACKAGES: [&str; 7] = [
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-bitop",
    "lua-cjson",
];
const REMEDY: &str = "the cluster needs redis: install redis-server, or run `apt-get update`";
