//! What the page looks like on a small screen, in the dark, enlarged, and to a keyboard.

use hearthd_tests::{Doing, Result};

use crate::scene::{Scene, Way, control};

#[tokio::test]
async fn nothing_is_cut_off_at_320_pixels_nor_at_twice_the_size_in_either_theme() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.browser.look(320, 640, 2, true).await?;
    scene.picture("login-dark").await?;
    scene.log_in().await?;
    let heat = control("living-room", "Mode");
    scene.browser.evaluate(&format!("{heat}.querySelectorAll('button')[1].click()")).await?;
    scene
        .browser
        .until("heat", "document.querySelector('.heating').dataset.action === 'heating'")
        .await?;
    let job = control("printer", "job");
    scene.browser.evaluate(&format!("{job}.querySelectorAll('.choice')[2].click()")).await?;
    scene.browser.until("a failure", &format!("{job}.dataset.state === 'failed'")).await?;
    scene.browser.evaluate("document.querySelector('details').open = true").await?;
    for dark in [true, false] {
        let theme = if dark { "dark" } else { "light" };
        for (width, size) in [(320, 100), (640, 200), (320, 200)] {
            scene.browser.look(width, 640, 2, dark).await?;
            let enlarge = format!("document.documentElement.style.fontSize = '{size}%'");
            scene.browser.evaluate(&enlarge).await?;
            scene.picture(&format!("home-{width}-{size}-{theme}")).await?;
            let outside = "[...document.querySelectorAll('main *')].filter((it) => it.checkVisibility() && !it.closest('svg') \
                && !it.closest('.main .title') && it.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((it) => it.outerHTML.slice(0, 80)).join()";
            assert_eq!(scene.browser.evaluate(outside).await?, "", "{width} px at {size} %");
            let wide =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(scene.browser.evaluate(wide).await?, 0, "{width} px at {size} %");
        }
        scene.browser.evaluate("document.documentElement.style.fontSize = ''").await?;
        let pale = scene.browser.evaluate(CONTRAST).await?;
        assert_eq!(pale, "", "too pale in the {theme} theme");
    }
    let small = "[...document.querySelectorAll('main button, main input, main select')].filter((it) => it.checkVisibility() \
        && it.type !== 'checkbox' && it.getBoundingClientRect().height < 43.9).map((it) => it.outerHTML.slice(0, 80)).join()";
    assert_eq!(scene.browser.evaluate(small).await?, "", "too small for a thumb");
    scene.browser.look(390, 844, 2, false).await?;
    scene.picture("home-phone").await?;
    scene.browser.look(1100, 800, 1, true).await?;
    scene.picture("home-wide").await
}

/// The pictures of the README: `cp target/phone/readme-*.png crates/hearthd-web/pictures/`.
#[tokio::test]
async fn a_phones_screen_has_the_lamp_and_the_heating_in_both_themes() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let lamp = control("light-in-bedroom", "Power");
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    scene.browser.until("a lamp that is on", &on).await?;
    let heat = control("living-room", "Mode");
    scene.browser.evaluate(&format!("{heat}.querySelectorAll('button')[1].click()")).await?;
    let heating = "document.querySelector('.heating').dataset.action === 'heating'";
    scene.browser.until("heat", heating).await?;
    for (theme, dark) in [("light", false), ("dark", true)] {
        scene.browser.look(390, 844, 1, dark).await?;
        let file = scene.screen(&format!("readme-{theme}")).await?;
        let size = std::fs::metadata(&file)?.len();
        assert!(size < 60_000, "{}: {size} bytes", file.display());
    }
    let seen = "[...document.querySelectorAll('.card')].slice(0, 2).every((it) => it.getBoundingClientRect().top < innerHeight)";
    assert_eq!(scene.browser.evaluate(seen).await?, true);
    Ok(())
}

