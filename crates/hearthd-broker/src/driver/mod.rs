//! Executes: sockets, clocks, passwords, the store. Everything except Argon2 and the store runs on one thread.

mod clock;
mod codes;
mod doors;
mod engine;
mod link;
mod listen;
mod login;
mod notices;
mod proxy;
mod tls;
mod watch;

use std::{
    cell::{Cell, RefCell},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    rc::Rc,
};

use hearthd_config::exit;
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinSet, LocalSet},
};
use tracing::{error, info, warn};

use crate::{
    config::Config,
    core::{Broker, Input},
    store::{Store, StoreError, Writer, put_old_storage_aside},
    systemd::notify,
    watchdog::Watchdog,
};

use clock::Clock;
use doors::Doors;
use engine::Engine;
use link::Shared;
use login::Logins;
use tls::{CertificateError, Certificates};
use watch::Watch;

/// Runs the broker until a signal ends it, and prints one line to standard output when it listens.
///
/// `path` is the configuration file, which is read again on SIGHUP and when the accounts file changes.
///
/// # Errors
/// Where an address cannot be bound, or the store or a certificate cannot be used.
pub(crate) fn run(config: &Config, path: &Path) -> Result<(), BrokerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build()
        .map_err(BrokerError::Runtime)?;
    raise_file_limit();
    LocalSet::new().block_on(&runtime, serve(config, path))
}

/// Reads the certificates as [`run`] does.
///
/// # Errors
/// Where they are not there or cannot be used.
pub(crate) fn check_certificates(config: &Config) -> Result<(), BrokerError> {
    config.tls.as_ref().map(Certificates::read).transpose()?;
    Ok(())
}

async fn serve(config: &Config, path: &Path) -> Result<(), BrokerError> {
    let mut signals = Signals::new().map_err(BrokerError::Signal)?;
    let mut doors = Listeners::bind(config).await?;
    let watchdog = Watchdog::from_environment().map_err(BrokerError::Random)?;
    let certificates = config.tls.as_ref().map(Certificates::read).transpose()?.map(Rc::new);
    let (shared, written) = start(config, watchdog.as_ref())?;
    let mut tasks = JoinSet::new();
    {
        let shared = shared.clone();
        tasks.spawn_local(async move { shared.engine.keep_time().await });
        let (shared, mut written) = (written.0, written.1);
        tasks.spawn_local(async move {
            while let Some(batch) = written.recv().await {
                shared.engine.handle(Input::Written { batch });
            }
        });
    }
    let address = doors.address;
    doors.open(&mut tasks, &shared, certificates.as_ref());
    let watch = Watch::start(&config.accounts_file)
        .inspect_err(
            |error| warn!(%error, "cannot watch the accounts file: send SIGHUP after each change"),
        )
        .ok();
    announce(address);
    if let Some(watchdog) = watchdog {
        tasks.spawn_local(watchdog.run(address));
    }
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                read_accounts_again(&shared, path);
                if let (Some(certificates), Some(tls)) = (&certificates, &config.tls) {
                    match certificates.read_again(tls) {
                        Ok(()) => info!("certificates read again"),
                        Err(error) => error!(%error, "cannot read the certificates: the old ones stay in use"),
                    }
                }
            }
            () = changed(watch.as_ref()) => read_accounts_again(&shared, path),
        }
    }
    notify(NotifyState::Stopping);
    info!("stopping");
    shared.engine.stop().await;
    // The last packets to the clients get a moment to be sent.
    tokio::time::sleep(GOODBYE).await;
    tasks.shutdown().await;
    Ok(())
}

type Written = (Rc<Shared>, tokio::sync::mpsc::UnboundedReceiver<u64>);

