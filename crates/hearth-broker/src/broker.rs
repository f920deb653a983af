//! Runs the `mqtt5` broker until SIGTERM or SIGINT.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use mqtt5::broker::{BrokerConfig, MqttBroker, config::StorageConfig};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{accounts::Accounts, config::Config, watchdog::Watchdog};

/// Runs the broker until a signal ends it, and prints one line to standard output when it listens.
///
/// # Errors
/// Where an address cannot be bound, the storage cannot be used, or the broker ends by itself.
pub async fn run(config: Config) -> Result<(), BrokerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(BrokerError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BrokerError::Signal)?;
    check_addresses(&config.listen)?;
    std::fs::create_dir_all(&config.storage_directory).map_err(|source| BrokerError::Storage {
        directory: config.storage_directory.clone(),
        source,
    })?;
    let watchdog = Watchdog::from_environment().map_err(BrokerError::Watchdog)?;
    let mut accounts = Accounts::new(&config.home, config.accounts.clone());
    if let Some(watchdog) = &watchdog {
        accounts = accounts.with_itself(watchdog.login().clone());
    }
    let mut broker = MqttBroker::with_config(broker_config(&config))
        .await
        .map_err(BrokerError::Start)?
        .with_auth_provider(Arc::new(accounts));
    let address = broker.local_addr().ok_or(BrokerError::NoAddress)?;
    let storage = broker.storage();
    let mut ready = broker.ready_receiver();
    let shutdown = broker.shutdown_handle();
    let mut running = tokio::spawn(async move { broker.run().await });
    let mut announced = false;
    let mut watching = JoinSet::new();
    loop {
        tokio::select! {
            Ok(()) = ready.changed(), if !announced => {
                announce(address);
                announced = true;
                if let Some(watchdog) = watchdog.clone() {
                    watching.spawn(watchdog.run(address));
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            outcome = &mut running => return finish(outcome),
        }
    }
    if !announced {
        // The library misses a shutdown that comes before it is ready; nobody is connected yet.
        running.abort();
        return Ok(());
    }
    watching.shutdown().await;
    stop(&shutdown);
    let outcome = running.await;
    if let Some(storage) = storage
        && let Err(error) = storage.shutdown().await
    {
        warn!(%error, "the last session changes were not written");
    }
    finish(outcome)
}

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address is taken, not this machine's, or not permitted.
    #[error(
        "listen on {address}: {source}; is another broker running? \
         change `listen` or give --listen ADDR"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// No listener came up.
    #[error("no address to listen on; give `listen` one")]
    NoAddress,
    /// The folder for the sessions cannot be made.
    #[error(
        "create {directory}: {source}; choose another `[storage] directory` or change its owner"
    )]
    Storage {
        /// The folder.
        directory: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The broker refuses to start.
    #[error("start the broker: {0}")]
    Start(mqtt5::MqttError),
    /// The broker ended by itself.
    #[error("the broker ended: {0}")]
    Ended(String),
    /// The watchdog wants a secret.
    #[error("read random numbers for the watchdog: {0}")]
    Watchdog(std::io::Error),
    /// Signals cannot be received.
    #[error("wait for signals: {0}")]
    Signal(std::io::Error),
}

impl BrokerError {
    /// Returns the exit code of sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::NoAddress => 69,
            Self::Storage { .. } => 73,
            Self::Start(_) | Self::Ended(_) => 70,
            Self::Watchdog(_) | Self::Signal(_) => 71,
        }
    }
}

fn broker_config(config: &Config) -> BrokerConfig {
    let mut storage = StorageConfig::new().with_base_dir(config.storage_directory.clone());
    storage.max_queued_bytes_per_client = MAX_QUEUED_BYTES;
    let mut broker = BrokerConfig::new().with_bind_addresses(config.listen.clone());
    broker.response_information = Some(config.home.clone());
    broker.storage_config = storage;
    broker.sys_topics_enabled = false;
    broker.max_packet_size = MAX_PACKET_SIZE;
    broker.max_clients = MAX_CLIENTS;
    // A lockout after some wrong passwords would hit the hub as well: behind one router or on one
    // machine all clients share an address.
    broker.auth_config.rate_limit.enabled = false;
    // `Accounts` takes the place of this provider before anyone can connect; `false` would make the
    // library ask for a password file of its own.
    broker.auth_config.allow_anonymous = true;
    broker
}

/// Refuses to start on some of the addresses only: the library would merely log the others.
fn check_addresses(addresses: &[SocketAddr]) -> Result<(), BrokerError> {
    for &address in addresses {
        TcpListener::bind(address).map_err(|source| BrokerError::Bind { address, source })?;
    }
    Ok(())
}

fn announce(address: SocketAddr) {
    // A closed standard output is no reason to stop a broker.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
    notify(NotifyState::Ready);
    info!(%address, "listening");
}

fn stop(shutdown: &mqtt5::broker::BrokerShutdownHandle) {
    notify(NotifyState::Stopping);
    info!("stopping");
    shutdown.shutdown();
}

pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd was not told");
    }
}

fn finish(outcome: Result<mqtt5::Result<()>, tokio::task::JoinError>) -> Result<(), BrokerError> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(BrokerError::Ended(error.to_string())),
        Err(error) => Err(BrokerError::Ended(error.to_string())),
    }
}

/// Largest packet in bytes.
const MAX_PACKET_SIZE: usize = 4 * 1024 * 1024;
/// Bytes that wait for one absent client.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Clients connected at once.
const MAX_CLIENTS: usize = 1000;
