//! The accepted requests, and the answers that a redelivery gets again.
//!
//! A QoS 1 request that sets something is remembered until it cannot be redelivered any more. Before it is carried out,
//! it is an intent, if carrying it out twice would do harm; after that it has its answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    Answer, JournalRecord, PublishId, Reason, RequestId, RequestKey, Status, record::ENTRY,
};

/// How much of a request must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing: it sets nothing, or no redelivery can come.
    Nothing,
    /// The answer, before PUBACK: carrying the request out again would do no harm.
    Answer,
    /// That it is being carried out, before it is; and the answer, before that goes out.
    Intent,
}

/// Names an entry of the journal, and never another one; they go up in the order in which requests came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId(u64);

/// The journal: every request that may be delivered again.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Boxed, because a tree moves its values about.
    entries: BTreeMap<EntryId, Box<Entry>>,
    by_key: BTreeMap<RequestKey, EntryId>,
    settled: Settled,
    /// What was under way when an earlier life of the daemon ended: nobody has told of it yet.
    lost: Vec<EntryId>,
    next_id: u64,
    /// How much room the entries take, in all and by sender.
    cost: usize,
    costs: BTreeMap<Option<Arc<str>>, usize>,
    /// Counts connections.
    connection: u64,
    /// Whether the broker has delivered again, on this connection, whatever it will.
    is_redelivered: bool,
}

/// The entries that may be forgotten: what is under way takes none of their room.
#[derive(Debug, Default)]
struct Settled {
    /// When each is; where room is needed, one goes before its time.
    by_time: BTreeSet<(Duration, EntryId)>,
    /// How much room they take.
    cost: usize,
    by_sender: BTreeMap<Option<Arc<str>>, SettledOfSender>,
}

/// The entries of one sender that may be forgotten.
#[derive(Debug, Default)]
struct SettledOfSender {
    by_time: BTreeSet<(Duration, EntryId)>,
    cost: usize,
}

/// What the journal knows of one request.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: JournalRecord,
    pub(crate) durability: Durability,
    /// Whether the store may hold another request under its key, whose place it took.
    follows_stored: bool,
    /// Whether it only reads: then it is never answered from here.
    pub(crate) reads: bool,
    /// While it is carried out, or its answer verified.
    pub(crate) request: Option<RequestId>,
    /// Its response in the outbox.
    pub(crate) publish: Option<PublishId>,
    /// The revision of the store that holds the record as it is.
    pub(crate) revision: u64,
    /// Deliveries of this connection that have no PUBACK yet.
    unacknowledged: usize,
    /// The connection that the request was last delivered on.
    connection: u64,
    expires: Option<Duration>,
}

/// What says that a request is the same as an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The broker: the DUP flag (MQTT 3.3.1.1).
    Redelivered,
    /// Its requester: the user property `retry`.
    Repeated,
    None,
}

/// What the journal says of a request that has just come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new.
    Never,
    /// It is being carried out, or its first answer verified.
    InProgress(EntryId, RequestId),
    /// It has its answer.
    Answered(EntryId),
    /// An earlier life of the daemon may have carried it out.
    Intended(EntryId),
}

impl Journal {
    /// Takes in what an earlier life of the daemon has left.
    pub(crate) fn new(records: Vec<JournalRecord>) -> Self {
        let mut journal = Self::default();
        let mut records = records;
        records.sort_by_key(|record| record.answered_at.unwrap_or(Duration::MAX));
        for mut record in records {
            let accepted = record.answer.take_if(|answer| answer.status == Status::Accepted);
            let is_lost = accepted.is_some();
            if is_lost {
                record.answer = Some(Answer::conflict(Reason::Indeterminate, LOST));
            }
            let id = journal.insert(record, Durability::Intent, false);
            journal.lost.extend(is_lost.then_some(id));
        }
        journal.connection = 1;
        journal
    }

    /// Takes what was under way when an earlier life of the daemon ended.
    pub(crate) fn take_lost(&mut self) -> Vec<EntryId> {
        std::mem::take(&mut self.lost)
    }

    /// Shows every request, in the order in which they came.
    pub(crate) fn each(&self, mut show: impl FnMut(EntryId, &JournalRecord)) {
        for (&id, entry) in &self.entries {
            show(id, &entry.record);
        }
    }

