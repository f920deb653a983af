//! The command line of the simulation.

mod mutants;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use clap::Parser;
use hearthd_sim::{Failure, Report};
use mutants::Prey;

/// Drives the core against a model broker under faults
#[derive(Parser)]
struct Options {
    /// How many seeds to play; by default 100,000, and 30,000 against each mutant
    #[arg(long)]
    seeds: Option<u64>,
    /// How many steps each
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Play this one seed, shrink it where it fails, and show what happens
    #[arg(long)]
    seed: Option<u64>,
    /// Only say which seed fails first
    #[arg(long)]
    brief: bool,
    /// Play hub and broker together, both as they are
    #[arg(long)]
    together: bool,
    /// Take the protections of the hub's core away one by one, all or those named, and see that each is missed; with
    /// --together those of the broker's core
    #[arg(long, value_name = "NAME", num_args = 0..)]
    mutants: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(names) = &options.mutants {
        let prey = if options.together { Prey::Broker } else { Prey::Hub };
        return mutants::hunt(prey, names, options.seeds.unwrap_or(MUTANT_SEEDS), options.steps);
    }
    if options.together {
        return together(&options);
    }
    if let Some(seed) = options.seed {
        let replay = hearthd_sim::replay(seed, options.steps);
        print!("{replay}");
        return exit(replay.violation.is_none());
    }
    let count = options.seeds.unwrap_or(SEEDS);
    let seeds = options.first..options.first.saturating_add(count);
    if options.brief {
        let report = hearthd_sim::run(seeds, options.steps, |_| ());
        if let Some(failure) = report.failures.first() {
            println!("{}", line(failure));
        }
        return exit(report.failures.is_empty());
    }
    let began = Instant::now();
    let report = hearthd_sim::run(seeds, options.steps, progress(began, count));
    println!("\r{report}  in {:.0?}", began.elapsed());
    conclude(&report, &options)
}

/// Plays hub and broker together.
fn together(options: &Options) -> ExitCode {
    if let Some(seed) = options.seed {
        let mut tell = |line: String| println!("{line}");
        let report = hearthd_sim::play_pair(seed, options.steps, Some(&mut tell));
        return exit(report.failure.is_none());
    }
    let began = Instant::now();
    let count = options.seeds.unwrap_or(SEEDS);
    let seeds = options.first..options.first.saturating_add(count);
    if options.brief {
        let report = hearthd_sim::run_pairs(seeds, options.steps, |_| ());
        if let Some((seed, what)) = &report.failure {
            println!("seed {seed}: {what}");
        }
        return exit(report.failure.is_none());
    }
    let report = hearthd_sim::run_pairs(seeds, options.steps, progress(began, count));
    println!("\r{} homes, hub and broker together, in {:.0?}", report.seeds, began.elapsed());
    for (what, count) in &report.counts {
        println!("{count:12} {what}");
    }
    if let Some((seed, what)) = &report.failure {
        println!("seed {seed}: {what}");
        println!("again: cargo xtask sim --together --seed {seed} --steps {}", options.steps);
        return ExitCode::FAILURE;
    }
    println!("every invariant held");
    ExitCode::SUCCESS
}

fn conclude(report: &Report, options: &Options) -> ExitCode {
    if let Some(failure) = report.failures.first() {
        print!("\n{}", hearthd_sim::replay(failure.seed, options.steps));
        println!("{}", line(failure));
        println!("again: cargo xtask sim --seed {} --steps {}", failure.seed, options.steps);
        return ExitCode::FAILURE;
    }
    let unreached = report.unreached();
    if report.is_large() && !unreached.is_empty() {
        println!("the simulation does not reach: {}", unreached.join(", "));
        return ExitCode::FAILURE;
    }
    println!("every invariant held");
    ExitCode::SUCCESS
}

/// Shows on a terminal how far the run is, about once a second.
fn progress(began: Instant, all: u64) -> impl Fn(u64) + Sync {
    let last = AtomicU64::new(0);
    let shows = std::io::stdout().is_terminal();
    move |done| {
        let second = began.elapsed().as_secs();
        if shows && last.swap(second, Ordering::Relaxed) != second {
            print!("\r{done} of {all} seeds, {} per second ", done / second.max(1));
            // A progress line that cannot be shown is no reason to stop.
            let _ = std::io::stdout().flush();
        }
    }
}

fn line(failure: &Failure) -> String {
    format!("seed {}: {}: {}", failure.seed, failure.invariant, failure.detail)
}

fn exit(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many seeds are played where nobody says otherwise.
const SEEDS: u64 = 100_000;
/// How many seeds a mutant may survive at most.
const MUTANT_SEEDS: u64 = 30_000;
