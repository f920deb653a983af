//! A running `hearth-broker` with a folder of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

use crate::raw::{Raw, connect};

/// The broker; it is killed when this is dropped.
pub(crate) struct Broker {
    process: Option<Child>,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a broker whose configuration has more.
    pub(crate) fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hash = |password: &str| String::from_utf8(hash_password(password).stdout).unwrap();
        let text = format!(
            "home = \"home\"\n{more}\n[storage]\ndirectory = \"storage\"\n\
             [[account]]\nname = \"hub\"\nrole = \"hub\"\npassword_file = \"password\"\n\
             [[account]]\nname = \"anna\"\nrole = \"resident\"\npassword_hash = {:?}\n\
             [[account]]\nname = \"old\"\npassword_file = \"password\"\n",
            hash("secret").trim()
        );
        std::fs::write(folder.path().join("broker.toml"), text).unwrap();
        std::fs::write(folder.path().join("password"), "secret\n").unwrap();
        let mut broker = Self { process: None, folder, port: 0 };
        broker.run();
        broker
    }

    /// Starts the program, and waits until it listens.
    pub(crate) fn run(&mut self) {
        self.run_as(program());
    }

    /// Starts the program by a command, and waits until it listens.
    pub(crate) fn run_as(&mut self, mut command: Command) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut child = command
            .arg("--config")
            .arg(self.config())
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(child);
        let port = line.trim().rsplit_once(':').map(|(_, port)| port.parse().unwrap());
        self.port = port.unwrap_or_else(|| panic!("{}", self.log()));
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("broker.toml")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.id(), signal).unwrap();
    }

    /// Limits what the program may use of the system; returns the limit before.
    pub(crate) fn limit(&self, resource: Resource, most: Option<u64>) -> Option<u64> {
        let maximum = getrlimit(resource).maximum;
        prlimit(Some(self.id()), resource, Rlimit { current: most, maximum }).unwrap().current
    }

    fn id(&self) -> rustix::process::Pid {
        let id = self.process.as_ref().unwrap().id();
        rustix::process::Pid::from_raw(id as i32).unwrap()
    }

    /// Sends SIGTERM and waits.
    pub(crate) fn stop(&mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert!(self.process.take().unwrap().wait().unwrap().success(), "{}", self.log());
    }

    /// Returns the resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.of_status("VmRSS:")
    }

    /// Returns the largest resident memory so far in KiB.
    pub(crate) fn peak(&self) -> u64 {
        self.of_status("VmHWM:")
    }

    fn of_status(&self, key: &str) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Returns the processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let id = self.process.as_ref().unwrap().id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Connects as an account whose password is `secret`, and requires success.
    pub(crate) fn client(&self, account: &str, client_id: &str) -> Raw {
        let mut raw = self.raw();
        raw.send(&connect(client_id, account, "secret", 0));
        raw.expect_connack(0);
        raw
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.port)
    }

    /// Runs a command of the program with something on standard input.
    pub(crate) fn command(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = program()
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the broker\n{}", self.log());
        }
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth-broker"));
    command.stdin(Stdio::null()).env("RUST_LOG", "info").env_remove("JOURNAL_STREAM");
    command
}

fn hash_password(password: &str) -> Output {
    let mut child = program()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns whether the other side has closed the connection.
pub(crate) fn is_closed(stream: &mut std::net::TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut rest = [0; 64];
    match stream.read(&mut rest) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Returns the rights of a file.
pub(crate) fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
