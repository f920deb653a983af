//! `cargo xtask test`: everything that can be tested on this machine, and nothing skipped.

use std::process::{Command, Stdio};

use hearth_tests::{Doing, Failure, Result, built::workspace};

/// Sees to it that Mosquitto is there, builds, and runs every test.
pub(crate) fn test() -> Result<()> {
    provide_mosquitto()?;
    cargo(&["build", "--workspace"])?;
    cargo(&["test", "--workspace"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(arguments).current_dir(workspace()).env("HEARTH_BUILT", "1");
    succeed(&mut cargo)
}

/// Installs the broker and its clients from Debian where they are missing.
fn provide_mosquitto() -> Result<()> {
    provide(&["mosquitto", "mosquitto-clients"], mosquitto_is_there).doing(REMEDY)
}

/// Installs packages from Debian where something is missing.
pub(crate) fn provide(packages: &[&str], is_there: impl Fn() -> bool) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    println!("xtask: {} is missing; installing it with apt-get", packages[0]);
    for arguments in [&["update"][..], &[&["install", "--yes"], packages].concat()] {
        let mut install = if is_root() {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "apt-get"]);
            sudo
        };
        install.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        succeed(&mut install)?;
    }
    if is_there() { Ok(()) } else { Err(Failure::new(format!("{} is still missing", packages[0]))) }
}

fn mosquitto_is_there() -> bool {
    let broker = ["/usr/sbin/mosquitto", "mosquitto"];
    let runs = |program: &str| {
        let mut command = Command::new(program);
        // Each prints its usage and ends; only whether it starts matters.
        command.arg("-h").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    };
    broker.into_iter().any(runs) && runs("mosquitto_rr") && runs("mosquitto_sub")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Runs a command to its end.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command.status().doing(&line)?;
    if status.success() { Ok(()) } else { Err(Failure(format!("{line}: {status}"))) }
}

const REMEDY: &str = "the end-to-end tests need Debian's mosquitto and mosquitto-clients: \
                      run `apt-get install mosquitto mosquitto-clients` as root";
