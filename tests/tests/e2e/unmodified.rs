//! Clients of other makes, as they are, at the bundled broker.

use std::time::Duration;

use hearthd_tests::{Built, Doing, HearthBroker, Result, peers::Peers, process::run};

/// What each client goes through: `tests/peers` prints it line by line.
const EVENING: &[&str] = &[
    "refused",
    "present False",
    "home HOME",
    "granted 2",
    "quality 0 at 0 retained False",
    "quality 1 at 1 retained False",
    "quality 2 at 2 retained False",
    "True 00ff",
    "b=1,a=2,b=3",
    "present True",
    "kept meanwhile",
    "kept at 1 retained True",
    "empty True",
];

async fn evening(file: &str) -> Result<()> {
    let peers = Peers::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&Built::for_this_test()?, folder.path()).await?;
    let (_, password) = broker.access("phone").login.doing("the phone has a password")?;
    for (version, home) in [("3.1.1", "None"), ("5", "alice")] {
        let command = peers.command(file);
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let more = [broker.port().to_string(), version.to_owned(), password.clone()];
        let arguments = arguments.into_iter().chain(more.map(Into::into));
        let ran = run(command.get_program(), arguments, Duration::from_secs(120)).await?;
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let expected: Vec<String> = EVENING.iter().map(|line| line.replace("HOME", home)).collect();
        assert_eq!(lines, expected, "{file} {version}: {ran:?}");
        assert_eq!(ran.code, Some(0), "{file} {version}: {ran:?}");
    }
    Ok(())
}

#[tokio::test]
async fn paho_goes_through_an_evening() -> Result<()> {
    evening("paho_client.py").await
}

#[tokio::test]
async fn gmqtt_goes_through_an_evening() -> Result<()> {
    evening("gmqtt_client.py").await
}

#[tokio::test]
async fn mqtt_js_goes_through_an_evening() -> Result<()> {
    evening("mqtt_js_client.mjs").await
}
