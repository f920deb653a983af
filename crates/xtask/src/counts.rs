//! `cargo xtask counts`: what a request costs the core, in counts that are the same on every machine.

use std::process::Command;

use hearth_tests::{Result, built::workspace};

use crate::provision::{provide, succeed};

/// Sees to it that valgrind is there, and holds the counts of an optimised build against their budgets.
pub(crate) fn counts() -> Result<()> {
    provide("counting instructions", &[("valgrind", "valgrind")])?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["test", "--profile", "profiling", "--package", "hearth-load", "--test", "counts"]);
    succeed(cargo.args(["--", "--nocapture"]).current_dir(workspace()))
}