/// Opens the store and creates the core from it.
fn start(
    config: &Config,
    watchdog: Option<&Watchdog>,
) -> Result<(Rc<Shared>, Written), BrokerError> {
    put_old_storage_aside(&config.storage_directory)?;
    let (store, records) = Store::open(&config.storage_directory)?;
    let clock = Clock::start();
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| BrokerError::Random(io::Error::other(error)))?;
    let (seed, key) = random.split_first_chunk().expect("24 bytes are 8 and 16");
    let key = key.try_into().expect("24 bytes are 8 and 16");
    let accounts = config.credentials.table();
    let seed = u64::from_be_bytes(*seed);
    let broker = Broker::restore(config.limits.clone(), accounts, seed, clock.now(), records);
    let (sender, written) = tokio::sync::mpsc::unbounded_channel();
    let writer: Writer = store.start(move |batch| {
        // Nobody is left to tell once the broker has stopped.
        let _ = sender.send(batch);
    });
    let login = watchdog.map(|watchdog| watchdog.login().clone());
    let shared = Rc::new(Shared {
        engine: Engine::new(broker, writer, clock),
        logins: Logins::new(config.credentials.clone(), key, login),
        limits: config.driver_limits.clone(),
        packet: config.limits.packet as usize,
        receiving: Cell::new(0),
        scratch: RefCell::new(vec![0; SCRATCH].into()),
    });
    shared.engine.handle(Input::Tick);
    Ok((shared.clone(), (shared, written)))
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => {
            if let Err(error) = watch.changed().await {
                warn!(%error, "the accounts file cannot be watched");
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// Takes the accounts as the files have them now; where they are wrong, those before stay.
fn read_accounts_again(shared: &Shared, path: &Path) {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            return error!(%problems, "cannot read the accounts: the old ones stay in use");
        }
    };
    let accounts = config.credentials.table();
    let changed = shared.logins.replace(config.credentials);
    shared.engine.handle(Input::Accounts(accounts));
    for account in changed {
        shared.engine.handle(Input::LoggedOut { account });
    }
    info!("accounts read again");
}

/// Sockets that are bound.
struct Listeners {
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    unix: Option<tokio::net::UnixListener>,
    address: SocketAddr,
}

impl Listeners {
    /// Binds every address, or none.
    async fn bind(config: &Config) -> Result<Self, BrokerError> {
        let plain = bind(&config.listen).await?;
        let tls = config.tls.as_ref().map_or(&[][..], |tls| &tls.listen);
        let tls = bind(tls).await?;
        let unix = config.socket.as_deref().map(|path| {
            listen::bind_unix(path)
                .map_err(|source| BrokerError::Socket { path: path.to_owned(), source })
        });
        let first = plain.first().or(tls.first()).ok_or(BrokerError::NoAddress)?;
        let address = first.local_addr().map_err(BrokerError::Runtime)?;
        Ok(Self { plain, tls, unix: unix.transpose()?, address })
    }

    fn open(
        &mut self,
        tasks: &mut JoinSet<()>,
        shared: &Rc<Shared>,
        certificates: Option<&Rc<Certificates>>,
    ) {
        let doors = Rc::new(Doors::default());
        for listener in self.plain.drain(..) {
            tasks.spawn_local(listen::plain(shared.clone(), doors.clone(), listener));
        }
        for listener in self.tls.drain(..) {
            if let Some(certificates) = certificates {
                let (shared, doors) = (shared.clone(), doors.clone());
                tasks.spawn_local(listen::tls(shared, doors, listener, certificates.clone()));
            }
        }
        if let Some(listener) = self.unix.take() {
            tasks.spawn_local(listen::unix(shared.clone(), doors, listener));
        }
    }
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BrokerError> {
    let mut listeners = Vec::new();
    for &address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| BrokerError::Bind { address, source })?);
    }
    Ok(listeners)
}

/// The signals of the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// The address is taken, not this machine's, or not permitted.
    #[error(
        "listen on {address}: {source}; is another broker running? \
         change `listen` or give --listen ADDR"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("listen on {path}: {source}; change `[unix] socket`")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No listener came up.
    #[error("no address to listen on; give `listen` one")]
    NoAddress,
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate cannot be used.
    #[error("read the certificate and its key: {0}")]
    Certificate(#[from] CertificateError),
    /// The system gives no random numbers.
    #[error("read random numbers: {0}")]
    Random(io::Error),
    /// Signals cannot be received.
    #[error("wait for signals: {0}")]
    Signal(io::Error),
    /// The runtime does not start.
    #[error("start the runtime: {0}")]
    Runtime(io::Error),
}

impl BrokerError {
    /// Returns the exit code of sysexits.h.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::Socket { .. } | Self::NoAddress => exit::UNAVAILABLE,
            Self::Store(_) => exit::CANNOT_CREATE,
            Self::Certificate(_) => exit::CONFIG,
            Self::Random(_) | Self::Signal(_) | Self::Runtime(_) => exit::SYSTEM,
        }
    }
}

fn announce(address: SocketAddr) {
    // A closed standard output is no reason to stop a broker.
    let mut out = io::stdout();
    let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
    notify(NotifyState::Ready);
    info!(%address, "listening");
}

/// Lets the process have as many connections as the system allows it, up to what it can have a use for.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MAX_FILES).min(MAX_FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        // A sandbox may forbid it; then there are fewer places.
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

/// Threads for password checks: one for each lane of the login queue.
const MAX_BLOCKING_THREADS: usize = 2;
/// What is read from a connection at once.
const SCRATCH: usize = 16 * 1024;
const MAX_FILES: u64 = 8_192;
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(50);
