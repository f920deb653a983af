//! `cargo xtask sim`: the simulation of the core, in a release build.

use std::process::Command;

use hearth_tests::{Doing, Failure, Result, built::workspace};

/// Builds the simulation and hands these arguments to it.
pub(crate) fn sim(arguments: &[String]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["run", "--release", "--package", "hearth-sim", "--"]).args(arguments);
    let status = cargo.current_dir(workspace()).status().doing("start cargo")?;
    // What failed has been told.
    if status.success() { Ok(()) } else { Err(Failure::new("the simulation has failed")) }
}
