//! A program that runs for as long as the device does, and prints what happens, one line for each event.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use hearthd_program::{Heard, ProgramError, Runner, excerpt};
use hearthd_sdk::{Context, Value};

use crate::config::{Config, Listen, PropertyConfig};
use crate::reach::Reach;

/// All that the thread of a listening program owns.
pub(crate) struct Listener {
    context: Context,
    runner: Runner,
    reach: Reach,
    name: String,
    /// What was last printed that is no event: it is in the log once.
    unread: Option<String>,
}

impl Listener {
    pub(crate) fn new(
        config: &Config,
        context: Context,
        reach: Reach,
        name: &str,
        stop: PipeReader,
    ) -> Self {
        let runner = Runner::new(config.timeout())
            .with_environment(config.whole_environment())
            .stopped_by(stop);
        Self { context, runner, reach, name: name.to_owned(), unread: None }
    }

    /// Listens until the device ends; a program that ends is started again, after a while.
    pub(crate) fn run(mut self, property: &PropertyConfig, Listen { run }: &Listen) {
        let (program, arguments) = run.parts();
        let mut wait = SHORTEST_WAIT;
        loop {
            let start = Instant::now();
            let runner = self.runner.clone();
            let followed = runner.follow(program, arguments, |heard| match heard {
                Heard::Runs => self.reach.note(&self.name, None),
                Heard::Line(line) => self.take(property, line),
            });
            if runner.is_stopped() {
                return;
            }
            let ended = followed.and_then(|finished| finished.output(&[0]));
            let unreachable = ended.as_ref().err().filter(|error| self.reach.is_unreachable(error));
            self.reach.note(&self.name, unreachable.map(ToString::to_string));
            self.log(ended.err().as_ref());
            wait = if start.elapsed() < LASTING {
                (wait * 2).min(LONGEST_WAIT)
            } else {
                SHORTEST_WAIT
            };
            if !runner.pause(wait) {
                return;
            }
        }
    }

    fn take(&mut self, property: &PropertyConfig, line: &str) {
        self.reach.note(&self.name, None);
        if line.trim().is_empty() {
            return;
        }
        match property.read_output(line) {
            Ok(Value::Text(kind)) => {
                self.unread = None;
                self.context.event(&self.name, &kind);
            }
            Ok(_) | Err(_) => {
                if self.unread.as_deref() != Some(line) {
                    let line = excerpt(line);
                    tracing::warn!(property = self.name, line, "the line is no event");
                    self.unread = Some(line);
                }
            }
        }
    }

    fn log(&self, error: Option<&ProgramError>) {
        let property = &self.name;
        match error {
            Some(error) => tracing::warn!(property, %error, "nobody listens"),
            None => tracing::warn!(property, "the program that listens has ended"),
        }
    }
}

/// The time until a program that has ended is started again; it doubles while it ends soon.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long did not end at once.
const LASTING: Duration = Duration::from_secs(60);