    /// Looks a request up.
    ///
    /// Only a redelivery, or what its requester marks as a repeat, is the same request for certain. Without a mark one
    /// whose setting may be carried out `again` is a new one, and a Packet Identifier names another message.
    pub(crate) fn seen(&self, key: &RequestKey, content: u64, mark: Mark, again: bool) -> Seen {
        let Some(&id) = self.by_key.get(key) else { return Seen::Never };
        let Some(entry) = self.get(id) else { return Seen::Never };
        let another = match (key, mark) {
            (_, Mark::Redelivered) => false,
            (RequestKey::Packet(_), Mark::Repeated | Mark::None) => true,
            (RequestKey::Correlated { .. } | RequestKey::Guard { .. }, Mark::Repeated) => false,
            (RequestKey::Correlated { .. } | RequestKey::Guard { .. }, Mark::None) => again,
        };
        if another || entry.record.content != content {
            return Seen::Never;
        }
        match (&entry.record.answer, entry.request) {
            (_, Some(request)) => Seen::InProgress(id, request),
            (Some(_), None) => Seen::Answered(id),
            (None, None) => Seen::Intended(id),
        }
    }

    /// Whether a request of this name is known.
    pub(crate) fn contains(&self, key: &RequestKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Returns an entry; none where it was forgotten.
    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id).map(AsRef::as_ref)
    }

    /// Returns an entry for a change; none where it was forgotten.
    pub(crate) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.get_mut(&id).map(AsMut::as_mut)
    }

    /// Makes room for one more request of a sender where it can; returns what the store has to forget too, and whether
    /// there is room.
    ///
    /// What goes first is the oldest entry of this sender if it has more than its share, else of any that has. Between
    /// two connections nothing may be forgotten, so what the broker delivers then finds room above what is kept. There a
    /// sender may have as much as is still free (a dynamic threshold, as in a switch's buffer): one alone may have half
    /// of all, and however many have taken all they can, another one finds as much.
    pub(crate) fn make_room(&mut self, sender: Option<&Arc<str>>) -> (Vec<RequestKey>, bool) {
        let sender = sender.cloned();
        let mut forgotten = Vec::new();
        loop {
            let fits = self.has_room(&sender);
            if fits && self.settled.cost < KEPT {
                return (forgotten, true);
            }
            let Some(id) = self.first_to_go(&sender, fits) else { return (forgotten, fits) };
            forgotten.extend(self.remove(id));
        }
    }

    /// Returns the settled entry that is forgotten first for one more request of a sender, which `fits` or not.
    ///
    /// A sender that has more than its share loses its own; so one that is busy costs no look at all others.
    fn first_to_go(&self, sender: &Option<Arc<str>>, fits: bool) -> Option<EntryId> {
        let Settled { by_time, by_sender, .. } = &self.settled;
        let share = KEPT / by_sender.len().max(1);
        let is_above = |settled: &&SettledOfSender| settled.cost >= share;
        let own = by_sender.get(sender);
        let of_others = || {
            let above = by_sender.values().filter(is_above);
            above.filter_map(|settled| settled.by_time.first()).min()
        };
        let oldest = own.filter(is_above).and_then(|own| own.by_time.first()).or_else(of_others);
        let of_own = || own.filter(|_| !fits)?.by_time.first();
        // Whoever has less than its share gives way only where there is no room at all.
        let of_all = || by_time.first().filter(|_| self.cost >= MOST);
        oldest.or_else(of_own).or_else(of_all).map(|(_, id)| *id)
    }

    /// Whether a sender has taken less than is free.
    fn has_room(&self, sender: &Option<Arc<str>>) -> bool {
        self.cost + self.costs.get(sender).copied().unwrap_or(0) < MOST
    }

    /// Adds a request, in the place of an older one with the same key.
    pub(crate) fn insert(
        &mut self,
        record: JournalRecord,
        durability: Durability,
        reads: bool,
    ) -> EntryId {
        let id = EntryId(self.next_id);
        self.next_id += 1;
        self.take_up(&record);
        let before = self.by_key.insert(record.key.clone(), id).and_then(|id| self.let_go(id));
        let entry = Entry {
            record,
            durability,
            follows_stored: before.is_some_and(|before| before.may_be_stored()),
            reads,
            request: None,
            publish: None,
            revision: 0,
            unacknowledged: 0,
            connection: self.connection,
            expires: None,
        };
        self.entries.insert(id, Box::new(entry));
        id
    }

    /// Removes a request that is not to be remembered; returns its key where the store has to forget it too.
    fn remove(&mut self, id: EntryId) -> Option<RequestKey> {
        let entry = self.let_go(id)?;
        self.by_key.remove(&entry.record.key);
        entry.may_be_stored().then_some(entry.record.key)
    }

    fn let_go(&mut self, id: EntryId) -> Option<Entry> {
        let mut entry = self.entries.remove(&id)?;
        self.give_up(&entry.record);
        entry.keep(id, &mut self.settled);
        Some(*entry)
    }

    /// Changes a record that may be larger or smaller then.
    pub(crate) fn change(&mut self, id: EntryId, change: impl FnOnce(&mut JournalRecord)) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.record.cost();
        change(&mut entry.record);
        let after = entry.record.cost();
        if before != after {
            let sender = entry.record.key.sender().cloned();
            self.cost = self.cost + after - before;
            if let Some(cost) = self.costs.get_mut(&sender) {
                *cost = *cost + after - before;
            }
            if entry.expires.is_some() {
                self.settled.resize(&sender, before, after);
            }
        }
    }

    fn take_up(&mut self, record: &JournalRecord) {
        self.cost += record.cost();
        match self.costs.get_mut(&record.key.sender().cloned()) {
            Some(cost) => *cost += record.cost(),
            None => drop(self.costs.insert(record.key.sender().cloned(), record.cost())),
        }
    }

    fn give_up(&mut self, record: &JournalRecord) {
        self.cost -= record.cost();
        let sender = record.key.sender().cloned();
        if let Some(cost) = self.costs.get_mut(&sender) {
            *cost -= record.cost();
            if *cost == 0 {
                self.costs.remove(&sender);
            }
        }
    }

    /// Notes that a device works on a request, which is not forgotten meanwhile.
    pub(crate) fn begin(&mut self, id: EntryId, request: RequestId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.request = Some(request);
        entry.keep(id, &mut self.settled);
    }

    /// Notes that nothing is done for a request any more: it may be forgotten at `forget_at` where no redelivery can come.
    pub(crate) fn settle(&mut self, id: EntryId, forget_at: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.request = None;
        let comes_again = !self.is_redelivered && entry.connection != self.connection;
        if entry.unacknowledged == 0
            && !comes_again
            && let Some(forget_at) = forget_at
        {
            entry.expire_at(forget_at, id, &mut self.settled);
        }
    }

    /// Keeps the answer for whoever waits until `expires`, and for redeliveries: until `forget_at` where none can come.
    pub(crate) fn answer(
        &mut self,
        id: EntryId,
        answer: &Answer,
        answered_at: Duration,
        expires: Option<Duration>,
        forget_at: Option<Duration>,
    ) {
        self.change(id, |record| {
            record.answer = Some(answer.clone());
            record.answered_at = Some(answered_at);
            record.reply.expires = expires;
        });
        self.settle(id, forget_at);
    }

    /// One more delivery of this connection waits for PUBACK.
    pub(crate) fn delivered_again(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.unacknowledged += 1;
        entry.connection = self.connection;
        entry.keep(id, &mut self.settled);
    }

    /// PUBACK has been sent for one delivery; after the last, only a lost connection brings another.
    pub(crate) fn acknowledged(&mut self, id: EntryId, forget_at: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.unacknowledged = entry.unacknowledged.saturating_sub(1);
        if entry.unacknowledged == 0
            && entry.is_settled()
            && let Some(forget_at) = forget_at
        {
            entry.expire_at(forget_at, id, &mut self.settled);
        }
    }

    /// The connection is gone: PUBACKs may be lost, so everything may be delivered again.
    pub(crate) fn disconnected(&mut self) {
        self.connection += 1;
        self.is_redelivered = false;
        self.settled = Settled::default();
        for entry in self.entries.values_mut() {
            entry.unacknowledged = 0;
            entry.expires = None;
        }
    }

    /// The broker has delivered again whatever it will: the rest is forgotten in a while.
    pub(crate) fn redelivered(&mut self, forget_at: Duration) {
        self.is_redelivered = true;
        for (&id, entry) in &mut self.entries {
            if entry.is_settled() && entry.unacknowledged == 0 && entry.expires.is_none() {
                entry.expire_at(forget_at, id, &mut self.settled);
            }
        }
    }

    /// The session of earlier connections is lost, and their Packet Identifiers mean nothing any more. Returns what the
    /// store has to forget too.
    pub(crate) fn session_lost(&mut self) -> Vec<RequestKey> {
        let lost = self.list(|entry| {
            matches!(entry.record.key, RequestKey::Packet(_)) && entry.connection != self.connection
        });
        lost.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Forgets what no redelivery asks for any more; returns what the store has to forget too.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<RequestKey> {
        let mut forgotten = Vec::new();
        while let Some(&(expires, id)) = self.settled.by_time.first()
            && expires <= now
        {
            forgotten.extend(self.remove(id));
        }
        forgotten
    }

    /// Lists the answers that the broker does not have and that are not on their way; a state that was read is not told
    /// later, when it may be another.
    pub(crate) fn undelivered(&self) -> Vec<EntryId> {
        self.list(|entry| {
            let record = &entry.record;
            record.answer.is_some()
                && !record.delivered
                && record.reply.response_topic.is_some()
                && entry.publish.is_none()
                && entry.request.is_none()
                && !entry.reads
        })
    }

    /// Lists the requests that an earlier life of the daemon may have carried out.
    pub(crate) fn intended(&self) -> Vec<EntryId> {
        self.list(|entry| entry.record.answer.is_none() && entry.request.is_none())
    }

    fn list(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<EntryId> {
        let wanted = self.entries.iter().filter(|(_, entry)| wanted(entry));
        wanted.map(|(&id, _)| id).collect()
    }

    /// Forgets a request at a time of its own.
    pub(crate) fn expire_at(&mut self, id: EntryId, at: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.expire_at(at, id, &mut self.settled);
    }
}

impl Settled {
    fn insert(&mut self, entry: (Duration, EntryId), sender: Option<&Arc<str>>, cost: usize) {
        self.by_time.insert(entry);
        self.cost += cost;
        let of_sender = self.by_sender.entry(sender.cloned()).or_default();
        of_sender.by_time.insert(entry);
        of_sender.cost += cost;
    }

    fn remove(&mut self, entry: (Duration, EntryId), sender: Option<&Arc<str>>, cost: usize) {
        self.by_time.remove(&entry);
        self.cost -= cost;
        let sender = sender.cloned();
        if let Some(of_sender) = self.by_sender.get_mut(&sender) {
            of_sender.by_time.remove(&entry);
            of_sender.cost -= cost;
            if of_sender.by_time.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
    }

    /// Notes that an entry takes more or less room than before.
    fn resize(&mut self, sender: &Option<Arc<str>>, before: usize, after: usize) {
        self.cost = self.cost + after - before;
        if let Some(of_sender) = self.by_sender.get_mut(sender) {
            of_sender.cost = of_sender.cost + after - before;
        }
    }
}

impl Entry {
    /// Whether it has its answer, and nothing is done for it.
    fn is_settled(&self) -> bool {
        self.record.answer.is_some() && self.request.is_none()
    }

    /// Whether the store may hold something under its key.
    fn may_be_stored(&self) -> bool {
        self.durability != Durability::Nothing || self.follows_stored
    }

    /// Is forgotten at a time, but not before its Message Expiry has passed, or earlier where room is needed.
    ///
    /// Until then a broker may come up with a copy that it had put aside.
    fn expire_at(&mut self, at: Duration, id: EntryId, settled: &mut Settled) {
        self.keep(id, settled);
        let at =
            self.record.reply.expires.filter(|_| !self.reads).map_or(at, |expires| expires.max(at));
        self.expires = Some(at);
        settled.insert((at, id), self.record.key.sender(), self.record.cost());
    }

    /// Cancels the entry's expiry.
    fn keep(&mut self, id: EntryId, settled: &mut Settled) {
        if let Some(expires) = self.expires.take() {
            settled.remove((expires, id), self.record.key.sender(), self.record.cost());
        }
    }
}

/// How much the journal keeps for requesters that ask again: 1,024 usual requests.
const KEPT: usize = 1024 * ENTRY;
/// How much it holds at most; one sender may have half of it.
const MOST: usize = 6 * KEPT;
/// What is said of a request that was under way when the hub ended.
const LOST: &str = "the hub ended while it was under way, and cannot know how it has ended";
