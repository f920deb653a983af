//! The bundled broker by itself beside Mosquitto: speed in alternating rounds, memory, start, size and build.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use hearthd_tests::{
    Access, Authority, Built, Doing, Failure, Memory, Process, Result,
    built::cargo,
    process::{eventually, free_port, run},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Effort,
    load::{self, Question, Until},
    memory_kb,
    stage::{BrokerKind, mosquitto_program, start_echo},
};

/// What was measured; of two figures the first is the bundled broker's.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    /// Requests in flight, and answers per second in each round.
    pub(crate) echoes: Vec<(usize, [Vec<f64>; 2])>,
    /// Requests in flight, and microseconds of a processor that the broker took for an answer in each round.
    pub(crate) costs: Vec<(usize, [Vec<f64>; 2])>,
    /// Load average of the machine before and after the rounds: above the processors there are, others took part.
    pub(crate) load: [f64; 2],
    /// Deliveries per second in each round.
    pub(crate) fan_out: [Vec<f64>; 2],
    /// Resident without a client, in kB.
    pub(crate) idle_kb: [u64; 2],
    /// Proportional memory of one connection, in kB.
    pub(crate) plain_kb: [f64; 2],
    pub(crate) tls_kb: [f64; 2],
    /// Milliseconds until CONNACK, after a start with [`RETAINED`] messages, of the bundled broker.
    pub(crate) start_ms: Vec<f64>,
    /// Size of the program in kB.
    pub(crate) size_kb: [u64; 2],
    /// Seconds of a build from nothing, of the bundled broker.
    pub(crate) build: Option<f64>,
}

/// Starts both brokers side by side, and asks them in turn.
pub(crate) async fn measure(built: &Built, effort: Effort) -> Result<Brokers> {
    let mut brokers = Brokers::default();
    let authority = Authority::new("the home")?;
    speed(built, effort, &authority, &mut brokers).await?;
    println!("speed: {brokers:?}");
    memory(built, &authority, &mut brokers).await?;
    println!("memory: {brokers:?}");
    brokers.start_ms = starts(built, &authority).await?;
    for (index, program) in [built.binary("hearth-broker"), mosquitto_program()].iter().enumerate()
    {
        brokers.size_kb[index] = std::fs::metadata(program).doing(program.display())?.len() / 1024;
    }
    if effort.build {
        brokers.build = Some(build().await?);
    }
    Ok(brokers)
}

async fn speed(
    built: &Built,
    effort: Effort,
    authority: &Authority,
    brokers: &mut Brokers,
) -> Result<()> {
    let mut started = Vec::new();
    for kind in BrokerKind::ALL {
        let broker = Started::new(kind, built, authority).await?;
        let mut echo = Command::new(built.binary("hearthd-load"));
        echo.args(["echo", "--keep-session", "--filter", ECHO]).args(load::login(&broker.access()));
        let echo = start_echo(&mut echo, &broker.folder.path().join("echo.log")).await?;
        started.push((broker, echo));
    }
    brokers.echoes = IN_FLIGHT.map(|in_flight| (in_flight, Default::default())).to_vec();
    brokers.costs = brokers.echoes.clone();
    brokers.load[0] = load_average()?;
    for round in 0..ROUNDS {
        println!("round {} of {ROUNDS}", round + 1);
        for turn in 0..started.len() {
            // Another one begins each time.
            let index = (turn + round) % started.len();
            let (broker, _) = &started[index];
            for (in_flight, figures) in &mut brokers.echoes {
                let until = Until::Time { warm_up: effort.warm_up, measure: 2 * effort.measure };
                let question = question(*in_flight, until);
                let answers = load::ask(built, &broker.access(), &question).await?;
                figures[index].push(answers.per_second);
            }
            for (in_flight, figures) in &mut brokers.costs {
                // A number of answers: what is outside of the time that counts has its cost too.
                let until = Until::Count(COUNTED);
                let question = question(*in_flight, until);
                let before = processor_us(broker.process.id())?;
                load::ask(built, &broker.access(), &question).await?;
                let spent = processor_us(broker.process.id())? - before;
                figures[index].push(spent / COUNTED as f64);
            }
            brokers.fan_out[index].push(fan_out(built, broker, effort).await?);
        }
    }
    brokers.load[1] = load_average()?;
    Ok(())
}

fn question(in_flight: usize, until: Until) -> Question {
    Question {
        topic: ECHO.into(),
        targets: 1,
        payloads: vec!["ON".into()],
        prefix: Some(HOME.into()),
        qos: 1,
        requesters: 1,
        in_flight,
        expiry: None,
        until,
    }
}

async fn fan_out(built: &Built, broker: &Started, effort: Effort) -> Result<f64> {
    let (warm_up, measure) = (effort.warm_up.to_string(), (2 * effort.measure).to_string());
    let mut arguments: Vec<String> =
        ["fan-out", "--topic", "home/fan", "--subscribers", "100"].map(str::to_owned).to_vec();
    arguments.extend(["--warm-up".into(), warm_up, "--measure".into(), measure]);
    arguments.extend(load::login(&broker.access()));
    let ran = run(built.binary("hearthd-load"), arguments, PATIENCE).await?;
    let line = ran.stdout.lines().last().doing(ran.stderr.trim())?;
    let json: serde_json::Value = serde_json::from_str(line)?;
    json["per_second"].as_f64().doing(line)
}

