//! A home with a broker, a hub, hearth-web and a browser.

use std::path::{Path, PathBuf};

use hearthd_tests::{
    Access, Browser, Built, Client, Daemon, DaemonConfig, Doing, FaultProxy, HearthBroker,
    HearthWeb, Result, daemon::DEVICES,
};
use tempfile::TempDir;

/// How the page's connections get to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Over the broker's socket of this machine.
    Socket,
    /// Over TCP, through a proxy that can cut.
    Proxy,
}

/// All that runs.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) browser: Browser,
    pub(crate) web: HearthWeb,
    pub(crate) hub: Daemon,
    pub(crate) watcher: Client,
    pub(crate) proxy: FaultProxy,
    pub(crate) broker: HearthBroker,
    pub(crate) built: Built,
    pub(crate) folder: TempDir,
}

impl Scene {
    /// Starts a home with the demonstration's devices and some more, and opens the page.
    pub(crate) async fn start(way: Way) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        let broker = HearthBroker::start_configured(&built, path, &broker_config(path)?).await?;
        let access = |account: &str| Access {
            port: broker.port(),
            login: Some((account.into(), format!("password-of-{account}"))),
        };
        let mut watcher = Client::connect(&access("anna"), "watcher").await?;
        watcher.subscribe("alice/#").await?;
        let mut config = DaemonConfig::new(access("hub"));
        config.plugins = &["light", "thermostat", "command"];
        config.devices = devices(path);
        let mut hub = Daemon::prepare(&built, &path.join("hub"), &config)?;
        hub.start(&mut watcher).await?;
        let proxy = FaultProxy::start(broker.port()).await?;
        let url = match way {
            Way::Socket => format!("unix:{}", path.join("clients.sock").display()),
            Way::Proxy => format!("mqtt://127.0.0.1:{}", proxy.port()),
        };
        let text = format!("[broker]\nurl = {url:?}\n");
        let web = HearthWeb::start(&built, &path.join("web"), &text).await?;
        let mut browser = Browser::start(&path.join("browser")).await?;
        browser.look(390, 844, 1, false).await?;
        browser.open(&web.url()).await?;
        Ok(Self { browser, web, hub, watcher, proxy, broker, built, folder })
    }

    /// Logs in by the form, and waits until all devices are there with their values.
    pub(crate) async fn log_in(&mut self) -> Result<()> {
        self.submit("anna", "password-of-anna", false).await?;
        self.all_there().await
    }

    /// Fills in the form as a person does.
    pub(crate) async fn submit(&mut self, account: &str, password: &str, keep: bool) -> Result<()> {
        self.browser
            .until("the form", "document.getElementById('login').checkVisibility()")
            .await?;
        let fill = format!(
            "username.value = {account:?}; password.value = {password:?}; keep.checked = {keep}; \
             document.querySelector('#login button').click()"
        );
        self.browser.evaluate(&fill).await.map(drop)
    }

    pub(crate) async fn all_there(&mut self) -> Result<()> {
        let all = "document.querySelectorAll('.card[data-usable=true] .control').length >= 16";
        self.browser.until("all devices, ready", all).await.map(drop)
    }

    /// Returns the file with a line for each time that the slow device has done something.
    pub(crate) fn done(&self) -> PathBuf {
        self.folder.path().join("done")
    }

    /// Returns how often it has.
    pub(crate) fn count(&self) -> usize {
        std::fs::read_to_string(self.done()).map_or(0, |text| text.lines().count())
    }

    /// Takes a picture, for people, in `target/phone`.
    pub(crate) async fn picture(&mut self, name: &str) -> Result<()> {
        let folder = hearthd_tests::built::workspace().join("target/phone");
        std::fs::create_dir_all(&folder).doing(folder.display())?;
        self.browser.screenshot(&folder.join(format!("{name}.png"))).await
    }
}

