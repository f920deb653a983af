//! `cargo xtask bench`: the daemon beside the alternatives, in release builds on this machine.

mod azure;
mod brokers;
mod cells;
mod confirmation;
mod crowd;
mod durability;
mod footprint;
mod growth;
mod load;
mod page_home;
mod peers;
mod phones;
mod plot;
pub(crate) mod report;
mod stage;
mod table;
mod writes;

use std::{path::PathBuf, time::Duration};

use hearthd_tests::{Built, Doing, Result, built::workspace};

/// How much to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure the same in fewer and shorter rounds, in less than five minutes once all is built.
    #[arg(long)]
    quick: bool,
    /// The cargo profile to measure: `profiling` builds in a fraction of the time, and is somewhat slower.
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
    /// Put the tables and plots into `crates/hearthd/benches` as well, as those of this machine today.
    #[arg(long)]
    keep: bool,
    /// Measure these chapters alone.
    #[arg(long, value_enum, value_name = "CHAPTER")]
    only: Vec<Chapter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Chapter {
    Azure,
    Brokers,
    Comparison,
    Confirmation,
    Durability,
    Growth,
    Footprint,
    Phones,
}

impl Options {
    fn chapters(&self) -> Vec<Chapter> {
        let all = [
            Chapter::Azure,
            Chapter::Brokers,
            Chapter::Comparison,
            Chapter::Confirmation,
            Chapter::Durability,
            Chapter::Growth,
            Chapter::Footprint,
            Chapter::Phones,
        ];
        if self.only.is_empty() { all.into() } else { self.only.clone() }
    }
}

/// Measures, prints, and leaves tables and plots in `target/bench`.
pub(crate) async fn bench(options: Options) -> Result<()> {
    let built = Built::beside_this_program()?.profile(&options.profile);
    built.build()?;
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let folder = workspace().canonicalize()?.join("target/bench");
    std::fs::create_dir_all(&folder).doing(folder.display())?;
    let mut report = report::Report::new(&options);
    let mut plots = Vec::new();
    for chapter in options.chapters() {
        match chapter {
            Chapter::Azure => {
                let peer = azure::measure(&built, effort).await?;
                report.add("The peer that does the same job", &table::peer(&peer));
            }
            Chapter::Brokers => {
                let brokers = brokers::measure(&built, effort).await?;
                report.add("The bundled broker beside Mosquitto", &table::brokers(&brokers));
            }
            Chapter::Comparison => {
                let peers = peers::provide(&folder)?;
                let compared = cells::compare(&built, &peers, effort).await?;
                report.add("The goals", &table::goals(&compared));
                report.add("Throughput and latency", &table::comparison(&compared));
                plots.push(plot::throughput(&compared, &folder)?);
            }
            Chapter::Confirmation => {
                let confirmations = confirmation::measure(&built, effort).await?;
                report.add("A confirmed answer", &table::confirmation(&confirmations));
            }
            Chapter::Durability => {
                let durability = durability::measure(&built, effort).await?;
                report.add("What durability costs", &table::durability(&durability));
            }
            Chapter::Growth => {
                let growth = growth::measure(&built, &peers::provide(&folder)?, effort).await?;
                report.add("Growth", &table::growth(&growth));
                plots.extend(plot::growth(&growth, &folder)?);
            }
            Chapter::Footprint => {
                let footprint = footprint::measure(&built, effort).await?;
                report.add("Footprint", &table::footprint(&footprint));
                plots.push(plot::memory(&footprint, &folder)?);
            }
            Chapter::Phones => {
                let phones = phones::measure(&built, effort).await?;
                report.add("The page for phones", &table::phones(&phones));
            }
        }
        report.write(&folder)?;
    }
    println!("\ntables and plots: {}", folder.display());
    if options.keep {
        report.keep(&plots)?;
    }
    Ok(())
}

/// How long each thing is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of the cells that the goals name, and of the others: a hundred requesters take seconds to log in.
    rounds: usize,
    other_rounds: usize,
    /// Milliseconds of one cell's warm-up, and of its measurement.
    warm_up: u64,
    measure: u64,
    devices: &'static [usize],
    /// Hubs in one home, and retained states of others in it.
    hubs: &'static [usize],
    retained: &'static [usize],
    queued: &'static [usize],
    /// Phones with the page open.
    pages: &'static [usize],
    /// Requests after which the memory is looked at.
    endurance: usize,
    /// How long a hub at rest is looked at.
    rest: Duration,
    /// Taps on the page.
    taps: usize,
    /// Whether the time of a build is looked at.
    build: bool,
}

impl Effort {
    const QUICK: Self = Self {
        rounds: 2,
        other_rounds: 0,
        warm_up: 150,
        measure: 400,
        devices: &[1, 100, 500],
        hubs: &[1, 10],
        retained: &[0, 10_000],
        queued: &[10, 1000],
        pages: &[1, 50],
        endurance: 100_000,
        rest: Duration::from_secs(60),
        taps: 21,
        build: false,
    };
    const FULL: Self = Self {
        rounds: 6,
        other_rounds: 1,
        warm_up: 150,
        measure: 500,
        devices: &[1, 10, 100, 500, 1000, 2000],
        hubs: &[1, 2, 5, 10],
        retained: &[0, 1000, 10_000, 100_000],
        queued: &[10, 100, 1000, 10_000],
        pages: &[1, 10, 50, 100, 200],
        endurance: 1_000_000,
        rest: Duration::from_secs(600),
        taps: 101,
        build: true,
    };
}

/// Returns the middle value, or what is between the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.len() % 2, values.get(half)) {
        (_, None) => 0.0,
        (0, Some(upper)) => values[half - 1].midpoint(*upper),
        (_, Some(middle)) => *middle,
    }
}

/// Reads a line of `/proc/PID/status` that is in kB, such as `VmRSS`.
pub(crate) fn memory_kb(process: u32, name: &str) -> Result<u64> {
    let file = PathBuf::from(format!("/proc/{process}/status"));
    let status = std::fs::read_to_string(&file).doing(file.display())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).doing(name)?;
    number.parse().doing(name)
}
