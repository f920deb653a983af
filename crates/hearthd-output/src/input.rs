//! A line of a GPIO chip, held as an input.

use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind, Value};
use hearthd_hardware::Root;
use hearthd_sdk::Span;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Deserialize;

use crate::gpio::consumer_name;
use crate::output::OutputError;
use crate::{Gpio, Line, TableProblem};

/// A GPIO line that something outside drives: a contact, a detector, a button.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpioInput {
    /// The line: its name, such as `GPIO17`, or its offset in the chip.
    pub line: Line,
    /// The chip: its label, such as `pinctrl-bcm2711`, or its name; needed for an offset.
    #[serde(default)]
    pub chip: Option<String>,
    /// Whether low is on, as it is for a switch between the line and GND.
    #[serde(default)]
    pub active_low: bool,
    /// Which resistor of the chip holds the line while nothing drives it; none leaves that as it is.
    #[serde(default)]
    pub pull: Option<Pull>,
    /// How long a level must last to count. The kernel ignores what is shorter.
    #[serde(default = "debounce")]
    pub debounce: Span,
}

/// A resistor of the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// To the supply.
    Up,
    /// To GND.
    Down,
    /// None: the line floats.
    None,
}

/// What a line says.
#[derive(Debug)]
pub enum LineEvent {
    /// The line was taken, and is on or off.
    Is(bool),
    /// The line has become on or off.
    Became(bool),
    /// The line is not to be had, and is tried again after a while.
    Failed(OutputError),
}

impl GpioInput {
    /// Returns what no machine can make right.
    pub fn problems(&self) -> Vec<TableProblem> {
        let mut problems = self.gpio().problems();
        if self.debounce > LONGEST_DEBOUNCE {
            let message = format!("{} is more than {LONGEST_DEBOUNCE}", self.debounce);
            problems.push(("gpio.debounce", message));
        }
        problems
    }

    /// Takes the line and tells what it says, until the other end of `stop` is closed.
    pub fn watch(
        &self,
        root: &Root,
        consumer: &str,
        stop: &PipeReader,
        tell: impl FnMut(LineEvent),
    ) {
        follow(|| self.open(root, consumer), stop, RETRY, tell);
    }

    fn open(&self, root: &Root, consumer: &str) -> Result<OpenInput, OutputError> {
        let (chip, offset) = self.gpio().find(root)?;
        let what = format!("{} line {offset}", chip.display());
        let mut builder = Request::builder();
        builder.on_chip(chip).with_consumer(consumer_name(consumer)).with_line(offset).as_input();
        builder.with_edge_detection(EdgeDetection::BothEdges);
        if self.active_low {
            builder.as_active_low();
        }
        match self.pull {
            Some(Pull::Up) => _ = builder.with_bias(Bias::PullUp),
            Some(Pull::Down) => _ = builder.with_bias(Bias::PullDown),
            Some(Pull::None) => _ = builder.with_bias(Bias::Disabled),
            None => {}
        }
        if self.debounce > Span(Duration::ZERO) {
            builder.with_debounce_period(self.debounce.0);
        }
        match builder.request() {
            Ok(request) => Ok(OpenInput { request, what }),
            Err(source) => Err(OutputError::Gpio { what, source }),
        }
    }

    fn gpio(&self) -> Gpio {
        let Self { line, chip, active_low, .. } = self.clone();
        Gpio { line, chip, active_low }
    }
}

/// A line that is held.
trait Input {
    fn is_on(&self) -> Result<bool, OutputError>;
    /// Returns what is readable once there is an edge.
    fn edges(&self) -> BorrowedFd<'_>;
    /// Takes the next edge: whether the line has become on.
    fn edge(&self) -> Result<bool, OutputError>;
}

struct OpenInput {
    request: Request,
    what: String,
}

impl Input for OpenInput {
    fn is_on(&self) -> Result<bool, OutputError> {
        let value = self.request.lone_value().map_err(|source| self.error(source))?;
        Ok(value == Value::Active)
    }

    fn edges(&self) -> BorrowedFd<'_> {
        self.request.as_fd()
    }

    fn edge(&self) -> Result<bool, OutputError> {
        let event = self.request.read_edge_event().map_err(|source| self.error(source))?;
        Ok(event.kind == EdgeKind::Rising)
    }
}

impl OpenInput {
    fn error(&self, source: gpiocdev::Error) -> OutputError {
        OutputError::Gpio { what: self.what.clone(), source }
    }
}

