//! The root of a machine: a small Debian, made once and never written to again.

use std::{fs, path::PathBuf, process::Command};

use hearth_tests::{Doing, Result};

use crate::{
    package,
    provision::{mirror, succeed},
};

/// Returns the root of a suite, and makes it where it is not there.
pub(super) fn provide(suite: &str) -> Result<PathBuf> {
    let folder = package::target_folder()?.join("roots");
    let root = folder.join(suite);
    if root.exists() {
        return Ok(root);
    }
    println!("xtask: making a root of {suite} in {}", root.display());
    fs::create_dir_all(&folder).doing(folder.display())?;
    let unfinished = folder.join(format!("{suite}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).doing(unfinished.display())?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=apt"]).arg(format!("--include={PACKAGES}"));
    mmdebstrap.arg(suite).arg(&unfinished);
    // Without a mirror, mmdebstrap takes Debian's own.
    mmdebstrap.args(mirror());
    succeed(&mut mmdebstrap)?;
    fs::rename(&unfinished, &root).doing(root.display())?;
    Ok(root)
}

/// Beside a system: the clients that are not ours. Perl, which the sandbox is tried with, is in every Debian.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,procps,mosquitto-clients";
