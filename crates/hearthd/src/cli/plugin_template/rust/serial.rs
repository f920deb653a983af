//! The `my-lamp` plugin of hearthd: a board at a serial port that takes and tells lines.
//!
//! The board takes `power ON` and `power OFF`, answers `ok` or `error REASON`, and tells `temperature 21.5` by itself.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hearthd_sdk::{Answer, Changes, Context, Deferred, Device, Failure, Property, Value};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The serial port.
    port: PathBuf,
    /// Bits in a second.
    #[serde(default = "usual_speed")]
    speed: u32,
}

pub struct Board {
    context: Context,
    shared: Arc<Mutex<Shared>>,
    /// Closing this pipe ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// What the device and its thread share.
#[derive(Default)]
struct Shared {
    /// The port while it is open.
    port: Option<File>,
    /// The request that the board has not answered, and what it asks for.
    waiting: Option<(Deferred, bool)>,
}

/// Named once, so that the compiler finds a typo.
const POWER: &str = "power";
const TEMPERATURE: &str = "temperature";
const NO_ANSWER: u32 = 0;
/// How long the board may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST_LINE: usize = 1000;

impl Device for Board {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch(POWER), Property::number(TEMPERATURE).unit("°C").read_only()]
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        let shared = Arc::new(Mutex::default());
        let (stopped, stop) = io::pipe()?;
        let reader =
            Reader { config, context: context.clone(), shared: Arc::clone(&shared), stopped };
        let port = reader.open();
        let thread = context.spawn(move || reader.run(port))?;
        Ok(Self { context, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Tells the board; the answer follows when the board says `ok`.
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let Some(on) = changes.switch(POWER) else { return Ok(Answer::Done) };
        let mut shared = self.shared.lock().unwrap();
        let closed = || Failure::unreachable("the port is not open");
        let port = shared.port.as_mut().ok_or_else(closed)?;
        let line = format!("{POWER} {}\n", Value::Switch(on).to_text());
        port.write_all(line.as_bytes()).map_err(|error| Failure::unreachable(error.to_string()))?;
        shared.waiting = Some((self.context.defer(), on));
        self.context.set_timer(NO_ANSWER, PATIENCE);
        Ok(Answer::Later)
    }

    fn timer(&mut self, _id: u32) {
        if let Some((request, _)) = self.shared.lock().unwrap().waiting.take() {
            request.fail(&Failure::unreachable("the board does not answer"));
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the log says so.
            let _ = thread.join();
        }
    }
}

/// The thread that hears what the board says, and opens the port again after the board has gone.
struct Reader {
    config: Config,
    context: Context,
    shared: Arc<Mutex<Shared>>,
    stopped: PipeReader,
}

impl Reader {
    fn run(&self, mut port: io::Result<File>) {
        while let Err(error) = port.and_then(|port| self.listen(port)) {
            self.lose(&error);
            let pause = Timespec { tv_sec: 1, tv_nsec: 0 };
            let mut stopped = [PollFd::new(&self.stopped, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut stopped, Some(&pause))) != Ok(0) {
                return;
            }
            port = self.open();
        }
    }

    /// Opens the port without echo and line editing, and forgets what came before.
    fn open(&self) -> io::Result<File> {
        // Without NONBLOCK, a board that takes nothing more would hold up the device.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let port = rustix::fs::open(&self.config.port, flags, Mode::empty())?;
        let mut settings = tcgetattr(&port)?;
        settings.make_raw();
        settings.set_speed(self.config.speed)?;
        tcsetattr(&port, OptionalActions::Flush, &settings)?;
        self.shared.lock().unwrap().port = Some(port.try_clone()?.into());
        self.context.reachable();
        Ok(port.into())
    }

    fn lose(&self, error: &io::Error) {
        let reason = format!("{}: {error}", self.config.port.display());
        self.context.unreachable(&reason);
        let mut shared = self.shared.lock().unwrap();
        shared.port = None;
        if let Some((request, _)) = shared.waiting.take() {
            request.fail(&Failure::unreachable(reason));
        }
    }

    /// Hears what the board says. Returns when the device ends, or with an error when the board has gone.
    fn listen(&self, mut port: File) -> io::Result<()> {
        let (mut said, mut bytes) = (Vec::new(), [0; 256]);
        loop {
            let mut ready =
                [PollFd::new(&port, PollFlags::IN), PollFd::new(&self.stopped, PollFlags::IN)];
            retry_on_intr(|| poll(&mut ready, None))?;
            if !ready[1].revents().is_empty() {
                return Ok(());
            }
            let count = port.read(&mut bytes)?;
            if count == 0 {
                return Err(io::Error::other("the board has gone"));
            }
            said.extend(&bytes[..count]);
            while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = said.drain(..=end).collect();
                self.hear(String::from_utf8_lossy(&line).trim());
            }
            // At a wrong speed, nothing that comes is a line.
            said.truncate(LONGEST_LINE);
        }
    }

