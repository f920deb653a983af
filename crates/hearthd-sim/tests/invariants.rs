//! The invariants hold over a sample of seeds; `cargo xtask sim` plays many more.

#[test]
fn every_invariant_holds_over_two_thousand_seeds_and_every_state_is_reached() {
    let report = hearthd_sim::run(2_000..4_000, 200, |_| ());
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

#[test]
fn hub_and_broker_keep_their_promises_together() {
    let report = hearthd_sim::run_pairs(0..120, 60, |_| ());
    if let Some((seed, what)) = &report.failure {
        let mut trace = String::new();
        let mut tell = |line: String| trace += &format!("{line}\n");
        hearthd_sim::play_pair(*seed, 60, Some(&mut tell));
        panic!("{trace}seed {seed}: {what}");
    }
    for what in [
        "power cut of the broker",
        "crash of the broker",
        "a hub is killed",
        "a hub stops",
        "cut",
        "a slow reader",
        "a phone sleeps",
        "a flood",
        "a will seen",
        "an outcome",
    ] {
        assert!(report.counts.get(what).is_some_and(|count| *count > 10), "{what}: {report:?}");
    }
}
