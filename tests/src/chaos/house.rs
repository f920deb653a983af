//! The parts of a run: a broker that can be killed, and two hubs, each behind a proxy of its own.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Mutex, time::sleep};

use super::{
    evidence,
    plan::{self, Hub, Ledger},
    record::Notebook,
};
use crate::{
    Access, Built, Daemon, DaemonConfig, Doing, FaultProxy, HearthBroker, Mosquitto, Result, Shim,
    mosquitto::Kind, process::Signal,
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

/// A broker and the hubs that use it.
pub(super) struct House {
    pub(super) broker: Broker,
    pub(super) cellar: Home,
    pub(super) attic: Home,
    ledgers: PathBuf,
}

/// A hub and its link to the broker.
pub(super) struct Home {
    pub(super) hub: Hub,
    pub(super) proxy: FaultProxy,
    process: Mutex<Life>,
    config: PathBuf,
    /// The configuration up to the devices.
    head: String,
    ledgers: PathBuf,
    /// The base topic of the bridge of its lamp.
    base: Option<&'static str>,
}

/// The process of a hub.
struct Life {
    daemon: Daemon,
    /// How long the log was when this life began.
    born: usize,
}

impl House {
    /// Starts all of it in an empty folder and waits until the hubs are online.
    pub(super) async fn start(
        built: &Built,
        kind: BrokerKind,
        has_lamp: bool,
        folder: &Path,
        notebook: &Arc<Notebook>,
    ) -> Result<Self> {
        let broker = Broker::start(built, kind, &folder.join("broker")).await?;
        let ledgers = folder.join("ledgers");
        std::fs::create_dir_all(&ledgers).doing(ledgers.display())?;
        let base = has_lamp.then(|| broker.bridge().1);
        let cellar = Home::start(built, &broker, Hub::Cellar, None, folder, notebook).await?;
        let attic = Home::start(built, &broker, Hub::Attic, base, folder, notebook).await?;
        notebook.open().moving_at = Some(Hub::Cellar);
        for ledger in Ledger::ALL {
            let file = ledgers.join(ledger.id());
            std::fs::File::options().append(true).create(true).open(&file).doing(file.display())?;
        }
        Ok(Self { broker, cellar, attic, ledgers })
    }

    pub(super) fn home(&self, hub: Hub) -> &Home {
        match hub {
            Hub::Cellar => &self.cellar,
            Hub::Attic => &self.attic,
        }
    }

    /// Returns the lines of the ledgers that requesters ask.
    pub(super) fn lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for ledger in Ledger::ALL {
            lines.extend(lines_of(&self.ledgers.join(ledger.id()))?);
        }
        Ok(lines)
    }

    /// Counts the lines of the relay.
    pub(super) fn relayed(&self) -> Result<usize> {
        Ok(lines_of(&self.ledgers.join(plan::RELAY))?.len())
    }
}

impl Home {
    async fn start(
        built: &Built,
        broker: &Broker,
        hub: Hub,
        base: Option<&'static str>,
        folder: &Path,
        notebook: &Arc<Notebook>,
    ) -> Result<Self> {
        let mut access = broker.hub();
        let proxy =
            FaultProxy::tapped(access.port, evidence::tap(hub, Arc::clone(notebook))).await?;
        access.port = proxy.port();
        let ledgers = folder.join("ledgers");
        let mut config = DaemonConfig::new(access);
        config.client_id = hub.client_id().into();
        config.keep_alive = "5s";
        config.will_delay = "1s";
        config.plugins = &["ledger", "command", "light"];
        config.tables +=
            &base.map(|base| format!("[bridges]\nallow = [\"{base}/#\"]\n")).unwrap_or_default();
        config.devices = devices(hub, hub == Hub::Cellar, &ledgers, base);
        let mut daemon = Daemon::prepare(built, &folder.join(hub.name()), &config)?;
        let config = daemon.config().to_owned();
        let text = std::fs::read_to_string(&config).doing(config.display())?;
        let (head, _) = text.split_once("[devices.").doing("a hub without devices")?;
        let head = head.to_owned();
        daemon.spawn()?;
        daemon.logged("INFO online").await?;
        let process = Mutex::new(Life { daemon, born: 0 });
        Ok(Self { hub, proxy, process, config, head, ledgers, base })
    }

    /// Kills it, and starts it after a time.
    pub(super) async fn kill(&self, notebook: &Notebook, down: Duration) -> Result<()> {
        let mut life = self.process.lock().await;
        *notebook.open().hub_kills.entry(self.hub).or_default() += 1;
        life.daemon.kill9()?;
        sleep(down).await;
        self.begin_life(&mut life, notebook)
    }

    /// Has it read its configuration anew: by a signal where it is up, which it is told by its log, else by a restart.
    pub(super) async fn reload(&self, notebook: &Notebook) -> Result<()> {
        let mut life = self.process.lock().await;
        let log = life.daemon.log();
        if log.get(life.born..).is_some_and(|since| since.contains("INFO online")) {
            return life.daemon.process()?.signal(Signal::HUP);
        }
        life.daemon.kill9()?;
        self.begin_life(&mut life, notebook)
    }