#[tokio::test]
async fn a_keyboard_and_a_screen_reader_get_everywhere() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    let nameless = "[...document.querySelectorAll('button, input, select')].filter((it) => it.checkVisibility() && !(it.getAttribute('aria-label') \
        || it.labels?.[0]?.textContent || it.textContent)).map((it) => it.outerHTML.slice(0, 80)).join()";
    assert_eq!(scene.browser.evaluate(nameless).await?, "");
    let twice = "[...document.querySelectorAll('[id]')].filter((it) => document.querySelectorAll('#' + CSS.escape(it.id)).length > 1).length";
    assert_eq!(scene.browser.evaluate(twice).await?, 0);

    // From the top by the keys of a keyboard to the lamp's switch, and to its slider.
    scene.browser.evaluate("document.activeElement.blur()").await?;
    let lamp = control("light-in-bedroom", "Power");
    let mut reached = false;
    for _ in 0..10 {
        scene.browser.press("Tab").await?;
        let focused = format!("document.activeElement === {lamp}.querySelector('button')");
        if scene.browser.evaluate(&focused).await? == true {
            reached = true;
            break;
        }
    }
    assert!(reached, "Tab does not lead to the lamp");
    scene.browser.press(" ").await?;
    let on = format!("{lamp}.querySelector('button').getAttribute('aria-checked') === 'true'");
    scene.browser.until("a lamp that is on", &on).await?;
    // It keeps its place: what has changed was not drawn anew.
    let focused = format!("document.activeElement === {lamp}.querySelector('button')");
    assert_eq!(scene.browser.evaluate(&focused).await?, true);
    scene.browser.press("Tab").await?;
    let before = scene.browser.evaluate("document.activeElement.value").await?;
    scene.browser.press("ArrowLeft").await?;
    let slider = control("light-in-bedroom", "Brightness");
    let moved = format!(
        "{slider}.dataset.state === 'confirmed' && {slider}.querySelector('input').value !== '{}'",
        before.as_str().unwrap_or_default()
    );
    scene.browser.until("another brightness", &moved).await?;
    Ok(())
}

/// `HEARTH_AXE` names the script of axe-core, which `cargo xtask nightly phone` gets.
#[tokio::test]
async fn axe_finds_no_violation_of_the_rules_for_accessibility() -> Result<()> {
    let file = std::env::var_os("HEARTH_AXE").doing("run `cargo xtask nightly phone`")?;
    let axe = std::fs::read_to_string(file)?;
    let run = "axe.run(document).then((it) => it.violations.map((found) => \
               `${found.id}: ${found.nodes.map((node) => node.html).join(' ')}`).join('; '))";
    let mut scene = Scene::start(Way::Socket).await?;
    scene.browser.evaluate(&axe).await?;
    assert_eq!(scene.browser.evaluate(run).await?, "", "the login");
    scene.log_in().await?;
    let job = control("printer", "job");
    scene.browser.evaluate(&format!("{job}.querySelectorAll('.choice')[2].click()")).await?;
    scene.browser.until("a failure", &format!("{job}.dataset.state === 'failed'")).await?;
    scene.browser.evaluate("document.querySelector('details').open = true").await?;
    for dark in [false, true] {
        scene.browser.look(390, 844, 1, dark).await?;
        assert_eq!(scene.browser.evaluate(run).await?, "", "dark: {dark}");
    }
    scene.hub.kill9()?;
    scene
        .browser
        .until("a hub that is away", "document.querySelector('.banner').checkVisibility()")
        .await?;
    assert_eq!(scene.browser.evaluate(run).await?, "", "a hub that is away");
    Ok(())
}

#[tokio::test]
async fn german_is_a_tap_away_and_stays() -> Result<()> {
    let mut scene = Scene::start(Way::Socket).await?;
    scene.log_in().await?;
    scene.browser.evaluate("language.click()").await?;
    let german = "document.documentElement.lang === 'de' && document.body.innerText.includes('Helligkeit') && document.body.innerText.includes('Abmelden')";
    scene.browser.until("German", german).await?;
    let lamp = control("light-in-bedroom", "Licht");
    scene.browser.evaluate(&format!("{lamp}.querySelector('button').click()")).await?;
    scene
        .browser
        .until(
            "what was done, in German",
            "said.textContent.startsWith('Bedroom light, Licht: An: erledigt')",
        )
        .await?;
    scene.picture("home-german").await?;
    let url = scene.web.url();
    scene.browser.open(&url).await?;
    scene
        .browser
        .until("German", "document.querySelector('#login button').textContent === 'Anmelden'")
        .await?;
    Ok(())
}

/// Lists texts whose contrast with what is behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3); what cannot be used is free of it.
const CONTRAST: &str = r"(() => {
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((it) => (it / 255 <= 0.03928 ? it / 255 / 12.92 : ((it / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, it, index) => sum + it * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const colour = channels(getComputedStyle(it).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const it of document.querySelectorAll('body *')) {
    if (!it.checkVisibility() || it.disabled || it.closest(':disabled, .unseen, svg')) continue;
    if (![...it.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    const [one, other] = [light(channels(getComputedStyle(it).color)), light(behind(it))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) pale.push(`${it.textContent.trim().slice(0, 30)} ${contrast.toFixed(2)}`);
  }
  return pale.join();
})()";
