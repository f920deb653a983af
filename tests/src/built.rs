//! Where the binaries and plugins under test are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Doing, Failure, Result};

/// A folder of cargo's with the binaries and plugins of this workspace.
#[derive(Clone, Debug)]
pub struct Built {
    folder: PathBuf,
}

impl Built {
    /// Returns the folder that the running test belongs to, and builds what is in it once.
    ///
    /// With `HEARTH_BUILT` in the environment, whoever set it has built already: `1` means this folder, anything else
    /// is the path of another.
    ///
    /// # Errors
    /// Where the build fails.
    pub fn for_this_test() -> Result<Self> {
        static BUILT: OnceLock<std::result::Result<Built, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| {
            let built = Self::beside_this_program().map_err(|failure| failure.0)?;
            match std::env::var_os("HEARTH_BUILT") {
                None => built.build().map_err(|failure| failure.0)?,
                Some(here) if here == "1" => {}
                Some(folder) => return Ok(Self { folder: folder.into() }),
            }
            Ok(built)
        });
        built.clone().map_err(Failure)
    }

    /// Returns the folder that the running program was built into.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn beside_this_program() -> Result<Self> {
        let program = std::env::current_exe()?;
        let folder = program.parent().doing("the program has no folder")?;
        let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
        Ok(Self { folder: folder.doing("cargo's folder has no parent")?.to_owned() })
    }

    /// Returns the folder of another build.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the folder of another profile beside this one.
    #[must_use]
    pub fn profile(&self, name: &str) -> Self {
        Self { folder: self.folder.with_file_name(name) }
    }

    /// Builds the daemon, the broker and the plugins into this folder.
    ///
    /// # Errors
    /// Where cargo fails.
    pub fn build(&self) -> Result<()> {
        let mut cargo = cargo();
        cargo.arg("build");
        let profile = self.folder.file_name().unwrap_or_default();
        if profile != "debug" {
            cargo.arg("--profile").arg(profile);
            for package in MEASURED {
                cargo.args(["--package", package]);
            }
        } else {
            // All of it, as the tests build it: another choice of packages would build the dependencies anew.
            cargo.arg("--workspace");
        }
        let status = cargo.status().doing("start cargo")?;
        if status.success() { Ok(()) } else { Err(Failure::new("cargo build failed")) }
    }

    /// Returns a binary.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a plugin's shared object.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.folder.join(format!("libhearthd_{name}.so"))
    }

    /// Copies plugins into a folder of their own, so that nothing else there is loaded.
    ///
    /// # Errors
    /// Where a plugin is not there or the folder cannot be written.
    pub fn copy_plugins(&self, names: &[&str], folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        for name in names {
            let from = self.plugin(name);
            let to = folder.join(format!("{name}.so"));
            std::fs::copy(&from, to).doing(format!("copy {}", from.display()))?;
        }
        Ok(())
    }
}

/// What a measurement needs.
const MEASURED: [&str; 6] = [
    "hearthd",
    "hearthd-broker",
    "hearthd-load",
    "hearthd-web",
    "hearthd-light",
    "hearthd-thermostat",
];

/// Returns the cargo that this was started by, in the workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace());
    // What cargo says to a program that it runs is no concern of another cargo: build scripts that read it would run anew.
    for (name, _) in std::env::vars_os() {
        let is_said = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if is_said {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Returns the root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
