//! Every way in which a plugin can go wrong.

use std::{
    io::Write,
    mem::ManuallyDrop,
    os::fd::FromRawFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use hearthd_sdk::{Answer, Context, Deferred, Failure};

use super::{Rogue, reach};

impl Rogue {
    pub(crate) fn work(&mut self, job: &str) -> Result<Answer, Failure> {
        match job {
            "panic" => panic!("the test asked for it"),
            "panic in a thread" => return Ok(self.panic_in_a_thread()),
            "panic in save" => self.save_panics = true,
            "panic in drop" => self.drop_panics = true,
            "answer for ever when it ends" => self.drop_answers = true,
            "abort" => std::process::abort(),
            "exit" => std::process::exit(3),
            "fault" => fault(),
            "overflow" => drop(overflow(1)),
            "hang" => hang(),
            "garbage" => write_to_sockets(&[0xff; 64]),
            "abort later" => later(|| std::process::abort()),
            "complain" => eprintln!("the bulb\nis hot"),
            "memory" => drop(vec![1_u8; 512 * 1024 * 1024]),
            "cpu" => later(burn),
            "flood states" => self.flood_states(),
            "flood states by thread" => {
                let context = self.context.clone();
                thread::spawn(move || {
                    for level in 0..FLOOD {
                        context.publish("level", level % 101);
                    }
                    context.publish("note", "flooded");
                });
            }
            "flood lines" => (0..FLOOD).for_each(|n| tracing::warn!(n, "flood")),
            "out of range" => self.context.publish("level", 101),
            "too large" => self.context.publish("note", "x".repeat(100_000)),
            "undeclared" => self.context.publish("nonsense", 1),
            "large failure" => return Err(Failure::failed("x".repeat(100_000))),
            "unreachable" => self.context.unreachable("the bulb is unscrewed"),
            "unreachable otherwise" => self.context.unreachable("the fuse has blown"),
            "reachable" => self.context.reachable(),
            "fail to reach" => return Err(Failure::unreachable("the bulb does not answer")),
            "ring" => self.context.event("bell", "press"),
            "ring wrongly" => self.context.event("bell", "triple"),
            "ring without end" => (0..FLOOD / 10).for_each(|_| self.context.event("bell", "press")),
            "ring nowhere" => self.context.event("count", "press"),
            "flicker" => self.flicker(),
            "later" => return Ok(self.answer_later()),
            "move" => return Ok(self.accept(Duration::from_secs(3600))),
            "move in no time" => return Ok(self.accept(Duration::from_millis(1))),
            "arrive" => {
                count_one_on(&self.count, &self.context);
                self.moving.drain(..).for_each(Deferred::done);
            }
            "get stuck" => {
                let stuck = Failure::failed("it is stuck");
                self.moving.drain(..).for_each(|moving| moving.fail(&stuck));
            }
            "drop" => self.moving.clear(),
            "count later" => return Ok(self.count_later()),
            "timer" => self.context.set_timer(7, Duration::from_millis(1)),
            "wake" => self.context.wake(),
            "count files" => self.count_files(),
            "environment" => {
                let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
                self.context.publish("note", format!("{names:?}"));
            }
            "descriptors" => {
                let all = std::fs::read_dir("/proc/self/fd")
                    .map_err(|error| Failure::failed(error.to_string()))?;
                let targets = all.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
                let targets: Vec<_> = targets.map(|target| target.display().to_string()).collect();
                self.context.publish("note", targets.join(" "));
            }
            "reach for the hub" => self.context.publish("note", reach::what_is_in_reach()),
            "dumpable" => self.context.publish("note", reach::is_dumpable().to_string()),
            "process" => self.context.publish("note", std::process::id().to_string()),
            other => match other.split_once(' ') {
                Some(("level", level)) => self.context.publish("level", number(level)?),
                Some(("wait", path)) => self.wait(Path::new(path)),
                _ => return Err(Failure::invalid(format!("there is no job `{other}`"))),
            },
        }
        Ok(Answer::Done)
    }

    fn panic_in_a_thread(&self) -> Answer {
        let deferred = self.context.defer();
        thread::spawn(move || {
            let _deferred = deferred;
            panic!("the test asked for it");
        });
        Answer::Later
    }

    fn accept(&mut self, within: Duration) -> Answer {
        let deferred = self.context.defer();
        deferred.accept(within);
        self.moving.push(deferred);
        Answer::Later
    }

    fn answer_later(&self) -> Answer {
        let (deferred, context) = (self.context.defer(), self.context.clone());
        thread::spawn(move || {
            context.publish("note", "later");
            deferred.done();
        });
        Answer::Later
    }

    /// Counts one on in a thread, with no call in which that could be saved.
    fn count_later(&self) -> Answer {
        let (deferred, context) = (self.context.defer(), self.context.clone());
        let count = Arc::clone(&self.count);
        thread::spawn(move || {
            count_one_on(&count, &context);
            deferred.done();
        });
        Answer::Later
    }

    /// Says levels before and after it has waited for a file; another one beside it tells that it waits.
    fn wait(&mut self, path: &Path) {
        self.farewell = Some(path.with_extension("ended"));
        self.context.publish("level", 77);
        // A test that cannot see it fails for that.
        let _ = std::fs::write(path.with_extension("waiting"), "");
        while !path.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        count_one_on(&self.count, &self.context);
        self.context.publish("level", 78);
    }

    fn flood_states(&self) {
        for level in 0..FLOOD {
            self.context.publish("level", level % 101);
        }
    }

    /// Says that it is unreachable and reachable again, as fast as it can.
    fn flicker(&self) {
        for _ in 0..FLOOD / 10 {
            self.context.unreachable("the contact is loose");
            self.context.reachable();
        }
        self.context.unreachable("the contact has broken");
    }

    /// Opens files until there are too many.
    fn count_files(&self) {
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        let count = files.len();
        drop(files);
        self.context.publish("note", format!("{count} files"));
    }
}

pub(crate) fn count_one_on(count: &AtomicI64, context: &Context) {
    let count = count.fetch_add(1, Ordering::SeqCst) + 1;
    context.publish("count", count);
}

pub(crate) fn hang() {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Answers what nobody has asked, as often as an impatient grace period would be renewed.
pub(crate) fn answer_for_ever() {
    loop {
        write_to_sockets(&ANSWER);
        thread::sleep(Duration::from_millis(20));
    }
}

fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::invalid(format!("`{text}` is no number")))
}