    fn hear(&self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let is_answer = matches!(word, "ok" | "error");
        let waiting = if is_answer { self.shared.lock().unwrap().waiting.take() } else { None };
        match (word, waiting, rest.parse::<f64>()) {
            ("ok", Some((request, on)), _) => {
                self.context.publish(POWER, on);
                request.done();
            }
            ("error", Some((request, _)), _) => request.fail(&Failure::invalid(rest)),
            (TEMPERATURE, _, Ok(celsius)) => self.context.publish(TEMPERATURE, celsius),
            _ => tracing::warn!(line, "the board says what nobody expects"),
        }
    }
}

fn usual_speed() -> u32 {
    9600
}

hearthd_sdk::export!(Board);

#[cfg(test)]
mod tests {
    use std::fs::{File, remove_file};
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::Duration;

    use hearthd_sdk::Failure;
    use hearthd_sdk::harness::{Reply, TestDevice};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use serde_json::json;

    use super::Board;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A pseudo terminal that plays the board, and a link to its port.
    struct FakeBoard {
        board: BufReader<File>,
        port: PathBuf,
    }

    impl FakeBoard {
        fn new(name: &str) -> Self {
            let board = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&board).unwrap();
            unlockpt(&board).unwrap();
            let terminal = ptsname(&board, Vec::new()).unwrap().into_string().unwrap();
            let port = std::env::temp_dir().join(format!("my-lamp-{name}-{}", std::process::id()));
            symlink(terminal, &port).unwrap();
            Self { board: BufReader::new(board.into()), port }
        }

        fn say(&mut self, lines: &str) {
            self.board.get_mut().write_all(lines.as_bytes()).unwrap();
        }

        fn hear(&mut self) -> String {
            let mut line = String::new();
            self.board.read_line(&mut line).unwrap();
            line
        }
    }

    impl Drop for FakeBoard {
        fn drop(&mut self) {
            remove_file(&self.port).unwrap();
        }
    }

    #[test]
    fn the_board_switches_and_tells() {
        let mut board = FakeBoard::new("switch");
        let mut device = TestDevice::<Board>::new(json!({"port": board.port}));
        assert_eq!(device.set("power", "ON"), Reply::Pending);
        assert_eq!(board.hear(), "power ON\n");
        board.say("temperature 21.5\nok\n");
        assert!(device.wait_for_reply(PATIENCE).is_done());
        assert_eq!(device.published("power").as_deref(), Some("ON"));
        assert_eq!(device.published("temperature").as_deref(), Some("21.5"));
        assert_eq!(device.set("power", "OFF"), Reply::Pending);
        assert_eq!(board.hear(), "power OFF\n");
        board.say("error too hot\n");
        let reply = device.wait_for_reply(PATIENCE);
        assert_eq!(reply, Reply::Failed(Failure::invalid("too hot")));
        assert_eq!(device.published("power").as_deref(), Some("ON"));
    }

    #[test]
    fn a_board_that_does_not_answer_fails_the_request() {
        let board = FakeBoard::new("silent");
        let mut device = TestDevice::<Board>::new(json!({"port": board.port}));
        assert_eq!(device.set("power", "ON"), Reply::Pending);
        device.advance(super::PATIENCE);
        let reply = device.reply();
        assert_eq!(reply, Reply::Failed(Failure::unreachable("the board does not answer")));
    }

    #[test]
    fn a_board_that_is_unplugged_can_come_back() {
        let board = FakeBoard::new("again");
        let mut device = TestDevice::<Board>::new(json!({"port": board.port}));
        assert_eq!(device.set("power", "ON"), Reply::Pending);
        drop(board);
        assert!(matches!(device.wait_for_reply(PATIENCE), Reply::Failed(_)));
        assert!(device.unreachable().is_some());
        let _board = FakeBoard::new("again");
        assert!(device.wait_until(PATIENCE, |device| device.unreachable().is_none()));
    }

    #[test]
    fn a_board_that_is_not_there_is_unreachable() {
        let mut device = TestDevice::<Board>::new(json!({"port": "/dev/there-is-none"}));
        assert!(device.wait_until(PATIENCE, |device| device.unreachable().is_some()));
        assert!(matches!(device.set("power", "ON"), Reply::Failed(_)));
    }

    #[test]
    fn a_wrong_key_is_named() {
        let problems = TestDevice::<Board>::problems(&json!({"port": "/dev/x", "sped": 9600}));
        assert_eq!(problems[0].path, "sped");
    }
}
