//! A TCP proxy that breaks what runs through it, the way networks do.
//!
//! It stands in front of any broker, or of the [`Shim`](crate::Shim) in front of one, and forwards whole packets.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use crate::{Result, wire::read_packet};

/// A running proxy; dropping it cuts every connection.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    control: watch::Sender<Control>,
    task: JoinHandle<()>,
}

/// What ails the network until it is something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Each packet takes this long; the order stays.
    Delay(Duration),
    /// So many bytes a second get through in each direction.
    Throttle(u32),
    /// Nothing gets through and nobody is told: connections stay open, and new ones open to silence.
    ///
    /// What became half-open stays dead; it is dropped when the fault ends.
    HalfOpen,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToBroker,
    /// To the client.
    FromBroker,
}

/// Sees each packet at the broker's end: what the broker has sent, and what it has been sent.
#[derive(Clone)]
pub struct Tap(Arc<Look>);

type Look = dyn Fn(LinkId, Way, &[u8]) + Send + Sync;

/// Tells the connections through one proxy apart.
pub type LinkId = u64;

impl Tap {
    /// Makes a tap of a function that must not block.
    pub fn new(look: impl Fn(LinkId, Way, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap(..)")
    }
}

impl FaultProxy {
    /// Listens on a free port in front of a broker that may come and go.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(broker_port: u16) -> Result<Self> {
        Self::tapped(broker_port, Tap::new(|_, _, _| {})).await
    }

