//! `mqtts://`: which certificates the hub trusts, and what it says of others.

use std::time::Duration;

use hearthd_tests::{
    Authority, Built, Client, Daemon, DaemonConfig, Mosquitto, Result, TlsFront, mosquitto::Kind,
    tls::Validity,
};
use tempfile::TempDir;

#[tokio::test]
async fn a_good_certificate_is_trusted_by_its_authority() -> Result<()> {
    Hub::prepare("localhost", Validity::Now).await?.comes_online().await
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() -> Result<()> {
    let mut hub = Hub::prepare("localhost", Validity::Now).await?;
    std::fs::write(hub.folder.path().join("ca.pem"), Authority::new("another")?.pem())?;
    hub.refuses("invalid peer certificate: UnknownIssuer").await
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() -> Result<()> {
    let mut hub = Hub::prepare("broker.example.org", Validity::Now).await?;
    hub.refuses("certificate not valid for name \\\"localhost\\\"").await
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() -> Result<()> {
    let mut hub = Hub::prepare("localhost", Validity::Past).await?;
    hub.refuses("invalid peer certificate: certificate expired").await
}

#[tokio::test]
async fn a_hub_whose_clock_is_behind_tries_again_until_it_is_set() -> Result<()> {
    // The clock of this machine cannot be set; a certificate that is to come is the same to the hub.
    let mut hub = Hub::prepare("localhost", Validity::In(Duration::from_secs(3))).await?;
    hub.refuses("invalid peer certificate: certificate not valid yet").await?;
    hub.comes_online().await
}

#[tokio::test]
async fn a_broker_that_speaks_no_tls_shows_as_a_failure_of_tls() -> Result<()> {
    let mut hub = Hub::prepare("localhost", Validity::Now).await?;
    let port = hub.front.port().to_string();
    let text = std::fs::read_to_string(hub.daemon.config())?;
    let plain = text.replace(&port, &hub.mosquitto.port().to_string());
    std::fs::write(hub.daemon.config(), plain)?;
    hub.refuses("cause=\"TLS: ").await
}

/// A hub that reaches its broker by TLS alone.
struct Hub {
    daemon: Daemon,
    front: TlsFront,
    mosquitto: Mosquitto,
    folder: TempDir,
}

impl Hub {
    /// Makes all ready for a broker whose certificate is for `host`; the hub knows it as `localhost`.
    async fn prepare(host: &str, validity: Validity) -> Result<Self> {
        let built = Built::for_this_test()?;
        let folder = tempfile::tempdir()?;
        let mosquitto = Mosquitto::start(Kind::Open).await?;
        let authority = Authority::new("the home")?;
        std::fs::write(folder.path().join("ca.pem"), authority.pem())?;
        let front = TlsFront::start(mosquitto.port(), &authority, host, validity).await?;
        let mut config = DaemonConfig::new(mosquitto.access(None));
        config.access.port = front.port();
        config.tables = "[broker.tls]\nca_file = \"ca.pem\"\n".into();
        let daemon = Daemon::prepare(&built, folder.path(), &config)?;
        let text = std::fs::read_to_string(daemon.config())?;
        std::fs::write(daemon.config(), text.replace("mqtt://127.0.0.1", "mqtts://localhost"))?;
        Ok(Self { daemon, front, mosquitto, folder })
    }

    /// Starts the hub where it does not run, and waits for its `online`.
    async fn comes_online(&mut self) -> Result<()> {
        let mut watcher = Client::connect(&self.mosquitto.access(None), "watcher").await?;
        if self.daemon.process().is_ok() {
            watcher.subscribe(&self.daemon.presence(None)).await?;
            assert_eq!(watcher.expect_on(&self.daemon.presence(None)).await?.text(), "online");
            return Ok(());
        }
        self.daemon.start(&mut watcher).await.map(drop)
    }

    /// Starts the hub, which says why it does not connect, and tries again.
    async fn refuses(&mut self, reason: &str) -> Result<()> {
        self.daemon.spawn()?;
        self.daemon.logged(reason).await?;
        assert!(!self.daemon.log().contains("online"), "{}", self.daemon.log());
        assert!(self.daemon.process()?.ended()?.is_none(), "it tries again");
        Ok(())
    }
}
