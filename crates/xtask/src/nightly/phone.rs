//! The page for the phone, in Debian's Chromium, and a short test in its Firefox.

use std::{path::PathBuf, process::Command};

use hearthd_tests::{
    Doing, Result,
    built::{cargo, workspace},
};

use super::child;
use crate::provision::{Need, provide, succeed};

/// Runs the tests of the page in a browser; their pictures go to `target/phone`.
pub(super) async fn phone() -> Result<()> {
    provide("the page in a browser", NEEDS)?;
    let axe = axe()?;
    let mut arguments =
        vec!["test", "--package", "hearthd-tests", "--test", "phone", "--", "--test-threads=2"];
    if let Err(why) = provide("the page in Firefox", &[("firefox-esr", "firefox-esr")]) {
        println!("xtask: NOT TESTED: the page in Firefox: {why}");
        arguments.extend(["--skip", "firefox::"]);
    }
    let mut tests = cargo();
    tests.args(&arguments).env("HEARTH_AXE", axe);
    child::succeed(&format!("cargo {}", arguments.join(" ")), &mut tests).await
}

/// Installs axe-core, which looks for what keeps people out, and returns its script.
fn axe() -> Result<PathBuf> {
    let workspace = workspace().canonicalize()?;
    let folder = workspace.join("target/phone/axe");
    std::fs::create_dir_all(&folder).doing(folder.display())?;
    for name in ["package.json", "package-lock.json"] {
        let from = workspace.join("tests/tests/phone/axe").join(name);
        std::fs::copy(&from, folder.join(name)).doing(from.display())?;
    }
    let npm = ["ci", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"];
    succeed(Command::new("npm").args(npm).current_dir(&folder))
        .doing("axe-core needs npm, and the registry that it is set to")?;
    Ok(folder.join("node_modules/axe-core/axe.min.js"))
}

const NEEDS: &[Need] =
    &[("chromium", "chromium"), ("mosquitto", "mosquitto"), ("node", "nodejs"), ("npm", "npm")];