pub(crate) fn chatter() {
    loop {
        tracing::info!("not yet");
        thread::sleep(Duration::from_millis(5));
    }
}

fn later(work: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(1));
        work();
    });
}

fn burn() {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n + 1);
    }
}

#[expect(unsafe_code, reason = "a fault is what the test wants")]
fn fault() {
    let nowhere = std::hint::black_box(std::ptr::dangling_mut::<u8>());
    // SAFETY: there is none: nothing is mapped at this address, and the process ends here.
    unsafe { nowhere.write_volatile(1) };
}

/// Writes into every socket of the process, the wire to the hub among them.
#[expect(unsafe_code, reason = "the descriptors belong to others")]
fn write_to_sockets(bytes: &[u8]) {
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), true) = (number, target.to_string_lossy().starts_with("socket:")) {
            // SAFETY: the descriptor is open, and is not closed here.
            let mut socket = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(number) });
            // What nobody takes need not be written.
            let _ = socket.write_all(bytes);
        }
    }
}

#[expect(unconditional_recursion, reason = "an overflow is what the test wants")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + frame[0]
}

const FLOOD: i64 = 100_000;
/// On the wire of a process of its own: the answer to a call, with status 0.
const ANSWER: [u8; 6] = [2, 0, 0, 0, 3, 0];
