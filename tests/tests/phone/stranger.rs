//! A plugin that the page knows nothing of, with every property type, and a device that cannot be reached.

use hearthd_tests::{
    Browser, Built, Client, Daemon, DaemonConfig, HearthBroker, HearthWeb, Message, Result,
};
use tempfile::TempDir;

use crate::scene::control;

/// A home with these two devices, and the page of an account that is logged in.
struct Home {
    browser: Browser,
    watcher: Client,
    _hub: Daemon,
    _web: HearthWeb,
    _broker: HearthBroker,
    _folder: TempDir,
}

impl Home {
    async fn start() -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let broker = HearthBroker::start(&built, folder.path()).await?;
        let mut watcher = Client::connect(&broker.access("tablet"), "tablet").await?;
        watcher.subscribe("alice/#").await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        config.plugins = &["gamut", "command"];
        config.devices = DEVICES.into();
        let mut hub = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
        hub.start(&mut watcher).await?;
        let text = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", broker.port());
        let web = HearthWeb::start(&built, &folder.path().join("web"), &text).await?;
        let mut browser = Browser::start(&folder.path().join("browser")).await?;
        browser.look(390, 844, 1, false).await?;
        browser.open(&format!("{}#u=phone&p=password-of-phone", web.url())).await?;
        let all = "document.querySelectorAll('.card[data-usable=true] .control').length === 23";
        browser.until("both devices", all).await?;
        let (_hub, _web, _broker, _folder) = (hub, web, broker, folder);
        Ok(Self { browser, watcher, _hub, _web, _broker, _folder })
    }

    /// Does something with the control of a property, and waits until it is confirmed and shows a text.
    async fn act(&mut self, title: &str, action: &str, shown: &str) -> Result<Message> {
        let find = control("pump", title);
        let act = format!("{{ const control = {find}; {action} }}");
        self.browser.evaluate(&act).await?;
        let topic_of_request = |message: &Message| {
            message.topic.starts_with("alice/cmnd/pump/") && !message.topic.ends_with("/describe")
        };
        let patience = hearthd_tests::client::PATIENCE;
        let request = self.watcher.expect("the request", patience, topic_of_request).await?;
        let confirmed = format!(
            "{find}.dataset.state === 'confirmed' && !said.textContent.includes('Failed') \
             && {find}.textContent.replaceAll('\\u00a0', ' ').includes({shown:?})"
        );
        self.browser.until(&format!("{title}: {shown}"), &confirmed).await?;
        Ok(request)
    }
}

#[tokio::test]
async fn a_plugin_with_every_property_type_has_a_control_for_each() -> Result<()> {
    let mut home = Home::start().await?;
    for (title, element, text) in [
        ("Circulation pump", "button[role=switch][aria-checked=false]", "Off"),
        ("leak", "span.value", "On"),
        ("flush", "button.choice[aria-label='flush: On']", ""),
        ("speed", "input[type=range][max='5']", "1"),
        ("starts", "span.value", "17"),
        ("limit", "input[type=range][step='0.5']", "2.5 bar"),
        ("flow_temperature", "span.value", "41.5 °C"),
        ("energy", "span.value", "12.3 kWh"),
        ("humidity", "span.value", "55 %"),
        ("program", "button.choice[aria-pressed=true]", "eco"),
        ("phase", "span.value", "filling"),
        ("door", "span.value", "open"),
        ("rinse", "button.choice[aria-label=rinse]", "Press"),
        ("beep", "button.choice[aria-label='beep: long']", ""),
        ("label", "form input[type=text]", "cellar"),
        ("serial", "span.value", "A-1"),
        ("say", "form input[type=text]", ""),
        ("details", "pre.json", "{\"valve\":3}"),
        ("plan", "form input[type=text]", ""),
        ("bell", "span.value", "not yet"),
        ("remote", "span.value", "not yet"),
    ] {
        let find = control("pump", title);
        let is_there = format!("!!{find}?.querySelector({element:?})");
        home.browser.until(&format!("{title}, {element}"), &is_there).await?;
        let shows = format!(
            "{find}.textContent.replaceAll('\\u00a0', ' ').includes({text:?}) && {find}.checkVisibility()"
        );
        home.browser.until(&format!("{title}: {text}"), &shows).await?;
    }

    let set = |value: &str| {
        format!(
            "const input = control.querySelector('input'); input.value = '{value}'; \
             if (input.form) input.form.requestSubmit(); else input.dispatchEvent(new Event('change', {{ bubbles: true }}));"
        )
    };
    let press = |number: usize| format!("control.querySelectorAll('button')[{number}].click();");
    for (title, action, payload, shown) in [
        ("Circulation pump", press(0), "ON", "On"),
        ("speed", set("3"), "3", "3"),
        ("limit", set("4.5"), "4.5", "4.5 bar"),
        ("program", press(1), "turbo", "turbo"),
        ("label", set("attic"), "attic", "attic"),
        ("flush", press(0), "ON", ""),
        ("rinse", press(0), "rinse", ""),
        ("plan", set("{\"days\":[1,2]}"), "{\"days\":[1,2]}", ""),
        ("say", set("hot"), "hot", ""),
        ("beep", press(1), "long", ""),
    ] {
        let request = home.act(title, &action, shown).await?;
        assert_eq!(request.text(), payload, "{title}");
    }
    // What followed from it.
    for (title, text) in
        [("phase", "filling"), ("alert", "hot"), ("bell", "ring"), ("remote", "double")]
    {
        let shows = format!("{}.textContent.includes({text:?})", control("pump", title));
        home.browser.until(&format!("{title}: {text}"), &shows).await?;
    }
    home.browser.evaluate("document.querySelector('details').open = true").await?;
    let event =
        "document.querySelector('.history').textContent.includes('Cellar pump, bell: ring')";
    home.browser.until("the event", event).await?;

    // What the device refuses keeps the page from nothing.
    let plan = control("pump", "plan");
    let wrong = format!("{{ const control = {plan}; {} }}", set("no JSON"));
    home.browser.evaluate(&wrong).await?;
    let refused = format!(
        "{plan}.dataset.state === 'failed' && /^Failed: it could not be read.*\\(400\\)$/.test({plan}.querySelector('.note').textContent)"
    );
    home.browser.until("the refusal in words", &refused).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_cannot_be_reached_says_so_with_the_reason_and_since_when() -> Result<()> {
    let mut home = Home::start().await?;
    let valve = control("valve", "open");
    home.browser.evaluate(&format!("{valve}.querySelector('button').click()")).await?;
    let failed = format!(
        "{valve}.dataset.state === 'failed' && /^Failed: not available.*no power.*\\(503\\)$/.test({valve}.querySelector('.note').textContent)"
    );
    home.browser.until("why it failed", &failed).await?;
    let since = "/^Unreachable since \\d.*no power/.test(document.querySelector('.card:has(#d-valve) .status').textContent)";
    home.browser.until("since when it is out of reach", since).await?;
    // It may be asked all the same, and its value is the old one.
    let usable = format!(
        "!{valve}.querySelector('button').disabled && !{valve}.querySelector('.again').hidden \
         && {valve}.querySelector('button').getAttribute('aria-checked') === 'false'"
    );
    home.browser.until("a way to ask again", &usable).await?;
    Ok(())
}

const DEVICES: &str = r#"
[devices.pump]
plugin = "gamut"
name = "Cellar pump"
room = "Cellar"

[devices.valve]
plugin = "command"
name = "Valve"
room = "Cellar"
[devices.valve.config.properties.open]
type = "switch"
set = { run = ["sh", "-c", "echo 'no power' >&2; exit 69"] }
"#;