    /// Ends it in order, and starts it at once.
    pub(super) async fn restart(&self, notebook: &Notebook) -> Result<()> {
        let mut life = self.process.lock().await;
        life.daemon.terminate().await?;
        self.begin_life(&mut life, notebook)
    }

    fn begin_life(&self, life: &mut Life, notebook: &Notebook) -> Result<()> {
        *notebook.open().lives.entry(self.hub).or_default() += 1;
        life.born = life.daemon.log().len();
        life.daemon.spawn()
    }

    /// Ends it in order, and for good; the error is how it ended.
    pub(super) async fn end(&self) -> Result<()> {
        let mut life = self.process.lock().await;
        let status = life.daemon.terminate().await?;
        let log = || format!("{} ended: {status}\n{}", self.hub.client_id(), life.daemon.log());
        status.success().then_some(()).ok_or_else(|| crate::Failure(log()))
    }

    /// Writes a configuration with or without the ledger that moves; whoever reads it meanwhile gets one of both.
    pub(super) fn configure(&self, has_moving: bool) -> Result<()> {
        let text = self.head.clone() + &devices(self.hub, has_moving, &self.ledgers, self.base);
        let new = self.config.with_extension("new");
        std::fs::write(&new, text).doing(new.display())?;
        std::fs::rename(&new, &self.config).doing(self.config.display())
    }
}

/// Writes the devices of a hub as TOML.
fn devices(hub: Hub, has_moving: bool, ledgers: &Path, base: Option<&str>) -> String {
    let own = Ledger::ALL.into_iter().filter(|ledger| match ledger.fixed_at() {
        Some(home) => home == hub,
        None => has_moving,
    });
    let ids = own.map(Ledger::id).chain((hub == Hub::Attic).then_some(plan::RELAY));
    let ledger = |id| {
        let file = ledgers.join(id);
        format!("[devices.{id}]\nplugin = \"ledger\"\n[devices.{id}.config]\nfile = {file:?}\n\n")
    };
    let mut text: String = ids.map(ledger).collect();
    if let Some(base) = base {
        text += &format!(
            "[devices.{lamp}]\nplugin = \"light\"\n[devices.{lamp}.config]\n\
             backend = \"zigbee2mqtt\"\n\
             zigbee2mqtt = {{ base = \"{base}\", topic = \"{base}/hall/bulb\", raw = true }}\n",
            lamp = plan::LAMP
        );
    }
    match hub {
        Hub::Cellar => {
            text += &format!(
                "[devices.{slow}]\nplugin = \"command\"\n\
                 [devices.{slow}.config.properties.say]\ntype = \"text\"\nretained = false\n\
                 set = {{ run = [\"sleep\", \"0.1\"], state = \"none\" }}\n",
                slow = plan::SLOW
            );
        }
        Hub::Attic => {
            text += &format!(
                "[[guard]]\npresence = \"{{prefix}}/hub/{}/presence\"\n\
                 request = {{ device = \"{}\", property = \"line\", value = \"{}\" }}\n",
                hub.other().client_id(),
                plan::RELAY,
                plan::TOOK_OVER
            );
        }
    }
    text
}

fn lines_of(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).doing(file.display())?;
    Ok(text.lines().map(str::to_owned).collect())
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

    /// Returns the hubs for which it has dropped messages, because too many waited.
    pub(super) fn dropped_for(&mut self) -> BTreeSet<Hub> {
        match self {
            Self::Hearth(_) => BTreeSet::new(),
            Self::Mosquitto(broker, _) => {
                let clients = broker.dropped_for();
                let is_of = |hub: &Hub| clients.contains(hub.client_id());
                Hub::BOTH.into_iter().filter(is_of).collect()
            }
        }
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
        self.account("phone")
    }

    /// Returns whether it tells a hub who sent a message.
    pub(super) fn vouches(&self) -> bool {
        match self {
            Self::Hearth(_) => true,
            Self::Mosquitto(..) => false,
        }
    }

    /// Returns how a bridge gets in, and its base topic: Mosquitto keeps everybody below the prefix.
    pub(super) fn bridge(&self) -> (Access, &'static str) {
        match self {
            Self::Hearth(broker) => (broker.access("zigbee2mqtt"), "zigbee2mqtt"),
            Self::Mosquitto(..) => (self.account("zigbee2mqtt"), "alice/zigbee2mqtt"),
        }
    }

    /// Returns how a phone gets in that nobody should have let in.
    pub(super) fn hostile(&self) -> Access {
        self.account("tablet")
    }

    /// Mosquitto keeps users apart, not accounts of one home.
    fn account(&self, name: &str) -> Access {
        match self {
            Self::Hearth(broker) => broker.access(name),
            Self::Mosquitto(broker, _) => broker.access(Some("alice")),
        }
    }

    /// Returns how a hub gets in where it gets Response Information.
    fn hub(&self) -> Access {
        match self {
            Self::Hearth(broker) => broker.access("hub"),
            Self::Mosquitto(_, shim) => shim.access("alice"),
        }
    }
}
