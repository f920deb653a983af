//! The hub while everything around it breaks; `cargo xtask chaos` does the same for as long as one likes.

use std::time::Duration;

use hearth_tests::{
    Built, Result,
    chaos::{BrokerKind, Outcome, Run, Schedule, table},
};

#[tokio::test]
async fn while_nothing_breaks_every_request_is_executed_and_answered_once() -> Result<()> {
    for broker in [BrokerKind::Hearth, BrokerKind::Mosquitto] {
        let (schedule, length) = (Schedule::default(), Duration::from_secs(2));
        let Outcome { record, tally } = play(Run { broker, seed: 1, schedule, length }).await?;
        assert!(tally.sent > 30, "{broker:?}: {tally:?}");
        assert_eq!((tally.answered_once, tally.first_answers["2xx"]), (tally.sent, tally.sent));
        let lines = record.requests.values().filter(|asked| asked.line).count();
        assert_eq!(record.lines.len(), lines, "{broker:?}");
        assert_eq!(tally.broken(), [""; 0], "{broker:?}");
    }
    Ok(())
}

#[tokio::test]
async fn on_the_bundled_broker_nothing_is_executed_twice_or_lost_while_everything_breaks()
-> Result<()> {
    everything_breaks(BrokerKind::Hearth).await
}

#[tokio::test]
async fn on_mosquitto_nothing_is_executed_twice_or_lost_while_everything_breaks() -> Result<()> {
    everything_breaks(BrokerKind::Mosquitto).await
}

/// Plays a schedule with kills of both and every kind of fault, in which the hub is killed twice on a slow link.
async fn everything_breaks(broker: BrokerKind) -> Result<()> {
    let outcome = play(Run::derive(broker, 4746, Duration::from_secs(14))).await?;
    let Outcome { record, tally } = &outcome;
    assert_eq!((record.hub_kills, record.broker_kills.len(), record.faults.len()), (3, 1, 5));
    assert!(tally.sent > 100 && record.lines.len() > 50, "{tally:?}");
    let broken = tally.broken();
    assert!(broken.is_empty(), "{broken:#?}\n{}", table(&[(broker, outcome)]));
    Ok(())
}

async fn play(run: Run) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    run.play(&Built::for_this_test()?, folder.path()).await
}
