//! The programs and plugins for the machine.

use std::{path::Path, process::Command};

use hearth_tests::{Doing, Result, built::workspace};

use super::board::copy;
use crate::suite::succeed;

/// Builds for arm64 and lays the files below `root` where the package has them.
pub(crate) fn install(root: &Path) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(workspace());
    cargo.args(["build", "--release", "--target", TARGET]);
    for package in ["hearthd", "hearth-broker", "hearth-light", "hearth-thermostat"] {
        cargo.args(["--package", package]);
    }
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    cargo.env("CC_aarch64_unknown_linux_gnu", LINKER);
    succeed(&mut cargo)
        .doing("this needs Debian's gcc-aarch64-linux-gnu and the target by rustup")?;
    let built = workspace().join("target").join(TARGET).join("release");
    for program in ["hearthd", "hearth-broker"] {
        copy(&built.join(program), &root.join("usr/bin").join(program))?;
    }
    for plugin in ["light", "thermostat"] {
        let to = root.join(format!("usr/lib/hearthd/plugins/{plugin}.so"));
        copy(&built.join(format!("libhearth_{plugin}.so")), &to)?;
    }
    Ok(())
}

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
