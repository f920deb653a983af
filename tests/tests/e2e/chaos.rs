//! The hub while everything around it breaks; `cargo xtask chaos` does the same for as long as one likes.

use std::time::Duration;

use hearth_tests::{
    Built, Result,
    chaos::{BrokerKind, Outcome, Run, Schedule},
};

#[tokio::test]
async fn while_nothing_breaks_every_request_is_executed_and_answered_once() -> Result<()> {
    for broker in [BrokerKind::Hearth, BrokerKind::Mosquitto] {
        let (schedule, length) = (Schedule::default(), Duration::from_secs(3));
        let Outcome { record, tally } = play(Run { broker, seed: 1, schedule, length }).await?;
        assert!(tally.sent > 30, "{broker:?}: {tally:?}");
        assert_eq!((tally.answered_once, tally.first_answers["2xx"]), (tally.sent, tally.sent));
        let lines = record.requests.values().filter(|asked| asked.line).count();
        assert_eq!(record.lines.len(), lines, "{broker:?}");
        assert_eq!(tally.broken(), [""; 0], "{broker:?}");
    }
    Ok(())
}

async fn play(run: Run) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    run.play(&Built::for_this_test()?, folder.path()).await
}
