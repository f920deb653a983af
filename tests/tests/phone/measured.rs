//! How long a tap takes until it is confirmed, beside a requester without a page.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use hearthd_tests::{Doing, Message, Result, built::workspace};

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
            "new Promise((done) => {{ const start = performance.now(); {button}.click(); \
             const look = () => ({button}.getAttribute('aria-checked') === '{wanted}' \
             ? done(performance.now() - start) : setTimeout(look, 1)); look(); }})"
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

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

const TIMES: usize = 31;
/// What the browser, hearth-web and the state that follows the answer may take, on a busy machine.
const ALLOWANCE: Duration = Duration::from_millis(250);
