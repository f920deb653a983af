//! The thread that runs a device's programs, one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeReader;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearthd_program::Runner;
use hearthd_sdk::{Context, Deferred, Failure, Value};

use crate::arguments::Command;
use crate::config::{After, Config, PropertyConfig};
use crate::reach::Reach;

/// The canonical text of each state.
pub(crate) type States = BTreeMap<String, String>;

/// What a worker is asked to do; a property is named by its place in the list.
#[derive(Debug)]
pub(crate) enum Job {
    /// Sets a property and answers.
    Set {
        /// The property.
        index: usize,
        /// Its new value.
        value: Value,
        /// When the answer is due.
        deadline: Option<Duration>,
        /// Takes the answer.
        answer: Deferred,
    },
    /// Reads a property.
    Get(usize),
}

/// All that the thread owns.
pub(crate) struct Worker {
    context: Context,
    runner: Runner,
    states: Arc<Mutex<States>>,
    /// The properties whose last reading failed.
    unread: BTreeSet<String>,
    reach: Reach,
    /// Whether the last program of this job could reach the device.
    is_reached: bool,
}

impl Worker {
    pub(crate) fn new(
        config: &Config,
        context: Context,
        states: Arc<Mutex<States>>,
        reach: Reach,
        stop: PipeReader,
    ) -> Self {
        let runner = Runner::new(config.timeout())
            .with_environment(config.whole_environment())
            .stopped_by(stop);
        Self { context, runner, states, unread: BTreeSet::new(), reach, is_reached: false }
    }

    /// Works until the device ends.
    pub(crate) fn run(mut self, properties: &[(String, PropertyConfig)], jobs: &Receiver<Job>) {
        for job in jobs {
            if self.runner.is_stopped() {
                return;
            }
            match job {
                Job::Set { index, value, deadline, answer } => {
                    let (name, property) = &properties[index];
                    let outcome = self.set(name, property, &value, deadline);
                    self.tell_reached(name);
                    match outcome {
                        Ok(()) => answer.done(),
                        Err(failure) => answer.fail(&failure),
                    }
                }
                Job::Get(index) => {
                    let (name, property) = &properties[index];
                    self.refresh(name, property);
                    self.tell_reached(name);
                    if let Some(every) = property.get.as_ref().and_then(|get| get.every) {
                        arm(&self.context, index, every.0);
                    }
                }
            }
        }
    }

    /// Says that the device can be reached where the last program did: after the state that it told, so that whoever reads
    /// at once finds that.
    fn tell_reached(&mut self, name: &str) {
        if std::mem::take(&mut self.is_reached) {
            self.reach.note(name, None);
        }
    }

    fn set(
        &mut self,
        name: &str,
        property: &PropertyConfig,
        value: &Value,
        deadline: Option<Duration>,
    ) -> Result<(), Failure> {
        if deadline.is_some_and(|deadline| deadline <= self.context.now()) {
            return Err(Failure::busy("other programs took until the deadline; this did not run"));
        }
        let set = property.set.as_ref().ok_or_else(|| Failure::invalid("it cannot be set"))?;
        let text = value.to_text();
        if text.contains('\0') {
            return Err(Failure::invalid("an argument cannot contain a NUL"));
        }
        let run = match set.words.get(&text) {
            Some(word) => set.run.with(word),
            None if property.names_values() => set.run.with(&text),
            None => set.run.with_requested(&text).map_err(Failure::invalid)?,
        };
        let output = self.execute(name, &run, &[0])?;
        let state = match property.after_set() {
            After::None => return Ok(()),
            After::Value => value.clone(),
            After::Output => property.read_output(&output)?,
            After::Get => self.get(name, property)?,
        };
        if property.keeps_state() {
            lock(&self.states).insert(name.to_owned(), state.to_text());
        }
        self.context.publish(name, state);
        Ok(())
    }

    fn get(&mut self, name: &str, property: &PropertyConfig) -> Result<Value, Failure> {
        let get = property.get.as_ref().ok_or_else(|| Failure::failed("it cannot be read"))?;
        let output = self.execute(name, &get.run, &get.exit)?;
        property.read_output(&output)
    }

    /// Runs a program, given first, with its arguments; returns what it printed if it ended with one of these codes.
    fn execute(&mut self, name: &str, run: &Command, accepted: &[i32]) -> Result<String, Failure> {
        let (program, arguments) = run.parts();
        let finished = self.runner.run(program, arguments);
        let output = finished.and_then(|finished| finished.output(accepted));
        let error = match output {
            Ok(output) => {
                self.is_reached = true;
                return Ok(output);
            }
            Err(error) => error,
        };
        self.is_reached = !self.reach.is_unreachable(&error);
        if self.is_reached {
            return Err(Failure::failed(error.to_string()));
        }
        self.reach.note(name, Some(error.to_string()));
        Err(Failure::unreachable(error.to_string()))
    }

    /// Reads a property and says so in the log where it can no longer, or can again.
    fn refresh(&mut self, name: &str, property: &PropertyConfig) {
        match self.get(name, property) {
            Ok(value) => {
                if self.unread.remove(name) {
                    tracing::info!(property = name, "read again");
                }
                self.context.publish(name, value);
            }
            Err(error) => {
                if !self.runner.is_stopped() && self.unread.insert(name.to_owned()) {
                    tracing::warn!(property = name, %error, "not read");
                }
            }
        }
    }
}

/// Arms the timer of a property; an interval is checked with the configuration.
pub(crate) fn arm(context: &Context, index: usize, wait: Duration) {
    let id = u32::try_from(index).expect("a table has fewer properties than that");
    context.set_timer(id, wait);
}

/// Takes the states; they are whole whatever happened to whoever had them.
pub(crate) fn lock(states: &Mutex<States>) -> MutexGuard<'_, States> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
