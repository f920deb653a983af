//! The page over HTTPS, and as an app.

use hearthd_tests::{
    Authority, Browser, Built, Client, Daemon, DaemonConfig, HearthBroker, HearthWeb, Result,
};
use rustix::process::Signal;

use crate::scene::control;

#[tokio::test]
async fn over_https_the_page_can_be_installed_and_stays_connected_while_its_certificate_is_renewed()
-> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = HearthBroker::start(&built, folder.path()).await?;
    let mut watcher = Client::connect(&broker.access("tablet"), "tablet").await?;
    let config = DaemonConfig::new(broker.access("hub"));
    let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    hub.start(&mut watcher).await?;
    let place = folder.path().join("web");
    std::fs::create_dir_all(&place)?;
    let authority = Authority::new("the home")?;
    let (certificate, key) = authority.write_server("127.0.0.1", &place)?;
    let text = format!(
        "[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n[tls]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n",
        broker.port()
    );
    let mut web = HearthWeb::start(&built, &place, &text).await?;

    let mut browser = Browser::start(&folder.path().join("browser")).await?;
    browser.trust_every_certificate().await?;
    browser.open(&format!("https://{}/#u=phone&p=password-of-phone", web.address())).await?;
    let lamp = control("light-in-bedroom", "Power");
    browser
        .until("the lamp", &format!("{lamp}?.querySelector('button').disabled === false"))
        .await?;
    assert_eq!(browser.evaluate("location.protocol + isSecureContext").await?, "https:true");
    assert_eq!(browser.why_not_installable().await?, Vec::<String>::new());

    // Since when there was no connection, the page would say.
    let watch = "window.banners = 0; new MutationObserver(() => { banners += !document.querySelector('.banner').hidden; }) \
                 .observe(document.querySelector('.banner'), { attributes: true, childList: true })";
    browser.evaluate(watch).await?;
    authority.write_server("127.0.0.1", &place)?;
    web.process().signal(Signal::HUP)?;
    hearthd_tests::process::eventually("the log", hearthd_tests::client::PATIENCE, || {
        Ok(web.log().contains("certificate read again").then_some(()))
    })
    .await?;
    for state in ["true", "false"] {
        browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
        let is =
            format!("{lamp}.querySelector('button').getAttribute('aria-checked') === '{state}'");
        browser.until("what the lamp has done", &is).await?;
    }
    assert_eq!(browser.evaluate("banners").await?, 0);
    // A new connection gets the new certificate.
    browser.open(&format!("https://{}/", web.address())).await?;
    browser
        .until("the lamp again", &format!("{lamp}?.querySelector('button').disabled === false"))
        .await?;
    Ok(())
}
