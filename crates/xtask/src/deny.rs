//! `cargo xtask deny`: licences, sources and advisories of the dependencies, by cargo-deny.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{
    Failure, Result,
    built::{cargo, workspace},
};

use crate::{
    package::target_folder,
    provision::{stdout_of, succeed},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only say whether cargo-deny is here and reaches the database of advisories; it fails where not.
    #[arg(long)]
    probe: bool,
}

/// Sees to it that cargo-deny is there, and checks; without the database of advisories it checks the rest, and fails.
pub(crate) fn deny(options: &Options) -> Result<()> {
    let here = find()?;
    if options.probe {
        let deny = here.ok_or_else(|| {
            Failure::new("cargo-deny is not here; `cargo xtask nightly deny` installs it")
        })?;
        fetch_advisories(&deny)?;
        println!("xtask: cargo-deny is here, and so is the database of advisories");
        return Ok(());
    }
    let deny = here.map_or_else(install, Ok)?;
    succeed(checking(&deny).args(["licenses", "bans", "sources"]))?;
    fetch_advisories(&deny).map_err(|failure| {
        Failure(format!("\n!! THE ADVISORIES WERE NOT CHECKED, all else was: {failure}"))
    })?;
    succeed(checking(&deny).arg("advisories"))
}

/// Returns the program, from PATH or from the folder that it was installed into.
fn find() -> Result<Option<PathBuf>> {
    let works = |program: &Path| stdout_of(Command::new(program).arg("--version")).is_ok();
    let places = [PathBuf::from(PROGRAM), folder()?.join("bin").join(PROGRAM)];
    Ok(places.into_iter().find(|program| works(program)))
}

fn install() -> Result<PathBuf> {
    let folder = folder()?;
    println!("xtask: installing cargo-deny {VERSION} into {}, in some minutes", folder.display());
    let mut install = cargo();
    install.args(["install", PROGRAM, "--locked", "--version", VERSION, "--root"]);
    succeed(install.arg(&folder))?;
    Ok(folder.join("bin").join(PROGRAM))
}

fn folder() -> Result<PathBuf> {
    Ok(target_folder()?.join("tools"))
}

fn fetch_advisories(deny: &Path) -> Result<()> {
    let fetched = stdout_of(started(deny).args(["fetch", "db"]));
    fetched.map(drop).map_err(|Failure(why)| {
        Failure(format!("the database of advisories cannot be reached\n{why}"))
    })
}

fn checking(deny: &Path) -> Command {
    let mut command = started(deny);
    command.arg("check");
    command
}

fn started(deny: &Path) -> Command {
    let mut command = Command::new(deny);
    command.current_dir(workspace());
    command
}

/// Where it is configured, from the root of the repository; cargo-deny looks there by itself.
pub(crate) const CONFIG: &str = ".cargo/deny.toml";
const PROGRAM: &str = "cargo-deny";
/// Which version is installed where there is none.
const VERSION: &str = "0.20.2";
