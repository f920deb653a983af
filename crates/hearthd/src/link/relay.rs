//! A relay between rumqttc and the broker that does what rumqttc cannot. It is used for a connection after one that
//! failed for that reason.
//!
//! rumqttc drops the properties of a CONNACK that refuses, and writes no DISCONNECT but 0x00. It ends the connection at
//! a PUBLISH that it cannot read, and the broker then sends that PUBLISH again without end. The relay sees each packet
//! as bytes. rumqttc connects to it by an abstract Unix socket. Every byte is copied once more, so no first connection
//! uses it.

use std::{
    borrow::Cow,
    io::ErrorKind,
    sync::{Arc, Mutex, PoisonError},
};

use rumqttc::{
    TlsConfiguration,
    tokio_rustls::{TlsConnector, rustls::pki_types::ServerName},
    v5::{ConnectionError, TlsError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, copy, split},
    net::{
        TcpStream, UnixListener,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex as AsyncMutex, Notify, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::{
    CONNECT_TIMEOUT, MAX_PACKET_SIZE,
    packets::{Packet, Packets, Publication, refusal, refuse},
    poll::Polled,
    words::unreadable,
};
use hearthd_config::printable_line;

use crate::{config::Broker, random::random_bytes};

/// A relay of one connection; dropping it closes that.
pub(super) struct Relay {
    to_broker: ToBroker,
    refusal: Arc<Mutex<Refusal>>,
    /// rumqttc's DISCONNECT has been written to the broker.
    farewell: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// Why a broker refuses CONNECT, in its own words.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    /// Reason String (MQTT 3.2.2.3.9).
    pub(super) reason_string: Option<String>,
    /// Server Reference (MQTT 3.2.2.3.16).
    pub(super) server_reference: Option<String>,
}

impl Relay {
    /// Makes up the name of a socket for rumqttc to connect to.
    pub(super) fn name() -> String {
        format!("\0hearthd-{:032x}", u128::from_be_bytes(random_bytes()))
    }

    /// Connects to the broker and relays what this process sends to the socket of that name.
    ///
    /// # Errors
    /// The same as for a connection of rumqttc without the relay.
    pub(super) async fn start(
        name: &str,
        broker: &Broker,
        tls: Option<TlsConfiguration>,
        events: mpsc::Sender<Polled>,
    ) -> Result<Self, ConnectionError> {
        let listener = UnixListener::bind(name)?;
        let socket = timeout(CONNECT_TIMEOUT, connect(broker, tls)).await??;
        let (from_broker, to_broker) = split(socket);
        let to_broker: ToBroker = Arc::new(AsyncMutex::new(to_broker));
        let refusal = Arc::new(Mutex::default());
        let inbound = Inbound {
            packets: Packets::new(from_broker),
            to_broker: to_broker.clone(),
            refusal: Arc::clone(&refusal),
            password: broker.password.as_ref().map(|password| password.expose().to_owned()),
            events,
        };
        let mut tasks = JoinSet::new();
        let farewell = Arc::new(Notify::new());
        let outbound = Outbound { to_broker: to_broker.clone(), farewell: farewell.clone() };
        tasks.spawn(async move {
            // The end of either side is the end of the other, which rumqttc reports.
            let _ = run(listener, inbound, outbound).await;
        });
        Ok(Self { to_broker, refusal, farewell, _tasks: tasks })
    }

    /// Returns what the broker has said with its refusal.
    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the DISCONNECT that rumqttc has written is on its way to the broker.
    pub(super) async fn farewell(&self) {
        self.farewell.notified().await;
    }

    /// Sends DISCONNECT with a reason code, after which nothing may follow.
    pub(super) async fn disconnect(&self, reason_code: u8) {
        let mut to_broker = self.to_broker.lock().await;
        // Where it fails the connection is over as well.
        let _ = to_broker.write_all(&[0xE0, 2, reason_code, 0]).await;
        let _ = to_broker.shutdown().await;
    }
}

/// The writing end to the broker, which both directions use: the relay itself refuses what cannot be read.
type ToBroker = Arc<AsyncMutex<WriteHalf<Box<dyn Socket>>>>;

/// TCP, or TLS over it.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

async fn connect(
    broker: &Broker,
    tls: Option<TlsConfiguration>,
) -> Result<Box<dyn Socket>, ConnectionError> {
    let tcp = TcpStream::connect((broker.host.as_str(), broker.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(TlsConfiguration::Rustls(tls)) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(broker.host.clone()).map_err(TlsError::from)?;
    let socket = TlsConnector::from(tls).connect(name, tcp).await.map_err(TlsError::from)?;
    Ok(Box::new(socket))
}

async fn run(listener: UnixListener, inbound: Inbound, outbound: Outbound) -> std::io::Result<()> {
    let hub = loop {
        let (socket, _) = listener.accept().await?;
        // Anybody on this machine can connect to the name; the password is for the broker alone.
        if socket.peer_cred()?.pid().is_some_and(|pid| pid.unsigned_abs() == std::process::id()) {
            break socket;
        }
    };
    drop(listener);
    let (from_hub, to_hub) = hub.into_split();
    let mut directions = JoinSet::new();
    directions.spawn(outbound.run(from_hub));
    directions.spawn(inbound.run(to_hub));
    while let Some(ended) = directions.join_next().await {
        // The other direction may still have to say why.
        ended.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()))?;
    }
    Ok(())
}

/// What passes from rumqttc to the broker.
struct Outbound {
    to_broker: ToBroker,
    farewell: Arc<Notify>,
}

impl Outbound {
    /// Hands over packet by packet, so that the relay's own fit in between.
    async fn run(self, from_hub: OwnedReadHalf) -> std::io::Result<()> {
        let mut packets = Packets::new(from_hub);
        while let Some(Packet::Whole(packet)) = packets.next(u32::MAX).await? {
            let mut to_broker = self.to_broker.lock().await;
            to_broker.write_all(&packet).await?;
            to_broker.flush().await?;
            if packet[0] >> 4 == DISCONNECT {
                self.farewell.notify_one();
            }
        }
        self.to_broker.lock().await.shutdown().await
    }
}

/// What passes from the broker to rumqttc.
struct Inbound {
    packets: Packets<ReadHalf<Box<dyn Socket>>>,
    to_broker: ToBroker,
    refusal: Arc<Mutex<Refusal>>,
    /// What no text of the broker's may repeat.
    password: Option<String>,
    events: mpsc::Sender<Polled>,
}

impl Inbound {
    async fn run(mut self, mut to_hub: OwnedWriteHalf) -> std::io::Result<()> {
        while let Some(packet) = self.packets.next(MAX_PACKET_SIZE).await? {
            let packet = match packet {
                Packet::Whole(packet) => packet,
                Packet::TooLarge(beginning) => {
                    // rumqttc says how large it is, and ends the connection.
                    to_hub.write_all(&beginning).await?;
                    copy(&mut self.packets.reader, &mut to_hub).await?;
                    break;
                }
            };
            match packet[0] >> 4 {
                CONNACK => {
                    self.note_refusal(&packet);
                    to_hub.write_all(&packet).await?;
                }
                PUBLISH => self.hand_over(&packet, &mut to_hub).await?,
                _ => to_hub.write_all(&packet).await?,
            }
        }
        to_hub.shutdown().await
    }

    fn note_refusal(&self, connack: &[u8]) {
        let (reason_string, server_reference) = refusal(connack);
        let told = |text: Option<String>| text.map(|text| self.fit_for_people(&text));
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Refusal {
            reason_string: told(reason_string),
            server_reference: told(server_reference),
        };
    }

    fn fit_for_people(&self, text: &str) -> String {
        let password = self.password.as_deref().filter(|password| !password.is_empty());
        let text = match password {
            Some(password) => text.replace(password, "(the password)").into(),
            None => Cow::from(text),
        };
        printable_line(&text).chars().take(LONGEST_TEXT).collect()
    }

    /// Hands over a message as rumqttc can read it; one that nobody could read is refused in the hub's name, so that the
    /// broker does not send it again, and is told.
    async fn hand_over(
        &mut self,
        publish: &[u8],
        to_hub: &mut OwnedWriteHalf,
    ) -> std::io::Result<()> {
        let error = match Publication::read(publish) {
            Publication::Readable => return to_hub.write_all(publish).await,
            Publication::Mended(publish) => return to_hub.write_all(&publish).await,
            Publication::Unreadable(error) => error,
        };
        let (topic, refusal) = refuse(publish);
        let topic = self.fit_for_people(&String::from_utf8_lossy(topic));
        let told = Polled::Unreadable { topic, error: unreadable(&error) };
        // Before whatever the broker sends next.
        self.events.send(told).await.map_err(|_| ErrorKind::BrokenPipe)?;
        if let Some(refusal) = refusal {
            let mut to_broker = self.to_broker.lock().await;
            to_broker.write_all(&refusal).await?;
            to_broker.flush().await?;
        }
        Ok(())
    }
}

/// Types of packets (MQTT 2.1.2).
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const DISCONNECT: u8 = 14;
/// How many characters of a broker's text are shown.
const LONGEST_TEXT: usize = 256;
