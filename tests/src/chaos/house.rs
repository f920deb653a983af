//! The parts of a run: a broker that can be killed, the proxy before it, and a hub with a ledger behind that.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{evidence, record::Notebook};
use crate::{
    Access, Built, Daemon, DaemonConfig, Doing, FaultProxy, HearthBroker, Mosquitto, Result, Shim,
    mosquitto::Kind,
};

/// Which broker a run is against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// `hearth-broker`.
    Hearth,
    /// Debian's Mosquitto, persistent, behind the Response Information shim.
    Mosquitto,
}

impl BrokerKind {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hearth => "hearth-broker",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// A broker and the hub that uses it.
pub(super) struct House {
    pub(super) broker: Broker,
    pub(super) proxy: FaultProxy,
    pub(super) hub: Daemon,
    ledger: PathBuf,
}

impl House {
    /// Starts all of it in an empty folder and waits until the hub is online.
    pub(super) async fn start(
        built: &Built,
        kind: BrokerKind,
        folder: &Path,
        notebook: &Arc<Notebook>,
    ) -> Result<Self> {
        let broker = Broker::start(built, kind, &folder.join("broker")).await?;
        let mut access = broker.hub();
        let tap = evidence::tap(Arc::clone(notebook));
        let proxy = FaultProxy::tapped(access.port, tap).await?;
        access.port = proxy.port();
        let ledger = folder.join("ledger");
        let mut config = DaemonConfig::new(access);
        config.keep_alive = "5s";
        config.will_delay = "1s";
        config.plugins = &["ledger"];
        config.devices = format!(
            "[devices.ledger]\nplugin = \"ledger\"\n[devices.ledger.config]\nfile = {ledger:?}\n"
        );
        let mut hub = Daemon::prepare(built, &folder.join("hub"), &config)?;
        hub.spawn()?;
        hub.logged("INFO online").await?;
        Ok(Self { broker, proxy, hub, ledger })
    }

    /// Returns the lines of the ledger.
    pub(super) fn lines(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.ledger).doing(self.ledger.display())?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// A broker that can be killed and comes back with what it had written.
pub(super) enum Broker {
    Hearth(HearthBroker),
    Mosquitto(Mosquitto, Shim),
}

impl Broker {
    async fn start(built: &Built, kind: BrokerKind, folder: &Path) -> Result<Self> {
        Ok(match kind {
            BrokerKind::Hearth => Self::Hearth(HearthBroker::start(built, folder).await?),
            BrokerKind::Mosquitto => {
                let mosquitto = Mosquitto::start_persistent(Kind::UsersApart).await?;
                let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
                Self::Mosquitto(mosquitto, shim)
            }
        })
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        match self {
            Self::Hearth(broker) => broker.stop(),
            Self::Mosquitto(broker, _) => broker.stop(),
        }
    }

    pub(super) async fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Hearth(broker) => broker.start_again().await,
            Self::Mosquitto(broker, _) => broker.start_again().await,
        }
    }

    /// Returns how requesters get in, past every fault.
    pub(super) fn direct(&self) -> Access {
        match self {
            Self::Hearth(broker) => broker.access("phone"),
            Self::Mosquitto(broker, _) => broker.access(Some("alice")),
        }
    }

    /// Returns how the hub gets in where it gets Response Information.
    fn hub(&self) -> Access {
        match self {
            Self::Hearth(broker) => broker.access("hub"),
            Self::Mosquitto(_, shim) => shim.access("alice"),
        }
    }
}
