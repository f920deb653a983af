//! `cargo xtask test`: everything that can be tested on this machine, and nothing skipped.

use std::process::Command;

use hearth_tests::{Result, built::workspace};

use crate::provision::{Need, provide, succeed};

/// Sees to it that Mosquitto is there, builds, and runs every test.
pub(crate) fn test() -> Result<()> {
    provide("the end-to-end tests", MOSQUITTO)?;
    cargo(&["build", "--workspace"])?;
    cargo(&["test", "--workspace"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(arguments).current_dir(workspace()).env("HEARTH_BUILT", "1");
    succeed(&mut cargo)
}

const MOSQUITTO: &[Need] = &[
    ("mosquitto", "mosquitto"),
    ("mosquitto_rr", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
];
