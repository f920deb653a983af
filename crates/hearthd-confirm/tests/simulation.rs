//! The invariants hold over a sample of seeds; the example `simulate` plays many more.

#[path = "../examples/simulate/world.rs"]
mod world;

#[test]
fn every_invariant_holds_over_five_thousand_seeds_and_every_verdict_is_reached() {
    let mut reached = world::Reached::default();
    for seed in 0..5_000 {
        let played = world::play(seed);
        if let Some(violation) = &played.violation {
            panic!("seed {seed}: {violation}\n{}", played.trace.join("\n"));
        }
        reached.merge(&played.reached);
    }
    assert_eq!(reached.unreached(), Vec::<String>::new(), "the simulation does not reach these");
}

#[test]
fn a_seed_always_plays_the_same() {
    let first = world::play(7).trace;
    assert!(first.len() > 20, "a trace of {} lines", first.len());
    assert_eq!(first, world::play(7).trace);
}
