//! Answers HTTP: the page's files, and the WebSocket at `/mqtt`.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hearthd_config::exit;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use sd_notify::NotifyState;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::{
    bridge::{Bridge, Ends},
    broker::Upstream,
    config::{Config, Tls},
    doors::{Doors, Place},
    files::{File, Files},
    host::{Foreign, check_host, check_origin},
    tls::{TlsError, acceptor},
};

/// Serves the page until a signal ends it, and prints one line to standard output for each address that it listens on.
///
/// # Errors
/// An address cannot be bound, or a certificate cannot be used.
pub(crate) fn run(config: &Config) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(RESOLVERS)
        .build()
        .map_err(ServerError::System)?;
    LocalSet::new().block_on(&runtime, serve(config))
}

/// Why the program cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// The address is in use, not of this machine, or not permitted.
    #[error("listen on {address}: {source}; change `listen` or give --listen ADDR")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("read certificates: {0}")]
    Tls(#[from] TlsError),
    /// The system refuses a basic resource.
    #[error("start: {0}")]
    System(io::Error),
}

impl ServerError {
    /// Returns the exit code of sysexits.h.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } => exit::UNAVAILABLE,
            Self::Tls(_) => exit::CONFIG,
            Self::System(_) => exit::SYSTEM,
        }
    }
}

async fn serve(config: &Config) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::System)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(ServerError::System)?;
    let site = Rc::new(Site::new(config)?);
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(bind(*address).await?);
    }
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        announce(&listener, config.tls.is_some()).map_err(ServerError::System)?;
        tasks.spawn_local(accept(site.clone(), listener, stopping.clone()));
    }
    notify(NotifyState::Ready);
    let watched = sd_notify::watchdog_enabled();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => site.read_certificate_again(),
            () = sleep(watched.map_or(FOREVER, |allowed| allowed / 2)) => notify(NotifyState::Watchdog),
        }
    }
    notify(NotifyState::Stopping);
    // The receivers end with the tasks.
    let _ = stop.send(true);
    // The pages get a close frame, and connect to the next process by themselves.
    let _ = timeout(GOODBYE, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.shutdown().await;
    Ok(())
}

/// The state that all connections share.
#[derive(Debug)]
struct Site {
    names: Vec<String>,
    files: Files,
    doors: Rc<Doors>,
    bridge: Bridge,
    /// `[tls]`, whose files SIGHUP reads again.
    tls_files: Option<Tls>,
    tls: RefCell<Option<TlsAcceptorOf>>,
    last_line: Cell<Option<Instant>>,
}

struct TlsAcceptorOf(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor(..)")
    }
}

impl Site {
    fn new(config: &Config) -> Result<Self, ServerError> {
        let upstream = Upstream::new(&config.broker)?;
        Ok(Self {
            names: config.names.clone(),
            files: Files::new(&config.topics),
            doors: Rc::new(Doors::new(config.limits.clone())),
            bridge: Bridge::new(upstream, config.limits.clone()),
            tls_files: config.tls.clone(),
            tls: RefCell::new(config.tls.as_ref().map(acceptor).transpose()?.map(TlsAcceptorOf)),
            last_line: Cell::new(None),
        })
    }

    /// Uses a renewed certificate for the connections to come. One that cannot be used changes nothing.
    fn read_certificate_again(&self) {
        let Some(files) = &self.tls_files else { return };
        match acceptor(files) {
            Ok(acceptor) => {
                self.tls.replace(Some(TlsAcceptorOf(acceptor)));
                info!("certificate read again");
            }
            Err(error) => warn!(%error, "the certificate of before stays in use"),
        }
    }

    /// Serves one connection: requests for files, then possibly a WebSocket.
    async fn connection(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        stopping: watch::Receiver<bool>,
    ) {
        // Without this option the connection is slower, but works.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let ends = Ends { peer, local };
        let acceptor = self.tls.borrow().as_ref().map(|acceptor| acceptor.0.clone());
        let found = match acceptor {
            None => self.http(stream, &place, stopping.clone()).await,
            Some(acceptor) => {
                let shaken = tokio::select! {
                    shaken = timeout(HTTP_TIME, acceptor.accept(stream)) => shaken,
                    () = place.shown_out() => return,
                };
                let Ok(Ok(stream)) = shaken else { return };
                self.http(stream, &place, stopping.clone()).await
            }
        };
        if let Some(upgraded) = found {
            self.bridge.serve(TokioIo::new(upgraded), ends, place, stopped(stopping)).await;
        }
    }

