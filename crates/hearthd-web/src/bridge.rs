//! Connects one WebSocket to the broker. MQTT is in binary frames, whose boundaries have no meaning (MQTT 6).

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{sleep_until, timeout},
};
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};
use tracing::{debug, info, warn};

use crate::{
    broker::{Link, Upstream},
    config,
    doors::Place,
    logins::Logins,
    packets::{self, Connect, Verdict},
};

/// The state that all WebSockets share.
#[derive(Debug)]
pub(crate) struct Bridge {
    upstream: Upstream,
    limits: config::Limits,
    logins: Option<Logins>,
    /// Whether the last connection to the broker failed; each change is logged.
    is_away: Cell<bool>,
}

/// The address at the other end, and the local address that it connected to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Why a WebSocket is closed, as the page is told (RFC 6455, 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending(CloseCode, &'static str);

impl Bridge {
    pub(crate) fn new(upstream: Upstream, limits: config::Limits) -> Self {
        let logins = (!upstream.tells_addresses()).then(|| Logins::new(limits.wrong_passwords));
        Self { upstream, limits, logins, is_away: Cell::new(false) }
    }

    /// Serves a WebSocket until it ends; `stopping` ends it early.
    pub(crate) async fn serve<S>(
        &self,
        stream: S,
        ends: Ends,
        mut place: Place,
        stopping: impl Future<Output = ()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Limits::default().max_payload_len(Some(self.limits.frame));
        let mut page = ServerBuilder::new().limits(limits).serve(stream);
        let ending = tokio::select! {
            ending = self.pipe(&mut page, ends, &mut place) => ending,
            () = stopping => Ending(CloseCode::GOING_AWAY, "this page's program is stopping"),
        };
        debug!(peer = %ends.peer, code = u16::from(ending.0), reason = ending.1, "WebSocket closed");
        let goodbye = async {
            // If a message was too large, the library has already closed the WebSocket.
            let _ = page.send(Message::close(Some(ending.0), ending.1)).await;
            let _ = page.flush().await;
            // Closing a socket with unread data breaks the connection, and the reason would be lost. So this reads what
            // is on its way until the page has answered. A browser waits for this end to close first.
            while let Some(Ok(message)) = page.next().await {
                if message.is_close() {
                    return;
                }
            }
            let mut rest = [0; 1024];
            while page.get_mut().read(&mut rest).await.is_ok_and(|read| read > 0) {}
        };
        // A client that does not read the reason is gone anyway.
        let _ = timeout(GOODBYE, goodbye).await;
    }

    async fn pipe<S>(&self, page: &mut WebSocketStream<S>, ends: Ends, place: &mut Place) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = tokio::select! {
            begun = self.log_in(page, ends) => begun,
            () = place.shown_out() => Err(Ending(CloseCode::SERVICE_OVERLOAD, "another needs the place")),
        };
        let mut broker = match begun {
            Ok(broker) => broker,
            Err(ending) => return ending,
        };
        if !place.log_in() {
            return Ending(CloseCode::SERVICE_OVERLOAD, "too many pages are connected");
        }
        match self.carry(page, &mut broker).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        }
    }

    /// Passes the CONNECT on, and the CONNACK back.
    async fn log_in<S>(&self, page: &mut WebSocketStream<S>, ends: Ends) -> Result<Link, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.limits.login_time;
        let (connect, bytes) = timeout(limit, first_packet(page)).await.map_err(|_| TOO_SLOW)??;
        let account = connect.username.as_deref();
        let address = ends.peer.ip();
        if let Some(logins) = &self.logins
            && !logins.may_try(address, account, Instant::now())
        {
            info!(%address, "too many wrong passwords");
            self.send(page, packets::too_many_passwords(connect.version).into()).await?;
            return Err(Ending(CloseCode::POLICY_VIOLATION, "too many wrong passwords"));
        }
        let mut broker = self.connect(ends).await?;
        self.write(&mut broker, &bytes).await?;
        let answered = timeout(limit, self.answer(page, &mut broker)).await;
        let answered = answered
            .map_err(|_| Ending(CloseCode::SERVICE_OVERLOAD, "the broker does not answer"))?;
        match answered? {
            Verdict::Accepted => Ok(broker),
            Verdict::WrongPassword => {
                if let Some(logins) = &self.logins {
                    logins.was_wrong(address, account, Instant::now());
                }
                Err(REFUSED)
            }
            Verdict::Refused => Err(REFUSED),
        }
    }

    async fn connect(&self, ends: Ends) -> Result<Link, Ending> {
        let connected =
            timeout(self.limits.login_time, self.upstream.connect(ends.peer, ends.local));
        let connected = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match connected {
            Ok(link) => {
                if self.is_away.replace(false) {
                    info!(broker = %self.upstream, "the broker is back");
                }
                Ok(link)
            }
            Err(error) => {
                if !self.is_away.replace(true) {
                    warn!(broker = %self.upstream, %error, "no connection to the broker");
                }
                Err(Ending(CloseCode::SERVICE_OVERLOAD, "the broker cannot be reached"))
            }
        }
    }

    /// Passes on the broker's bytes until its CONNACK is whole, and returns the meaning of the CONNACK.
    async fn answer<S>(
        &self,
        page: &mut WebSocketStream<S>,
        broker: &mut Link,
    ) -> Result<Verdict, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut seen = BytesMut::with_capacity(CHUNK);
        loop {
            let read = broker.read_buf(&mut seen).await.map_err(|_| BROKER_GONE)?;
            if read == 0 {
                return Err(BROKER_GONE);
            }
            let length = packets::length(&seen).map_err(|_| NO_MQTT)?;
            if length.is_some_and(|length| seen.len() >= length) {
                let verdict = packets::connack(&seen).map_err(|_| NO_MQTT)?;
                self.send(page, seen.freeze()).await?;
                return Ok(verdict);
            }
            if seen.len() > MOST_OF_FIRST {
                return Err(NO_MQTT);
            }
        }
    }

    /// Carries bytes in both directions until one side ends.
    async fn carry<S>(
        &self,
        page: &mut WebSocketStream<S>,
        broker: &mut Link,
    ) -> Result<std::convert::Infallible, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = BytesMut::new();
        let mut heard = tokio::time::Instant::now();
        loop {
            buffer.reserve(CHUNK);
            tokio::select! {
                message = page.next() => {
                    heard = tokio::time::Instant::now();
                    if let Some(bytes) = payload(message)? {
                        self.write(broker, &bytes).await?;
                    } else {
                        // The answer to a ping is sent before anything more is read, so there is never more than one.
                        self.in_time(page.flush()).await?;
                    }
                }
                read = broker.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Err(BROKER_GONE),
                    Ok(_) => self.send(page, buffer.split().freeze()).await?,
                },
                () = sleep_until(heard + self.limits.silence) => return Err(SILENT),
            }
        }
    }

    async fn send<S>(&self, page: &mut WebSocketStream<S>, bytes: Bytes) -> Result<(), Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.in_time(page.send(Message::binary(bytes))).await
    }

    async fn write(&self, broker: &mut Link, bytes: &[u8]) -> Result<(), Ending> {
        let written = async {
            broker.write_all(bytes).await?;
            broker.flush().await
        };
        let written = timeout(self.limits.stall, written).await;
        written
            .map_err(|_| Ending(CloseCode::SERVICE_OVERLOAD, "the broker takes nothing"))?
            .map_err(|_| BROKER_GONE)
    }

    async fn in_time(&self, sent: impl Future<Output = Result<(), Error>>) -> Result<(), Ending> {
        match timeout(self.limits.stall, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(PAGE_GONE),
            Err(_) => Err(Ending(CloseCode::POLICY_VIOLATION, "the page takes nothing")),
        }
    }
}

