//! The hub's wills: which are open, what is known of each, and how the outcome is decided.

mod deciding;
mod trace;

use std::time::Duration;

use bytes::Bytes;

use crate::{
    Absence, Acknowledgement, Acknowledgements, Generation, KnownPrefix, Limits, Memory, Message,
    OpenWill, Outcome, Published,
    token::{Purpose, TokenKey},
    topic::Prefix,
};

pub(crate) use deciding::View;
pub(crate) use trace::Trace;

/// The ledger of wills over the hub's [`Memory`].
#[derive(Debug)]
pub(crate) struct Wills {
    memory: Memory,
    key: TokenKey,
    /// Prefixes that this connection has left: what was on its way may still come.
    left: Vec<KnownPrefix>,
    /// What was decided lately, and until when it may be taken back.
    fresh: Vec<(Generation, Duration)>,
}

impl Wills {
    /// Takes up the memory; what it says of another broker's session proves nothing at this one.
    pub(crate) fn new(memory: Memory, broker: &str, random: impl FnOnce() -> [u8; 16]) -> Self {
        let key = memory.key.clone().unwrap_or_else(|| TokenKey::new(random()));
        let mut wills = Self { memory, key: key.clone(), left: Vec::new(), fresh: Vec::new() };
        if wills.memory.broker.as_deref().is_some_and(|known| known != broker) {
            wills.session_lost();
            wills.unlearn();
            wills.memory.past.clear();
            wills.memory.adds_expiry = false;
            wills.memory.takes_its_own = false;
            wills.memory.limits = Limits::default();
        }
        wills.memory.broker = Some(broker.to_owned());
        wills.memory.key = Some(key);
        wills
    }

    /// Returns the key of all tokens, which never leaves hub and store.
    pub(crate) fn key(&self) -> &TokenKey {
        &self.key
    }

    /// Returns the Correlation Data of a message on the connection of this generation.
    pub(crate) fn token(&self, generation: Generation, purpose: Purpose) -> Bytes {
        self.key.of(generation, purpose)
    }

    /// Returns whether a message carries the token of this connection for this purpose.
    pub(crate) fn carries(
        &self,
        message: &Message,
        generation: Generation,
        purpose: Purpose,
    ) -> bool {
        message.correlation_data.as_ref() == Some(&self.token(generation, purpose))
    }

    /// Returns what is to be stored.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the prefix of the last connection; none where it has to be learned.
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

    /// Opens the will of the next connection.
    pub(crate) fn open(
        &mut self,
        random: [u8; 16],
        prefix: Option<Prefix>,
        connected_at: String,
    ) -> Generation {
        let generation = self.key.generation(random);
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
            acknowledgements: Acknowledgements::default(),
            left_out: 0,
        });
        generation
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

    fn is_open(&self, generation: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation == generation)
    }

    /// Returns whether the memory knows that there was a connection with this will.
    pub(crate) fn knows(&self, generation: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation == generation && will.connected)
            || self.memory.decided.iter().any(|absence| absence.generation == generation)
    }

    /// CONNACK has accepted the connection with this will.
    pub(crate) fn mark_connected(&mut self, generation: Generation) {
        if let Some(will) = self.find_open(generation) {
            will.connected = true;
        }
    }

    /// The session of this connection gets copies of the will and answers to it, at QoS 1.
    pub(crate) fn mark_subscribed(&mut self, generation: Generation) {
        if let Some(will) = self.find_open(generation) {
            will.subscribed = true;
        }
    }

    /// A connection begins: where the one before decided nothing, what came to it may be forgotten, or in another session.
    ///
    /// Of its own will nothing came before it ended, and it was subscribed in the session that it had.
    pub(crate) fn begin_connection(&mut self, current: Generation) {
        self.left.clear();
        if std::mem::take(&mut self.memory.unproven) {
            let had = |will: &OpenWill| will.connected && will.generation != current;
            let last = self.memory.open.iter().rposition(had);
            for (position, will) in self.memory.open.iter_mut().enumerate() {
                will.subscribed &= Some(position) == last;
            }
        }
    }

    /// Notes whether the broker adds an expiry to messages that have none; returns whether that is news.
    pub(crate) fn note_expiry(&mut self, added: bool) -> bool {
        std::mem::replace(&mut self.memory.adds_expiry, added) != added
    }

    /// Notes what the broker takes of a message; returns whether that is news.
    pub(crate) fn note_limits(&mut self, limits: Limits) -> bool {
        std::mem::replace(&mut self.memory.limits, limits) != limits
    }

    /// The session takes requests for this hub's devices alone; returns whether that is news.
    pub(crate) fn note_takes_its_own(&mut self) -> bool {
        !std::mem::replace(&mut self.memory.takes_its_own, true)
    }

    /// Notes whether a connection has begun about whose session nothing is decided yet.
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

    /// Notes a copy of a will; returns whether something new was learned, and the changed outcome if one is.
    ///
    /// `resumed` says that this connection's session is the one in which the outcome was decided.
    pub(crate) fn saw_will(
        &mut self,
        generation: Generation,
        resumed: bool,
    ) -> (bool, Option<Absence>) {
        if let Some(will) = self.find_open(generation) {
            return (!std::mem::replace(&mut will.seen, true), None);
        }
        let changed = self.find_decided(generation).and_then(|absence| {
            let before = absence.clone();
            absence.published = Published::Yes;
            absence.session_kept &= resumed;
            absence.outcome = match absence.outcome {
                Outcome::NotPublished | Outcome::Unknown if absence.session_kept => {
                    Outcome::Unconsumed
                }
                Outcome::NotPublished | Outcome::Unknown => Outcome::Unknown,
                decided @ (Outcome::Consumed | Outcome::Unconsumed) => decided,
            };
            (before.published != Published::Yes).then(|| absence.clone())
        });
        (changed.is_some(), changed)
    }

    /// Notes an answer to a will; returns whether it is new, and the changed outcome if one is.
    pub(crate) fn acknowledge(
        &mut self,
        generation: Generation,
        answer: &Acknowledgement,
    ) -> (bool, Option<Absence>) {
        if let Some(will) = self.find_open(generation) {
            return (will.acknowledgements.admit(answer, &mut will.left_out), None);
        }
        let changed = self.find_decided(generation).and_then(|absence| {
            absence.acknowledgements.admit(answer, &mut absence.left_out).then(|| {
                absence.outcome = Outcome::Consumed;
                if absence.published == Published::No {
                    absence.published = Published::NotKnown;
                }
                absence.clone()
            })
        });
        (changed.is_some(), changed)
    }

    /// Whether wills other than the current one wait for their outcome.
    pub(crate) fn has_past(&self, current: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation != current)
    }

    /// Whether a missing copy of a will other than the current one may still be evidence.
    pub(crate) fn has_subscribed_past(&self, current: Generation) -> bool {
        self.memory.open.iter().any(|will| will.generation != current && will.subscribed)
    }

    fn find_open(&mut self, generation: Generation) -> Option<&mut OpenWill> {
        self.memory.open.iter_mut().find(|will| will.generation == generation)
    }

    fn find_decided(&mut self, generation: Generation) -> Option<&mut Absence> {
        self.memory.decided.iter_mut().find(|absence| absence.generation == generation)
    }
}
