//! The page in Firefox: `cargo xtask nightly phone`, where Firefox can be had.

use hearthd_tests::{
    Built, Client, Daemon, DaemonConfig, Doing, Firefox, HearthBroker, HearthWeb, Result,
    client::PATIENCE, process::run,
};
use serde_json::Value;

use crate::scene::control;

#[tokio::test]
async fn firefox_logs_in_by_the_printed_address_and_switches_the_lamp() -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, folder.path()).await?;
    let mut watcher = Client::connect(&broker.access("tablet"), "tablet").await?;
    let config = DaemonConfig::new(broker.access("hub"));
    let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    hub.start(&mut watcher).await?;
    let text = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port());
    let web = HearthWeb::start(&built, &folder.path().join("web"), &text).await?;
    let file = broker.password_file("phone").display().to_string();
    let url = web.url();
    let pair =
        ["pair", "--username", "phone", "--password-file", &file, "--address", &url, "--json"];
    let paired = run(built.binary("hearthd"), pair, PATIENCE).await?.stdout;
    let paired: Value = serde_json::from_str(&paired).doing(&paired)?;

    let mut firefox = Firefox::start(&folder.path().join("firefox")).await?;
    firefox.open(paired["address"].as_str().doing("an address")?).await?;
    let button = format!("{}?.querySelector('button')", control("light-in-bedroom", "Power"));
    firefox.until("the lamp", &format!("{button}?.disabled === false")).await?;
    assert_eq!(firefox.evaluate("location.hash").await?, "");
    firefox.evaluate(&format!("{button}.click()")).await?;
    let on = format!("{button}.getAttribute('aria-checked') === 'true'");
    firefox.until("a lamp that is on", &on).await?;
    // The login is kept.
    firefox.open(&url).await?;
    firefox.until("the lamp again", &on.replace(".getAttribute", "?.getAttribute")).await
}
