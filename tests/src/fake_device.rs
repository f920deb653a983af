//! Devices whose firmware speaks MQTT itself, as far as a hub sees them: Tasmota, Shelly and ESPHome.
//!
//! Each is one lamp, with the topics and the quirks of its firmware, and does what a test tells it to do with commands.

mod esphome;
mod shelly;
mod shelly_first;
mod tasmota;
mod wire;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use crate::{Access, Doing, Result};

pub use self::{esphome::Esphome, shelly::Shelly, shelly_first::ShellyFirst, tasmota::Tasmota};

/// A lamp with a firmware, and its connection while it has one; dropping it cuts the power.
#[derive(Debug)]
pub struct FakeDevice {
    firmware: Arc<dyn Firmware>,
    client_id: String,
    access: Access,
    shared: Arc<Mutex<Shared>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    hands: mpsc::UnboundedSender<()>,
    _tasks: JoinSet<()>,
}

/// What a device does with a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What it is told.
    #[default]
    Obeys,
    /// What it is told, after 0.8 s.
    IsSlow,
    /// What it is told, after 6 s: longer than anybody waits.
    IsLate,
    /// Nothing, and acknowledges all the same.
    Lies,
    /// Nothing, and says so.
    Refuses,
    /// Nothing, and says nothing, while it is still connected.
    IsSilent,
}

/// The lamp itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamp {
    /// Whether it shines.
    pub on: bool,
    /// How bright it is when it is on, 0 to 1.
    pub brightness: f64,
    /// Its color temperature in mireds.
    pub mireds: u16,
}

/// What a firmware says and understands.
pub trait Firmware: Debug + Send + Sync {
    /// Returns whether it speaks MQTT 5, and replies to a Response Topic; else it speaks MQTT 3.1.1.
    fn replies(&self) -> bool {
        false
    }

    /// Returns the topic filters that it subscribes to.
    fn filters(&self) -> Vec<String>;

    /// Returns the retained topic of its presence, and the payloads for online and offline.
    fn presence(&self) -> (String, &'static str, &'static str);

    /// Reads a message; none where the firmware ignores it.
    fn read(&self, lamp: &Lamp, topic: &str, payload: &[u8]) -> Option<Asked>;

    /// Returns what it says to a command or a question.
    fn answer(&self, asked: &Asked, outcome: &Outcome) -> Vec<Said>;

    /// Returns what it says of its state by itself.
    fn state(&self, lamp: &Lamp) -> Vec<Said>;

    /// Returns whether it says by itself that something has undone a command.
    fn takes_back(&self) -> bool {
        true
    }
}

/// A command or a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// How the lamp is after the command; none of a question.
    wanted: Option<Lamp>,
    /// What the answer repeats of it.
    of: Json,
}

/// What became of a command, as the firmware tells it.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    before: Lamp,
    shown: Lamp,
    refused: bool,
}

/// A message of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    topic: String,
    payload: Bytes,
    retain: bool,
    correlation_data: Option<Bytes>,
}

#[derive(Debug)]
struct Shared {
    mode: Mode,
    lamp: Lamp,
    orders: usize,
    twice: bool,
    only_replies: bool,
}

impl FakeDevice {
    /// Switches a device on, and waits until it has said that it is online.
    ///
    /// # Errors
    /// Where the broker refuses it.
    pub async fn start(
        firmware: impl Firmware + 'static,
        access: Access,
        client_id: &str,
    ) -> Result<Self> {
        let lamp = Lamp { on: false, brightness: 1.0, mireds: 300 };
        let shared =
            Shared { mode: Mode::default(), lamp, orders: 0, twice: false, only_replies: false };
        let mut device = Self {
            firmware: Arc::new(firmware),
            client_id: client_id.to_owned(),
            access,
            shared: Arc::new(Mutex::new(shared)),
            running: None,
        };
        device.start_again().await?;
        Ok(device)
    }

    /// Cuts the power: the connection breaks, and the broker publishes the will.
    pub fn die(&mut self) {
        self.running = None;
    }

    /// Switches it on again, as it was.
    ///
    /// # Errors
    /// Where the broker refuses it.
    pub async fn start_again(&mut self) -> Result<()> {
        let (hands, pressed) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let link = wire::Link::new(&*self.firmware, &self.access, &self.client_id);
        let body = Body {
            firmware: Arc::clone(&self.firmware),
            shared: Arc::clone(&self.shared),
            waiting: Vec::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(body.live(link, pressed, ready));
        is_ready.await.doing(format!("{} at the broker", self.client_id))?;
        self.running = Some(Running { hands, _tasks: tasks });
        Ok(())
    }

    /// Says what it does with commands from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.shared().mode = mode;
    }

    /// Has it send each message twice, as QoS 1 may.
    pub fn say_twice(&self) {
        self.shared().twice = true;
    }

    /// Has it say nothing but replies on Response Topics.
    pub fn say_only_replies(&self) {
        self.shared().only_replies = true;
    }

    /// Presses the button on the device.
    pub fn press(&self) {
        if let Some(running) = &self.running {
            // It ends only with the device.
            let _ = running.hands.send(());
        }
    }

    /// Returns how the lamp is.
    pub fn lamp(&self) -> Lamp {
        self.shared().lamp
    }

