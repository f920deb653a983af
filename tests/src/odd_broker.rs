//! A small MQTT 5 broker inside the test, which is as odd as the test says.
//!
//! It routes, retains, keeps sessions and publishes wills as the standard has it, up to QoS 1, and it tells who has
//! connected and what it was sent. It asks for no password; the user name is the account.

mod oddities;
mod session;
mod state;
mod stored;

use std::{
    io::{Error, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

pub use oddities::{OddPuback, Oddities, Subacks};

use crate::{Access, Result, process::eventually, wire::read_packet};
use session::Outgoing;
use state::{Member, State};

/// A running broker; dropping it cuts every connection.
#[derive(Debug)]
pub struct OddBroker {
    port: u16,
    state: Shared,
    task: JoinHandle<()>,
}

impl OddBroker {
    /// Listens on a free port.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(change: impl FnOnce(&mut Oddities)) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Shared::default();
        change(&mut state.lock().oddities);
        let task = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { port, state, task })
    }

    /// Changes how the broker is odd; what it has said or granted before stays.
    pub fn change(&self, change: impl FnOnce(&mut Oddities)) {
        change(&mut self.state.lock().oddities);
    }

    /// Returns how an account gets in.
    pub fn access(&self, account: &str) -> Access {
        Access { port: self.port, login: Some((account.into(), "any".into())) }
    }

    /// Tells when this client has connected, each time.
    pub fn connections(&self, client_id: &str) -> Vec<Instant> {
        self.state.lock().connections(client_id)
    }

    /// Returns what this client has sent, CONNECT at the beginning of each connection.
    pub fn packets(&self, client_id: &str) -> Vec<Packet> {
        self.state.lock().packets(client_id)
    }

    /// Returns how many messages wait for this client, or for its PUBACK.
    pub fn unacknowledged(&self, client_id: &str) -> usize {
        self.state.lock().unacknowledged(client_id)
    }

    /// Returns the reason code of each DISCONNECT of this client.
    pub fn disconnects(&self, client_id: &str) -> Vec<u8> {
        self.state.lock().disconnects(client_id)
    }

    /// Returns whether a session is there, with or without a connection.
    pub fn has_session(&self, client_id: &str) -> bool {
        self.state.lock().has_session(client_id)
    }

    /// Waits until there is something to be seen of a client's packets.
    ///
    /// # Errors
    /// Where there is not before the deadline.
    pub async fn until<T>(
        &self,
        what: &str,
        client_id: &str,
        deadline: Duration,
        look: impl Fn(&[Packet]) -> Option<T>,
    ) -> Result<T> {
        eventually(what, deadline, || Ok(look(&self.packets(client_id)))).await
    }
}

impl Drop for OddBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The broker's state, which no task holds while it waits.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that has failed elsewhere is to show its own failure.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, state: Shared) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let state = state.clone();
        // A link that breaks has told its client; nobody else is there to act on it.
        links.spawn(async move { link(client, &state).await.ok() });
    }
}

/// Serves one connection, and publishes its will where that is due.
async fn link(client: TcpStream, state: &Shared) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let (mut reader, mut writer) = client.into_split();
    let first = timeout(PATIENCE, read_packet(&mut reader)).await??;
    let Packet::Connect(connect, will, login) = decode(&first)? else {
        return Err(ErrorKind::InvalidData.into());
    };
    let (sender, outgoing) = mpsc::unbounded_channel();
    let size = first.len();
    let joined = state.lock().connect(connect, will, login, size, sender);
    let Some(member) = joined else {
        return write(&mut writer, outgoing).await;
    };
    let in_order = select! {
        in_order = read(&mut reader, &member, state) => in_order.unwrap_or(false),
        _ = write(&mut writer, outgoing) => {
            // A reset, the answer to what comes now, would take what was written last from the client.
            let _ = timeout(PATIENCE, copy(&mut reader, &mut sink())).await;
            false
        }
    };
    drop((reader, writer));
    let delay = state.lock().disconnected(&member, in_order);
    if let Some(delay) = delay {
        sleep(delay).await;
        state.lock().publish_will(&member);
    }
    Ok(())
}

/// Reads until the client disconnects; returns whether it did so in order, which deletes its will (MQTT 3.14.4).
async fn read(
    reader: &mut OwnedReadHalf,
    member: &Member,
    state: &Shared,
) -> std::io::Result<bool> {
    loop {
        let Ok(packet) = timeout(member.patience, read_packet(reader)).await else {
            state.lock().end(member, KEEP_ALIVE_TIMEOUT);
            return std::future::pending().await;
        };
        let packet = packet?;
        if packet[0] >> 4 == DISCONNECT {
            // Without anything in it, it says that all is well.
            let reason_code = packet.get(2).copied().unwrap_or(0);
            state.lock().note_disconnect(member, reason_code);
            return Ok(reason_code == 0);
        }
        let size = packet.len();
        let packet = decode(&packet)?;
        state.lock().on_packet(member, packet, size);
    }
}

async fn write(
    writer: &mut OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
) -> std::io::Result<()> {
    while let Some(Outgoing::Packet(packet)) = outgoing.recv().await {
        writer.write_all(&packet).await?;
    }
    writer.shutdown().await
}

fn decode(packet: &[u8]) -> std::io::Result<Packet> {
    let read = Packet::read(&mut BytesMut::from(packet), None);
    read.map_err(|error| Error::new(ErrorKind::InvalidData, error.to_string()))
}

/// The type of the packet (MQTT 2.1.2).
const DISCONNECT: u8 = 14;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
/// How long CONNECT may take.
const PATIENCE: Duration = Duration::from_secs(60);
