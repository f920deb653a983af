//! The roots of containers: small Debians, each made once and never written to again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Result};

use crate::{
    package,
    provision::{mirror, stdout_of, succeed},
};

/// Returns the root of this name, and makes it of a suite and packages where it is not there, or lacks one of them.
pub(crate) fn provide(name: &str, suite: &str, packages: &str) -> Result<PathBuf> {
    let folder = package::target_folder()?.join("roots");
    let root = folder.join(name);
    if root.exists() {
        if packages.split(',').all(|package| has(&root, package)) {
            return Ok(root);
        }
        fs::remove_dir_all(&root).doing(root.display())?;
    }
    println!("xtask: making a root of {suite} in {}", root.display());
    fs::create_dir_all(&folder).doing(folder.display())?;
    let unfinished = folder.join(format!("{name}.unfinished"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).doing(unfinished.display())?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=apt"]).arg(format!("--include={packages}"));
    mmdebstrap.args(fetching().iter().map(|line| format!("--aptopt={line}")));
    mmdebstrap.arg(suite).arg(&unfinished);
    // Without a mirror, mmdebstrap takes Debian's own.
    mmdebstrap.args(mirror());
    succeed(&mut mmdebstrap)?;
    fs::rename(&unfinished, &root).doing(root.display())?;
    Ok(root)
}

/// Returns whether a package is installed in a root.
fn has(root: &Path, package: &str) -> bool {
    let info = root.join("var/lib/dpkg/info");
    let here = |name: &str| info.join(name).exists();
    // A package of which several architectures may be installed has that of this one in the name of its list.
    here(&format!("{package}.list"))
        || fs::read_dir(&info).is_ok_and(|mut entries| {
            entries.any(|entry| {
                let name = entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
                name.is_ok_and(|name| {
                    name.strip_prefix(package)
                        .is_some_and(|rest| rest.starts_with(':') && rest.ends_with(".list"))
                })
            })
        })
}

/// Returns how this machine's apt fetches: proxies, certificates, and what it insists on.
fn fetching() -> Vec<String> {
    let dump = stdout_of(Command::new("apt-config").args(["dump", "Acquire"])).unwrap_or_default();
    // What beside packages is fetched is a matter of what else is installed here.
    dump.lines().filter(|line| !line.contains("::IndexTargets")).map(str::to_owned).collect()
}
