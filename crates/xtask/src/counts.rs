//! `cargo xtask counts`: what a request costs the core, in counts that are the same on every machine.

use hearthd_tests::{Result, built::cargo};

use crate::provision::{provide, succeed};

/// Sees to it that valgrind is there, and holds the counts of an optimised build against their budgets.
pub(crate) fn counts() -> Result<()> {
    provide("counting instructions", &[("valgrind", "valgrind")])?;
    let mut cargo = cargo();
    cargo.args(["test", "--profile", "profiling", "--package", "hearthd-load", "--test", "counts"]);
    succeed(cargo.args(["--", "--nocapture"]))
}
