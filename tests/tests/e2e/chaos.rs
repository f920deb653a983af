//! Two hubs while everything around them breaks, and somebody means them harm; `cargo xtask chaos` does the same for as long as one likes.

use std::time::Duration;

use hearthd_tests::{
    Built, Result,
    chaos::{Asked, BrokerKind, Hub, Outcome, Run, Schedule, table},
};

#[tokio::test]
async fn while_nothing_breaks_every_request_is_executed_and_answered_once() -> Result<()> {
    for broker in [BrokerKind::Hearth, BrokerKind::Mosquitto] {
        let (schedule, length) = (Schedule::default(), Duration::from_secs(2));
        let run = Run { broker, seed: 1, schedule, length, zigbee2mqtt: false };
        let Outcome { record, tally } = play(run).await?;
        assert!(tally.sent > 30, "{broker:?}: {tally:?}");
        assert_eq!(tally.first_answers["2xx"], tally.sent, "{broker:?}");
        let alone = |asked: &&Asked| !asked.insisted && asked.reuse.is_none();
        for asked in record.requests.values().filter(alone) {
            assert_eq!(asked.answers.len(), 1, "{broker:?}: {asked:?}");
        }
        let asked = record.requests.values().filter(|asked| asked.line).count();
        let lines = record.lines.iter().filter(|line| record.requests.contains_key(*line)).count();
        assert_eq!(lines, asked, "{broker:?}");
        let harmed: usize = record.hostile.values().sum();
        assert!(harmed > 10, "{broker:?}: {:?}", record.hostile);
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

/// Plays a schedule with kills of all three and every kind of fault, in which a hub is killed twice on a slow link.
async fn everything_breaks(broker: BrokerKind) -> Result<()> {
    let outcome = play(Run::derive(broker, 4746, Duration::from_secs(14))).await?;
    let Outcome { record, tally } = &outcome;
    let kills = Hub::BOTH.map(|hub| record.hub_kills.get(&hub).copied());
    assert_eq!((kills, record.broker_kills.len(), record.faults.len()), ([Some(3), Some(2)], 1, 5));
    assert!(tally.sent > 100 && record.lines.len() > 50, "{tally:?}");
    let broken = tally.broken();
    assert!(broken.is_empty(), "{broken:#?}\n{}", table(&[(broker, outcome)]));
    Ok(())
}

async fn play(run: Run) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    run.play(&Built::for_this_test()?, folder.path()).await
}
