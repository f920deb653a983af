//! The command: a device whose properties are read and set by programs.
//!
//! The programs run one after another on a thread of the device, so that the hub never waits for them. A program that
//! prints events runs all the time, on a thread of its own.

mod arguments;
mod config;
mod listener;
mod reach;
mod reading;
mod worker;

use std::collections::BTreeMap;
use std::io::PipeWriter;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Problems, Property};

pub use crate::config::Config;
use crate::config::PropertyConfig;
use crate::listener::Listener;
use crate::reach::Reach;
use crate::worker::{Job, States, Worker, lock};

hearthd_sdk::export!(Command);

/// A device whose properties are read and set by programs.
#[derive(Debug)]
pub struct Command {
    context: Context,
    properties: Arc<[(String, PropertyConfig)]>,
    jobs: Option<SyncSender<Job>>,
    /// Closed to say that the threads shall end the programs that run.
    stop: Option<PipeWriter>,
    /// The states that no program can be asked for.
    states: Arc<Mutex<States>>,
    threads: Vec<JoinHandle<()>>,
}

impl Device for Command {
    const KIND: &'static str = "command";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &Config) -> Vec<Property> {
        config.properties.iter().map(|(name, property)| property.declaration(name)).collect()
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let states = restored(saved, &config);
        for (name, text) in &states {
            context.publish(name, config.properties[name].value(text)?);
        }
        let states = Arc::new(Mutex::new(states));
        let (jobs, queue) = sync_channel(QUEUE);
        let (reader, stop) = std::io::pipe()?;
        let reach = Reach::new(context.clone(), &config.unreachable);
        let mut listeners = Vec::new();
        for (index, (name, property)) in config.properties.iter().enumerate() {
            if property.listen.is_some() {
                let (reach, reader) = (reach.clone(), reader.try_clone()?);
                let listener = Listener::new(&config, context.clone(), reach, name, reader);
                listeners.push((index, listener));
            }
        }
        let worker = Worker::new(&config, context.clone(), Arc::clone(&states), reach, reader);
        let properties: Arc<[(String, PropertyConfig)]> = config.properties.into_iter().collect();
        let mut command = Self {
            context,
            properties,
            jobs: Some(jobs),
            stop: Some(stop),
            states,
            threads: Vec::new(),
        };
        let order = Arc::clone(&command.properties);
        command.threads.push(command.context.spawn(move || worker.run(&order, &queue))?);
        for (index, listener) in listeners {
            let order = Arc::clone(&command.properties);
            let listen = move || {
                let (_, property) = &order[index];
                if let Some(listen) = &property.listen {
                    listener.run(property, listen);
                }
            };
            command.threads.push(command.context.spawn(listen)?);
        }
        for index in 0..command.properties.len() {
            command.poll(index);
        }
        Ok(command)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let mut list = changes.iter();
        let (Some((name, value)), None) = (list.next(), list.next()) else {
            // What a program has done cannot be undone when the next one fails.
            return Err(Failure::invalid("a command sets one property at a time"));
        };
        let index = self.properties.iter().position(|(known, _)| known == name);
        let index = index.ok_or_else(|| Failure::invalid(format!("{name}: no such property")))?;
        let (value, deadline) = (value.clone(), changes.deadline());
        let job = Job::Set { index, value, deadline, answer: self.context.defer() };
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(Answer::Later),
            Some(Err(TrySendError::Full(_))) => Err(Failure::busy("too many commands wait")),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                Err(Failure::failed("the thread that runs the programs has ended"))
            }
        }
    }

    fn timer(&mut self, id: u32) {
        if let Ok(index) = usize::try_from(id) {
            self.poll(index);
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&*lock(&self.states)).ok()
    }
}

impl Command {
    /// Has a property read; where too much waits already, later.
    fn poll(&self, index: usize) {
        let Some(get) = self.properties.get(index).and_then(|(_, p)| p.get.as_ref()) else {
            return;
        };
        let Some(jobs) = &self.jobs else { return };
        if let Err(TrySendError::Full(_)) = jobs.try_send(Job::Get(index)) {
            worker::arm(&self.context, index, get.every.map_or(RETRY, |every| every.0));
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        (self.jobs, self.stop) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that ran programs had panicked");
            }
        }
    }
}

/// Reads the saved states that the configuration still has a place for.
fn restored(saved: Option<&[u8]>, config: &Config) -> States {
    let saved: States = match saved.map(serde_json::from_slice) {
        Some(Ok(states)) => states,
        Some(Err(error)) => {
            tracing::warn!(%error, "the saved states are not readable");
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    let fits = |(name, text): &(String, String)| {
        let property = config.properties.get(name);
        property.is_some_and(|property| property.keeps_state() && property.value(text).is_ok())
    };
    saved.into_iter().filter(fits).collect()
}

/// Programs that may wait for their turn.
const QUEUE: usize = 16;

/// The time until a first reading is tried again that found no place in the queue.
const RETRY: Duration = Duration::from_secs(1);
