//! The program: devices that one long-lived program of any language serves, with JSON lines over its standard input and
//! output.
//!
//! A thread for each program exchanges the lines, so that the hub never waits for a program.

mod config;
mod conversation;
mod declaration;
mod exchange;
mod protocol;
mod service;
mod supervisor;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use hearthd_sdk::{Absence, Answer, Changes, Child, Context, Device, Failure, Problems, Property};
use serde_json::Value as Json;

pub use crate::config::Config;
use crate::conversation::{Asked, Greeting, STARTING};
use crate::exchange::Saved;
use crate::service::{Membership, Service};

hearthd_sdk::export!(Program);

/// A device that a program serves.
#[derive(Debug)]
pub struct Program {
    context: Context,
    membership: Membership,
    saved: Saved,
}

impl Device for Program {
    const KIND: &'static str = "program";
    type Config = Config;

    fn check(config: &Config, problems: &mut Problems) {
        config.check(problems);
    }

    fn properties(config: &Config) -> Vec<Property> {
        config.properties().collect()
    }

    fn may_add(config: &Config) -> bool {
        config.adds
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let state = saved.and_then(|saved| {
            let read = serde_json::from_slice::<Json>(saved);
            read.inspect_err(|error| tracing::warn!(%error, "the saved state is not readable")).ok()
        });
        let membership = Membership::take(&config, &context)?;
        let saved: Saved = Arc::new(Mutex::new(saved.map(<[u8]>::to_vec)));
        let greeting = Greeting::new(&config, state, context.children().list());
        // Until the program says otherwise: a new device is reachable.
        context.unreachable(STARTING);
        let (device, its) = (context.clone(), Arc::clone(&saved));
        let program = Self { context, membership, saved };
        let service = program.membership.service();
        if program.membership.step(|exchange| exchange.attach(device, greeting, its, service)) {
            Ok(program)
        } else {
            Err(Failure::failed(NO_THREAD))
        }
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let (device, answer) = (self.context.device_id(), self.context.defer());
        let asked = asked(&self.context, changes);
        if self.membership.step(|exchange| exchange.set(device, asked, answer)) {
            Ok(Answer::Later)
        } else {
            Err(Failure::failed(NO_THREAD))
        }
    }

    fn child_refused(&mut self, name: &str, reason: &str) {
        let device = self.context.device_id();
        self.membership.step(|exchange| exchange.refused(device, name, reason));
    }

    fn absence(&mut self, absence: &Absence) {
        let device = self.context.device_id();
        let absence = protocol::absence(absence);
        // Without a thread, nobody is there to be told.
        self.membership.step(|exchange| exchange.absence(device, absence));
    }

    fn save(&self) -> Option<Vec<u8>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The thread may have ended already.
        self.membership.step(|exchange| exchange.detach(self.context.device_id()));
    }
}

/// A device that the program has added to another one.
#[derive(Debug)]
pub(crate) struct Added {
    context: Context,
    service: Weak<Service>,
}

impl Child for Added {
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        // The device that it was added to has the service for as long as it is called.
        let service = self.service.upgrade().ok_or(NO_THREAD)?;
        let (device, answer) = (self.context.device_id(), self.context.defer());
        let asked = asked(&self.context, changes);
        if service.step(|exchange| exchange.set(device, asked, answer)) {
            Ok(Answer::Later)
        } else {
            Err(Failure::failed(NO_THREAD))
        }
    }
}

fn asked(context: &Context, changes: &Changes) -> Asked {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let left = |deadline: Duration| deadline.saturating_sub(context.now());
    Asked {
        request: REQUESTS.fetch_add(1, Ordering::Relaxed),
        values: changes.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
        within: changes.deadline().map_or(LONGEST, left),
    }
}

const NO_THREAD: &str = "the thread of its program has ended";
/// How long a program has that nobody waits for.
const LONGEST: Duration = Duration::from_secs(60);
