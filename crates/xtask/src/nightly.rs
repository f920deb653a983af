//! `cargo xtask nightly`: what takes too long for `cargo xtask test`.

mod authors;
mod child;
mod fresh;
mod fuzz;
mod ha;
mod metrics;
mod oldest;
mod phone;
mod wire;

use std::time::Instant;

use clap::ValueEnum;
use hearthd_tests::{Failure, Result, built::cargo};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to run; all of it where nothing is named.
    #[arg(value_enum, value_name = "NAME")]
    jobs: Vec<Job>,
}

/// One thing to run; most are commands of their own, with more patience than theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// `sim` with a million seeds.
    Sim,
    /// `sim --together`: hub and broker, a hundred thousand seeds.
    Together,
    /// `sim --mutants`: each protection of the hub's core taken away.
    Mutants,
    /// `sim --together --mutants`: each protection of the broker's core taken away.
    BrokerMutants,
    /// `toolchains`.
    Toolchains,
    /// The workspace is built by the oldest Rust that it promises to be built by.
    OldestRust,
    /// `deny`, which is installed where it is missing.
    Deny,
    /// `sanitize`.
    Sanitize,
    /// `chaos` for ten minutes against each broker.
    Chaos,
    /// `fleet` with twenty homes.
    Fleet,
    /// The metrics, in the opinion of Prometheus's promtool.
    Metrics,
    /// A million damaged packets at the bundled broker's socket.
    Wire,
    /// libFuzzer plays bytes to the bundled broker for ten minutes.
    Fuzz,
    /// `test-arm`.
    TestArm,
    /// `test-pi`, as root.
    TestPi,
    /// The page for the phone in a browser, which is installed where it is missing.
    Phone,
    /// A real Home Assistant, as root; it is installed where it is missing, in 1.7 GB below `target`.
    Ha,
    /// `demo` and `test` on a Debian with nothing but Rust, gcc and git, as root.
    Fresh,
    /// Plugins in C, Python and Rust with the installed package alone, on a Debian with compilers, as root.
    Authors,
}

/// Runs one after the other, also after one has failed, and tells in the end how each went.
pub(crate) async fn nightly(options: &Options) -> Result<()> {
    let jobs = if options.jobs.is_empty() { Job::value_variants() } else { &options.jobs };
    let mut table = String::new();
    let mut failed = 0;
    for job in jobs {
        println!("\n== nightly {}", job.name());
        let begun = Instant::now();
        let done = job.run().await;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        let (word, why) = match done {
            Ok(()) => ("ok    ", String::new()),
            Err(Failure(why)) => {
                failed += 1;
                ("FAILED", format!(": {why}"))
            }
        };
        table += &format!("{word}  {:<11}  {minutes:>5.1} min{why}\n", job.name());
    }
    println!("\n{table}");
    if failed == 0 { Ok(()) } else { Err(Failure(format!("{failed} of {} failed", jobs.len()))) }
}

impl Job {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    async fn run(self) -> Result<()> {
        let arguments: &[&str] = match self {
            Self::Sim => &["sim", "--seeds", "1000000"],
            Self::Together => &["sim", "--together", "--seeds", "100000", "--steps", "60"],
            Self::Mutants => &["sim", "--mutants"],
            Self::BrokerMutants => &["sim", "--together", "--steps", "60", "--mutants"],
            Self::Toolchains => &["toolchains"],
            Self::Deny => &["deny"],
            Self::Sanitize => &["sanitize"],
            Self::Chaos => &["chaos", "--minutes", "10"],
            Self::Fleet => &["fleet", "--homes", "20", "--hubs", "8", "--every", "2"],
            Self::TestArm => &["test-arm"],
            Self::TestPi => &["test-pi"],
            Self::OldestRust => return oldest::oldest_rust().await,
            Self::Phone => return phone::phone().await,
            Self::Ha => return ha::ha().await,
            Self::Fuzz => return fuzz::fuzz().await,
            Self::Metrics => return metrics::metrics().await,
            Self::Wire => return wire::wire().await,
            Self::Fresh => return fresh::fresh().await,
            Self::Authors => return authors::authors().await,
        };
        let line = format!("cargo xtask {}", arguments.join(" "));
        child::succeed(&line, cargo().arg("xtask").args(arguments)).await
    }
}
