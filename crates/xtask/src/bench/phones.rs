//! What the page for phones takes: from a tap to what the device has confirmed, beside a bare request, and hearth-web's memory.

use std::time::Instant;

use hearthd_tests::{
    Browser, Built, Client, Doing, Failure, Memory, Message, Result, browser::Tab,
};

use super::{
    Effort, median,
    page_home::{PageHome, RESPONSES},
};
use crate::provision::provide;

/// What was measured.
#[derive(Debug)]
pub(crate) struct Phones {
    /// With no page, one page, and all of them.
    pub(crate) memory: Vec<(usize, Memory)>,
    /// With one page and with all of them.
    pub(crate) times: Vec<(usize, Times)>,
}

/// The medians in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the tap until the page shows the value as confirmed.
    pub(crate) tap: f64,
    /// From the request of a client without a page to its answer.
    pub(crate) bare: f64,
}

/// Opens a page in a browser of its own for each phone, and measures.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Phones> {
    provide("the page for phones", &[("chromium", "chromium")])?;
    let folder = tempfile::tempdir()?;
    let lamp =
        "[devices.lamp]\nplugin = \"light\"\n[devices.lamp.config]\nbackend = \"simulated\"\n";
    let mut home = PageHome::start(built, folder.path(), lamp.into()).await?;
    let PageHome { hub, web, client, .. } = &mut home;
    let process = web.process().id();
    let mut memory = vec![(0, Memory::of(process)?)];
    let mut times = Vec::new();

    let address = format!("{}#u=phone&p=password-of-phone", web.url());
    let mut browser = Browser::start(&folder.path().join("browser")).await?;
    log_in(&mut browser, &address).await?;
    memory.push((1, Memory::of(process)?));
    times.push((1, taps(&mut browser, client, effort.taps).await?));
    let mut phones: Vec<Tab> = Vec::new();
    while phones.len() + 1 < PHONES {
        phones.push(browser.another_phone().await?);
        log_in(&mut browser, &address).await?;
    }
    times.push((PHONES, taps(&mut browser, client, effort.taps).await?));
    // The last tap has left the lamp off: all the others know.
    for phone in phones {
        browser.turn_to(phone).await?;
        browser.until("what another phone has done", IS_OFF).await?;
    }
    memory.push((PHONES, Memory::of(process)?));
    hub.terminate().await?;
    Ok(Phones { memory, times })
}

async fn log_in(browser: &mut Browser, address: &str) -> Result<()> {
    browser.open(address).await?;
    browser.until("the lamp", &format!("{LAMP}?.disabled === false")).await.map(drop)
}

/// Taps and asks in turn, so that both meet the same machine.
async fn taps(browser: &mut Browser, client: &mut Client, times: usize) -> Result<Times> {
    let (mut tap, mut bare) = (Vec::new(), Vec::new());
    // Comes to the milliseconds from the tap until the page shows the lamp as on, and that the lamp has said so.
    let on = format!(
        "new Promise((done) => {{ const button = {LAMP}, control = button.closest('.control'); const start = performance.now(); \
         const seen = new MutationObserver(() => {{ \
           if (control.dataset.state !== 'confirmed' || button.getAttribute('aria-checked') !== 'true') return; \
           seen.disconnect(); done(performance.now() - start); }}); \
         seen.observe(control, {{ attributes: true, subtree: true }}); button.click(); }})"
    );
    for number in 0..times {
        tap.push(browser.evaluate(&on).await?.as_f64().doing("a time")?);
        let off = Message::new("alice/cmnd/lamp/power", "OFF");
        let start = Instant::now();
        let answer = client.request(off.respond_to(RESPONSES, number.to_string())).await?;
        bare.push(start.elapsed().as_secs_f64() * 1e3);
        if answer.status() != Some(200) {
            return Err(Failure(format!("the lamp has refused: {answer:?}")));
        }
        browser.until("a lamp that is off", IS_OFF).await?;
    }
    Ok(Times { tap: median(tap), bare: median(bare) })
}

/// Finds the lamp's switch.
const LAMP: &str = "document.querySelector('.card button[aria-checked]')";
const IS_OFF: &str =
    "document.querySelector('.card button[aria-checked]').getAttribute('aria-checked') === 'false'";
const PHONES: usize = 32;
