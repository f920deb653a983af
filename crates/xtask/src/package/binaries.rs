//! Builds the hub, its broker and its plugins, for this machine's processor or another.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::ValueEnum;
use hearthd_tests::{
    Doing, Result,
    built::{cargo, workspace},
};

use crate::provision::{Need, provide, stdout_of, succeed};

/// A processor, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    Amd64,
    Arm64,
    Armhf,
}

/// How it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    Release,
    Dev,
}

/// Builds and returns the folder with the binaries.
pub(crate) fn build(target: Architecture, profile: Profile) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.arg("build").arg("--target-dir").arg(target_folder()?);
    let mut folder = target_folder()?;
    if !target.is_native() {
        provide_cross(target)?;
        let triple = target.triple();
        cargo.args(["--target", triple]);
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
        cargo.env(linker, target.tool("gcc").get_program());
        folder.push(triple);
    }
    match profile {
        Profile::Dev if target.is_native() => {
            // As the tests build it: another choice of packages would build the dependencies anew.
            cargo.arg("--workspace");
        }
        Profile::Dev | Profile::Release => {
            for package in PACKAGES {
                cargo.args(["--package", package]);
            }
        }
    }
    match profile {
        Profile::Release => {
            cargo.arg("--release");
            folder.push("release");
        }
        Profile::Dev => folder.push("debug"),
    }
    succeed(&mut cargo)?;
    Ok(folder)
}

/// Returns cargo's folder.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let workspace = workspace().canonicalize()?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    // A whole path replaces the workspace's.
    Ok(workspace.join(Path::new(&folder)))
}

/// Sees to it that a compiler for another processor is there.
fn provide_cross(target: Architecture) -> Result<()> {
    provide(&format!("building for {}", target.name()), target.needs())?;
    let triple = target.triple();
    let mut rustc = Command::new("rustc");
    let library = stdout_of(rustc.args(["--print", "target-libdir", "--target", triple]))?;
    if Path::new(library.trim()).exists() {
        return Ok(());
    }
    println!("xtask: adding Rust's library for {triple} with rustup");
    succeed(Command::new("rustup").args(["target", "add", triple])).doing(format!(
        "building for {} needs Rust's library for it: `rustup target add {triple}`",
        target.name()
    ))
}

impl Architecture {
    /// Returns Debian's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Armhf => "armhf",
        }
    }

    /// Whether it is this machine's.
    pub(crate) fn is_native(self) -> bool {
        let rust = match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
            Self::Armhf => "arm",
        };
        std::env::consts::ARCH == rust
    }

    /// Returns a program of the GNU toolchain for it.
    pub(crate) fn tool(self, program: &str) -> Command {
        if self.is_native() {
            return Command::new(program);
        }
        Command::new(format!("{}-{program}", self.gnu()))
    }

    /// Returns GNU's name, also of the folder below `/usr` with its libraries.
    pub(crate) fn gnu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Armhf => "arm-linux-gnueabihf",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Armhf => "armv7-unknown-linux-gnueabihf",
        }
    }

    /// Returns what a build for it needs on a machine with another processor.
    fn needs(self) -> &'static [Need] {
        match self {
            Self::Amd64 => &[
                ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
                ("/usr/x86_64-linux-gnu/lib/libc.so.6", "libc6-dev-amd64-cross"),
            ],
            Self::Arm64 => &[
                ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
                ("/usr/aarch64-linux-gnu/lib/libc.so.6", "libc6-dev-arm64-cross"),
            ],
            Self::Armhf => &[
                ("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
                ("/usr/arm-linux-gnueabihf/lib/libc.so.6", "libc6-dev-armhf-cross"),
            ],
        }
    }
}

const PACKAGES: [&str; 9] = [
    "hearthd",
    "hearthd-broker",
    "hearthd-web",
    "hearthd-command",
    "hearthd-group",
    "hearthd-light",
    "hearthd-plugin-program",
    "hearthd-sensor",
    "hearthd-thermostat",
];
