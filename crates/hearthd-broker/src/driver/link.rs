//! One connection: bytes in, bytes out.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf, split},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    doors::Place,
    engine::{Engine, Outbox},
    login::{Attempt, Logins, Refusal},
};
use crate::{
    config::DriverLimits,
    core::{Input, LinkId, Notice, NoticeKind, Outgoing},
    packet::{
        Connack, Connect, Reason, Received, Reply, Version, WireError, decode, fitting, next_frame,
    },
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) logins: Logins,
    pub(super) limits: DriverLimits,
    pub(super) packet: usize,
    /// Bytes of packets that are not whole, of all connections.
    pub(super) receiving: Cell<usize>,
    /// What the system has to read goes here first, so that an idle connection has no memory of its own for it.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// One connection.
#[derive(Debug)]
struct Link<S> {
    shared: Rc<Shared>,
    id: LinkId,
    address: IpAddr,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    outbox: Rc<Outbox>,
    /// The bytes of a packet that is not whole.
    received: BytesMut,
    /// How many of them count in [`Shared::receiving`].
    counted: usize,
}

/// Serves a connection to its end.
pub(super) async fn serve<S>(stream: S, address: IpAddr, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shared = place.shared.clone();
    let (id, outbox) = shared.engine.open();
    let (reader, writer) = split(stream);
    let received = BytesMut::new();
    let mut link = Link { shared, id, address, reader, writer, outbox, received, counted: 0 };
    if link.log_in(&place).await {
        place.log_in();
        link.exchange().await;
    }
    link.shared.engine.close(link.id);
    link.count(0);
    let _ = timeout(LINGER, link.flush()).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Reads the CONNECT and checks its password; returns whether the core has the connection.
    async fn log_in(&mut self, place: &Place) -> bool {
        let limit = self.shared.limits.login_time;
        let first = tokio::select! {
            first = timeout(limit, self.first_packet()) => first,
            () = place.shown_out() => return false,
        };
        place.knock();
        let mut connect = match first {
            Ok(Ok(Some(connect))) => connect,
            Ok(Ok(None)) | Err(_) => return false,
            Ok(Err(error)) => {
                self.refuse_packet(error);
                return false;
            }
        };
        self.outbox.version.set(connect.version);
        if self.shared.logins.is_watchdog(&connect) {
            self.put(Reply::Connack(Box::default()));
            return false;
        }
        if connect.authentication_method.is_some() {
            let why = "only passwords are taken here";
            self.refuse(&connect, Reason::BadAuthenticationMethod, why);
            return false;
        }
        let attempt = Attempt {
            address: self.address,
            account: connect.username.take().unwrap_or_default(),
            password: connect.password.take(),
        };
        match self.shared.logins.check(attempt).await {
            Ok((account, handed)) => {
                let has_room = connect.version == Version::V5
                    && connect.largest_packet() >= ROOM_FOR_A_PASSWORD;
                if handed.is_some() && !has_room {
                    warn!(
                        account = &*account,
                        "the client of a pairing code has no room for its password: make another code"
                    );
                }
                self.outbox.handed.replace(handed.filter(|_| has_room));
                let link = self.id;
                self.shared.engine.handle(Input::Connected { link, connect, account });
                true
            }
            Err(Refusal { account, reason, why }) => {
                connect.username = Some(account);
                self.refuse(&connect, reason, why);
                false
            }
        }
    }

    async fn first_packet(&mut self) -> Result<Option<Box<Connect>>, WireError> {
        loop {
            let limit = self.shared.limits.packet_before_login;
            if let Some(frame) = next_frame(&mut self.received, limit, false)? {
                return match decode(&frame, Version::V5)? {
                    Received::Connect(connect) => Ok(Some(connect)),
                    _ => Err(WireError::protocol("the first packet is no CONNECT")),
                };
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Ok(None),
            }
        }
    }

    /// Answers bytes that are no CONNECT, in the form that an old client understands where it may be one.
    fn refuse_packet(&self, error: WireError) {
        if error.reason == Reason::UnsupportedProtocolVersion {
            self.outbox.version.set(Version::V3);
        }
        // MQTT 3.1.1 has no CONNACK for a packet that is too large (MQTT 3.1.1, 3.1.4).
        let told = match error.reason {
            Reason::UnsupportedProtocolVersion => true,
            Reason::PacketTooLarge => !is_of_mqtt_3(&self.received),
            _ => false,
        };
        if told {
            let text = Some(error.what.to_owned());
            let connack = Connack { reason: error.reason, text, ..Connack::default() };
            self.put(Reply::Connack(Box::new(connack)));
        }
        self.tell("", "", error.what);
    }

    fn refuse(&self, connect: &Connect, reason: Reason, why: &str) {
        let text = Some(why.to_owned());
        let connack = Reply::Connack(Box::new(Connack { reason, text, ..Connack::default() }));
        if let Some(reply) = fitting(connack, connect.version, connect.largest_packet()) {
            self.put(reply);
        }
        self.tell(&connect.client_id, connect.username.as_deref().unwrap_or_default(), why);
    }

    fn tell(&self, client_id: &str, account: &str, why: &str) {
        let why = format!("{why} (from {})", self.address);
        // Names that strangers chose are cut.
        let cut = |name: &str| name.chars().take(LONGEST_NAME).collect::<String>().into();
        let (client_id, account) = (cut(client_id), cut(account));
        let notice = Notice { kind: NoticeKind::ConnectRefused, client_id, account, why };
        self.shared.engine.tell(&notice, self.address);
    }

    fn put(&self, reply: Reply) {
        self.outbox.put(&Outgoing::Reply(reply));
    }

    /// Reads and writes until one side ends the connection.
    async fn exchange(&mut self) {
        loop {
            if !self.take_packets() {
                return;
            }
            let waiting = self.outbox.bytes.borrow().len();
            let writes = waiting > 0 || self.outbox.unflushed.get();
            if !writes && self.outbox.closing.get() {
                return;
            }
            let reads = waiting < MAX_UNSENT && !self.outbox.closing.get();
            let outbox = self.outbox.clone();
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                written = write(&mut self.writer, &outbox), if writes => {
                    if written.is_err() {
                        return;
                    }
                    if outbox.bytes.borrow().is_empty() {
                        *outbox.bytes.borrow_mut() = BytesMut::new();
                        self.shared.engine.handle(Input::Drained { link: self.id });
                    }
                }
                read = read(&mut self.reader, &shared, &mut self.received), if reads => {
                    if !matches!(read, Ok(true)) {
                        return;
                    }
                }
                () = outbox.changed.notified() => {}
                () = sleep(LINGER), if outbox.closing.get() => return,
            }
        }
    }

    /// Passes whole packets to the core; returns whether the connection continues.
    fn take_packets(&mut self) -> bool {
        while !self.outbox.closing.get() && self.outbox.bytes.borrow().len() < MAX_UNSENT {
            let packet = next_frame(&mut self.received, self.shared.packet, true);
            let packet = packet.and_then(|frame| {
                frame.map(|frame| decode(&frame, self.outbox.version.get())).transpose()
            });
            let link = self.id;
            match packet {
                Ok(Some(packet)) => self.shared.engine.handle(Input::Received { link, packet }),
                Ok(None) => break,
                Err(error) => self.shared.engine.handle(Input::Malformed { link, error }),
            }
        }
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        self.count(self.received.len())
    }

    /// Counts what of a packet is here; returns whether there is room for it.
    fn count(&mut self, bytes: usize) -> bool {
        // What is small is bounded by the number of connections.
        let bytes = if bytes > SMALL { bytes } else { 0 };
        let all = self.shared.receiving.get() - self.counted + bytes;
        self.shared.receiving.set(all);
        self.counted = bytes;
        all <= self.shared.limits.receiving
    }

    async fn read(&mut self) -> io::Result<bool> {
        let shared = self.shared.clone();
        let more = read(&mut self.reader, &shared, &mut self.received).await?;
        Ok(more && self.count(self.received.len()))
    }

    /// Sends what is left and ends the connection.
    async fn flush(&mut self) {
        while !self.outbox.bytes.borrow().is_empty() || self.outbox.unflushed.get() {
            if write(&mut self.writer, &self.outbox).await.is_err() {
                return;
            }
        }
        let _ = self.writer.shutdown().await;
    }
}