    /// Listens likewise, and shows every packet to `tap`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn tapped(broker_port: u16, tap: Tap) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let control = watch::Sender::new(Control::default());
        let task = tokio::spawn(accept(listener, broker_port, tap, control.subscribe()));
        Ok(Self { port, control, task })
    }

    /// Returns the port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Cuts every connection of now in the middle of its next packet.
    pub fn cut_within_a_packet(&self) {
        self.control.send_modify(|control| control.cuts_within += 1);
    }

    /// Turns new connections away, or not.
    pub fn refuse(&self, refuse: bool) {
        self.control.send_modify(|control| control.refuse = refuse);
    }

    /// Begins a fault, which ends the one before.
    pub fn set(&self, fault: Fault) {
        self.control.send_modify(|control| control.fault = fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Control {
    cuts: u32,
    cuts_within: u32,
    refuse: bool,
    fault: Fault,
}

async fn accept(
    listener: TcpListener,
    broker_port: u16,
    tap: Tap,
    control: watch::Receiver<Control>,
) {
    let mut links = JoinSet::new();
    let mut next_id: LinkId = 0;
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let born = *control.borrow();
        if born.refuse {
            continue;
        }
        next_id += 1;
        let link = Link { id: next_id, born, control: control.clone(), tap: tap.clone() };
        // A link that breaks has told its two ends; nobody else is there to act on it.
        links.spawn(async move { link.run(client, broker_port).await.ok() });
    }
}

/// One connection of a client, and the one that it has to the broker.
struct Link {
    id: LinkId,
    /// What was so when it began.
    born: Control,
    control: watch::Receiver<Control>,
    tap: Tap,
}

impl Link {
    async fn run(self, mut client: TcpStream, broker_port: u16) -> std::io::Result<()> {
        let mut control = self.control.clone();
        let cuts = self.born.cuts;
        if self.born.fault == Fault::HalfOpen {
            dead(&mut control, cuts).await;
            return Ok(());
        }
        let mut broker = TcpStream::connect(("127.0.0.1", broker_port)).await?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let changed =
            control.wait_for(|control| control.cuts != cuts || control.fault == Fault::HalfOpen);
        let half_open = tokio::select! {
            _ = self.forward(Way::ToBroker, from_client, to_broker) => false,
            _ = self.forward(Way::FromBroker, from_broker, to_client) => false,
            changed = changed => changed.is_ok_and(|now| now.cuts == cuts),
        };
        if half_open {
            // Neither socket is closed while the fault lasts.
            dead(&mut control, cuts).await;
        }
        Ok(())
    }

    /// Forwards in one direction until an end is closed; what was read before is written first.
    async fn forward(
        &self,
        way: Way,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        let (queue, queued) = mpsc::channel(QUEUE);
        let mut reading = std::pin::pin!(self.read(way, from, queue));
        let mut writing = std::pin::pin!(self.write(way, to, queued));
        tokio::select! {
            written = &mut writing => written,
            _ = &mut reading => writing.await,
        }
    }

    async fn read(
        &self,
        way: Way,
        from: impl AsyncRead + Unpin,
        queue: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> std::io::Result<()> {
        let mut from = BufReader::new(from);
        loop {
            let packet = read_packet(&mut from).await?;
            if way == Way::FromBroker {
                (self.tap.0)(self.id, way, &packet);
            }
            let delay = match self.control.borrow().fault {
                Fault::Delay(delay) => delay,
                Fault::None | Fault::Throttle(_) | Fault::HalfOpen => Duration::ZERO,
            };
            if queue.send((Instant::now() + delay, packet)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn write(
        &self,
        way: Way,
        mut to: impl AsyncWrite + Unpin,
        mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) -> std::io::Result<()> {
        while let Some((due, packet)) = queued.recv().await {
            sleep_until(due).await;
            if self.control.borrow().cuts_within != self.born.cuts_within {
                to.write_all(&packet[..packet.len() / 2]).await?;
                return to.flush().await;
            }
            self.write_packet(&mut to, &packet).await?;
            if way == Way::ToBroker {
                (self.tap.0)(self.id, way, &packet);
            }
        }
        Ok(())
    }

    async fn write_packet(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        packet: &[u8],
    ) -> std::io::Result<()> {
        let mut left = packet;
        while !left.is_empty() {
            let fault = self.control.borrow().fault;
            let (piece, pause) = match fault {
                Fault::Throttle(rate) => (left.len().min(PIECE), Some(rate)),
                Fault::None | Fault::Delay(_) | Fault::HalfOpen => (left.len(), None),
            };
            if let Some(rate) = pause {
                sleep(Duration::from_secs_f64(piece as f64 / f64::from(rate.max(1)))).await;
            }
            to.write_all(&left[..piece]).await?;
            left = &left[piece..];
        }
        Ok(())
    }
}

/// Waits until half-open connections are dropped.
async fn dead(control: &mut watch::Receiver<Control>, cuts: u32) {
    let _ = control.wait_for(|now| now.cuts != cuts || now.fault != Fault::HalfOpen).await;
}

/// Packets that one direction holds back; a sender with more has to wait.
const QUEUE: usize = 256;
/// Bytes that a throttled link writes at once.
const PIECE: usize = 32;

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, time::timeout};

    use super::*;

    #[tokio::test]
    async fn without_a_fault_both_directions_pass_whole() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await
    }

    #[tokio::test]
    async fn a_cut_closes_both_ends_and_lets_new_connections_in() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await?;
        ends.proxy.cut();
        assert_eq!(rest(&mut ends.client).await, b"");
        assert_eq!(rest(&mut ends.broker).await, b"");
        ends.connect().await?;
        ends.passes_both_ways().await
    }

    #[tokio::test]
    async fn a_cut_within_a_packet_delivers_its_first_half_and_closes() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await?;
        ends.proxy.cut_within_a_packet();
        ends.client.write_all(&PACKET).await?;
        assert_eq!(rest(&mut ends.broker).await, PACKET[..PACKET.len() / 2]);
        assert_eq!(rest(&mut ends.client).await, b"");
        ends.connect().await?;
        ends.passes_both_ways().await
    }

    #[tokio::test]
    async fn a_half_open_connection_neither_moves_nor_closes_until_the_fault_ends() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await?;
        ends.proxy.set(Fault::HalfOpen);
        let mut late = TcpStream::connect(("127.0.0.1", ends.proxy.port())).await?;
        late.write_all(&PACKET).await?;
        ends.client.write_all(&PACKET).await?;
        ends.broker.write_all(&PACKET).await?;
        for end in [&mut ends.client, &mut ends.broker, &mut late] {
            let read = timeout(Duration::from_millis(200), end.read_u8()).await;
            assert!(read.is_err(), "a byte or the end came through: {read:?}");
        }
        ends.proxy.set(Fault::None);
        for end in [&mut ends.client, &mut ends.broker, &mut late] {
            assert_eq!(rest(end).await, b"", "it is dropped, and nothing comes late");
        }
        ends.connect().await?;
        ends.passes_both_ways().await
    }

    #[tokio::test]
    async fn a_delay_holds_every_packet_as_long_and_keeps_their_order() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await?;
        let delay = Duration::from_millis(400);
        ends.proxy.set(Fault::Delay(delay));
        let begin = Instant::now();
        for n in 0..20 {
            ends.client.write_all(&[0x30, 1, n]).await?;
        }
        for n in 0..20 {
            assert_eq!(read_packet(&mut ends.broker).await?, [0x30, 1, n]);
            assert!(begin.elapsed() >= delay);
        }
        assert!(begin.elapsed() < 10 * delay, "they waited side by side");
        // What the client sends last arrives although it is gone by then.
        ends.client.write_all(&PACKET).await?;
        drop(ends.client);
        assert_eq!(rest(&mut ends.broker).await, PACKET);
        Ok(())
    }

    #[tokio::test]
    async fn a_throttle_lets_so_many_bytes_a_second_through() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.passes_both_ways().await?;
        ends.proxy.set(Fault::Throttle(1000));
        let mut packet = vec![0x30, 126];
        packet.resize(128, 7);
        let begin = Instant::now();
        ends.broker.write_all(&packet).await?;
        assert_eq!(read_packet(&mut ends.client).await?, packet);
        assert!(begin.elapsed() >= Duration::from_millis(120));
        Ok(())
    }

    #[tokio::test]
    async fn a_refused_connection_is_closed_before_it_reaches_the_broker() -> Result<()> {
        let mut ends = Ends::through_a_proxy().await?;
        ends.proxy.refuse(true);
        let mut late = TcpStream::connect(("127.0.0.1", ends.proxy.port())).await?;
        assert_eq!(rest(&mut late).await, b"");
        ends.passes_both_ways().await
    }

    #[tokio::test]
    async fn the_tap_sees_what_reaches_the_broker_and_what_leaves_it() -> Result<()> {
        let (sender, mut tapped) = mpsc::unbounded_channel();
        let tap = Tap::new(move |link, way, packet: &[u8]| {
            let _ = sender.send((link, way, packet.to_vec()));
        });
        let mut ends = Ends::tapped(tap).await?;
        ends.passes_both_ways().await?;
        assert_eq!(tapped.recv().await, Some((1, Way::ToBroker, PACKET.to_vec())));
        assert_eq!(tapped.recv().await, Some((1, Way::FromBroker, PACKET.to_vec())));
        Ok(())
    }

    const PACKET: [u8; 8] = [0x30, 6, 0, 1, b'x', 0, 1, 2];

    /// A client and a broker's end of the same connection.
    struct Ends {
        proxy: FaultProxy,
        listener: TcpListener,
        client: TcpStream,
        broker: TcpStream,
    }

    impl Ends {
        async fn through_a_proxy() -> Result<Self> {
            Self::tapped(Tap::new(|_, _, _| {})).await
        }

        async fn tapped(tap: Tap) -> Result<Self> {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let proxy = FaultProxy::tapped(listener.local_addr()?.port(), tap).await?;
            let client = TcpStream::connect(("127.0.0.1", proxy.port())).await?;
            let (broker, _) = listener.accept().await?;
            Ok(Self { proxy, listener, client, broker })
        }

        async fn connect(&mut self) -> Result<()> {
            self.client = TcpStream::connect(("127.0.0.1", self.proxy.port())).await?;
            (self.broker, _) = self.listener.accept().await?;
            Ok(())
        }

        async fn passes_both_ways(&mut self) -> Result<()> {
            self.client.write_all(&PACKET).await?;
            assert_eq!(read_packet(&mut self.broker).await?, PACKET);
            self.broker.write_all(&PACKET).await?;
            assert_eq!(read_packet(&mut self.client).await?, PACKET);
            Ok(())
        }
    }

    /// Reads up to the end; a reset is an end as well.
    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await;
        assert!(read.is_ok(), "it is still open after {bytes:?}");
        bytes
    }
}
