//! A home with the page for phones: the bundled broker, a hub, and `hearth-web` beside them.

use std::path::Path;

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, HearthBroker, HearthWeb, Result,
};

/// What runs.
pub(crate) struct PageHome {
    pub(crate) broker: HearthBroker,
    pub(crate) hub: Daemon,
    pub(crate) web: HearthWeb,
    /// A client without a page, subscribed to [`RESPONSES`].
    pub(crate) client: Client,
}

impl PageHome {
    /// Starts all, with these devices, in a folder of the caller's.
    pub(crate) async fn start(built: &Built, folder: &Path, devices: String) -> Result<Self> {
        let socket = folder.join("clients.sock");
        let broker = accounts(folder, &socket)?;
        let broker = HearthBroker::start_configured(built, folder, &broker).await?;
        let mut client = Client::connect(&broker.access("phone"), "bare").await?;
        client.subscribe(RESPONSES).await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        config.plugins = &["light"];
        config.devices = devices;
        let mut hub = Daemon::prepare(built, &folder.join("hub"), &config)?;
        hub.start(&mut client).await?;
        let web = format!("[broker]\nurl = \"unix:{}\"\n", socket.display());
        let web = HearthWeb::start(built, &folder.join("web"), &web).await?;
        Ok(Self { broker, hub, web, client })
    }

    /// Returns how a phone logs in.
    pub(crate) fn access(&self) -> Access {
        self.broker.access("phone")
    }
}

/// Writes the passwords of the accounts `hub` and `phone`; returns the broker's configuration.
fn accounts(folder: &Path, socket: &Path) -> Result<String> {
    let storage = folder.join("storage");
    let mut text = format!(
        "home = \"{HOME}\"\n[unix]\nsocket = {socket:?}\n[storage]\ndirectory = {storage:?}\n"
    );
    for (account, role) in [("hub", "hub"), ("phone", "resident")] {
        let file = folder.join(format!("{account}.password"));
        std::fs::write(&file, format!("password-of-{account}")).doing(file.display())?;
        text += &format!(
            "[[account]]\nname = {account:?}\nrole = {role:?}\npassword_file = {file:?}\n"
        );
    }
    Ok(text)
}

/// The prefix of the home.
pub(crate) const HOME: &str = "alice";
/// The Response Topic of the client without a page.
pub(crate) const RESPONSES: &str = "alice/response/bare/1";