impl Scene {
    /// Ends hearth-web, starts it on the same port with another configuration, and waits until the page is connected again.
    pub(crate) async fn restart_page(&mut self, config: &str) -> Result<()> {
        let lost =
            "document.querySelector('.banner').textContent.startsWith('No connection since')";
        let address = self.web.address().to_string();
        assert!(self.web.terminate().await?.success());
        self.browser.until("a lost connection", lost).await?;
        let folder = self.folder.path().join("web");
        self.web = HearthWeb::start_on(&self.built, &folder, config, &address).await?;
        self.all_there().await
    }

    /// Takes a picture of what a person sees without scrolling, in `target/phone`; returns the file.
    pub(crate) async fn screen(&mut self, name: &str) -> Result<PathBuf> {
        let folder = hearthd_tests::built::workspace().join("target/phone");
        std::fs::create_dir_all(&folder).doing(folder.display())?;
        let file = folder.join(format!("{name}.png"));
        self.browser.screen(&file).await?;
        Ok(file)
    }
}

/// JavaScript that finds the control of a property by its title within the card of a device.
pub(crate) fn control(device: &str, title: &str) -> String {
    format!(
        "[...document.querySelectorAll('.card')].find((it) => it.querySelector('h3').id === 'd-{device}')\
         ?.querySelectorAll('.control').values().find((it) => it.querySelector('.title').textContent === {title:?})"
    )
}

fn broker_config(folder: &Path) -> Result<String> {
    let mut text = format!(
        "home = \"alice\"\n[unix]\nsocket = {:?}\n[storage]\ndirectory = {:?}\n",
        folder.join("clients.sock"),
        folder.join("storage")
    );
    for (account, rest) in [
        ("hub", "role = \"hub\""),
        ("anna", "role = \"resident\""),
        ("visitor", "role = \"guest\"\ndevices = [\"light-in-bedroom\"]"),
    ] {
        let file = folder.join(format!("{account}.password"));
        std::fs::write(&file, format!("password-of-{account}")).doing(file.display())?;
        text += &format!("[[account]]\nname = {account:?}\npassword_file = {file:?}\n{rest}\n");
    }
    Ok(text)
}

/// The demonstration's devices, one with a property of each kind, and one that takes its time and counts.
fn devices(folder: &Path) -> String {
    let count = "test \"$1\" = fail && { echo '<b>no</b> paper' >&2; exit 1; }; \
                 test -e \"$0.wait\" && sleep 1; echo \"$1\" >>\"$0\"";
    let done = folder.join("done");
    let gadget = r#"
[devices.gadget]
plugin = "command"
name = "<img src=x onerror=alert(1)>"
room = "Workshop"
[devices.gadget.config.properties.switch]
type = "switch"
idempotent = true
set = { run = ["true"] }
[devices.gadget.config.properties.count]
type = "integer"
set = { run = ["true"] }
[devices.gadget.config.properties.share]
type = "number"
min = 0
max = 1
step = 0.05
set = { run = ["true"] }
[devices.gadget.config.properties.station]
type = "choice"
values = ["news", "jazz", "rock", "folk", "soul"]
set = { run = ["true"] }
[devices.gadget.config.properties.color]
type = "text"
set = { run = ["true"] }
[devices.gadget.config.properties.say]
type = "text"
retained = false
set = { run = ["true"], state = "none" }
[devices.gadget.config.properties.load]
type = "number"
unit = "W"
get = { run = ["echo", "42.5"] }
"#;
    let demo = DEVICES
        .replace("name = \"Bedroom light\"", "name = \"Bedroom light\"\nroom = \"Bedroom\"")
        .replace(
            "brightness = true",
            "brightness = true\ncolor_temperature = { min = 2200, max = 6500 }",
        )
        .replace("name = \"Living room\"", "name = \"Living room\"\nroom = \"Living room\"");
    format!(
        "{demo}{gadget}\n[devices.printer]\nplugin = \"command\"\nname = \"Printer\"\n\
         [devices.printer.config.properties.job]\ntype = \"choice\"\nvalues = [\"page\", \"photo\", \"fail\"]\n\
         set = {{ run = [\"sh\", \"-c\", {count:?}, {done:?}, \"{{value}}\"] }}\n"
    )
}
