//! `cargo xtask sanitize`: undefined behaviour is looked for by Miri, and by AddressSanitizer in real shared objects.

use std::{path::PathBuf, process::Command};

use hearthd_tests::{
    Doing, Failure, Result,
    built::{cargo, workspace},
};

use crate::provision::{stdout_of, succeed};

/// Runs the tables that are linked into a test under Miri, then the end-to-end tests with a daemon and plugins that
/// AddressSanitizer watches.
pub(crate) fn sanitize() -> Result<()> {
    let host = require_nightly()?;
    println!("xtask: Miri, on the tables of the SDK and of a plugin");
    let mut miri = nightly("miri");
    miri.args(["test", "--target-dir", "target/miri"]);
    // Only tests that stay inside the process: Miri starts no program.
    miri.args(["--package", "hearthd-sdk", "--test", "device"]);
    miri.args(["--package", "hearthd-light", "--test", "light"]);
    succeed(miri.env("MIRIFLAGS", MIRIFLAGS))?;

    println!("xtask: Miri, on the tables of the hub");
    let mut miri = nightly("miri");
    miri.args(["test", "--target-dir", "target/miri", "--package", "hearthd", "--test", "devices"]);
    miri.args(["--", "values::"]);
    succeed(miri.env("MIRIFLAGS", MIRIFLAGS))?;

    println!("xtask: AddressSanitizer, on hearthd with the devices of its tests");
    let watched = |subcommand: &str| {
        let mut cargo = nightly(subcommand);
        cargo.args(["--target-dir", "target/asan", "--target", &host]);
        // The plugins take the sanitizer's functions from the program that loads them.
        cargo.env(
            "RUSTFLAGS",
            "-Zsanitizer=address --cfg=sanitized -Clink-arg=-Wl,--export-dynamic",
        );
        cargo.env("ASAN_OPTIONS", OPTIONS);
        cargo
    };
    let mut build = watched("build");
    let plugins = [
        "hearthd-light",
        "hearthd-thermostat",
        "hearthd-command",
        "hearthd-group",
        "hearthd-plugin-program",
        "hearthd-sensor",
        "hearthd-radio",
        "hearthd-rogue",
    ];
    for package in ["hearthd"].into_iter().chain(plugins) {
        build.args(["--package", package]);
    }
    succeed(&mut build)?;
    let mut test = watched("test");
    test.args(["--package", "hearthd", "--test", "devices"]);
    succeed(test.env("HEARTH_BUILT", "1"))?;

    println!("xtask: AddressSanitizer, end to end with real shared objects");
    let folder = workspace().canonicalize()?.join("target/asan").join(&host).join("debug");
    let broker = "hearth-broker";
    succeed(cargo().args(["build", "--package", "hearthd-broker", "--target-dir", "target"]))?;
    let built = workspace().join("target/debug").join(broker);
    std::fs::copy(&built, folder.join(broker)).doing(built.display())?;
    let mut test = cargo();
    // What chaos tells is a matter of time, and the sanitizer takes its own; it also ends a process in its own way.
    test.args(["test", "--package", "hearthd-tests", "--test", "e2e", "--"]);
    test.args(["--skip", "chaos::", "--skip", "isolation::"]);
    succeed(test.env("HEARTH_BUILT", &folder).env("ASAN_OPTIONS", OPTIONS))?;
    println!("\nxtask: nothing was found");
    Ok(())
}

/// Says all that is missing, or returns the machine's target.
fn require_nightly() -> Result<String> {
    let mut missing = Vec::new();
    let host = nightly_host();
    if host.is_none() {
        missing.push("the toolchain `nightly`");
    }
    if stdout_of(nightly("miri").arg("--version")).is_err() {
        missing.push("its component `miri`");
    }
    let sources = stdout_of(rustup("rustc").args(["--print", "sysroot"]))
        .ok()
        .map(|sysroot| PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library"));
    if !sources.is_some_and(|sources| sources.exists()) {
        missing.push("its component `rust-src`");
    }
    match host {
        Some(host) if missing.is_empty() => Ok(host),
        Some(_) | None => Err(Failure(format!(
            "nothing was run, for this is missing: {}\n{REMEDY}",
            missing.join(", ")
        ))),
    }
}

/// Returns the machine's target, where Rust's nightly is there.
pub(crate) fn host_of_nightly() -> Result<String> {
    nightly_host().doing("the toolchain `nightly` is missing: rustup toolchain install nightly")
}

fn nightly_host() -> Option<String> {
    let version = stdout_of(rustup("rustc").args(["--version", "--verbose"])).ok()?;
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn rustup(program: &str) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", "nightly", program]).current_dir(workspace());
    rustup
}

/// A command of the nightly cargo.
pub(crate) fn nightly(subcommand: &str) -> Command {
    let mut cargo = rustup("cargo");
    cargo.arg(subcommand);
    cargo
}

/// The tables of a host are never freed (rule M3 of the ABI), and a light asks the system which boot this is.
const MIRIFLAGS: &str = "-Zmiri-ignore-leaks -Zmiri-disable-isolation";

/// A library is never closed and a host's table never freed, so leaks are no findings; and a test has a plugin crash.
const OPTIONS: &str = "detect_leaks=0:handle_segv=0";

const REMEDY: &str =
    "install it: rustup toolchain install nightly --component miri --component rust-src";
