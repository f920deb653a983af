//! Accepts connections, up to the limit.

use std::{
    fs::Permissions,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr},
    os::{fd::AsFd, unix::fs::PermissionsExt as _},
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
    doors::{Doors, Place},
    link::{Shared, serve},
    proxy,
    tls::Certificates,
};

/// Takes plain connections, for ever.
pub(super) async fn plain(shared: Rc<Shared>, doors: Rc<Doors>, listener: TcpListener) {
    accept(
        &shared,
        &doors,
        || listener.accept(),
        |(stream, peer), place| async move {
            prepare(&stream);
            serve(stream, peer.ip(), place).await;
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
        |(stream, peer), place| {
            let acceptor = certificates.acceptor();
            async move {
                prepare(&stream);
                let limit = place.shared.limits.login_time;
                let shaken = tokio::select! {
                    shaken = timeout(limit, acceptor.accept(stream)) => shaken,
                    () = place.shown_out() => return,
                };
                let Ok(Ok(stream)) = shaken else { return };
                serve(stream, peer.ip(), place).await;
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
            let header = tokio::select! {
                header = timeout(limit, proxy::read_header(&mut stream)) => header,
                () = place.shown_out() => return,
            };
            let Ok(Ok(address)) = header else { return };
            // From here on it is a connection of that address.
            let (shared, doors) = (place.shared.clone(), place.doors.clone());
            drop(place);
            let Some(place) = doors.let_in(&shared, address) else { return };
            serve(stream, address, place).await;
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
                        warn!(%error, "cannot accept a connection");
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
///
/// Its group may connect, whatever the umask says: who that is, the folder decides, which may hand its own group down.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(OWNER_AND_GROUP))?;
    Ok(listener)
}

/// How long the log is silent after a line about connections that found no place.
const SILENCE: Duration = Duration::from_secs(60);
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);
const OWNER_AND_GROUP: u32 = 0o660;
const IDLE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_secs(20);