/// Tells what a line says, and opens it anew where it fails, until `stop` is closed.
fn follow<I: Input>(
    open: impl Fn() -> Result<I, OutputError>,
    stop: &PipeReader,
    retry: Duration,
    mut tell: impl FnMut(LineEvent),
) {
    loop {
        match open().and_then(|input| follow_open(&input, stop, &mut tell)) {
            Ok(()) => return,
            Err(error) => tell(LineEvent::Failed(error)),
        }
        if wait(&[stop.as_fd()], Some(retry))[0] {
            return;
        }
    }
}

/// Tells what an open line says, until `stop` is closed or the line fails.
fn follow_open(
    input: &impl Input,
    stop: &PipeReader,
    tell: &mut impl FnMut(LineEvent),
) -> Result<(), OutputError> {
    tell(LineEvent::Is(input.is_on()?));
    loop {
        let [stopped, changed] = wait(&[stop.as_fd(), input.edges()], None);
        if stopped {
            return Ok(());
        }
        if changed {
            tell(LineEvent::Became(input.edge()?));
        }
    }
}

/// Waits until one of these is readable or closed, or the time is over; returns which are.
fn wait<const N: usize>(files: &[BorrowedFd<'_>; N], time: Option<Duration>) -> [bool; N] {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    let mut polled = files.each_ref().map(|file| PollFd::from_borrowed_fd(*file, PollFlags::IN));
    loop {
        match poll(&mut polled, time.as_ref()) {
            Err(Errno::INTR) => {}
            // It has no memory at worst: what is asked next says what is wrong.
            Ok(_) | Err(_) => return polled.map(|one| !one.revents().is_empty()),
        }
    }
}

fn debounce() -> Span {
    Span(Duration::from_millis(30))
}

/// How long until a line that is not to be had is tried again.
const RETRY: Duration = Duration::from_secs(10);
const LONGEST_DEBOUNCE: Span = Span(Duration::from_secs(5));

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io::{PipeWriter, Read as _, Write as _, pipe};

    use hearthd_hardware::HardwareError;

    use super::*;

    /// A line whose edges come from a pipe: `1` and `0`, and anything else is a failure.
    struct Fake(PipeReader);

    impl Input for Fake {
        fn is_on(&self) -> Result<bool, OutputError> {
            Ok(false)
        }

        fn edges(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        fn edge(&self) -> Result<bool, OutputError> {
            let mut byte = [0];
            (&self.0).read_exact(&mut byte).expect("a byte is there");
            match byte[0] {
                b'1' => Ok(true),
                b'0' => Ok(false),
                _ => Err(absent()),
            }
        }
    }

    fn absent() -> OutputError {
        let (what, place) = ("a line".to_owned(), "/dev".to_owned());
        OutputError::Hardware(HardwareError::Absent { what, place, present: Vec::new() })
    }

    fn word(event: &LineEvent) -> &'static str {
        match event {
            LineEvent::Is(true) => "is on",
            LineEvent::Is(false) => "is off",
            LineEvent::Became(true) => "on",
            LineEvent::Became(false) => "off",
            LineEvent::Failed(_) => "failed",
        }
    }

    fn edges(text: &str) -> (Fake, PipeWriter) {
        let (reader, mut writer) = pipe().expect("a pipe");
        writer.write_all(text.as_bytes()).expect("it has room");
        (Fake(reader), writer)
    }

    #[test]
    fn a_line_that_fails_is_opened_again_and_says_how_it_is() {
        let (stop, stopping) = pipe().expect("a pipe");
        let stopping = RefCell::new(Some(stopping));
        let (first, _first) = edges("10x1");
        let (second, _second) = edges("1");
        let lines = RefCell::new(vec![Ok(second), Err(absent()), Ok(first)]);
        let open = || lines.borrow_mut().pop().expect("it is stopped before");
        let said = RefCell::new(Vec::new());
        follow(open, &stop, Duration::ZERO, |event| {
            said.borrow_mut().push(word(&event));
            if said.borrow().len() == 7 {
                stopping.borrow_mut().take();
            }
        });
        let expected = ["is off", "on", "off", "failed", "failed", "is off", "on"];
        assert_eq!(*said.borrow(), expected);
    }

    #[test]
    fn a_line_that_is_never_there_is_left_at_once_when_it_is_stopped() {
        let (stop, stopping) = pipe().expect("a pipe");
        let tries = Cell::new(0);
        let stopping = RefCell::new(Some(stopping));
        let open = || -> Result<Fake, OutputError> {
            tries.set(tries.get() + 1);
            Err(absent())
        };
        follow(open, &stop, Duration::from_secs(3600), |_| drop(stopping.borrow_mut().take()));
        assert_eq!(tries.get(), 1);
    }
}
