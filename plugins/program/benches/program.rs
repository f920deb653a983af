//! What a request to a device costs that a program serves, beside a bare ping-pong over the same pipes: in one run, in
//! turn, on one processor. `cargo bench -p hearthd-plugin-program`.
//!
//! On several, a wake-up of another processor can cost ten times what is measured here, for either of the two, as the
//! scheduler likes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use hearthd_plugin_program::Program;
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::{Value, json};

fn main() {
    // The programs that are measured are this one itself.
    match std::env::args().nth(1).as_deref() {
        Some("echo") => return echo(),
        Some("lamp") => return lamp(),
        // Cargo says `--bench`.
        Some(_) | None => {}
    }
    let own_id = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["--pid", "--cpu-list", "0", &own_id]).output();
    assert!(
        pinned.is_ok_and(|pinned| pinned.status.success()),
        "taskset, of util-linux, is needed"
    );
    let own = std::env::current_exe().expect("this program has a path").display().to_string();
    let script =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string();
    let mut bare = Bare::start(&own);
    let mut devices = [
        ("a program in Rust", device(json!([own, "lamp"]))),
        ("Python", device(json!(["python3", script("examples/lamp.py")]))),
        ("JavaScript (Node.js)", device(json!(["node", script("benches/lamp.mjs")]))),
    ];
    println!("{:24} {:>12} {:>12}  median of {ROUNDS} rounds", "", "round trip", "beside bare");
    let mut times = vec![Vec::new(); devices.len() + 1];
    for _ in 0..ROUNDS {
        times[0].push(measure(|| bare.ask()));
        for (index, (_, device)) in devices.iter_mut().enumerate() {
            times[index + 1].push(measure(|| set(device)));
        }
    }
    let medians: Vec<_> = times.into_iter().map(median).collect();
    let names = ["bare ping-pong"].into_iter().chain(devices.iter().map(|(name, _)| *name));
    for (name, time) in names.zip(&medians) {
        let micros = time.as_secs_f64() * 1e6;
        println!("{name:24} {micros:9.1} us {:11.2}x", time.div_duration_f64(medians[0]));
    }
}

/// Returns the median of a request in one round.
fn measure(mut ask: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        ask();
        start.elapsed()
    };
    median((0..REQUESTS).map(time).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn device(command: Value) -> TestDevice<Program> {
    let mut device = TestDevice::new(json!({
        "command": command,
        "properties": {"power": {"type": "switch"}, "level": {"type": "integer", "min": 0, "max": 100}},
    }));
    for _ in 0..REQUESTS {
        set(&mut device);
    }
    device
}

fn set(device: &mut TestDevice<Program>) {
    // Waits as `Bare` does: asleep.
    let reply = match device.set("power", "ON") {
        Reply::Pending => device.wait_for_reply(PATIENCE),
        reply => reply,
    };
    assert_eq!(reply, Reply::Done);
}

/// Lines over the same kind of pipes, with nothing around them.
struct Bare {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Bare {
    fn start(program: &str) -> Self {
        let mut command = Command::new(program);
        command.arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the echo starts");
        let to = child.stdin.take().expect("it is piped");
        let from = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, to, from }
    }

    fn ask(&mut self) {
        let line = "{\"type\":\"set\",\"id\":1234,\"device\":\"test\",\"values\":{\"power\":\"ON\"},\"within_ms\":60000}\n";
        self.to.write_all(line.as_bytes()).expect("the echo reads");
        let mut answer = String::new();
        self.from.read_line(&mut answer).expect("the echo answers");
        assert_eq!(answer, line);
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo() {
    for line in std::io::stdin().lines() {
        println!("{}", line.expect("a line"));
    }
}

/// The least that a program does.
fn lamp() {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        r#type: &'a str,
        id: Option<u64>,
    }
    for line in std::io::stdin().lines() {
        let line = line.expect("a line");
        let message: Message<'_> = serde_json::from_str(&line).expect("a message");
        if let ("hello" | "set", Some(id)) = (message.r#type, message.id) {
            println!("{{\"type\":\"answer\",\"id\":{id}}}");
        }
    }
}

const ROUNDS: usize = 9;
/// Few enough that no program meets the bound of about 1000 lines a second (4096 at once).
const REQUESTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
