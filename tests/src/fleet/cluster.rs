//! The cluster of `config/fleet/aedes`: two nodes over one redis.

use std::{
    fs,
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::debian::Program;
use crate::{
    Access, Doing, Failure, Process, Result,
    built::workspace,
    peers::Peers,
    process::{Signal, eventually, run},
};

/// The running cluster; dropping it ends all of it.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: [Node; NODES],
    peers: Peers,
    folder: PathBuf,
    redis: Process,
    redis_port: u16,
}

#[derive(Debug)]
struct Node {
    port: u16,
    process: Option<Process>,
}

/// What a node has counted since it started, and what it takes of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) connections: u64,
    /// Bytes of MQTT in both directions.
    pub(super) bytes: u64,
    /// Messages from clients and to clients.
    pub(super) messages: u64,
    pub(super) refused: u64,
    /// Resident memory, in bytes.
    pub(super) memory: u64,
    /// Processor time.
    pub(super) cpu: Duration,
}

impl Cluster {
    /// Installs what is missing below `tools`, and starts the cluster with an account for each home.
    pub(super) async fn start(tools: &Path, folder: &Path, homes: &[String]) -> Result<Self> {
        let program = Program::redis(&tools.join("redis"))?;
        let from = workspace().join("config/fleet/aedes");
        let files = ["package.json", "package-lock.json", "node.mjs"];
        let peers = Peers::provide(&tools.join("aedes"), &from, &files)?;
        write_accounts(&folder.join("accounts.json"), homes).await?;
        let redis_port = lasting_port()?;
        let mut command = program.command();
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--port").arg(redis_port.to_string()).arg("--dir").arg(folder);
        let redis = Process::start(&mut command, &folder.join("redis.log"))?;
        eventually("redis", STARTED, || Ok(info(redis_port).ok())).await?;
        let mut nodes = [Node { port: 0, process: None }, Node { port: 0, process: None }];
        for node in &mut nodes {
            node.port = lasting_port()?;
        }
        let folder = folder.to_owned();
        let mut cluster = Self { peers, folder, redis, redis_port, nodes };
        for node in 0..NODES {
            cluster.start_node(node).await?;
        }
        Ok(cluster)
    }

    /// Returns the ports of the nodes.
    pub(super) fn ports(&self) -> [u16; NODES] {
        [self.nodes[0].port, self.nodes[1].port]
    }

    /// Starts a node that does not run, and waits until it listens.
    pub(super) async fn start_node(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let mut command = self.peers.command("node.mjs");
        command.arg("--port").arg(node.port.to_string());
        command.arg("--redis").arg(format!("127.0.0.1:{}", self.redis_port));
        command.arg("--accounts").arg(self.folder.join("accounts.json"));
        let mut process =
            Process::start(&mut command, &self.folder.join(format!("node-{index}.log")))?;
        let port = node.port;
        eventually("the node's port", STARTED, || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("node.mjs: {status}\n{}", process.log())));
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).ok())
        })
        .await?;
        node.process = Some(process);
        Ok(())
    }

    /// Kills a node: nobody is told, and its clients' wills are left to the other one.
    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        self.nodes[index].process.take().doing("the node does not run")?.kill9()
    }

    /// Stops a node in order.
    pub(super) async fn stop(&mut self, index: usize) -> Result<()> {
        let mut process = self.nodes[index].process.take().doing("the node does not run")?;
        process.terminate(STARTED).await?;
        Ok(())
    }

    /// Returns what all running nodes have counted together, and each node's connections.
    pub(super) async fn count(&self) -> Result<(Count, [u64; NODES])> {
        let mut all = Count::default();
        let mut connections = [0; NODES];
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(process) = &node.process else { continue };
            let one = count(process).await?;
            connections[index] = one.connections;
            all.connections += one.connections;
            all.bytes += one.bytes;
            all.messages += one.messages;
            all.refused += one.refused;
            all.memory += one.memory;
            all.cpu += one.cpu;
        }
        Ok((all, connections))
    }

    /// Returns the memory that redis uses for data, in bytes, and its processor time.
    pub(super) fn redis(&self) -> Result<(u64, Duration)> {
        let text = info(self.redis_port)?;
        let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let memory = line.doing("redis tells no used_memory")?.trim().parse();
        Ok((memory.doing("used_memory")?, cpu(self.redis.id())?))
    }
}

/// Returns how a program of this home gets into a node.
pub(super) fn access(port: u16, home: &str) -> Access {
    Access { port, login: Some((home.to_owned(), password(home))) }
}

/// Returns the password of a home.
pub(super) fn password(home: &str) -> String {
    format!("secret-of-{home}")
}

/// Has Node.js make the digests: nothing else here needs SHA-256.
async fn write_accounts(file: &Path, homes: &[String]) -> Result<()> {
    let passwords = homes.iter().map(|home| (home.clone(), password(home).into()));
    let passwords = serde_json::Value::Object(passwords.collect()).to_string();
    let given = file.with_extension("passwords");
    fs::write(&given, passwords).doing(given.display())?;
    let given = given.display().to_string();
    let ran = run("node", ["-e", DIGESTS, &given], STARTED).await?;
    if ran.code != Some(0) {
        return Err(Failure(format!("the accounts: {}", ran.stderr)));
    }
    fs::write(file, ran.stdout).doing(file.display())
}

async fn count(process: &Process) -> Result<Count> {
    let before = process.stdout().lines().count();
    process.signal(Signal::USR2)?;
    let said = || Ok(process.stdout().lines().nth(before).map(str::to_owned));
    let line = eventually("the node's count", STARTED, said).await?;
    let counted: serde_json::Value = serde_json::from_str(&line)?;
    let number = |name: &str| counted[name].as_u64().doing(format!("`{name}` of {line}"));
    Ok(Count {
        connections: number("connections")?,
        bytes: number("bytesIn")? + number("bytesOut")?,
        messages: number("published")? + number("delivered")?,
        refused: number("refused")?,
        memory: number("rss")?,
        cpu: cpu(process.id())?,
    })
}

/// Asks redis how it is.
fn info(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(STARTED))?;
    stream.write_all(b"INFO memory\r\nQUIT\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads the processor time of a process, in its own and in the kernel's code.
fn cpu(process: u32) -> Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).doing(&file)?;
    // The second field is the program's name, which may hold blanks.
    let (_, rest) = text.rsplit_once(')').doing(&file)?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<std::result::Result<u64, _>>().doing(&file)?;
    Ok(Duration::from_millis(ticks * MS_PER_TICK))
}

/// Returns a free port that the system gives to nobody who asks for any, so that it is free again after a restart.
fn lasting_port() -> Result<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (0..100).map(|_| fastrand::u16(PORTS));
    ports.find(free).doing("no free port")
}

pub(super) const NODES: usize = 2;
/// Linux tells processor time in hundredths of a second (proc(5)).
const MS_PER_TICK: u64 = 10;
/// Below the range that Linux takes the ports of connections from (ip(7)).
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const STARTED: Duration = Duration::from_secs(60);
const DIGESTS: &str = "const all = JSON.parse(require('node:fs').readFileSync(process.argv[1])); \
    const sha = text => require('node:crypto').createHash('sha256').update(text).digest('hex'); \
    const digests = Object.entries(all).map(([name, password]) => [name, sha(password)]); \
    console.log(JSON.stringify(Object.fromEntries(digests)))";
