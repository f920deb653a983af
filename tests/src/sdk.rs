//! The SDK's sources as the package installs them: by themselves, without the workspace.

use std::{path::Path, process::Command};

use crate::{
    Doing, Failure, Result,
    built::{cargo, workspace},
};

/// Writes the SDK's sources, with a manifest that needs no workspace, into a folder that is not there yet.
pub fn write_sdk(folder: &Path) -> Result<()> {
    let packed = tempfile::tempdir()?;
    let mut package = cargo();
    package.args([
        "package",
        "--quiet",
        "--package",
        "hearthd-sdk",
        "--no-verify",
        "--allow-dirty",
    ]);
    done(package.arg("--target-dir").arg(packed.path()))?;
    let archive = packed.path().join("package");
    let archive = std::fs::read_dir(&archive)
        .doing(archive.display())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|it| it == "crate"))
        .doing("cargo package has made no archive")?;
    std::fs::create_dir_all(folder).doing(folder.display())?;
    let mut unpack = Command::new("tar");
    unpack.args(["--extract", "--gzip", "--strip-components=1", "--exclude=*.orig"]);
    unpack.args(["--exclude=.cargo_vcs_info.json", "--no-same-owner", "--directory"]).arg(folder);
    done(unpack.arg("--file").arg(archive).current_dir(workspace()))
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output().doing(format!("{command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure(format!("{command:?}: {}\n{said}", output.status)))
}
