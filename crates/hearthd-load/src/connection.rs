//! One connection: reads as much as there is, and writes all that this caused at once.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Access,
    packet::{self, Malformed, Packet},
    wrong,
};

/// A connection that is subscribed.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// What the next [`Connection::flush`] writes.
    pub(crate) out: Vec<u8>,
    /// How many QoS 1 messages the broker takes before it acknowledges.
    pub(crate) receive_maximum: u16,
}

impl Connection {
    /// Connects, and subscribes to one filter.
    pub(crate) async fn open(
        access: &Access,
        client_id: &str,
        filter: &str,
        keep_session: bool,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", access.port)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            received: Vec::with_capacity(READ_SIZE),
            out: Vec::with_capacity(READ_SIZE),
            receive_maximum: 0,
        };
        let login = access.user.as_deref().map(|user| (user, access.password.as_str()));
        packet::write_connect(&mut connection.out, client_id, login, keep_session);
        packet::write_subscribe(&mut connection.out, filter);
        connection.flush().await?;
        let (mut receive_maximum, mut subscribed) = (None, false);
        while !subscribed {
            connection
                .take(|packet, _| {
                    match packet {
                        Packet::Connack { reason_code: 0, receive_maximum: most } => {
                            receive_maximum = Some(most);
                        }
                        Packet::Suback { reason_code: 0 | 1 } => subscribed = true,
                        Packet::Connack { reason_code, .. } | Packet::Suback { reason_code } => {
                            return Err(wrong(format!("refused with 0x{reason_code:02x}")));
                        }
                        Packet::Publish(_) | Packet::Puback { .. } | Packet::Other => {}
                    }
                    Ok(())
                })
                .await?;
        }
        connection.receive_maximum =
            receive_maximum.ok_or_else(|| wrong("SUBACK came before CONNACK"))?;
        Ok(connection)
    }

    /// Waits for packets and gives each to `act`, with the buffer of what goes out next.
    pub(crate) async fn take(
        &mut self,
        mut act: impl FnMut(Packet<'_>, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.received.reserve(READ_SIZE);
        if self.stream.read_buf(&mut self.received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut read = 0;
        while let Some((packet, length)) =
            packet::read(&self.received[read..]).map_err(|Malformed| wrong("a malformed packet"))?
        {
            act(packet, &mut self.out)?;
            read += length;
        }
        self.received.drain(..read);
        Ok(())
    }

    /// Writes what has gathered.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }
}

const READ_SIZE: usize = 64 * 1024;
