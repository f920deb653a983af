//! Programs of Debian's that the commands need, installed where they are missing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Failure, Result};

/// A program, and the package of Debian's that it comes in.
pub(crate) type Need = (&'static str, &'static str);

/// Sees to it that programs are there; `what` needs them.
pub(crate) fn provide(what: &str, needs: &[Need]) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(());
    }
    let remedy = format!("{what} needs them: run `apt-get install {}` as root", packages.join(" "));
    println!("xtask: installing with apt-get: {}", packages.join(" "));
    apt_get(&["update"]).doing(&remedy)?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    apt_get(&install).doing(&remedy)?;
    if missing(needs).is_empty() { Ok(()) } else { Err(Failure(remedy)) }
}

/// Runs a command to its end.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command.status().doing(&line)?;
    if status.success() { Ok(()) } else { Err(Failure(format!("{line}: {status}"))) }
}

/// Returns what a command prints, if it succeeds.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command.output().doing(&line)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{line}: {}: {}", output.status, said.trim_end())))
}

/// Returns the mirror that this machine gets Debian from; none where it runs something else.
pub(crate) fn mirror() -> Option<String> {
    let targets = ["indextargets", "--format", "$(SITE)", "Origin: Debian", "Label: Debian"];
    let output = Command::new("apt-get").args(targets).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    // A file's path replaces the folder that it is joined to.
    std::env::split_paths(&path)
        .chain(system)
        .any(|folder| folder.join(Path::new(program)).exists())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    succeed(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}
