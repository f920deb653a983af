//! The invariants hold over a sample of seeds; `cargo xtask sim` plays many more.

#[test]
fn every_invariant_holds_over_two_thousand_seeds_and_every_state_is_reached() {
    let report = hearthd_sim::run(0..2_000, 200, |_| ());
    if let Some(failure) = report.failures.first() {
        panic!("{}", hearthd_sim::replay(failure.seed, 200));
    }
    assert_eq!(report.unreached(), Vec::<&str>::new(), "the simulation does not reach these");
}

#[test]
fn a_seed_always_plays_the_same() {
    let trace = || hearthd_sim::replay(7, 200).trace;
    let first = trace();
    assert!(first.len() > 200, "a trace of {} lines", first.len());
    assert_eq!(first, trace());
}
