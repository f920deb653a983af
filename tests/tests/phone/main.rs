//! The page for the phone, in a browser: `cargo xtask nightly phone`.

mod firefox;
mod https;
mod looks;
mod measured;
mod pairing;
mod scene;
mod stranger;

use std::time::{Duration, Instant};

use hearthd_tests::{
    Access, Browser, Built, Client, Daemon, DaemonConfig, Doing, HearthWeb, Message, Mosquitto,
    Result, client::PATIENCE, mosquitto::Kind, process::eventually,
};

use scene::{Scene, Way, control};

#[tokio::test]
async fn the_page_logs_in_lists_the_devices_and_switches_the_lamp() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.submit("anna", "wrong", true).await?;
    let refused = "refused.textContent.includes('account or password are wrong')";
    scene.browser.until("the reason", refused).await?;
    scene.log_in().await?;
    let names = "[...document.querySelectorAll('.rooms h2, .rooms h3')].map((it) => it.textContent).join('|')";
    let names = scene.browser.evaluate(names).await?;
    let expected = "Bedroom|Bedroom light|Living room|Living room|Workshop|\
                    <img src=x onerror=alert(1)>|Other|Printer";
    assert_eq!(names, expected);
    assert_eq!(scene.browser.evaluate("document.images.length").await?, 0);

    let lamp = control("light-in-bedroom", "Power");
    let is = |state: &str| {
        format!("{lamp}.querySelector('button').getAttribute('aria-checked') === '{state}'")
    };
    scene.browser.until("a lamp that is off", &is("false")).await?;
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let request = scene.watcher.expect_on("alice/cmnd/light-in-bedroom/power").await?;
    assert_eq!(request.text(), "ON");
    let response_topic = request.response_topic.clone().unwrap_or_default();
    assert!(response_topic.starts_with("alice/response/web-"), "{response_topic}");
    assert!(response_topic.ends_with("/page"), "{response_topic}");
    assert_eq!(request.correlation_data.as_ref().map(bytes::Bytes::len), Some(12));
    scene.browser.until("a lamp that is on", &is("true")).await?;
    let said = "said.textContent.startsWith('Bedroom light, Power: On: done')";
    scene.browser.until("words for who cannot see", said).await?;

    // What was typed is nowhere but where the person said so.
    let kept =
        scene.browser.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").await?;
    assert!(!kept.as_str().unwrap_or_default().contains("password-of-anna"), "{kept}");
    assert!(scene.web.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_connection_that_is_cut_during_a_request_costs_neither_the_answer_nor_a_second_execution()
-> Result<()> {
    let mut scene = Scene::start(Way::Proxy).await?;
    scene.log_in().await?;
    std::fs::write(scene.done().with_extension("wait"), "")?;
    let job = control("printer", "job");
    scene.browser.evaluate(&format!("{job}.querySelector('.choice').click()")).await?;
    let first = scene.watcher.expect_on("alice/cmnd/printer/job").await?;
    // The answer cannot get through: it is there before the page is back.
    scene.proxy.refuse(true);
    scene.proxy.cut();
    let state = format!("{job}.dataset.state");
    scene
        .browser
        .until(
            "a lost connection",
            "document.querySelector('.banner').textContent.startsWith('No connection since')",
        )
        .await?;
    assert_eq!(scene.browser.evaluate(&state).await?, "asking");
    eventually("the execution", PATIENCE, || Ok((scene.count() == 1).then_some(()))).await?;
    scene.watcher.expect_on("alice/state/printer/job").await?;
    scene.proxy.refuse(false);
    let again = scene.watcher.expect_on("alice/cmnd/printer/job").await?;
    assert_eq!(again.correlation_data, first.correlation_data);
    assert_eq!(again.response_topic, first.response_topic);
    assert_eq!(again.property("retry"), Some("1"));
    scene.browser.until("the first answer", &format!("{state} === 'confirmed'")).await?;
    let log = "document.querySelector('details').open = true";
    scene.browser.evaluate(log).await?;
    let log = "[...document.querySelectorAll('.log li[data-state=done]')].length === 1";
    scene.browser.until("one request that is done", log).await?;
    assert_eq!(scene.count(), 1);
    Ok(())
}

#[tokio::test]
async fn cuts_at_any_moment_leave_each_request_done_once_and_told_right() -> Result<()> {
    let mut scene = Scene::start(Way::Proxy).await?;
    scene.log_in().await?;
    scene.browser.evaluate("document.querySelector('details').open = true").await?;
    let seed = match std::env::var("HEARTH_SEED") {
        Ok(seed) => seed.parse().doing("HEARTH_SEED")?,
        Err(_) => fastrand::u64(..),
    };
    println!("HEARTH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    // How long a request takes on this machine: the cuts come before, while and after it is answered.
    let mut usual = Duration::MAX;
    for round in 1..=UNCUT {
        let start = Instant::now();
        scene.print(round).await?;
        assert_eq!(scene.browser.until("an end", END).await?, "done");
        usual = usual.min(start.elapsed());
    }
    for round in UNCUT + 1..=UNCUT + CUTS {
        scene.print(round).await?;
        tokio::time::sleep(usual.mul_f64(random.f64() * 1.5)).await;
        scene.proxy.cut();
        let end = scene.browser.until("an end", END).await?;
        let log = scene.browser.evaluate("document.querySelector('.history').innerText").await?;
        assert_eq!(end, "done", "seed {seed}: {log}");
        // The history has the last 50.
        assert_eq!(scene.browser.evaluate(DONE).await?, round.min(50), "seed {seed}: {log}");
        assert_eq!(scene.count(), round, "seed {seed}");
    }
    let (mut requests, mut repeats) = (0, 0);
    let is_request = |message: &Message| message.topic == "alice/cmnd/printer/job";
    while let Ok(request) = scene.watcher.expect("a request", Duration::ZERO, is_request).await {
        requests += 1;
        repeats += usize::from(request.property("retry").is_some());
    }
    println!("{CUTS} cuts, {requests} requests, of which {repeats} are repeats; usually {usual:?}");
    assert!((1..CUTS).contains(&repeats), "seed {seed}: {repeats} repeats");
    Ok(())
}

impl Scene {
    /// Taps one choice of the printer and the other in turn, as soon as the page has a connection.
    async fn print(&mut self, round: usize) -> Result<()> {
        let click = format!(
            "(() => {{ const choice = {}.querySelectorAll('.choice')[{}]; \
               if (choice.disabled) return false; {MARK}; choice.click(); return true; }})()",
            control("printer", "job"),
            round % 2
        );
        self.browser.until("a connection, to ask over", &click).await.map(drop)
    }
}

#[tokio::test]
async fn a_hub_that_is_killed_is_away_since_then_and_says_afterwards_what_became_of_its_will()
-> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    scene.hub.kill9()?;
    let away = "/^The hub hearthd-demo is away since \\d/.test(document.querySelector('.banner').textContent)";
    scene.browser.until("a hub that is away", away).await?;
    let lamp = control("light-in-bedroom", "Power");
    scene
        .browser
        .until(
            "no way to ask",
            &format!(
                "{lamp}.querySelector('button').disabled && {lamp}.dataset.state === 'unknown'"
            ),
        )
        .await?;
    scene.picture("hub-away").await?;
    scene.hub.start(&mut scene.watcher).await?;
    scene.all_there().await?;
    scene.browser.evaluate("document.querySelector('details').open = true").await?;
    let told = "document.querySelector('.history').textContent.includes('hearthd-demo: Its will was published, and nobody took it up.')";
    scene.browser.until("what became of the will", told).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_fails_is_told_of_in_words_and_keeps_its_value() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let job = control("printer", "job");
    scene.browser.evaluate(&format!("{job}.querySelectorAll('.choice')[2].click()")).await?;
    scene.browser.until("a failure", &format!("{job}.dataset.state === 'failed'")).await?;
    let note = scene.browser.evaluate(&format!("{job}.querySelector('.note').textContent")).await?;
    let note = note.as_str().unwrap_or_default();
    assert!(note.starts_with("Failed: the device failed: "), "{note}");
    assert!(note.contains("<b>no</b> paper") && note.ends_with("(500)"), "{note}");
    let pressed = format!("{job}.querySelectorAll('[aria-pressed=true]').length");
    assert_eq!(scene.browser.evaluate(&pressed).await?, 0);
    assert_eq!(scene.browser.evaluate("document.querySelectorAll('b').length").await?, 0);

    // "Again" is a new request.
    let failed = scene.watcher.expect_on("alice/cmnd/printer/job").await?;
    scene.browser.evaluate(&format!("{job}.querySelector('.again').click()")).await?;
    let again = scene.watcher.expect_on("alice/cmnd/printer/job").await?;
    assert_ne!(again.correlation_data, failed.correlation_data);
    assert_eq!(again.property("retry"), None);
    scene.browser.until("another failure", &format!("{job}.dataset.state === 'failed'")).await?;

    // A slow device is asked, and nothing is shown as done before it is.
    std::fs::write(scene.done().with_extension("wait"), "")?;
    scene.browser.evaluate(&format!("{job}.querySelector('.choice').click()")).await?;
    scene
        .browser
        .until(
            "asking",
            &format!("{job}.querySelector('.note').textContent === 'asking for page …'"),
        )
        .await?;
    assert_eq!(scene.browser.evaluate(&pressed).await?, 0);
    scene
        .browser
        .until("done", &format!("{pressed} === 1 && {job}.dataset.state === 'confirmed'"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn every_control_asks_for_what_a_person_does_with_it() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let set = |value: &str| {
        format!(
            "{{ const input = control.querySelector('input, select'); input.value = '{value}'; \
           input.dispatchEvent(new Event('input', {{ bubbles: true }})); \
           if (input.form) input.form.requestSubmit(); else input.dispatchEvent(new Event('change', {{ bubbles: true }})); }}"
        )
    };
    for (device, title, property, action, payload, shown) in [
        (
            "gadget",
            "switch",
            "switch",
            "control.querySelector('button').click()".to_owned(),
            "ON",
            "On",
        ),
        ("gadget", "count", "count", set("7"), "7", "7"),
        ("gadget", "share", "share", set("0.35"), "0.35", "0.35"),
        ("gadget", "station", "station", set("rock"), "rock", ""),
        ("gadget", "color", "color", set("#12ab34"), "#12ab34", "#12ab34"),
        ("gadget", "say", "say", set("hello"), "hello", ""),
        ("light-in-bedroom", "Brightness", "brightness", set("42"), "42", "42 %"),
        ("light-in-bedroom", "Warmth", "color_temperature", set("2700"), "2700", "2,700 K"),
        (
            "living-room",
            "Mode",
            "mode",
            "control.querySelectorAll('button')[1].click()".to_owned(),
            "heat",
            "heat",
        ),
        ("living-room", "Target", "target_temperature", set("22.5"), "22.5", "22.5 °C"),
    ] {
        let find = control(device, title);
        scene.browser.evaluate(&format!("{{ const control = {find}; {action} }}")).await?;
        let topic = format!("alice/cmnd/{device}/{property}");
        let request = scene.watcher.expect_on(&topic).await?;
        assert_eq!(request.text(), payload, "{device} {title}");
        let confirmed = format!(
            "{find}.dataset.state === 'confirmed' && {find}.textContent.replaceAll('\\u00a0', ' ').includes('{shown}')"
        );
        scene.browser.until(&format!("{title} confirmed"), &confirmed).await?;
    }
    let heating = "document.querySelector('.heating').textContent === 'Heating now'";
    scene.browser.until("heating now", heating).await?;
    scene.browser.evaluate("document.querySelector('.nudge:last-of-type').click()").await?;
    let request = scene.watcher.expect_on("alice/cmnd/living-room/target_temperature").await?;
    assert_eq!(request.text(), "23");
    Ok(())
}

#[tokio::test]
async fn a_login_is_kept_where_the_person_says_so_and_forgotten_again() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let url = scene.web.url();
    scene.browser.open(&url).await?;
    scene.submit("anna", "password-of-anna", true).await?;
    scene.all_there().await?;
    scene.browser.open(&url).await?;
    scene.all_there().await?;
    scene.browser.evaluate("logout.click()").await?;
    scene.browser.open(&url).await?;
    let form = "login.checkVisibility() && localStorage.getItem('login') === null";
    scene.browser.until("the form", form).await?;

    // A guest is shown what a guest may ask, and nothing else.
    scene.submit("visitor", "password-of-visitor", false).await?;
    let lamp = control("light-in-bedroom", "Power");
    scene.browser.until("the lamp", &format!("!!{lamp}")).await?;
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    scene.browser.until("a lamp that is on", &on).await?;
    assert_eq!(scene.browser.evaluate("document.querySelectorAll('.card').length").await?, 1);
    Ok(())
}

#[tokio::test]
async fn the_page_comes_back_after_a_restart_of_the_broker_and_of_its_own_program() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let lost = "document.querySelector('.banner').textContent.startsWith('No connection since')";
    scene.broker.stop()?;
    scene.browser.until("a lost connection", lost).await?;
    scene.broker.start_again().await?;
    scene.all_there().await?;
    let text = format!(
        "[broker]\nurl = \"unix:{}\"\n",
        scene.folder.path().join("clients.sock").display()
    );
    scene.restart_page(&text).await
}

#[tokio::test]
async fn an_open_page_loads_a_newer_version_once_nothing_is_under_way() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.submit("anna", "password-of-anna", true).await?;
    scene.all_there().await?;
    let url = format!(
        "[broker]\nurl = \"unix:{}\"\n",
        scene.folder.path().join("clients.sock").display()
    );
    // A topic that is changed changes one of the files, and so the version.
    let newer = format!("{url}[topics]\nevent = \"{{prefix}}/happened/{{device}}\"\n");
    scene.browser.evaluate("window.mark = 'the page of before'").await?;
    scene.restart_page(&url).await?;
    assert_eq!(scene.browser.evaluate("window.mark").await?, "the page of before");

    std::fs::write(scene.done().with_extension("wait"), "")?;
    let job = control("printer", "job");
    scene.browser.evaluate(&format!("{job}.querySelector('.choice').click()")).await?;
    let asking = format!("{job}.dataset.state === 'asking'");
    scene.browser.until("asking", &asking).await?;
    scene.restart_page(&newer).await?;
    let is_newer = "window.mark === undefined && !!document.querySelector('meta[name=topics]')";
    scene.browser.until("the newer version", is_newer).await?;
    scene.all_there().await?;
    // The answer came before the page went, or the new one has it.
    let pressed = format!("{job}.querySelectorAll('[aria-pressed=true]').length === 1");
    scene.browser.until("done", &pressed).await?;
    assert_eq!(scene.count(), 1);
    Ok(())
}

