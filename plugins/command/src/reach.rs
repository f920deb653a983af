//! Whether what the programs stand for can be reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hearthd_program::ProgramError;
use hearthd_sdk::Context;

/// What the programs last said; shared by all threads of a device.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    context: Context,
    /// Exit codes by which the programs say so, beside the usual one.
    codes: Arc<[i32]>,
    /// The properties whose last program could not reach the device, and what it said.
    unreached: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Reach {
    pub(crate) fn new(context: Context, codes: &[i32]) -> Self {
        Self { context, codes: codes.into(), unreached: Arc::default() }
    }

    /// Returns whether a program failed because it cannot reach the device.
    pub(crate) fn is_unreachable(&self, error: &ProgramError) -> bool {
        error.is_unreachable() || error.code().is_some_and(|code| self.codes.contains(&code))
    }

    /// Takes note of what a property's program says; the device can be reached when no property says otherwise.
    pub(crate) fn note(&self, name: &str, reason: Option<String>) {
        let mut unreached = self.unreached.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match reason {
            Some(reason) => unreached.insert(name.to_owned(), reason.clone()) != Some(reason),
            None => unreached.remove(name).is_some(),
        };
        // Told under the lock, so that what is told last is what was noted last.
        match unreached.values().next() {
            Some(reason) if changed => self.context.unreachable(reason),
            None if changed => self.context.reachable(),
            Some(_) | None => {}
        }
    }
}