/// Looks at a broker without a client, then with idle ones that have one subscription each.
async fn memory(built: &Built, authority: &Authority, brokers: &mut Brokers) -> Result<()> {
    let connector = authority.connector()?;
    for (index, kind) in BrokerKind::ALL.into_iter().enumerate() {
        let broker = Started::new(kind, built, authority).await?;
        let id = broker.process.id();
        tokio::time::sleep(SETTLE).await;
        brokers.idle_kb[index] = memory_kb(id, "VmRSS")?;
        let before = Memory::of(id)?.proportional;
        let mut plain = Vec::new();
        for number in 0..CONNECTIONS {
            let stream = TcpStream::connect(("127.0.0.1", broker.port)).await?;
            plain.push(Raw::begin(stream, &format!("plain-{number}")).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let with_plain = Memory::of(id)?.proportional;
        let mut tls = Vec::new();
        for number in 0..CONNECTIONS {
            let stream = Authority::connect(&connector, "localhost", broker.tls_port).await?;
            tls.push(Raw::begin(stream, &format!("tls-{number}")).await?);
        }
        tokio::time::sleep(SETTLE).await;
        let with_tls = Memory::of(id)?.proportional;
        let each = |more: u64, less: u64| (more as f64 - less as f64) / CONNECTIONS as f64;
        brokers.plain_kb[index] = each(with_plain, before);
        brokers.tls_kb[index] = each(with_tls, with_plain);
    }
    Ok(())
}

/// Starts the bundled broker again and again with many retained messages.
async fn starts(built: &Built, authority: &Authority) -> Result<Vec<f64>> {
    let mut broker = Started::new(BrokerKind::Bundled, built, authority).await?;
    let stream = TcpStream::connect(("127.0.0.1", broker.port)).await?;
    let mut publisher = Raw::begin(stream, "publisher").await?;
    for from in (0..RETAINED).step_by(100) {
        for number in from..from + 100 {
            publisher.retain(number).await?;
        }
        publisher.expect(PUBACK, 100).await?;
    }
    // A retained message may be written a second later.
    tokio::time::sleep(SETTLE).await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        broker.process.kill9()?;
        let begin = Instant::now();
        broker.process = broker.run(built)?;
        let stream = loop {
            match std::net::TcpStream::connect(("127.0.0.1", broker.port)) {
                Ok(stream) => break stream,
                Err(_) if begin.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        stream.set_nonblocking(true)?;
        let mut client = Raw::begin(TcpStream::from_std(stream)?, "first").await?;
        took.push(begin.elapsed().as_secs_f64() * 1e3);
        client.subscribe(&format!("{HOME}/retained/#")).await?;
        client.expect(PUBLISH, RETAINED).await?;
    }
    Ok(took)
}

/// Builds the bundled broker in a folder of its own, from nothing.
async fn build() -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--package", "hearthd-broker"]);
    command.arg("--target-dir").arg(folder.path());
    let begin = Instant::now();
    let mut command = tokio::process::Command::from(command);
    let status = command.kill_on_drop(true).status().await.doing("cargo build")?;
    if !status.success() {
        return Err(Failure::new("the bundled broker does not build"));
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// A broker with a plain port and one with TLS.
struct Started {
    kind: BrokerKind,
    process: Process,
    port: u16,
    tls_port: u16,
    folder: tempfile::TempDir,
}

impl Started {
    async fn new(kind: BrokerKind, built: &Built, authority: &Authority) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = authority.write_server("localhost", folder.path())?;
        let (port, tls_port) = (free_port()?, free_port()?);
        let config = config_file(folder.path());
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).doing(password.display())?;
        let text = match kind {
            BrokerKind::Bundled => format!(
                "listen = [\"127.0.0.1:{port}\"]\nhome = \"{HOME}\"\n\
                 [tls]\nlisten = [\"127.0.0.1:{tls_port}\"]\n\
                 certificate_file = {certificate:?}\nkey_file = {key:?}\n\
                 [storage]\ndirectory = {:?}\n\
                 [[account]]\nname = \"{ACCOUNT}\"\npassword_file = {password:?}\n",
                folder.path().join("storage")
            ),
            BrokerKind::Mosquitto => format!(
                "persistence false\nlog_dest stderr\nlog_type error\nset_tcp_nodelay true\nuser root\n\
                 max_inflight_messages 1024\nmax_queued_messages 20000\nallow_anonymous true\n\
                 listener {port} 127.0.0.1\nlistener {tls_port} 127.0.0.1\n\
                 certfile {}\nkeyfile {}\n",
                certificate.display(),
                key.display()
            ),
        };
        std::fs::write(&config, text).doing(config.display())?;
        let process = start(kind, built, folder.path())?;
        let mut started = Self { kind, process, port, tls_port, folder };
        for port in [port, tls_port] {
            eventually("a port of the broker", PATIENCE, || {
                if let Some(status) = started.process.ended()? {
                    return Err(Failure(format!("{status}\n{}", started.process.log())));
                }
                Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
            })
            .await?;
        }
        Ok(started)
    }

    fn run(&self, built: &Built) -> Result<Process> {
        start(self.kind, built, self.folder.path())
    }

    fn access(&self) -> Access {
        Access { port: self.port, login: Some((ACCOUNT.into(), PASSWORD.into())) }
    }
}

fn start(kind: BrokerKind, built: &Built, folder: &Path) -> Result<Process> {
    let mut command = match kind {
        BrokerKind::Bundled => Command::new(built.binary("hearth-broker")),
        BrokerKind::Mosquitto => Command::new(mosquitto_program()),
    };
    command.arg(if kind == BrokerKind::Bundled { "--config" } else { "-c" });
    command.arg(config_file(folder));
    Process::start(&mut command, &folder.join("broker.log"))
}

fn config_file(folder: &Path) -> std::path::PathBuf {
    folder.join("broker.conf")
}

/// Returns how long all threads of a process have run on a processor, in microseconds.
fn processor_us(process: u32) -> Result<f64> {
    let folder = format!("/proc/{process}/task");
    let mut nanos = 0.0;
    for thread in std::fs::read_dir(&folder).doing(&folder)? {
        // One that has just ended is of no account.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().doing("schedstat")?;
        nanos += first.parse::<f64>().doing(first)?;
    }
    Ok(nanos / 1e3)
}

fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").doing("/proc/loadavg")?;
    let first = text.split_whitespace().next().doing("/proc/loadavg")?;
    first.parse().doing(first)
}

/// A client that says the least and takes no memory.
struct Raw<S> {
    stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    /// Connects with Clean Start, and subscribes to a topic of its own.
    async fn begin(stream: S, client_id: &str) -> Result<Self> {
        let mut raw = Self { stream, received: Vec::new() };
        let mut body = text("MQTT");
        // MQTT 5, user name and password, Clean Start, no keep alive, no properties.
        body.extend([5, 0b1100_0010, 0, 0, 0]);
        body.extend([text(client_id), text(ACCOUNT), text(PASSWORD)].concat());
        raw.send(0x10, &body).await?;
        raw.expect(CONNACK, 1).await?;
        raw.subscribe(&format!("{HOME}/idle/{client_id}")).await?;
        Ok(raw)
    }

    async fn subscribe(&mut self, filter: &str) -> Result<()> {
        let body = [vec![0, 1, 0], text(filter), vec![1]].concat();
        self.send(0x82, &body).await?;
        self.expect(SUBACK, 1).await
    }

    /// Publishes a retained message at QoS 1.
    async fn retain(&mut self, number: usize) -> Result<()> {
        let topic = text(&format!("{HOME}/retained/device-{number}/power"));
        let id = (number % 1000) as u16 + 1;
        let body = [topic, id.to_be_bytes().to_vec(), vec![0], b"ON".to_vec()].concat();
        self.send(0x33, &body).await
    }

    async fn send(&mut self, first: u8, body: &[u8]) -> Result<()> {
        // One byte of length says it all (MQTT 1.5.5).
        let length = u8::try_from(body.len()).ok().filter(|length| *length < 0x80);
        let packet = [&[first, length.doing("a long packet")?][..], body].concat();
        Ok(self.stream.write_all(&packet).await?)
    }

    /// Waits for so many packets of a type, and acknowledges the messages among those that come.
    async fn expect(&mut self, wanted: u8, mut count: usize) -> Result<()> {
        let waiting = async {
            while count > 0 {
                while count > 0
                    && let Some((kind, id)) = self.packet()
                {
                    count -= usize::from(kind == wanted);
                    if let Some([high, low]) = id {
                        self.stream.write_all(&[PUBACK << 4, 2, high, low]).await?;
                    }
                }
                if count > 0 && self.stream.read_buf(&mut self.received).await? == 0 {
                    return Err(Failure::new("the broker closed the connection"));
                }
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, waiting).await.doing("the broker does not answer")?
    }

    /// Takes a packet from what has come; returns its type, and of a message at QoS 1 the packet identifier.
    fn packet(&mut self) -> Option<(u8, Option<[u8; 2]>)> {
        let (mut length, mut header) = (0_usize, 1);
        loop {
            let byte = *self.received.get(header)?;
            length |= usize::from(byte & 0x7F) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = self.received.get(header..header + length)?;
        let first = self.received[0];
        let id = (first >> 4 == PUBLISH && first & 0b110 != 0).then(|| {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            [body[2 + topic], body[3 + topic]]
        });
        self.received.drain(..header + length);
        Some((first >> 4, id))
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const HOME: &str = "home";
const ECHO: &str = "home/echo/power";
const ACCOUNT: &str = "bench";
const PASSWORD: &str = "secret";
/// Requests in flight.
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 5;
/// Answers of which the cost is looked at.
const COUNTED: usize = 10_000;
const CONNECTIONS: usize = 400;
pub(crate) const RETAINED: usize = 10_000;
const SETTLE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
