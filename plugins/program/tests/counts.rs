//! What a request costs the system, in counts that are the same on every machine. Alone in its process, whose threads it
//! tells apart by their names.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hearthd_plugin_program::Program;
use hearthd_sdk::harness::{Reply, TestDevice};
use serde_json::json;

#[test]
fn a_request_is_one_write_and_one_read_and_wakes_one_thread_and_a_device_takes_little_memory() {
    let script = r#"
while read -r line; do
    id=${line#*\"id\":}
    printf '{"type":"answer","id":%s}\n' "${id%%,*}"
done"#;
    let process = Counts(PathBuf::from("/proc/self"));
    let held = process.number("status", "RssAnon:");
    let mut device = TestDevice::<Program>::new(json!({
        "command": ["sh", "-c", script],
        "properties": {"power": {"type": "switch"}},
    }));
    let mut ask = || {
        let reply = match device.set("power", "ON") {
            Reply::Pending => device.wait_for_reply(PATIENCE),
            reply => reply,
        };
        assert_eq!(reply, Reply::Done);
    };
    // The program has started, and there is room for whatever is made once.
    ask();
    let asking = Counts(PathBuf::from("/proc/thread-self"));
    let listening = Counts(thread_of_device());
    let (before, heard) = (asking.read(), listening.read());
    for _ in 0..REQUESTS {
        ask();
    }
    let (after, hears) = (asking.read(), listening.read());
    assert_eq!(after.writes - before.writes, REQUESTS, "one line each, by whoever asks");
    assert_eq!(hears.writes - heard.writes, 0, "nothing is left for the thread that listens");
    // A line may come in two parts, and a second passes on a busy machine.
    let most = REQUESTS + REQUESTS / 10;
    let reads = hears.reads - heard.reads;
    assert!((REQUESTS..=most).contains(&reads), "{reads} reads");
    let more = process.number("status", "RssAnon:").saturating_sub(held);
    assert!(more < MOST_MEMORY, "{more} kB more for one device");
    let sleeps = hears.sleeps - heard.sleeps;
    assert!(sleeps <= most, "woken {sleeps} times");
}

/// The folder in which the system counts for a thread.
struct Counts(PathBuf);

/// What a thread has done so far.
struct Count {
    reads: u64,
    writes: u64,
    sleeps: u64,
}

impl Counts {
    fn read(&self) -> Count {
        Count {
            reads: self.number("io", "syscr:"),
            writes: self.number("io", "syscw:"),
            sleeps: self.number("status", "voluntary_ctxt_switches:"),
        }
    }

    /// Reads a number, without its unit.
    fn number(&self, file: &str, key: &str) -> u64 {
        let text = fs::read_to_string(self.0.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Finds the thread that listens to the program: it has the device's name.
fn thread_of_device() -> PathBuf {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap());
    let mut ours = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.trim() == "test")
    });
    let thread = ours.next().expect("the thread runs");
    assert!(ours.next().is_none(), "there are two");
    thread.path()
}

const REQUESTS: u64 = 200;
/// What a device may take of the hub's memory, beside its program, in kB.
const MOST_MEMORY: u64 = 3 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);
