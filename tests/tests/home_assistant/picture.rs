//! What a person sees: the picture of the README is made here.

use std::{fs, path::Path};

use hearthd_tests::{Browser, Doing, Result, built::workspace};

use crate::assistant::Assistant;

/// Opens the page of the lamp, and takes a picture of it: `target/home-assistant/lamp.png`.
pub(crate) async fn lamp(home: &Assistant, folder: &Path) -> Result<()> {
    let mut browser = Browser::start(&folder.join("browser")).await?;
    browser.look(420, 660, 1, false).await?;
    let device = home.template("{{ device_id('light.light_in_bedroom') }}").await?;
    home.open(&mut browser, &format!("/config/devices/device/{device}")).await?;
    for what in ["Bedroom light", "Transition", "Command failed"] {
        let is_there = format!("({TEXTS})(document).some((it) => it.includes('{what}'))");
        browser.until(what, &is_there).await?;
    }
    let pictures = workspace().join("target/home-assistant");
    fs::create_dir_all(&pictures).doing(pictures.display())?;
    browser.screenshot(&pictures.join("lamp.png")).await
}

/// Lists the texts of a page, also below shadow roots.
const TEXTS: &str = "function texts(root) { return [...root.querySelectorAll('*')].flatMap((it) => [ \
    ...[...it.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data), \
    ...(it.shadowRoot ? [...it.shadowRoot.childNodes].filter((node) => node.nodeType === 3) \
        .map((node) => node.data).concat(texts(it.shadowRoot)) : [])]); }";
