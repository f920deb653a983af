//! The wills of the hub: which are open, what is known of each, and how the outcome is decided.

use bytes::Bytes;

use crate::{
    Absence, Acknowledgement, Generation, KnownPrefix, Memory, Message, OpenWill, Outcome,
    topic::Prefix,
};

/// The ledger of wills over the hub's [`Memory`].
#[derive(Debug)]
pub(crate) struct Wills {
    memory: Memory,
    /// Wills that a retained `online` of a lost session proves to be unpublished.
    unpublished: Vec<Generation>,
    /// Prefixes that this connection has left: what was on its way may still come.
    left: Vec<KnownPrefix>,
}

/// How far a missing copy of a will is evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The session had no subscription, so what came when there was one is what the broker had retained.
    pub(crate) bare: bool,
    /// The session is the one that the open wills' connections were subscribed in.
    pub(crate) resumed: bool,
    /// All that was queued in it has been seen.
    pub(crate) fenced: bool,
    /// So has what the broker has retained, which a memory that is older than the session cannot contradict.
    pub(crate) watched: bool,
}

impl Wills {
    /// Takes up the memory; what it says of another broker's session proves nothing at this one.
    pub(crate) fn new(memory: Memory, broker: &str) -> Self {
        let mut wills = Self { memory, unpublished: Vec::new(), left: Vec::new() };
        if wills.memory.broker.as_deref().is_some_and(|known| known != broker) {
            wills.session_lost();
            wills.unlearn();
            wills.memory.past.clear();
        }
        wills.memory.broker = Some(broker.to_owned());
        wills
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn known_prefix(&self) -> Option<&KnownPrefix> {
        self.memory.prefix.as_ref()
    }

    /// Notes the prefix of now; the session may be subscribed under the one before.
    pub(crate) fn learn(&mut self, prefix: Option<Prefix>) {
        let known = KnownPrefix { prefix };
        if self.memory.prefix.as_ref() != Some(&known) {
            self.unlearn();
        }
        self.memory.past.retain(|old| *old != known);
        self.memory.prefix = Some(known);
    }

    /// Takes the prefixes that the session need not be subscribed under any more.
    pub(crate) fn take_past(&mut self) -> Vec<KnownPrefix> {
        self.left = std::mem::take(&mut self.memory.past);
        self.left.clone()
    }

    /// Returns whether a guard has acted on this will.
    pub(crate) fn has_guarded(&self, guard: &str, will: &Message) -> bool {
        let handled = self.memory.guarded.get(guard).into_iter().flatten();
        handled.map(Vec::as_slice).any(|data| Some(data) == will.correlation_data.as_deref())
    }

    /// A guard has acted on a will, in whatever order the answers come.
    pub(crate) fn note_guarded(&mut self, guard: &str, correlation_data: &Bytes) {
        let handled = self.memory.guarded.entry(guard.to_owned()).or_default();
        handled.retain(|old| old != correlation_data);
        if handled.len() >= Memory::BOUND {
            handled.remove(0);
        }
        handled.push(correlation_data.to_vec());
    }

    /// Forgets the prefix, so that the next connection learns it anew.
    pub(crate) fn unlearn(&mut self) {
        let past = self.memory.prefix.take();
        if let Some(past) = past.filter(|past| !self.memory.past.contains(past))
            && self.memory.past.len() < Memory::BOUND
        {
            self.memory.past.push(past);
        }
    }

    /// Lists the prefixes, other than the one of now, under which something may still arrive.
    pub(crate) fn past_prefixes(&self) -> impl Iterator<Item = Option<&Prefix>> {
        let open = self.memory.open.iter().map(|will| will.prefix.as_ref());
        let past = self.memory.past.iter().chain(&self.left);
        open.chain(past.map(|past| past.prefix.as_ref()))
    }

    pub(crate) fn open(
        &mut self,
        generation: Generation,
        prefix: Option<Prefix>,
        connected_at: String,
    ) {
        if self.memory.open.len() >= Memory::BOUND {
            let weakest = self.memory.open.iter().position(|will| {
                !will.subscribed && !will.seen && will.acknowledgements.is_empty()
            });
            self.memory.open.remove(weakest.unwrap_or(0));
        }
        self.memory.open.push(OpenWill {
            generation,
            prefix,
            connected_at,
            connected: false,
            subscribed: false,
            clean: false,
            seen: false,
            acknowledgements: Vec::new(),
        });
    }

    /// Forgets a will that no broker can have.
    pub(crate) fn forget(&mut self, generation: Generation) {
        self.memory.open.retain(|will| will.generation != generation);
    }

    /// The session is lost, or another client has had it: missing copies prove nothing any more.
    pub(crate) fn session_lost(&mut self) {
        for will in &mut self.memory.open {
            will.subscribed = false;
        }
    }

    /// There was a connection that the memory does not know: the store could not be written then.
    ///
    /// What came to it may be forgotten, so missing copies of wills before the current one prove nothing any more.
    /// Returns whether that is news.
    pub(crate) fn saw_stranger(&mut self, current: Generation) -> bool {
        let mut news = false;
        for will in self.memory.open.iter_mut().filter(|will| will.generation != current) {
            news |= std::mem::take(&mut will.subscribed);
        }
        news
    }

    /// Returns whether the memory knows that there was a connection with this will.
    pub(crate) fn knows(&self, generation: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation == generation && will.connected)
            || self.memory.decided.iter().any(|absence| absence.generation == generation)
    }

