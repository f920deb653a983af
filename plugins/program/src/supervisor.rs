//! The thread that runs a program, listens to it, and starts it again.

use std::path::Path;
use std::time::{Duration, Instant};

use hearthd_program::{Alarm, Runner, Said, Talk};

use crate::config::Launch;
use crate::exchange::{Exchange, Shared};

/// All that the thread owns.
#[derive(Debug)]
pub(crate) struct Supervisor {
    launch: Launch,
    exchange: Shared,
    alarm: Alarm,
    talk: Option<Talk>,
    /// When the program that runs was started.
    started: Instant,
    /// When the next one is started, while none runs.
    retry: Instant,
    wait: Duration,
    has_devices: bool,
    is_over: bool,
}

impl Supervisor {
    pub(crate) fn new(launch: Launch, exchange: Shared, alarm: Alarm) -> Self {
        let now = Instant::now();
        Self {
            launch,
            exchange,
            alarm,
            talk: None,
            started: now,
            retry: now,
            wait: SHORTEST_WAIT,
            has_devices: false,
            is_over: false,
        }
    }

    /// Works until the last device has ended.
    pub(crate) fn run(mut self) {
        loop {
            if self.is_over {
                if let Some(talk) = self.talk.take() {
                    talk.end(self.launch.stop);
                }
                return;
            }
            if self.talk.is_none() && self.retry <= Instant::now() && self.has_devices {
                self.start();
            }
            self.listen();
            self.rest();
        }
    }

    fn start(&mut self) {
        let runner = Runner::new(Duration::MAX).with_environment(self.launch.environment.clone());
        let (program, arguments) =
            self.launch.command.split_first().expect("the configuration is checked");
        self.started = Instant::now();
        match runner.talk(Path::new(program), arguments) {
            Ok(talk) => {
                let input = talk.input();
                self.talk = Some(talk);
                self.exchange.step(|exchange| exchange.started(input));
            }
            Err(error) => self.note_end(&error.to_string()),
        }
    }

    /// Takes what the program has said.
    fn listen(&mut self) {
        while let Some(said) = self.talk.as_mut().and_then(Talk::next_said) {
            if said == Said::Ended {
                return self.end(None);
            }
            let (doom, _) = self.exchange.step(|exchange| {
                match said {
                    Said::Line(line) => exchange.line(&line),
                    Said::Unreadable(reason) => exchange.unreadable(reason),
                    Said::Error(line) => exchange.log_error(&line),
                    Said::Ended => {}
                }
                exchange.take_doom()
            });
            if doom.is_some() {
                return self.end(doom);
            }
        }
    }

    /// Ends the program: at once where there is a reason, and else because it has ended, or says no more.
    fn end(&mut self, reason: Option<String>) {
        let Some(talk) = self.talk.take() else { return };
        let ended = talk.end(if reason.is_some() { Duration::ZERO } else { CLOSED });
        self.note_end(&reason.unwrap_or(ended));
    }

    fn note_end(&mut self, reason: &str) {
        if self.started.elapsed() >= LASTING {
            self.wait = SHORTEST_WAIT;
        }
        self.retry = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.exchange.step(|exchange| exchange.ended(reason));
    }

    /// Waits until there is something to do.
    fn rest(&mut self) {
        let ((left, doom), _) =
            self.exchange.step(|exchange| (exchange.rest(), exchange.take_doom()));
        let result = match &mut self.talk {
            _ if doom.is_some() => Ok(false),
            Some(talk) => talk.wait(&mut self.alarm, left),
            None => {
                let now = Instant::now();
                let retry = self.has_devices.then(|| self.retry.saturating_duration_since(now));
                self.alarm.wait(left.into_iter().chain(retry).min());
                Ok(true)
            }
        };
        // Only devices that come and go change it, and they call.
        if matches!(result, Ok(true)) {
            ((self.is_over, self.has_devices), _) = self.exchange.step(Exchange::look_around);
        }
        let doom = doom.or(result.err().map(|error| error.to_string()));
        if doom.is_some() {
            self.end(doom);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.exchange.step(Exchange::abandon);
    }
}

/// The time until a program that has ended is started again; it doubles while programs end soon.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long did not end at once.
const LASTING: Duration = Duration::from_secs(60);
/// How long a program may still take that has closed its output.
const CLOSED: Duration = Duration::from_millis(200);
