//! `cargo xtask fleet`: many homes on one cluster of aedes nodes over redis.

use std::{path::Path, time::Duration};

use hearthd_tests::{Built, Doing, Failure, Result, built::workspace, fleet::Plan};

use crate::{
    bench::report::{machine, said},
    provision::{Need, provide},
};

/// How many homes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Homes on the cluster, each with a hub and a phone.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u16).range(4..=8000))]
    homes: u16,
    /// How many of them have a real hub, a process each; the others have the core of one.
    #[arg(long, value_name = "N", default_value = "40")]
    hubs: u16,
    /// Each phone asks once in so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
}

/// Builds, plays, prints the report, and fails where something must not be so.
pub(crate) async fn fleet(options: Options) -> Result<()> {
    provide("the cluster", NEEDS)?;
    let built = Built::beside_this_program()?;
    built.build()?;
    let target = workspace().canonicalize()?.join("target");
    let folder = target.join("hearth-fleet");
    empty(&folder)?;
    let plan = Plan {
        homes: options.homes.into(),
        hubs: options.hubs.min(options.homes).into(),
        every: Duration::from_secs(options.every.into()),
        ..Plan::default()
    };
    let outcome = plan.play(&built, &target.join("fleet"), &folder).await?;
    let report = format!(
        "`cargo xtask fleet --homes {} --hubs {} --every {}`, on {}; aedes 2.0.0-beta.1, Node.js {}.\n\n{}",
        plan.homes,
        plan.hubs,
        options.every,
        machine(),
        said("node", &["--version"]),
        outcome.report()
    );
    let file = folder.join("report.md");
    std::fs::write(&file, &report).doing(file.display())?;
    println!("\n{report}\nreport and logs: {}", folder.display());
    let broken = outcome.broken();
    if broken.is_empty() { Ok(()) } else { Err(Failure(broken.join("\n"))) }
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).doing(folder.display())?;
    }
    std::fs::create_dir_all(folder).doing(folder.display())
}

const NEEDS: &[Need] = &[("node", "nodejs"), ("npm", "npm")];
