//! Containers of systemd-nspawn.

use std::{path::Path, process::Command};

use hearthd_tests::{Doing, Failure, Result};

use crate::provision::{is_root, provide, stdout_of};

/// Says in one sentence why no container can be started here, if so.
pub(crate) fn require() -> Result<()> {
    if !is_root() {
        return Err(Failure::new("a container needs root: run this command as root"));
    }
    provide(
        "a container",
        &[("systemd-nspawn", "systemd-container"), ("mmdebstrap", "mmdebstrap")],
    )?;
    let mut nspawn = nspawn();
    nspawn.args(["--private-network", "--directory=/", "--volatile=yes", "true"]);
    stdout_of(&mut nspawn).doing("this machine cannot start a container")?;
    Ok(())
}

/// Begins a container; without `--private-network` it has the network of this machine.
pub(crate) fn nspawn() -> Command {
    let mut nspawn = Command::new("systemd-nspawn");
    nspawn.arg("--quiet").arg(format!("--machine=hearth-test-{}", std::process::id()));
    if !Path::new("/run/systemd/system").exists() {
        // Where no systemd runs, nobody gives out names and control groups; and the container's own wants the unified
        // hierarchy of control groups, whatever this machine has.
        nspawn.args(["--register=no", "--keep-unit"]);
        nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    }
    nspawn
}
