//! A hub that takes over what an earlier version has left, in its store and at the broker.

use std::path::Path;

use hearthd_tests::{Client, Doing, Message, Result, built::workspace, client::PATIENCE};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::time::Instant;

use crate::home::{Home, Setup};

#[tokio::test]
async fn an_update_takes_over_the_session_of_0_1_0_on_mosquitto() -> Result<()> {
    let mut home = updated(Setup::Shimmed).await?;
    // It has left the requests of all other devices by the time it has said `online`, or a moment later.
    let end = Instant::now() + PATIENCE;
    loop {
        let request = ["request", "foreign", "power", "ON", "--timeout", "1s"];
        let ran = home.daemon.command(&request).await?;
        if ran.code == Some(69) {
            assert!(ran.stderr.contains("nobody serves `foreign`"), "{ran:?}");
            break;
        }
        assert!(Instant::now() < end, "somebody is subscribed: {ran:?}");
    }
    home.light_is("ON").await
}

#[tokio::test]
async fn an_update_takes_over_the_session_of_0_1_0_on_the_bundled_broker() -> Result<()> {
    updated(Setup::Bundled).await?.light_is("ON").await
}

/// Starts a hub from the store and the session of 0.1.0, with requests that have waited for it.
async fn updated(setup: Setup) -> Result<Home> {
    let mut home = Home::prepare(setup, |_| {}).await?;
    assert_eq!(home.prefix.as_deref(), Some("alice"), "{setup:?}: as in the sample");
    let hub = home.broker.access("hub");
    let state = home.daemon.config().with_file_name("state");
    place_sample(&state, &format!("127.0.0.1:{}", hub.port))?;
    let mut session = Client::resume(&hub, "hearthd-demo").await?;
    for filter in ["cmnd/+/+", "response/hearthd-demo/+", "hub/hearthd-demo/presence"] {
        session.subscribe(&home.topic(filter)).await?;
    }
    drop(session);
    for (device, data, expiry) in [
        ("foreign", "foreign without expiry", None),
        ("foreign", "foreign with expiry", Some(60)),
        ("light-in-bedroom", "own", Some(60)),
    ] {
        let request = Message::new(home.topic(&format!("cmnd/{device}/power")), "ON");
        let request = request.respond_to(home.topic("response/phone/update"), data);
        home.phone.publish(Message { expiry, ..request }).await?;
    }
    home.daemon.start(&mut home.phone).await?;
    let data = |m: &Message| m.correlation_data.as_deref().unwrap_or_default().to_vec();
    let own = |m: &Message| data(m) == b"own";
    let answer = home.phone.expect("the lamp's answer", PATIENCE, own).await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "ON"), "{setup:?}");
    // Whatever the hub had to say about the others came before its answer to this.
    home.light_is("ON").await?;
    let marker = home.topic("response/phone/marker");
    let rest = home.phone.drain(&marker).await?;
    let foreign = rest.iter().find(|m| data(m).starts_with(b"foreign"));
    assert_eq!(foreign, None, "{setup:?}: it is none of the hub's business");
    let aside = state.join("state.corrupt");
    assert!(!aside.exists(), "{setup:?}: the store was taken over");
    Ok(home)
}

/// Copies the sample, as if the hub had been at this broker.
fn place_sample(state: &Path, broker: &str) -> Result<()> {
    const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
    let file = state.join("state.redb");
    let sample = workspace().join("tests/samples/0.1.0/state.redb");
    std::fs::copy(&sample, &file).doing(sample.display())?;
    let database = Database::open(&file).doing("open the sample")?;
    let memory = {
        let transaction = database.begin_read().doing("read the sample")?;
        let table = transaction.open_table(HUB).doing("its hub")?;
        let memory = table.get("memory").doing("its memory")?.doing("it has a memory")?;
        let mut memory: serde_json::Value = serde_json::from_slice(memory.value())?;
        memory["broker"] = broker.into();
        memory.to_string()
    };
    let transaction = database.begin_write().doing("write the sample")?;
    let mut table = transaction.open_table(HUB).doing("its hub")?;
    table.insert("memory", memory.as_bytes()).doing("its memory")?;
    drop(table);
    transaction.commit().doing("its memory")
}