    /// Returns how many commands it has heard, beside questions.
    pub fn orders(&self) -> usize {
        self.shared().orders
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// A device while it has power.
struct Body {
    firmware: Arc<dyn Firmware>,
    shared: Arc<Mutex<Shared>>,
    waiting: Vec<(Instant, Work)>,
}

/// Something that is done later.
enum Work {
    Carry(Asked, Option<(String, Bytes)>),
    Confess,
}

impl Body {
    async fn live(
        mut self,
        mut link: wire::Link,
        mut pressed: mpsc::UnboundedReceiver<()>,
        ready: oneshot::Sender<()>,
    ) {
        let mut ready = Some(ready);
        loop {
            let next = self.waiting.iter().map(|(due, _)| *due).min();
            let said = tokio::select! {
                heard = link.next() => match heard {
                    Some(wire::Event::Subscribed) => {
                        if let Some(ready) = ready.take() {
                            // Nobody listens where the test is over.
                            let _ = ready.send(());
                        }
                        self.born()
                    }
                    Some(wire::Event::Heard { topic, payload, reply }) => {
                        if reply.as_ref().is_some_and(|(_, data)| data.len() > LONGEST_DATA) {
                            return;
                        }
                        self.hear(&topic, &payload, reply)
                    }
                    None => return,
                },
                Some(()) = pressed.recv() => {
                    let mut shared = lock(&self.shared);
                    shared.lamp.on = !shared.lamp.on;
                    self.firmware.state(&shared.lamp)
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.catch_up()
                }
            };
            let times = if lock(&self.shared).twice { 2 } else { 1 };
            for one in said.iter().flat_map(|one| std::iter::repeat_n(one, times)) {
                link.say(one);
            }
        }
    }

    fn born(&self) -> Vec<Said> {
        let (topic, online, _) = self.firmware.presence();
        let mut said = vec![Said::kept(topic, online)];
        said.extend(self.firmware.state(&lock(&self.shared).lamp));
        said
    }

    fn hear(&mut self, topic: &str, payload: &[u8], reply: Option<(String, Bytes)>) -> Vec<Said> {
        let mut shared = lock(&self.shared);
        let Some(asked) = self.firmware.read(&shared.lamp, topic, payload) else {
            return Vec::new();
        };
        shared.orders += usize::from(asked.wanted.is_some());
        let mode = shared.mode;
        drop(shared);
        let now = Instant::now();
        match mode {
            Mode::IsSilent => Vec::new(),
            Mode::Obeys | Mode::Lies | Mode::Refuses => self.carry(&asked, reply),
            Mode::IsSlow | Mode::IsLate => {
                let after = if mode == Mode::IsSlow { SLOW } else { LATE };
                self.waiting.push((now + after, Work::Carry(asked, reply)));
                Vec::new()
            }
        }
    }

    /// Does what was asked, as the mode says, and returns what is said to it.
    fn carry(&mut self, asked: &Asked, reply: Option<(String, Bytes)>) -> Vec<Said> {
        let mut shared = lock(&self.shared);
        let before = shared.lamp;
        let shown = match (asked.wanted, shared.mode) {
            (None, _) | (_, Mode::Refuses | Mode::IsSilent) => before,
            (Some(wanted), Mode::Lies) => wanted,
            (Some(wanted), Mode::Obeys | Mode::IsSlow | Mode::IsLate) => {
                shared.lamp = wanted;
                wanted
            }
        };
        let refused = asked.wanted.is_some() && shared.mode == Mode::Refuses;
        let mut said = self.firmware.answer(asked, &Outcome { before, shown, refused });
        if let Some((topic, data)) = reply.filter(|_| self.firmware.replies())
            && let Some(first) = said.first()
        {
            let payload = first.payload.clone();
            said.push(Said { topic, payload, retain: false, correlation_data: Some(data) });
        }
        if shared.only_replies {
            said.retain(|said| said.correlation_data.is_some());
        }
        if shown != shared.lamp && self.firmware.takes_back() {
            self.waiting.push((Instant::now() + TAKES_BACK, Work::Confess));
        }
        said
    }

    fn catch_up(&mut self) -> Vec<Said> {
        let now = Instant::now();
        let (due, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(due, _)| *due <= now);
        self.waiting = waiting;
        let due: Vec<(Instant, Work)> = due;
        let said = due.into_iter().flat_map(|(_, work)| match work {
            Work::Carry(asked, reply) => self.carry(&asked, reply),
            Work::Confess => self.firmware.state(&lock(&self.shared).lamp),
        });
        said.collect()
    }
}

impl Said {
    fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        let (topic, payload) = (topic.into(), payload.into());
        Self { topic, payload, retain: false, correlation_data: None }
    }

    fn json(topic: impl Into<String>, payload: &Json) -> Self {
        Self::new(topic, payload.to_string())
    }

    fn kept(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { retain: true, ..Self::new(topic, payload) }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the word for on and off.
fn word(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// Reads on, off and toggle in any case.
fn switched(lamp: &Lamp, word: &str) -> Option<Lamp> {
    let on = match word.to_ascii_lowercase().as_str() {
        "on" | "1" | "true" => true,
        "off" | "0" | "false" => false,
        "toggle" | "2" => !lamp.on,
        _ => return None,
    };
    Some(Lamp { on, ..*lamp })
}

const SLOW: Duration = Duration::from_millis(800);
const LATE: Duration = Duration::from_secs(6);
/// How soon a rule on the device undoes what it has just done.
const TAKES_BACK: Duration = Duration::from_millis(20);
/// Tasmota ends the connection where there is more Correlation Data.
const LONGEST_DATA: usize = 16;
