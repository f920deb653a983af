//! The requests in progress: their deadlines, their order, and how many of them each device and each sender may have.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    DeliveryId, JournalRecord, Request, RequestId, RequestKey,
    journal::{Durability, EntryId},
    record::Reply,
};

/// The table of requests.
#[derive(Debug)]
pub(crate) struct Requests {
    /// How many requests a device is given at a time.
    depth: usize,
    /// Boxed, because a tree moves its values about.
    pending: BTreeMap<RequestId, Box<Pending>>,
    deadlines: BTreeSet<(Duration, RequestId)>,
    /// Stays for a device without requests, which will have others.
    per_device: BTreeMap<Arc<str>, Load>,
    per_sender: BTreeMap<Option<Arc<str>>, Load>,
    /// Requests that wait for the store, for their turn, or behind one that does, by device.
    queued: BTreeMap<Arc<str>, VecDeque<(u64, Request)>>,
    bytes: usize,
    next_id: u64,
}

/// What a device has to do, or a sender has asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Requests without an answer.
    waiting: usize,
    /// Those of them that the device has been given.
    handed: usize,
    bytes: usize,
    /// The device did not answer the last request in time.
    hangs: bool,
}

/// How many requests without an answer a device and a sender may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    pub(crate) device: usize,
    pub(crate) sender: usize,
}

/// One accepted request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) device: Arc<str>,
    pub(crate) property: Arc<str>,
    pub(crate) arrived: Duration,
    /// How long the device may take once it has been given the request.
    pub(crate) allowed: Duration,
    pub(crate) deadline: Duration,
    pub(crate) origin: Origin,
    /// Whether the device has it.
    pub(crate) handed: bool,
    /// The beginning of the payload: it is told if the request fails and nobody is answered, or after it was answered.
    pub(crate) excerpt: Bytes,
    pub(crate) purpose: Purpose,
}

/// What a device is given a request for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To carry it out.
    Execute,
    /// To read the state, for a request that may have been carried out before.
    ReadBack,
    /// To read the state, which tells whether the first answer to a request is still true.
    Verify {
        /// What the journal has of the request, which may be forgotten meanwhile.
        record: Box<JournalRecord>,
        /// The request was repeated; else the broker may not have had the first answer.
        is_repeat: bool,
    },
}

/// Where a request came from, and what is owed to it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// What makes it the same as another; none where nothing does.
    pub(crate) key: Option<RequestKey>,
    /// Its entry in the journal; none where it is not remembered.
    pub(crate) entry: Option<EntryId>,
    /// Whose share it takes: the account that the broker vouches for, else the Response Topic.
    pub(crate) sender: Option<Arc<str>>,
    pub(crate) content: u64,
    pub(crate) reply: Reply,
    pub(crate) durability: Durability,
    /// Whether it only reads.
    pub(crate) reads: bool,
    /// The devices that wait for its answer, the first one first, with commas.
    pub(crate) via: Option<Arc<str>>,
    /// The deliveries that are acknowledged with its answer.
    pub(crate) deliveries: Vec<DeliveryId>,
    /// About how many bytes it takes.
    pub(crate) size: usize,
}

