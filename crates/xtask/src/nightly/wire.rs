//! `nightly wire`: a million damaged packets at the socket of a running `hearth-broker`, before and after the login.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use hearthd_tests::{Built, Client, Doing, Failure, HearthBroker, Message, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

/// Sends the packets; fails where the broker dies, panics, grows, or keeps another client waiting.
pub(super) async fn wire() -> Result<()> {
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = tempfile::tempdir()?;
    let mut broker = HearthBroker::start(&built, folder.path()).await?;
    let (account, password) = broker.access("phone").login.doing("the phone has a password")?;
    let sent = Arc::new(Sent::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let packets = packets(&format!("fuzz-{client}"), &account, &password);
        let fuzz = Fuzz { port: broker.port(), packets, sent: sent.clone() };
        clients.spawn(fuzz.run(Rng::with_seed(SEED + client)));
    }
    let mut quiet = Client::connect(&broker.access("tablet"), "quiet").await?;
    quiet.subscribe("alice/quiet/#").await?;
    for number in 0.. {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => ended.doing("a client")??,
                None => break,
            },
            () = tokio::time::sleep(TELL_EVERY) => {
                let waited = answer_time(&mut quiet, number).await?;
                let resident = resident(broker.process().id())?;
                println!("{sent}: an answer takes {waited:?}, {resident} KiB");
                if waited > PATIENCE || resident > MOST_KIB {
                    return Err(Failure::new("the broker is too slow for others, or too large"));
                }
            }
        }
    }
    println!("{sent}");
    if let Some(status) = broker.process().ended()? {
        return Err(Failure(format!("the broker: {status}\n{}", broker.log())));
    }
    let log = broker.log();
    if log.contains("panicked") || log.len() > MOST_LOG {
        return Err(Failure(format!("the broker panicked or said too much\n{log}")));
    }
    Ok(())
}

/// Asks the broker to send a message back.
async fn answer_time(client: &mut Client, number: u32) -> Result<Duration> {
    let begun = Instant::now();
    let topic = format!("alice/quiet/{number}");
    client.publish(Message::new(topic.as_str(), "alive")).await?;
    client.expect_on(&topic).await?;
    Ok(begun.elapsed())
}

/// Returns the resident memory of a process in KiB.
fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).doing(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).doing("VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().doing(line)
}

/// How many packets were sent.
#[derive(Debug, Default)]
struct Sent {
    before: AtomicUsize,
    after: AtomicUsize,
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (before, after) = (self.before.load(Relaxed), self.after.load(Relaxed));
        write!(f, "{before} packets before and {after} after the login")
    }
}

/// What sends them, one connection after the other.
struct Fuzz {
    port: u16,
    packets: Packets,
    sent: Arc<Sent>,
}

/// What is damaged, and what opens a connection.
struct Packets {
    /// CONNECTs that are right, one of each version.
    connects: [Vec<u8>; 2],
    /// Others, by version.
    others: [Vec<Vec<u8>>; 2],
}

impl Fuzz {
    async fn run(self, mut random: Rng) -> Result<()> {
        loop {
            let (before, after) = (self.sent.before.load(Relaxed), self.sent.after.load(Relaxed));
            if before + after >= PACKETS {
                return Ok(());
            }
            // Whoever is not logged in is read up to the first packet that is no CONNECT.
            if before * STRANGERS < after {
                self.sent.before.fetch_add(self.as_stranger(&mut random).await?, Relaxed);
            } else {
                self.sent.after.fetch_add(self.logged_in(&mut random).await?, Relaxed);
            }
        }
    }

    /// Sends a few packets without a login, and waits for the end; returns how many.
    async fn as_stranger(&self, random: &mut Rng) -> Result<usize> {
        let version = random.usize(..2);
        let mut bytes = damaged(&self.packets.connects[version], random);
        let count = random.usize(1..4);
        for _ in 1..count {
            bytes.extend(damaged(self.other(version, random), random));
        }
        let mut stream = self.connect(random).await?;
        if stream.write_all(&bytes).await.is_ok() && stream.shutdown().await.is_ok() {
            // A password that is wrong by the damage is answered late, and not waited for.
            let _ = timeout(STRANGER_WAITS, drain(&mut stream)).await;
        }
        Ok(count)
    }