#[tokio::test]
async fn two_tabs_share_a_login_and_neither_takes_the_others_answers() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.submit("anna", "password-of-anna", true).await?;
    scene.all_there().await?;
    let first = scene.browser.evaluate("sessionStorage.client").await?;
    // The copy begins with the client ID of the first tab, which then takes another.
    let mut other = scene.browser.duplicate().await?;
    scene.all_there().await?;
    other = scene.browser.turn_to(other).await?;
    scene.all_there().await?;
    let second = scene.browser.evaluate("sessionStorage.client").await?;
    other = scene.browser.turn_to(other).await?;
    let third = scene.browser.evaluate("sessionStorage.client").await?;
    assert!(second != third && [&second, &third].contains(&&first), "{first} {second} {third}");
    let lamp = control("light-in-bedroom", "Power");
    for state in ["true", "false"] {
        // One taps, and the other sees it too; its own history stays empty.
        scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
        let is =
            format!("{lamp}.querySelector('button').getAttribute('aria-checked') === '{state}'");
        scene.browser.until("its own tap", &is).await?;
        scene.browser.evaluate("document.querySelector('details').open = true").await?;
        scene.browser.until("an answer", &format!("{DONE} === 1")).await?;
        other = scene.browser.turn_to(other).await?;
        scene.browser.until("the other's tap", &is).await?;
    }
    Ok(())
}

