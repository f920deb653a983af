//! The SDK's sources as the package installs them: by themselves, without the workspace.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::Value;

use crate::{
    Doing, Failure, Result,
    built::{cargo, workspace},
};

/// Writes the SDK's sources, and those of the crate that it needs, into a folder that is not there yet.
///
/// Their manifests need no workspace. What is in this repository is a path, never a name that somebody else may own.
///
/// # Errors
/// Where a file cannot be read or written.
pub fn write_sdk(folder: &Path) -> Result<()> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
    if !output.status.success() {
        return Err(Failure(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    write_crate("hearthd-sdk", &metadata, folder)?;
    write_crate("hearthd-property", &metadata, &folder.join("property"))
}

fn write_crate(name: &str, metadata: &Value, folder: &Path) -> Result<()> {
    copy(&workspace().join("crates").join(name), folder)?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages.find(|package| package["name"] == name).doing(name)?;
    let file = folder.join("Cargo.toml");
    fs::write(&file, manifest(package)).doing(file.display())
}

fn manifest(package: &Value) -> String {
    let mut manifest = "[package]\n".to_owned();
    for key in ["name", "version", "description", "edition", "rust_version", "license"] {
        // A text of JSON is one of TOML.
        let _ = writeln!(manifest, "{} = {}", key.replace('_', "-"), package[key]);
    }
    manifest += "publish = false\n\n[dependencies]\n";
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    for dependency in dependencies.filter(|dependency| dependency["kind"].is_null()) {
        let name = dependency["name"].as_str().unwrap_or_default();
        let _ = match name.strip_prefix("hearthd-") {
            Some(own) => writeln!(manifest, "{name} = {{ path = \"{own}\" }}"),
            None => writeln!(
                manifest,
                "{name} = {{ version = {}, features = {}, default-features = {} }}",
                dependency["req"], dependency["features"], dependency["uses_default_features"]
            ),
        };
    }
    manifest
}

/// Copies the files of a crate but its manifest and its tests, which read files of the workspace.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).doing(to.display())?;
    for entry in fs::read_dir(from).doing(from.display())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "tests" {
                copy(&entry.path(), &target)?;
            }
        } else if entry.file_name() != "Cargo.toml" {
            fs::copy(entry.path(), &target).doing(target.display())?;
        }
    }
    Ok(())
}