    /// Logs in, and sends packets until the broker ends the connection; returns how many.
    async fn logged_in(&self, random: &mut Rng) -> Result<usize> {
        let version = random.usize(..2);
        let begun = Instant::now();
        let mut stream = loop {
            match self.log_in(version, random).await {
                Ok(stream) => break stream,
                Err(failure) if begun.elapsed() > LOGIN_WAITS => return Err(failure),
                // Those who are not logged in have a bound, which the others use up.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let mut count = 0;
        for _ in 0..random.usize(1..30) {
            let mut bytes = Vec::new();
            for _ in 0..random.usize(1..8) {
                bytes.extend(damaged(self.other(version, random), random));
                count += 1;
            }
            if stream.write_all(&bytes).await.is_err() {
                return Ok(count);
            }
        }
        if stream.shutdown().await.is_ok() {
            timeout(PATIENCE, drain(&mut stream)).await.doing("the connection's end")?;
        }
        Ok(count)
    }

    async fn log_in(&self, version: usize, random: &mut Rng) -> Result<TcpStream> {
        let mut stream = self.connect(random).await?;
        stream.write_all(&self.packets.connects[version]).await.doing("send CONNECT")?;
        let mut first = [0; 4];
        let read = timeout(PATIENCE, stream.read_exact(&mut first)).await.doing("CONNACK")?;
        read.doing("CONNACK")?;
        let right = first[0] == 0x20 && first[3] == 0;
        if right { Ok(stream) } else { Err(Failure(format!("{first:02x?} for a right CONNECT"))) }
    }

    fn other(&self, version: usize, random: &mut Rng) -> &[u8] {
        let packets = &self.packets.others[version];
        &packets[random.usize(..packets.len())]
    }

    /// Connects from one of many addresses: the ports of one alone would be used up.
    async fn connect(&self, random: &mut Rng) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 1, random.u8(1..=250)], 0)))?;
        let broker = SocketAddr::from(([127, 0, 0, 1], self.port));
        timeout(PATIENCE, socket.connect(broker)).await.doing("connect")?.doing("connect")
    }
}

/// Reads to the end.
async fn drain(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

/// Damages a packet at up to three places, or leaves it as it is.
fn damaged(packet: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    for _ in 0..random.usize(..4) {
        let place = random.usize(..bytes.len());
        match random.u8(..5) {
            0 => bytes[place] = random.u8(..),
            1 => bytes.truncate(place.max(1)),
            2 => bytes.insert(place, random.u8(..)),
            // Lengths are where most goes wrong.
            3 => bytes[1.min(place)] = bytes.len() as u8,
            _ => bytes[place] ^= 1 << random.u8(..8),
        }
    }
    bytes
}

/// Returns packets of each kind that a client sends.
fn packets(client_id: &str, account: &str, password: &str) -> Packets {
    let connect = |level: u8| {
        let properties: &[u8] = if level == 5 { &[8, 0x11, 0, 0, 0, 1, 0x21, 0, 9] } else { &[] };
        let will: &[u8] = if level == 5 { &[5, 0x18, 0, 0, 0, 1] } else { &[] };
        let body = [
            &text("MQTT")[..],
            &[level, 0b1100_1100, 0, 30],
            properties,
            &text(client_id),
            will,
            &text("alice/fuzz/will"),
            &text("gone"),
            &text(account),
            &text(password),
        ];
        packet(0x10, &body.concat())
    };
    let others = |is_5: bool| {
        let with = |properties: &[u8]| {
            let length = [properties.len() as u8];
            if is_5 { [&length[..], properties].concat() } else { Vec::new() }
        };
        let publish = |first: u8, topic: &str, id: &[u8]| {
            let pair = [&[0x26][..], &text("a"), &text("b"), &[0x02, 0, 0, 0, 9], &[0x23, 0, 1]];
            packet(first, &[&text(topic)[..], id, &with(&pair.concat()), b"payload"].concat())
        };
        let filter = [&text("alice/fuzz/#")[..], &[2]].concat();
        let mut all = vec![
            publish(0x30, "alice/fuzz/0", &[]),
            publish(0x33, "alice/fuzz/1", &[0, 1]),
            publish(0x34, "alice/fuzz/2", &[0, 2]),
            packet(0x82, &[&[0, 3][..], &with(&[0x0B, 7]), &filter].concat()),
            packet(0xA2, &[&[0, 4][..], &with(&[]), &text("alice/fuzz/#")].concat()),
            packet(0xC0, &[]),
            packet(0xE0, if is_5 { &[4, 5, 0x11, 0, 0, 0, 9] } else { &[] }),
        ];
        for first in [0x40, 0x50, 0x62, 0x70] {
            all.push(packet(first, &[0, 2]));
        }
        all
    };
    Packets { connects: [connect(4), connect(5)], others: [others(false), others(true)] }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// Writes a packet that is shorter than 128 bytes with its fixed header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8][..], body].concat()
}

const SEED: u64 = 1;
const PACKETS: usize = 1_000_000;
/// Connections at a time.
const CLIENTS: u64 = 16;
/// How many packets after a login come for each before one.
const STRANGERS: usize = 9;
const TELL_EVERY: Duration = Duration::from_secs(5);
/// The longest that anybody waits for the broker.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that a right login waits for a place beside those who guess passwords.
const LOGIN_WAITS: Duration = Duration::from_secs(30);
const STRANGER_WAITS: Duration = Duration::from_millis(20);
const MOST_KIB: u64 = 64 * 1024;
const MOST_LOG: usize = 1024 * 1024;