/// Returns whether the start of a CONNECT says MQTT 3.1.1; its Remaining Length has one to four bytes.
fn is_of_mqtt_3(received: &[u8]) -> bool {
    let header = b"\0\x04MQTT\x04";
    (2..=5).any(|start| received.get(start..).is_some_and(|rest| rest.starts_with(header)))
}

/// Reads what there is; returns false at the end of the stream.
async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    shared: &Shared,
    received: &mut BytesMut,
) -> io::Result<bool> {
    poll_fn(|context| {
        let mut scratch = shared.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *reader).poll_read(context, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                received.extend_from_slice(buffer.filled());
                Poll::Ready(Ok(!buffer.filled().is_empty()))
            }
        }
    })
    .await
}

/// Writes what the system takes, and sees to it that nothing of it stays in TLS.
async fn write<W: AsyncWrite + Unpin>(writer: &mut W, outbox: &Outbox) -> io::Result<()> {
    poll_fn(|context| {
        let mut bytes = outbox.bytes.borrow_mut();
        if !bytes.is_empty() {
            match ready!(Pin::new(&mut *writer).poll_write(context, &bytes)) {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes.advance(written),
            }
            outbox.unflushed.set(true);
        }
        let flushed = ready!(Pin::new(&mut *writer).poll_flush(context));
        outbox.unflushed.set(false);
        Poll::Ready(flushed)
    })
    .await
}

/// The least Maximum Packet Size of a client whose CONNACK may carry a password.
const ROOM_FOR_A_PASSWORD: usize = 1024;
/// Nothing is read from a client that leaves so much unread.
const MAX_UNSENT: usize = 128 * 1024;
/// How long the last bytes of a connection may take.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of a packet that are not counted.
const SMALL: usize = 2 * 1024;
/// Longest part of a stranger's names in the log.
const LONGEST_NAME: usize = 64;
