//! Drives the core against a model broker under faults, by seed.
//!
//! A seed stands for a home, a broker and a list of steps; the same seed always plays the same. Only
//! [`hearthd_core::Hub`] is real. Everything around it is a model: broker, network, store, devices, requesters,
//! guardians, clocks. The invariants are checked all the time.

#![forbid(unsafe_code)]

mod broker;
mod devices;
mod fates;
mod faults;
mod invariants;
mod ledger;
mod link;
mod pair;
mod plan;
mod report;
mod shrink;
mod store;
mod world;

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

pub use pair::{PairReport, play_pair, run_pairs};
use plan::Plan;
pub use report::{Failure, Report};
pub use shrink::{Replay, replay};
use world::World;

/// Plays every seed of a range, with so many steps each, on all processors.
///
/// Ends early, after the seeds begun, once one has failed; `progress` hears how many are done, now and then.
pub fn run(seeds: Range<u64>, steps: usize, progress: impl Fn(u64) + Sync) -> Report {
    on_all_processors(seeds, BATCH, progress, |seed| play(&Plan::new(seed, steps)))
}

/// What seeds came to.
trait Played: Default + Send {
    fn merge(&mut self, other: Self);

    fn has_failed(&self) -> bool;

    fn seeds(&self) -> u64;
}

/// Plays a range of seeds, each thread so many at a time.
fn on_all_processors<R: Played>(
    seeds: Range<u64>,
    batch: u64,
    progress: impl Fn(u64) + Sync,
    play: impl Fn(u64) -> R + Sync,
) -> R {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(R::default());
    let work = || {
        loop {
            let first = next.fetch_add(batch, Ordering::Relaxed);
            if first >= seeds.end {
                return;
            }
            let mut played = R::default();
            for seed in first..seeds.end.min(first + batch) {
                played.merge(play(seed));
            }
            if played.has_failed() {
                next.store(seeds.end, Ordering::Relaxed);
            }
            let mut report = report.lock().expect("no simulation panics while it holds the report");
            report.merge(played);
            progress(report.seeds());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    report.into_inner().expect("no simulation has panicked")
}

fn play(plan: &Plan) -> Report {
    let mut world = World::new(plan, false);
    world.play(plan);
    let failure = world.violation.as_ref().map(|violation| Failure {
        seed: plan.seed,
        invariant: violation.invariant.text(),
        detail: violation.detail.clone(),
    });
    Report {
        seeds: 1,
        steps: plan.steps.len() as u64,
        simulated: world.now,
        failures: failure.into_iter().collect(),
        counts: world.counts,
    }
}

/// How many seeds a thread takes at a time.
const BATCH: u64 = 32;