impl Requests {
    /// Makes the collection; a device works on up to `depth` requests at a time, at least one.
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            depth: depth.max(1),
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            per_device: BTreeMap::new(),
            per_sender: BTreeMap::new(),
            queued: BTreeMap::new(),
            bytes: 0,
            next_id: 0,
        }
    }

    /// Returns why a device can take no more, or why its sender has had its share; `shares` hold where others wait too.
    pub(crate) fn refuse(
        &self,
        device: &str,
        sender: Option<&Arc<str>>,
        size: usize,
        shares: Option<Shares>,
    ) -> Option<String> {
        let of_device = self.per_device.get(device).copied().unwrap_or_default();
        let of_sender = self.per_sender.get(&sender.cloned()).copied().unwrap_or_default();
        let most = shares.map_or(usize::MAX, |shares| shares.device.max(self.depth));
        let share = shares.map_or(usize::MAX, |shares| shares.sender.max(self.depth));
        let waiting = of_device.waiting;
        if of_device.hangs && waiting >= self.depth {
            return Some(format!("`{device}` does not answer, and {waiting} requests wait for it"));
        }
        if waiting >= most || (waiting > 0 && of_device.bytes + size > SHARE_BYTES) {
            return Some(format!("{waiting} requests wait for `{device}` already"));
        }
        let waiting = of_sender.waiting;
        if waiting >= share || (waiting > 0 && of_sender.bytes + size > SHARE_BYTES) {
            return Some(format!("{waiting} requests of the same sender wait already"));
        }
        None
    }

    /// Adds a request; returns its ID, which no other request of this life has.
    pub(crate) fn insert(&mut self, pending: Pending) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        let size = pending.origin.size;
        self.bytes += size;
        add_to(&mut self.per_device, &pending.device, size, pending.handed);
        add_to(&mut self.per_sender, &pending.origin.sender, size, false);
        self.deadlines.insert((pending.deadline, id));
        self.pending.insert(id, Box::new(pending));
        id
    }

    /// Returns until when somebody waits for the answer to a request; none where it has one.
    pub(crate) fn awaited_until(&self, id: RequestId) -> Option<Duration> {
        let pending = self.pending.get(&id)?;
        Some(pending.origin.reply.expires.map_or(pending.deadline, |at| at.min(pending.deadline)))
    }

    /// Forgets the devices that are no more, once nothing waits for them.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.per_device.retain(|device, load| load.waiting > 0 || is_there(device));
    }

    /// Lists the devices and properties that are read for answers that the broker may not have had.
    pub(crate) fn verified_late(&self) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let late = self
            .pending
            .values()
            .filter(|pending| matches!(pending.purpose, Purpose::Verify { is_repeat: false, .. }));
        late.map(|pending| (pending.device.clone(), pending.property.clone())).collect()
    }

    /// Returns which devices wait for a request's answer; see [`Origin::via`].
    pub(crate) fn via(&self, id: RequestId) -> Option<&Arc<str>> {
        self.pending.get(&id)?.origin.via.as_ref()
    }

    /// Adds a redelivery to a request in progress.
    pub(crate) fn attach(&mut self, id: RequestId, origin: Origin) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.origin.deliveries.extend(origin.deliveries);
            pending.origin.reply.wait_until(origin.reply.expires);
        }
    }

    /// Takes out a request that has its answer, or gets none.
    pub(crate) fn remove(&mut self, id: RequestId, in_time: bool) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        let size = pending.origin.size;
        self.bytes -= size;
        if let Some(device) = self.per_device.get_mut(&pending.device) {
            device.remove(size);
            if pending.handed {
                device.handed -= 1;
                device.hangs = !in_time;
            }
        }
        if let Some(sender) = self.per_sender.get_mut(&pending.origin.sender) {
            sender.remove(size);
            if sender.waiting == 0 && self.per_sender.len() > SENDERS_KEPT {
                self.per_sender.remove(&pending.origin.sender);
            }
        }
        Some(*pending)
    }

    /// Returns whether a request to a device can start at once.
    pub(crate) fn has_turn(&self, device: &str) -> bool {
        let has_room = |load: &Load| load.handed < self.depth;
        !self.queued.contains_key(device) && self.per_device.get(device).is_none_or(has_room)
    }

    /// Keeps a request for later; requests to one device keep their order.
    pub(crate) fn queue(&mut self, request: Request, needs: Option<u64>) {
        let queue = self.queued.entry(request.device.clone()).or_default();
        queue.push_back((needs.unwrap_or(0), request));
    }

    /// Takes the requests that neither the store nor their devices hold up any longer.
    pub(crate) fn released(&mut self, stored: u64, now: Duration) -> Vec<Request> {
        let mut released = Vec::new();
        if self.queued.is_empty() {
            return released;
        }
        let mut queued = std::mem::take(&mut self.queued);
        for queue in queued.values_mut() {
            while let Some((needs, request)) = queue.front() {
                // One that has had its answer while it waited is not carried out.
                if !self.pending.contains_key(&request.id) {
                    queue.pop_front();
                    continue;
                }
                if *needs > stored || !self.hand_over(request) {
                    break;
                }
                let Some((_, mut request)) = queue.pop_front() else { break };
                request.remaining = self.begin(request.id, now);
                released.push(request);
            }
        }
        queued.retain(|_, queue| !queue.is_empty());
        self.queued = queued;
        released
    }

    /// Notes that a device gets a request, where it has room for one.
    fn hand_over(&mut self, request: &Request) -> bool {
        let Some(device) = self.per_device.get_mut(&request.device) else { return false };
        let Some(pending) = self.pending.get_mut(&request.id) else { return false };
        if device.handed >= self.depth {
            return false;
        }
        device.handed += 1;
        pending.handed = true;
        true
    }

    /// Begins the time that a device has for a request that waited; returns it.
    fn begin(&mut self, id: RequestId, now: Duration) -> Duration {
        let Some(pending) = self.pending.get_mut(&id) else { return Duration::ZERO };
        self.deadlines.remove(&(pending.deadline, id));
        let allowed = now + pending.allowed;
        let expires = pending.origin.reply.expires;
        pending.deadline = expires.map_or(allowed, |expires| expires.min(allowed));
        self.deadlines.insert((pending.deadline, id));
        pending.deadline.saturating_sub(now)
    }

    /// Takes out the requests that wait for the store; those behind them are released with the next revision.
    pub(crate) fn take_unstored(&mut self) -> Vec<RequestId> {
        let mut taken = Vec::new();
        for queue in self.queued.values_mut() {
            queue.retain(|(needs, request)| {
                let waits = *needs > 0;
                if waits {
                    taken.push(request.id);
                }
                !waits
            });
        }
        taken
    }

    /// Returns when the next deadline comes.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns a request whose deadline has come.
    pub(crate) fn overdue(&self, now: Duration) -> Option<RequestId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// Counts the requests in progress.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Returns how many bytes the packets of all requests in progress have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether no request is in progress.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The connection is gone, and with it the deliveries.
    pub(crate) fn disconnected(&mut self) {
        for pending in self.pending.values_mut() {
            pending.origin.deliveries.clear();
        }
    }
}

