//! One connection of a client that speaks MQTT 5 packet by packet, so that two thousand of them fit into a process.

use std::{io::Error, io::ErrorKind, time::Duration};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error as WireError,
    v5::{Connect, ConnectProperties, LastWill, Login, Packet, PingReq},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::cluster::password;

/// How a client introduces itself.
#[derive(Debug)]
pub(super) struct Introduction<'c> {
    pub(super) home: &'c str,
    pub(super) client_id: &'c str,
    /// Session Expiry Interval in seconds; 0 begins and ends with the connection.
    pub(super) session_expiry: u32,
    pub(super) will: Option<LastWill>,
}

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    inbox: BytesMut,
    /// When PINGREQ is due.
    pub(super) ping_at: Instant,
    last_packet_id: u16,
}

impl Socket {
    /// Connects and sends CONNECT; CONNACK comes with [`Socket::next`].
    pub(super) async fn open(port: u16, as_whom: Introduction<'_>) -> Result<Self, Error> {
        let stream = within(TcpStream::connect(("127.0.0.1", port))).await?;
        stream.set_nodelay(true)?;
        let ping_at = Instant::now() + KEEP_ALIVE;
        let mut socket = Self { stream, inbox: BytesMut::new(), ping_at, last_packet_id: 0 };
        let connect = Connect {
            keep_alive: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
            client_id: as_whom.client_id.to_owned(),
            clean_start: as_whom.session_expiry == 0,
            properties: Some(ConnectProperties {
                session_expiry_interval: Some(as_whom.session_expiry),
                receive_maximum: Some(RECEIVE_MAXIMUM),
                request_response_info: Some(1),
                ..ConnectProperties::new()
            }),
        };
        let login = Login::new(as_whom.home, password(as_whom.home));
        socket.send(&Packet::Connect(connect, as_whom.will, Some(login))).await?;
        Ok(socket)
    }

    /// Waits for the next packet. Cancelling the wait loses nothing.
    pub(super) async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            match Packet::read(&mut self.inbox, None) {
                Ok(packet) => return Ok(packet),
                Err(WireError::InsufficientBytes(_)) => {}
                Err(error) => return Err(Error::other(error)),
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Writes a packet.
    pub(super) async fn send(&mut self, packet: &Packet) -> Result<(), Error> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).map_err(Error::other)?;
        self.ping_at = Instant::now() + KEEP_ALIVE;
        within(self.stream.write_all(&bytes)).await
    }

    /// Sends PINGREQ.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.send(&Packet::PingReq(PingReq)).await
    }

    /// Returns a Packet Identifier that has not been used lately.
    pub(super) fn packet_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
        self.last_packet_id
    }
}

async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, work).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}

/// As hearthd announces it by default.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(20);
pub(super) const RECEIVE_MAXIMUM: u16 = 1024;
/// How long a node may take for TCP's handshake, for what it is sent, and for CONNACK.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
