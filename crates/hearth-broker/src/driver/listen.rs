//! Takes connections in, no more than there is room for.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    link::{Shared, serve},
    proxy,
    tls::Certificates,
};

/// Counts connections.
#[derive(Debug, Default)]
pub(super) struct Doors {
    counts: RefCell<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    last_line: Option<Instant>,
}

/// The place of one connection; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Rc<Shared>,
    doors: Rc<Doors>,
    address: IpAddr,
    stranger: bool,
}

impl Doors {
    /// Gives a connection a place, if there is one.
    fn let_in(self: &Rc<Self>, shared: &Rc<Shared>, address: IpAddr) -> Option<Place> {
        let limits = &shared.limits;
        let mut counts = self.counts.borrow_mut();
        let of_address = counts.by_address.get(&address).copied().unwrap_or_default();
        let full = if counts.connections >= limits.connections {
            Some("connections")
        } else if counts.strangers >= limits.strangers {
            Some("strangers")
        } else if of_address >= limits.strangers_of_address {
            Some("strangers_of_address")
        } else {
            None
        };
        if let Some(limit) = full {
            if counts.last_line.is_none_or(|last| last.elapsed() >= SILENCE) {
                counts.last_line = Some(Instant::now());
                warn!(%address, limit, "connection refused: there are too many");
            }
            return None;
        }
        counts.connections += 1;
        counts.strangers += 1;
        *counts.by_address.entry(address).or_default() += 1;
        let (shared, doors) = (shared.clone(), self.clone());
        Some(Place { shared, doors, address, stranger: true })
    }
}

impl Place {
    /// Counts the connection as one that is logged in.
    pub(super) fn log_in(&mut self) {
        if !std::mem::take(&mut self.stranger) {
            return;
        }
        let mut counts = self.doors.counts.borrow_mut();
        counts.strangers -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.log_in();
        self.doors.counts.borrow_mut().connections -= 1;
    }
}

/// Takes plain connections, for ever.
pub(super) async fn plain(shared: Rc<Shared>, doors: Rc<Doors>, listener: TcpListener) {
    accept(
        &shared,
        &doors,
        || listener.accept(),
        |(stream, peer), mut place| async move {
            prepare(&stream);
            serve(place.shared.clone(), stream, peer.ip(), || place.log_in()).await;
        },
    )
    .await;
}

/// Takes TLS connections, for ever.
pub(super) async fn tls(
    shared: Rc<Shared>,
    doors: Rc<Doors>,
    listener: TcpListener,
    certificates: Rc<Certificates>,
) {
    accept(
        &shared,
        &doors,
        || listener.accept(),
        |(stream, peer), mut place| {
            let acceptor = certificates.acceptor();
            async move {
                prepare(&stream);
                let shaken = timeout(place.shared.limits.login_time, acceptor.accept(stream)).await;
                let Ok(Ok(stream)) = shaken else { return };
                serve(place.shared.clone(), stream, peer.ip(), || place.log_in()).await;
            }
        },
    )
    .await;
}

/// Takes connections of programs of this machine that tell for whom they come, for ever.
pub(super) async fn unix(shared: Rc<Shared>, doors: Rc<Doors>, listener: UnixListener) {
    accept(
        &shared,
        &doors,
        || listener.accept(),
        |(mut stream, _), place| async move {
            let limit = place.shared.limits.login_time;
            let header = timeout(limit, proxy::read_header(&mut stream)).await;
            let Ok(Ok(address)) = header else { return };
            // From here on it is a connection of that address.
            let (shared, doors) = (place.shared.clone(), place.doors.clone());
            drop(place);
            let Some(mut place) = doors.let_in(&shared, address) else { return };
            serve(shared, stream, address, || place.log_in()).await;
        },
    )
    .await;
}

/// Accepts connections and serves each in a task of its own.
async fn accept<C, N, S>(
    shared: &Rc<Shared>,
    doors: &Rc<Doors>,
    next: impl Fn() -> N,
    serve: impl Fn(C, Place) -> S,
) where
    C: Peer,
    N: Future<Output = io::Result<C>>,
    S: Future<Output = ()> + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    let mut last_line: Option<Instant> = None;
    loop {
        tokio::select! {
            accepted = next() => match accepted {
                Ok(connection) => {
                    if let Some(place) = doors.let_in(shared, connection.address()) {
                        tasks.spawn_local(serve(connection, place));
                    }
                }
                Err(error) => {
                    if last_line.is_none_or(|last| last.elapsed() >= SILENCE) {
                        last_line = Some(Instant::now());
                        warn!(%error, "a connection could not be accepted");
                    }
                    // Out of file descriptors, say: it does not get better by trying.
                    sleep(AFTER_AN_ERROR).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// What was accepted, with who it is from.
trait Peer {
    fn address(&self) -> IpAddr;
}

impl Peer for (TcpStream, std::net::SocketAddr) {
    fn address(&self) -> IpAddr {
        self.1.ip()
    }
}

impl Peer for (UnixStream, tokio::net::unix::SocketAddr) {
    fn address(&self) -> IpAddr {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// Sends small packets at once, and finds out in time that a client is gone which has no keep alive.
fn prepare(stream: &TcpStream) {
    let socket = stream.as_fd();
    // A connection without these is slower, and no reason to refuse it.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, IDLE);
    let _ = sockopt::set_tcp_keepintvl(socket, INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
}

/// Makes the socket of programs of this machine, in the place of one that was left behind.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path)
}

/// How long the log is silent after a line about connections that found no place.
const SILENCE: Duration = Duration::from_secs(60);
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_secs(20);
