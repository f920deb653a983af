//! The root of a machine: a small Debian, made once and never written to again.

use std::{fs, path::PathBuf, process::Command};

use hearth_tests::{Doing, Result};

use crate::{package, provision::succeed};

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

/// Returns the mirror that this machine gets its own packages from.
fn mirror() -> Option<String> {
    let lists = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let lists = lists.filter_map(|entry| Some(entry.ok()?.path()));
    let lists = [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(lists);
    let text: String = lists.filter_map(|list| fs::read_to_string(list).ok()).collect();
    let mut lines = text.lines().filter_map(|line| {
        let uri = line.strip_prefix("URIs: ").or_else(|| line.strip_prefix("deb "))?;
        uri.split_whitespace().find(|word| word.contains("://")).map(str::to_owned)
    });
    // Beside Debian's there may be lists of others.
    lines.find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
}

/// Beside a system: the clients that are not ours. Perl, which the sandbox is tried with, is in every Debian.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,procps,mosquitto-clients";
