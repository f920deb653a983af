//! How long a tap takes until it is confirmed, beside a requester without a page.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use hearthd_tests::{Doing, Memory, Message, Result, built::workspace};

use crate::scene::{Scene, Way, control};

#[tokio::test]
async fn a_tap_is_confirmed_about_as_soon_as_a_bare_request() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let button = format!("{}.querySelector('button')", control("light-in-bedroom", "Power"));
    let mut taps = Vec::new();
    for tap in 1..=TIMES {
        // From the tap to the first frame in which the page shows what the device has reported.
        let wanted = tap % 2 == 1;
        let measure = format!(
            "new Promise((done) => {{ const button = {button}; const start = performance.now(); \
             const seen = new MutationObserver(() => {{ if (button.getAttribute('aria-checked') !== '{wanted}') return; \
             seen.disconnect(); done(performance.now() - start); }}); \
             seen.observe(button, {{ attributes: true }}); button.click(); }})"
        );
        let millis = scene.browser.evaluate(&measure).await?;
        taps.push(Duration::from_secs_f64(millis.as_f64().doing("a time")? / 1000.0));
    }
    let mut bare = Vec::new();
    for request in 1..=TIMES {
        let payload = if request % 2 == 1 { "ON" } else { "OFF" };
        let message = Message::new("alice/cmnd/light-in-bedroom/power", payload)
            .respond_to("alice/response/watcher/1", request.to_string());
        let start = Instant::now();
        let answer = scene.watcher.request(message).await?;
        bare.push(start.elapsed());
        assert_eq!(answer.status(), Some(200));
    }
    let (tap, bare) = (median(taps), median(bare));
    let mut text = String::new();
    writeln!(text, "from the tap to confirmed: {tap:.1?}; a bare request: {bare:.1?}")
        .doing("text")?;
    let file = workspace().join("target/phone/measured.txt");
    std::fs::create_dir_all(file.parent().doing("a folder")?)?;
    std::fs::write(&file, &text).doing(file.display())?;
    assert!(tap < bare + ALLOWANCE, "{text}");
    Ok(())
}

#[tokio::test]
async fn thirty_two_phones_see_what_each_other_does_in_little_memory() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    let address = format!("{}#u=anna&p=password-of-anna", scene.web.url());
    let mut phones = Vec::new();
    while phones.len() < PHONES {
        // The page that the scene has opened stays at its login.
        phones.push(scene.browser.another_phone().await?);
        scene.browser.open(&address).await?;
        scene.all_there().await?;
    }
    let private = Memory::of(scene.web.process().id())?.anonymous;
    println!("{PHONES} phones: hearth-web has {private} kB of its own");
    assert!(private <= MOST_MEMORY, "{private} kB");
    let lamp = control("light-in-bedroom", "Power");
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    scene.browser.until("its own tap", &on).await?;
    for phone in phones.into_iter().skip(1) {
        scene.browser.turn_to(phone).await?;
        scene.browser.until("another phone's tap", &on).await?;
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

const TIMES: usize = 31;
const PHONES: usize = 32;
/// In kB: 3 MB for the program, and 64 kB for each phone.
const MOST_MEMORY: u64 = 3 * 1024 + PHONES as u64 * 64;
/// What the browser, hearth-web and the state that follows the answer may take, on a busy machine.
const ALLOWANCE: Duration = Duration::from_millis(250);
