//! One home for one test: a broker, a hub and a phone.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, HearthBroker, Message, Mosquitto, Result, Shim,
    daemon::under, mosquitto::Kind,
};
use tempfile::TempDir;

/// Which broker the home has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Mosquitto as it is: no Response Information.
    Mosquitto,
    /// Mosquitto behind the shim: the user name is the Response Information.
    Shimmed,
    /// `hearth-broker`.
    Bundled,
}

impl Setup {
    pub(crate) const ALL: [Self; 3] = [Self::Mosquitto, Self::Shimmed, Self::Bundled];
}

/// The broker of a home.
#[derive(Debug)]
pub(crate) enum Broker {
    Mosquitto(Mosquitto),
    Shimmed { _mosquitto: Mosquitto, shim: Shim },
    Bundled(HearthBroker),
}

impl Broker {
    pub(crate) async fn start(setup: Setup, built: &Built, folder: &TempDir) -> Result<Self> {
        Ok(match setup {
            Setup::Mosquitto => Self::Mosquitto(Mosquitto::start(Kind::Open).await?),
            Setup::Shimmed => {
                let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
                let shim = Shim::start(mosquitto.port(), str::to_owned).await?;
                Self::Shimmed { _mosquitto: mosquitto, shim }
            }
            Setup::Bundled => {
                Self::Bundled(HearthBroker::start(built, &folder.path().join("broker")).await?)
            }
        })
    }

    /// Returns how an account gets in; behind the shim all of alice's things share her name.
    pub(crate) fn access(&self, account: &str) -> Access {
        match self {
            Self::Mosquitto(broker) => broker.access(None),
            Self::Shimmed { shim, .. } => shim.access("alice"),
            Self::Bundled(broker) => broker.access(account),
        }
    }
}

/// A home with a running hub; `phone` has subscribed to everything that it may see.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) phone: Client,
    pub(crate) daemon: Daemon,
    pub(crate) broker: Broker,
    pub(crate) prefix: Option<String>,
    _folder: TempDir,
}

impl Home {
    pub(crate) async fn start(setup: Setup) -> Result<Self> {
        Self::start_with(setup, |_| {}).await
    }

    pub(crate) async fn start_with(
        setup: Setup,
        change: impl FnOnce(&mut DaemonConfig),
    ) -> Result<Self> {
        let mut home = Self::prepare(setup, change).await?;
        home.daemon.start(&mut home.phone).await?;
        Ok(home)
    }

    /// Makes all ready except that the hub does not run.
    pub(crate) async fn prepare(
        setup: Setup,
        change: impl FnOnce(&mut DaemonConfig),
    ) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(setup, &built, &folder).await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        change(&mut config);
        let daemon = Daemon::prepare(&built, &folder.path().join("hub"), &config)?;
        let phone = Client::connect(&broker.access("phone"), "phone").await?;
        let prefix = phone.response_information().map(str::to_owned);
        let mut home = Self { phone, daemon, broker, prefix, _folder: folder };
        let own = home.topic("response/phone/+");
        home.phone.subscribe(&own).await?;
        Ok(home)
    }

    pub(crate) fn topic(&self, rest: &str) -> String {
        under(self.prefix.as_deref(), rest)
    }

    /// Makes a request of the phone's; `what` is `device/property`.
    pub(crate) fn ask(&self, what: &str, payload: impl Into<Bytes>) -> Message {
        // Never the same twice: the hub would answer as it did before.
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let data = format!("request {}", ASKED.fetch_add(1, Ordering::Relaxed));
        Message::new(self.topic(&format!("cmnd/{what}")), payload)
            .respond_to(self.topic("response/phone/e2e"), data)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn answer(
        &mut self,
        what: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Message> {
        let request = self.ask(what, payload);
        self.phone.request(request).await
    }

    /// Requires that the bedroom light is as it was at the start: nothing has switched it.
    pub(crate) async fn light_is_off(&mut self) -> Result<()> {
        self.light_is("OFF").await
    }

    /// Requires that the bedroom light is `ON`, or `OFF`.
    pub(crate) async fn light_is(&mut self, power: &str) -> Result<()> {
        let answer = self.answer("light-in-bedroom/power", "").await?;
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), power));
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The test harness shows this only where the test fails.
        eprintln!("--- log of hearthd\n{}", self.daemon.log());
        if let Broker::Bundled(broker) = &self.broker {
            eprintln!("--- log of hearth-broker\n{}", broker.log());
        }
    }
}