/// Reads messages until a CONNECT is whole; returns it with all bytes that arrived.
async fn first_packet<S>(page: &mut WebSocketStream<S>) -> Result<(Connect, Bytes), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = BytesMut::new();
    loop {
        let Some(more) = payload(page.next().await)? else { continue };
        bytes.extend_from_slice(&more);
        if !packets::may_be_connect(&bytes) {
            return Err(NO_CONNECT);
        }
        if let Some(length) = packets::length(&bytes).map_err(|_| NO_CONNECT)? {
            if length > MOST_OF_FIRST {
                return Err(Ending(CloseCode::MESSAGE_TOO_BIG, "the CONNECT is too large"));
            }
            if bytes.len() >= length {
                let connect = packets::connect(&bytes[..length]).map_err(|_| NO_CONNECT)?;
                return Ok((connect, bytes.freeze()));
            }
        }
    }
}

/// Returns the content of a binary message; `None` for a ping or pong.
fn payload(message: Option<Result<Message, Error>>) -> Result<Option<Bytes>, Ending> {
    match message {
        Some(Ok(message)) if message.is_binary() => Ok(Some(message.into_payload().into())),
        Some(Ok(message)) if message.is_text() => {
            Err(Ending(CloseCode::UNSUPPORTED_DATA, "MQTT goes in binary frames"))
        }
        Some(Ok(message)) if message.is_close() => Err(PAGE_GONE),
        Some(Ok(_)) => Ok(None),
        Some(Err(Error::PayloadTooLong { .. })) => {
            Err(Ending(CloseCode::MESSAGE_TOO_BIG, "the message is too large"))
        }
        Some(Err(_)) | None => Err(PAGE_GONE),
    }
}

const TOO_SLOW: Ending = Ending(CloseCode::POLICY_VIOLATION, "no CONNECT came in time");
const NO_CONNECT: Ending = Ending(CloseCode::PROTOCOL_ERROR, "no CONNECT of MQTT 3.1.1 or 5");
const NO_MQTT: Ending = Ending(CloseCode::SERVICE_OVERLOAD, "the broker does not speak MQTT");
const REFUSED: Ending = Ending(CloseCode::NORMAL_CLOSURE, "the broker refuses the login");
const BROKER_GONE: Ending =
    Ending(CloseCode::SERVICE_OVERLOAD, "the broker has closed the connection");
const PAGE_GONE: Ending = Ending(CloseCode::NORMAL_CLOSURE, "the page has closed the connection");
const SILENT: Ending =
    Ending(CloseCode::POLICY_VIOLATION, "nothing came from the page for too long");
/// How many bytes are read from the broker at once.
const CHUNK: usize = 4 * 1024;
/// The largest CONNECT and CONNACK.
const MOST_OF_FIRST: usize = 64 * 1024;
const GOODBYE: Duration = Duration::from_secs(2);
