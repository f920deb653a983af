//! A home, and all that is known of it: what its phone asked and saw, and what its hub did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// One home.
#[derive(Debug)]
pub(super) struct Home {
    /// The account, and with it the prefix that CONNACK returns.
    pub(super) name: String,
    pub(super) number: usize,
    facts: Mutex<Facts>,
}

/// What is known of a home.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// By the unique ID that is both the line to write and the Correlation Data.
    pub(super) asked: BTreeMap<String, Asked>,
    /// What the core alone has carried out; a real hub's device keeps a file.
    pub(super) executed: Vec<String>,
    /// What the phone saw of the hub's wills, by the name of the generation.
    pub(super) wills: BTreeMap<String, SeenWill>,
    /// What the hub told of them, the last word of it.
    pub(super) outcomes: BTreeMap<String, String>,
    /// When the core alone said `online`; a real hub says so in its log.
    pub(super) online: Vec<Instant>,
    /// When the core alone reached a node.
    pub(super) reached: Vec<Instant>,
    /// Messages that do not belong here, and answers to what nobody here asked.
    pub(super) foreign: Vec<String>,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    /// How often it was sent.
    pub(super) sent: u32,
    pub(super) answered: Option<(Duration, u16)>,
}

/// A will that the phone received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenWill {
    /// The phone sent an acknowledgement.
    pub(super) acknowledged: bool,
    /// A node took that over.
    pub(super) confirmed: bool,
}

impl Home {
    pub(super) fn new(number: usize) -> Self {
        Self { name: format!("home-{number:04}"), number, facts: Mutex::default() }
    }

    /// Returns what is known; nothing waits while it is held.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a topic of the home.
    pub(super) fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }

    /// Returns the nodes in the order in which the hub tries them. Half of the homes begin with each.
    pub(super) fn nodes_of_hub(&self, ports: [u16; 2]) -> [u16; 2] {
        let [first, second] = ports;
        if self.number.is_multiple_of(2) { [first, second] } else { [second, first] }
    }

    /// Returns the nodes in the order in which the phone tries them: the hub's the other way round, so that it hears
    /// what happens when the hub's node dies.
    pub(super) fn nodes_of_phone(&self, ports: [u16; 2]) -> [u16; 2] {
        let [first, second] = self.nodes_of_hub(ports);
        [second, first]
    }
}

/// The hub's client ID, the same in each home.
pub(super) const HUB: &str = "hub";
/// The hub's one device, which writes the lines that it is told.
pub(super) const DEVICE: &str = "ledger";
/// What a line is written by.
pub(super) const LINE: &str = "line";
