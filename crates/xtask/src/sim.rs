//! `cargo xtask sim`: the simulation of the core, optimised, but built in a fraction of the time of a release.

use hearthd_tests::{Doing, Failure, Result, built::cargo};

use crate::provision::provide;

/// Builds the simulation and hands these arguments to it.
pub(crate) fn sim(arguments: &[String]) -> Result<()> {
    if arguments.iter().any(|argument| argument == "--mutants") {
        provide("making mutants", &[("patch", "patch")])?;
    }
    let mut cargo = cargo();
    cargo.args(["run", "--profile", "profiling", "--package", "hearthd-sim", "--"]).args(arguments);
    let status = cargo.status().doing("start cargo")?;
    // What failed has been told.
    if status.success() { Ok(()) } else { Err(Failure::new("the simulation has failed")) }
}