    pub(crate) fn mark_connected(&mut self, generation: Generation) {
        if let Some(will) = self.find_open(generation) {
            will.connected = true;
        }
    }

    pub(crate) fn mark_subscribed(&mut self, generation: Generation) {
        if let Some(will) = self.find_open(generation) {
            will.subscribed = true;
        }
    }

    /// A connection begins: where the one before decided nothing, what came to it may be forgotten, or in another session.
    pub(crate) fn begin_connection(&mut self) {
        self.unpublished.clear();
        self.left.clear();
        if std::mem::take(&mut self.memory.unproven) {
            self.session_lost();
        }
    }

    pub(crate) fn set_unproven(&mut self, unproven: bool) {
        self.memory.unproven = unproven;
    }

    /// DISCONNECT has been written. Should it be lost on the wire, a copy of the will comes back to a hub that is
    /// subscribed to its presence; of another one nobody can tell.
    pub(crate) fn mark_clean(&mut self, generation: Generation) {
        if let Some(will) = self.find_open(generation) {
            will.clean = will.subscribed;
        }
    }

    /// An `online` of this generation came; in a session that had no subscription, it is the retained one, and the
    /// will never replaced it.
    pub(crate) fn saw_online(&mut self, generation: Generation) {
        self.unpublished.push(generation);
    }

    /// Notes a copy of a will; returns whether something new was learned, and the upgraded outcome if one is.
    pub(crate) fn saw_will(&mut self, generation: Generation) -> (bool, Option<Absence>) {
        if let Some(will) = self.find_open(generation) {
            return (!std::mem::replace(&mut will.seen, true), None);
        }
        let upgraded = self.find_decided(generation).and_then(|absence| {
            let weaker = matches!(absence.outcome, Outcome::NotPublished | Outcome::Unknown);
            weaker.then(|| {
                absence.outcome = Outcome::Unconsumed;
                absence.clone()
            })
        });
        (upgraded.is_some(), upgraded)
    }

    /// Notes an answer to a will; returns whether its generation is known, and the upgraded outcome if one is.
    pub(crate) fn acknowledge(
        &mut self,
        generation: Generation,
        acknowledgement: Acknowledgement,
    ) -> (bool, Option<Absence>) {
        let add = |list: &mut Vec<Acknowledgement>| {
            let known = list.iter().any(|old| {
                old.responder == acknowledgement.responder && old.payload == acknowledgement.payload
            });
            let fits = !known && list.len() < ACKNOWLEDGEMENT_BOUND;
            if fits {
                list.push(acknowledgement.clone());
            }
            fits
        };
        if let Some(will) = self.find_open(generation) {
            return (add(&mut will.acknowledgements), None);
        }
        let upgraded = self.find_decided(generation).and_then(|absence| {
            add(&mut absence.acknowledgements).then(|| {
                absence.outcome = Outcome::Consumed;
                absence.clone()
            })
        });
        (upgraded.is_some(), upgraded)
    }

    /// Decides every open will but the current one, oldest first, by what has been seen.
    pub(crate) fn decide(
        &mut self,
        current: Generation,
        view: View,
        decided_at: &str,
    ) -> Vec<Absence> {
        let (open, past): (Vec<_>, Vec<_>) =
            self.memory.open.drain(..).partition(|will| will.generation == current);
        self.memory.open = open;
        let decided: Vec<Absence> = past
            .into_iter()
            .filter(OpenWill::is_worth_telling)
            .map(|will| Absence {
                generation: will.generation,
                outcome: self.outcome(&will, view),
                clean: will.clean,
                connected_at: will.connected_at,
                decided_at: decided_at.to_owned(),
                acknowledgements: will.acknowledgements,
            })
            .collect();
        self.unpublished.clear();
        self.memory.decided.extend(decided.iter().cloned());
        let excess = self.memory.decided.len().saturating_sub(Memory::BOUND);
        self.memory.decided.drain(..excess);
        decided
    }

    /// Whether wills other than the current one wait for their outcome.
    pub(crate) fn has_past(&self, current: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation != current)
    }

    /// Whether a missing copy of a will other than the current one may still be evidence.
    pub(crate) fn has_subscribed_past(&self, current: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation != current && will.subscribed)
    }

    fn outcome(&self, will: &OpenWill, view: View) -> Outcome {
        if !will.acknowledgements.is_empty() {
            Outcome::Consumed
        } else if will.seen {
            Outcome::Unconsumed
        } else if will.clean
            || (view.bare && self.unpublished.contains(&will.generation))
            || (view.resumed && view.fenced && view.watched && will.subscribed)
        {
            Outcome::NotPublished
        } else {
            Outcome::Unknown
        }
    }

    fn find_open(&mut self, generation: Generation) -> Option<&mut OpenWill> {
        self.memory.open.iter_mut().find(|will| will.generation == generation)
    }

    fn find_decided(&mut self, generation: Generation) -> Option<&mut Absence> {
        self.memory.decided.iter_mut().find(|absence| absence.generation == generation)
    }
}

const ACKNOWLEDGEMENT_BOUND: usize = 16;