#[tokio::test]
async fn mosquitto_without_accounts_and_prefix_will_do() -> Result<()> {
    switch_the_lamp_at_mosquitto("").await
}

#[tokio::test]
async fn topics_that_are_changed_for_hub_and_page_will_do() -> Result<()> {
    switch_the_lamp_at_mosquitto(
        "[topics]\nrequest = \"home/{property}/of/{device}/set\"\nstate = \"home/{property}/of/{device}\"\n\
         response = \"answers/{purpose}/{client_id}\"\nabsence = \"away/{client_id}\"\nevent = \"events/{device}\"\n\
         snapshot = \"all/{device}\"\n",
    )
    .await
}

/// Plays a home at a Mosquitto without accounts, with a table for the configurations of hub and page.
async fn switch_the_lamp_at_mosquitto(topics: &str) -> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let broker = Mosquitto::start(Kind::Open).await?;
    let access = Access { port: broker.port(), login: None };
    let mut watcher = Client::connect(&access, "watcher").await?;
    let mut config = DaemonConfig::new(access);
    config.tables += topics;
    let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
    hub.start(&mut watcher).await?;
    let text = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n{topics}", broker.port());
    let web = HearthWeb::start(&built, &folder.path().join("web"), &text).await?;
    let mut browser = Browser::start(&folder.path().join("browser")).await?;
    browser.open(&web.url()).await?;
    browser.until("the form", "login.checkVisibility()").await?;
    browser.evaluate("document.querySelector('#login button').click()").await?;
    let lamp = control("light-in-bedroom", "Power");
    browser
        .until("the lamp", &format!("{lamp} && !{lamp}.querySelector('button').disabled"))
        .await?;
    browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    browser.until("a lamp that is on", &on).await?;
    Ok(())
}

const CUTS: usize = 100;
const UNCUT: usize = 5;
/// Marks the newest line of the history: the next request draws all lines anew.
const MARK: &str =
    "document.querySelector('.log:first-of-type li:first-child')?.setAttribute('data-old', '')";
/// What became of a newer request than that, once it has come to an end.
const END: &str = "document.querySelector('.log:first-of-type li:first-child:not([data-old], [data-state=asking])')?.dataset.state";
/// How many requests of the history have come to a good end.
const DONE: &str = "document.querySelectorAll('.log li[data-state=done]').length";
