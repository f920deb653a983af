//! `cargo xtask test-service`: the package, installed and run under a real systemd in a container.

mod cases;
mod machine;
mod page;
mod sandbox;

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::ValueEnum;
use hearthd_tests::{Doing, Failure, Result};

use crate::{
    container,
    package::{self, Architecture, Profile},
    root,
};
pub(crate) use machine::Machine;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Debian's release; may be given several times.
    #[arg(long, value_enum, default_values_t = [Suite::Bookworm, Suite::Trixie])]
    suite: Vec<Suite>,
    /// A dev build is there sooner.
    #[arg(long, value_enum, default_value_t = Profile::Dev)]
    profile: Profile,
    /// Only say whether this machine can start a container; it fails where not.
    #[arg(long)]
    probe: bool,
}

/// A release of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// Debian 12, systemd 252.
    Bookworm,
    /// Debian 13, systemd 257.
    Trixie,
}

/// Builds two packages, and has each suite's machine go through a service's life with them.
pub(crate) async fn test_service(options: &Options) -> Result<()> {
    container::require()?;
    if options.probe {
        println!("xtask: this machine can start a container with a systemd of its own");
        return Ok(());
    }
    let given = tempfile::tempdir()?;
    let first = give(&package::make(Architecture::Amd64, options.profile, 1)?, given.path())?;
    let second = give(&package::make(Architecture::Amd64, options.profile, 2)?, given.path())?;
    sandbox::give(given.path())?;
    for suite in &options.suite {
        let root = root::provide(suite.name(), suite.name(), PACKAGES)?;
        let mut table = Table::new(suite.name());
        let machine = table.row("boots", Machine::boot(&root, given.path())).await?;
        let life = cases::life(&machine, &mut table, &first, &second).await;
        if let Err(failure) = life {
            return Err(Failure(format!("{failure}\n{}", machine.journal().await)));
        }
        table.row("shuts down and leaves nothing behind", machine.stop()).await?;
    }
    println!("\nxtask: the package serves on every suite");
    Ok(())
}

/// Copies a package to where the machine finds it; returns the path there.
pub(crate) fn give(package: &Path, given: &Path) -> Result<String> {
    let name = package.file_name().doing("the package has no name")?;
    std::fs::copy(package, given.join(name)).doing(package.display())?;
    let there: PathBuf = Path::new(machine::GIVEN).join(name);
    Ok(there.display().to_string())
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// What was seen so far: one line for each case, as soon as it is over.
#[derive(Debug)]
struct Table {
    suite: &'static str,
}

impl Table {
    fn new(suite: &'static str) -> Self {
        println!();
        Self { suite }
    }

    /// Waits for a case and tells how it went.
    async fn row<T>(&mut self, title: &str, case: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let done = case.await.doing(format!("{}: {title}", self.suite));
        let word = if done.is_ok() { "ok    " } else { "FAILED" };
        println!("{word}  {:<8}  {title} ({:.1} s)", self.suite, begun.elapsed().as_secs_f64());
        done
    }
}

/// Beside a system: the clients that are not ours, of MQTT, of TLS and of DNS-SD. Perl, which the sandbox is tried with, is in
/// every Debian.
pub(crate) const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,udev,procps,mosquitto-clients,openssl,avahi-daemon,avahi-utils";