    /// Answers requests; returns the connection when a request asks for the WebSocket.
    async fn http<S>(
        self: &Rc<Self>,
        stream: S,
        place: &Place,
        stopping: watch::Receiver<bool>,
    ) -> Option<Upgraded>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let upgrade: Rc<RefCell<Option<OnUpgrade>>> = Rc::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            let answer = self.answer(&request);
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                upgrade.replace(Some(hyper::upgrade::on(&mut request)));
            }
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(MOST_OF_HEADERS)
            .max_headers(MOST_HEADERS);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            // If the connection breaks, nobody is left to tell.
            _ = timeout(HTTP_TIME, connection) => {}
            () = place.shown_out() => return None,
            () = stopped(stopping) => return None,
        }
        let upgrade = upgrade.take()?;
        timeout(HEADER_TIME, upgrade).await.ok()?.ok()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        if request.uri().host().is_some() {
            return refusal(StatusCode::BAD_REQUEST, "This is no proxy.");
        }
        if let Err(foreign) = check_host(headers, &self.names) {
            return self.turn_away(&foreign);
        }
        if request.uri().path() == "/mqtt" {
            return self.websocket(request);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match self.files.find(request.uri().path()) {
            Some(file) => file.answer(headers, &self.files.etag),
            None => refusal(StatusCode::NOT_FOUND, "There is nothing here."),
        }
    }

    /// Accepts a WebSocket (RFC 6455, 4.2).
    fn websocket(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let headers = request.headers();
        if let Err(foreign) = check_origin(headers, self.tls_files.is_some()) {
            return self.turn_away(&foreign);
        }
        let is_upgrade = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && lists(headers, &header::CONNECTION, "upgrade")
            && lists(headers, &header::UPGRADE, "websocket");
        if !is_upgrade || !lists(headers, &header::SEC_WEBSOCKET_VERSION, "13") {
            let mut answer = refusal(StatusCode::UPGRADE_REQUIRED, "Here is a WebSocket.");
            let answered = answer.headers_mut();
            answered.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            answered.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            answered.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            return answer;
        }
        if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, "mqtt") {
            return refusal(StatusCode::BAD_REQUEST, "The subprotocol is `mqtt`.");
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let Some(accept) = key.and_then(accept_key) else {
            return refusal(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is 16 bytes in base64.");
        };
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answered = answer.headers_mut();
        answered.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        answered.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        answered.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        answered.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        answer
    }

    fn turn_away(&self, foreign: &Foreign) -> Response<Full<Bytes>> {
        let tell = self.last_line.get().is_none_or(|last| last.elapsed() >= SILENCE);
        if tell && *foreign != Foreign::NoHost {
            self.last_line.set(Some(Instant::now()));
        }
        match foreign {
            Foreign::NoHost => refusal(StatusCode::BAD_REQUEST, "One Host, please."),
            Foreign::Host(host) => {
                if tell {
                    let remedy = "if it is this machine's, add it to `names`";
                    warn!(%host, remedy, "request for an unknown host name refused");
                }
                let why = "This machine is not known by that name: see `names` in hearth-web.toml.";
                refusal(StatusCode::MISDIRECTED_REQUEST, why)
            }
            Foreign::Origin(origin) => {
                if tell {
                    warn!(%origin, "WebSocket for a foreign page refused");
                }
                refusal(StatusCode::FORBIDDEN, "Only this page may use the WebSocket.")
            }
        }
    }
}

impl File {
    fn answer(&self, asked: &HeaderMap, etag: &str) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        let headers = answer.headers_mut();
        put_security(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Ok(etag) = etag.parse() {
            headers.insert(header::ETAG, etag);
        }
        if lists(asked, &header::IF_NONE_MATCH, etag) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        let body = match &self.compressed {
            Some(compressed) if takes_gzip(asked) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                compressed.clone()
            }
            _ => self.content.clone(),
        };
        *answer.body_mut() = Full::new(body);
        answer
    }
}

fn refusal(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(why));
    *answer.status_mut() = status;
    put_security(answer.headers_mut());
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// Tells the browser what the page does not need, so that an attack cannot use it.
fn put_security(headers: &mut HeaderMap) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        // The browser asks each time whether its copy is current, so that an update shows.
        ("cache-control", "no-cache"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

fn accept_key(key: &[u8]) -> Option<HeaderValue> {
    (BASE64.decode(key).ok()?.len() == 16).then_some(())?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(context.finish()).parse().ok()
}

/// Returns whether a header is a list that contains a word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Returns whether a browser accepts gzip; `q=0` means that it does not.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Accepts connections and serves each in its own task, until the program ends.
async fn accept(site: Rc<Site>, listener: TcpListener, stopping: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let place = site.doors.let_in(peer.ip().to_canonical());
                    let (site, stopping) = (site.clone(), stopping.clone());
                    tasks.spawn_local(site.connection(stream, peer, place, stopping));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    // For example, there are no file descriptors left. Trying again at once does not help.
                    sleep(AFTER_AN_ERROR).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = stopped(stopping.clone()) => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Waits until the program ends.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // Its sender lives as long as the program.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Binds an address. If the system has no IPv6, "all addresses" means those of IPv4.
async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Bind { address, source };
    match TcpListener::bind(address).await {
        Err(error)
            if address == SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port())
                && error.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            TcpListener::bind(address).await.map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

fn announce(listener: &TcpListener, is_tls: bool) -> io::Result<()> {
    let address = listener.local_addr()?;
    // A closed standard output is no reason to stop.
    let mut out = io::stdout();
    let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
    info!(%address, tls = is_tls, "listening");
    Ok(())
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}

/// Nothing inline, nothing from another server, and no way to turn text into HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// How long the head of a request may take, and the WebSocket's handshake.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a connection stays open for files.
const HTTP_TIME: Duration = Duration::from_secs(60);
const MOST_OF_HEADERS: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// How long to wait after a log line about foreign names and pages before the next one.
const SILENCE: Duration = Duration::from_secs(60);
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);
const GOODBYE: Duration = Duration::from_secs(3);
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
/// The number of threads that look up the broker's name.
const RESOLVERS: usize = 2;
