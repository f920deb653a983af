//! `cargo xtask nightly fresh`: the README's `demo` and `test` where nothing but Rust, gcc and git is installed.
//!
//! The machine lends its Rust, and tells how to reach Debian's mirror and cargo's registry. Whatever else its owner has
//! installed is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Result, built::workspace};

use super::child;
use crate::{
    container, package,
    provision::{provide, stdout_of, succeed},
    root,
};

/// Clones what is committed, and runs both commands in a container of its own each.
pub(super) async fn fresh() -> Result<()> {
    container::require()?;
    provide("cloning", &[("git", "git")])?;
    let root = root::provide("fresh", SUITE, PACKAGES)?;
    let home = package::target_folder()?.join("fresh");
    prepare(&home)?;
    let tools = "rustc --version && cargo --version && cc --version && git --version";
    run(&root, &home, tools).await.doing("the Rust of this machine does not run in a container")?;
    for command in ["cargo xtask demo", "cargo xtask test"] {
        println!("\n== {command}, on a Debian with {PACKAGES} and Rust");
        let line = format!("cd hearthd && {command}");
        run(&root, &home, &line).await.doing(format!("{command} on a fresh machine"))?;
    }
    // It stays where something failed, for whoever has to find out why.
    fs::remove_dir_all(&home).doing(home.display())
}

/// Lays out the home of the container's only user: a clone, and cargo's configuration.
fn prepare(home: &Path) -> Result<()> {
    if home.exists() {
        fs::remove_dir_all(home).doing(home.display())?;
    }
    write_registries(home)?;
    let mut clone = Command::new("git");
    succeed(clone.args(["clone", "--quiet"]).arg(workspace()).arg(home.join("hearthd")))?;
    let mut changes = Command::new("git");
    changes.args(["status", "--porcelain", "--untracked-files=no"]).current_dir(workspace());
    if !stdout_of(&mut changes)?.is_empty() {
        println!("xtask: the changes that are not committed are left out");
    }
    Ok(())
}

/// Writes where cargo fetches crates from into the home of a container's user.
pub(super) fn write_registries(home: &Path) -> Result<()> {
    let cargo = home.join(".cargo");
    fs::create_dir_all(&cargo).doing(cargo.display())?;
    Ok(fs::write(cargo.join("config.toml"), registries()?)?)
}

/// Returns those parts of the machine's cargo configuration that say where crates come from, and how.
fn registries() -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let home = home.doing("this machine's cargo has no home")?;
    let Some(file) = ["config.toml", "config"]
        .map(|name| home.join(name))
        .into_iter()
        .find(|file| file.exists())
    else {
        return Ok(String::new());
    };
    let text = fs::read_to_string(&file).doing(file.display())?;
    let mut table: toml::Table = text.parse().doing(file.display())?;
    table.retain(|name, _| CARGO_FETCHES.contains(&name));
    Ok(table.to_string())
}

/// Runs a line of shell in a container of which every change outside of `home` is forgotten in the end.
pub(super) async fn run(root: &Path, home: &Path, line: &str) -> Result<()> {
    let rust =
        stdout_of(Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace()))?;
    let mut nspawn = container::nspawn();
    nspawn.args(["--volatile=overlay", "--as-pid2", "--pipe", "--directory"]).arg(root);
    nspawn.arg(format!("--bind={}:/root", home.display()));
    nspawn.arg(format!("--bind-ro={}:/opt/rust", rust.trim_end()));
    // Otherwise the machine's time zone is mounted where the package of time zones wants to put its own.
    nspawn.arg("--timezone=off");
    // The network is this machine's, and so is what names and certificates mean in it.
    nspawn.args(["--resolv-conf=bind-host", "--bind-ro=/etc/hosts"]);
    if Path::new(CERTIFICATES).exists() {
        nspawn.arg(format!("--bind-ro={CERTIFICATES}"));
    }
    let fetches = |name: &String| {
        let name = name.to_ascii_lowercase();
        ENVIRONMENT.iter().any(|beginning| name.starts_with(beginning))
    };
    // By name alone: a value may be a password.
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    nspawn.args(names.filter(fetches).map(|name| format!("--setenv={name}")));
    nspawn.arg(
        "--setenv=PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    // It offers itself as the service manager, which the programs under test would talk to.
    nspawn.args(["--chdir=/root", "env", "--unset=NOTIFY_SOCKET", "sh", "-c", line]);
    child::succeed(line, &mut nspawn).await
}

const SUITE: &str = "bookworm";
/// A C compiler without the C library's headers compiles nothing.
const PACKAGES: &str = "gcc,libc6-dev,git";

/// The tables of cargo's configuration, and the beginnings of variables, that have to do with fetching.
const CARGO_FETCHES: [&str; 5] = ["source", "registries", "registry", "net", "http"];
const ENVIRONMENT: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "cargo_http_",
    "cargo_net_",
    "cargo_registries_",
];

/// Where Debian keeps the certificates that it trusts, in one file.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
