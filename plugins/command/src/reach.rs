//! Whether what the programs stand for can be reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hearthd_sdk::Context;

/// What the programs last said; shared by all threads of a device.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    context: Context,
    /// The properties whose last program could not reach the device, and what it said.
    unreached: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Reach {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, unreached: Arc::default() }
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