impl Load {
    fn add(&mut self, size: usize, handed: bool) {
        self.waiting += 1;
        self.bytes += size;
        self.handed += usize::from(handed);
    }

    fn remove(&mut self, size: usize) {
        self.waiting -= 1;
        self.bytes -= size;
    }
}

/// Adds a request to a load, without a copy of its name where that is there already.
fn add_to<K: Ord + Clone>(loads: &mut BTreeMap<K, Load>, name: &K, size: usize, handed: bool) {
    match loads.get_mut(name) {
        Some(load) => load.add(size, handed),
        None => {
            let mut load = Load::default();
            load.add(size, handed);
            loads.insert(name.clone(), load);
        }
    }
}

/// How many senders without a request are remembered, so that one that asks again and again costs nothing.
const SENDERS_KEPT: usize = 64;
/// How many bytes the requests to one device may take, and those of one sender; a single one may be larger.
const SHARE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;

    fn pending(device: &str) -> Pending {
        let reply = Reply {
            response_topic: None,
            correlation_data: None,
            qos: QoS::AtLeastOnce,
            expires: None,
        };
        Pending {
            device: device.into(),
            property: "power".into(),
            arrived: Duration::ZERO,
            allowed: Duration::ZERO,
            deadline: Duration::ZERO,
            origin: Origin {
                key: None,
                entry: None,
                sender: None,
                content: 0,
                reply,
                durability: Durability::Nothing,
                reads: false,
                via: None,
                deliveries: Vec::new(),
                size: 10,
            },
            handed: true,
            excerpt: Bytes::new(),
            purpose: Purpose::Execute,
        }
    }

    #[test]
    fn a_device_that_is_gone_is_forgotten_once_nothing_waits_for_it() {
        let mut requests = Requests::new(1);
        let ids = ["lamp", "gone"].map(|device| requests.insert(pending(device)));
        let keep = |requests: &mut Requests| requests.keep(|device| device == "lamp");
        keep(&mut requests);
        assert_eq!(requests.per_device.len(), 2, "one has a request");
        for id in ids {
            requests.remove(id, true);
        }
        keep(&mut requests);
        assert_eq!(requests.per_device.keys().map(|it| &**it).collect::<Vec<_>>(), ["lamp"]);
    }
}
