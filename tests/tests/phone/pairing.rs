//! A phone gets in by the address that `hearthd pair` prints.

use std::path::PathBuf;

use hearthd_tests::{Doing, Result, client::PATIENCE, process::run};
use serde_json::Value;

use crate::scene::{Scene, Way, control};

#[tokio::test]
async fn a_phone_logs_in_by_the_address_stays_and_is_forgotten_when_it_is_unpaired() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    let paired = scene.hearthd(&["pair", "Anna's phone", "--json"]).await?;
    let paired: Value = serde_json::from_str(&paired).doing(&paired)?;
    assert_eq!(paired["account"], "phone-annas-phone");
    let address = paired["address"].as_str().doing("an address")?.to_owned();
    let (page, fragment) = address.split_once('#').doing(&address)?;
    assert_eq!(page, scene.web.url());
    let password = fragment.rsplit_once('=').doing(fragment)?.1.to_owned();

    scene.browser.open(&address).await?;
    scene.all_there().await?;
    assert_eq!(
        scene.browser.evaluate("location.hash + location.href.includes('#')").await?,
        "false"
    );
    assert_eq!(scene.browser.evaluate("history.length").await?, 3, "nothing to go back to");
    let lamp = control("light-in-bedroom", "Power");
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    scene.browser.until("a lamp that is on", &on).await?;
    // The login is kept.
    let url = scene.web.url();
    scene.browser.open(&url).await?;
    scene.all_there().await?;
    let listed = scene.hearthd(&["pair", "--list"]).await?;
    assert!(listed.starts_with("phone-annas-phone") && listed.contains("resident"), "{listed}");

    scene.hearthd(&["unpair", "Anna's phone"]).await?;
    let forgotten = "login.checkVisibility() && localStorage.getItem('login') === null \
                     && refused.textContent.includes('account or password are wrong')";
    scene.browser.until("a page that has forgotten the login", forgotten).await?;
    assert_eq!(scene.hearthd(&["pair", "--list"]).await?, "no phone is paired\n");
    for (who, log) in [
        ("hearth-web", scene.web.log()),
        ("the broker", scene.broker.log()),
        ("the hub", scene.hub.log()),
    ] {
        assert!(!log.contains(&password), "{who} has written the password to its log");
    }
    Ok(())
}

#[tokio::test]
async fn a_code_that_is_typed_pairs_the_phone_for_longer_than_the_code_is_good() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    let paired = scene.hearthd(&["pair", "Tablet", "--code", "--json"]).await?;
    let paired: Value = serde_json::from_str(&paired).doing(&paired)?;
    let code = paired["code"].as_str().doing("a code")?.to_owned();
    assert_eq!(code.len(), 9, "{code}");
    // The broker reads the code a moment after it is made. Before that, it is a wrong password, which costs no try.
    let ended = "!login.checkVisibility() && document.querySelectorAll('.card').length > 0 \
                 || login.checkVisibility() && refused.textContent !== ''";
    let is_in = "!login.checkVisibility()";
    for _ in 0..20 {
        scene.submit("phone-tablet", &code.to_lowercase(), false).await?;
        scene.browser.until("an end of the login", ended).await?;
        if scene.browser.evaluate(is_in).await? == true {
            break;
        }
    }
    scene.all_there().await?;
    let password = "JSON.parse(localStorage.getItem('login')).password";
    let kept = scene.browser.evaluate(password).await?;
    let address = paired["address"].as_str().doing("an address")?;
    assert!(address.ends_with(kept.as_str().doing("a password")?), "{kept}");
    // Another connection of the same page, and another page: the code is used up, and the password is good.
    scene.broker.stop()?;
    let lost = "document.querySelector('.banner').textContent.startsWith('No connection since')";
    scene.browser.until("a lost connection", lost).await?;
    scene.broker.start_again().await?;
    scene.all_there().await?;
    let url = scene.web.url();
    scene.browser.open(&url).await?;
    scene.all_there().await
}

#[tokio::test]
async fn a_paired_guest_sees_its_devices_alone_and_an_account_that_exists_is_paired_too()
-> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    let role =
        ["pair", "Visitor", "--role", "guest", "--devices", "printer,light-in-bedroom", "--json"];
    let paired = scene.hearthd(&role).await?;
    let paired: Value = serde_json::from_str(&paired).doing(&paired)?;
    scene.browser.open(paired["address"].as_str().doing("an address")?).await?;
    let cards = "[...document.querySelectorAll('.card[data-usable=true] h3')].map((it) => it.textContent).sort().join()";
    scene.browser.until("two devices", &format!("{cards} === 'Bedroom light,Printer'")).await?;

    // The page is open: the fragment of another account takes its place.
    let file = scene.folder.path().join("anna.password").display().to_string();
    let other = ["pair", "--username", "anna", "--password-file", &file, "--json"];
    let other: Value = serde_json::from_str(&scene.hearthd(&other).await?).doing("JSON")?;
    let address = other["address"].as_str().doing("an address")?;
    scene.browser.evaluate(&format!("location.href = {address:?}")).await?;
    scene.all_there().await?;
    assert_eq!(scene.browser.evaluate("location.hash").await?, "");
    // On a terminal, or in a pipe: a code that is as wide as high, and the address below it.
    let drawn = scene.hearthd(&other_without_json(&file)).await?;
    let code: Vec<&str> = drawn.lines().take_while(|line| !line.is_empty()).collect();
    let width = code.first().doing(&drawn)?.chars().count();
    assert!(
        code.iter().all(|line| line.chars().count() == width) && code.len() == width.div_ceil(2)
    );
    assert!(drawn.contains(address), "{drawn}");
    Ok(())
}

fn other_without_json(file: &str) -> [&str; 5] {
    ["pair", "--username", "anna", "--password-file", file]
}

impl Scene {
    /// Runs `hearthd pair` or `unpair` beside this broker and page; returns what it printed.
    async fn hearthd(&self, arguments: &[&str]) -> Result<String> {
        let folder = self.folder.path();
        let file = |path: PathBuf| path.display().to_string();
        let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        all.extend(["--broker-config".into(), file(folder.join("hearth-broker.toml"))]);
        if arguments[0] == "pair" && !arguments.contains(&"--list") {
            all.extend(["--address".into(), self.web.url()]);
        }
        let ran = run(self.built.binary("hearthd"), all, PATIENCE).await?;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        Ok(ran.stdout)
    }
}
