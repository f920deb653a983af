//! `cargo xtask nightly ha`: a home as a real Home Assistant shows it.

use std::{path::Path, process::Command};

use hearthd_tests::{
    Doing, Failure, Result,
    built::{cargo, workspace},
};

use super::child;
use crate::{
    container,
    package::{self, Architecture, Profile},
    provision::{Need, is_root, provide, succeed},
    readme::{self, PASSWORD},
    root,
    service::{self, Machine},
};

/// Installs the newest Home Assistant in a root of its own, where it is not there, and runs the tests with it.
pub(super) async fn ha() -> Result<()> {
    if !is_root() {
        return Err(Failure::new("Home Assistant runs in a root of its own: run this as root"));
    }
    provide("Home Assistant", NEEDS)?;
    let root = root::provide("home-assistant", SUITE, PACKAGES)?;
    let scripts = workspace().canonicalize()?.join("tests/tests/home_assistant");
    if !root.join("opt/installed").exists() {
        succeed(Command::new(scripts.join("install.sh")).arg(&root))
            .doing("Home Assistant needs the network, and pip's registry")?;
    }
    // Where the tests run there is no network.
    let test = ["test", "--package", "hearthd-tests", "--test", "home_assistant"];
    let line = format!("cargo {}", test.join(" "));
    child::succeed(&line, cargo().args(test).arg("--no-run")).await?;
    let mut run = Command::new(scripts.join("run.sh"));
    run.arg(&root).arg(cargo().get_program()).args(test).args(["--", "--test-threads=1"]);
    child::succeed(&line, run.env("CARGO_NET_OFFLINE", "true").current_dir(workspace())).await?;
    begin_as_the_readme_says(&root, &scripts, &test).await
}

/// Boots a fresh Debian, runs the README's commands in it, and looks for the lamp from its network.
async fn begin_as_the_readme_says(root: &Path, scripts: &Path, test: &[&str]) -> Result<()> {
    container::require()?;
    let given = tempfile::tempdir()?;
    let package = package::make(Architecture::Amd64, Profile::Dev, 1)?;
    let package = service::give(&package, given.path())?;
    let debian = root::provide("bookworm", "bookworm", service::PACKAGES)?;
    let machine = Machine::boot(&debian, given.path()).await?;
    readme::lead_to_home_assistant(&machine, &package).await?;
    let leader = machine.leader().as_raw_nonzero().to_string();
    let mut run = Command::new("nsenter");
    run.args(["--target", &leader, "--net"]).arg(scripts.join("run.sh")).arg(root);
    run.arg(cargo().get_program()).args(test).args(["--", "--ignored"]);
    run.env("HEARTH_HA_PASSWORD", PASSWORD).env("CARGO_NET_OFFLINE", "true");
    let line = "Home Assistant beside a machine that was set up as the README says";
    if let Err(failure) = child::succeed(line, run.current_dir(workspace())).await {
        return Err(Failure(format!("{failure}\n{}", machine.journal().await)));
    }
    machine.stop().await
}

const NEEDS: &[Need] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("mosquitto", "mosquitto"),
    ("python3", "python3"),
    ("ip", "iproute2"),
];
/// Home Assistant wants a newer Python than Debian's stable release has.
const SUITE: &str = "testing";
const PACKAGES: &str =
    "python3,python3-venv,python3-dev,ca-certificates,gcc,g++,libffi-dev,libssl-dev";
