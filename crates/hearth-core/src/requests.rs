//! The requests in progress: their deadlines, and their order where one waits for the store.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    DeliveryId, Request, RequestId, RequestKey,
    journal::{Durability, EntryId, Reply},
};

/// The table of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Boxed, because a tree moves its values about.
    pending: BTreeMap<RequestId, Box<Pending>>,
    deadlines: BTreeSet<(Duration, RequestId)>,
    /// Stays for a device without requests, which will have others.
    per_device: BTreeMap<Arc<str>, usize>,
    /// Requests that may not start before the store holds a revision, and those behind them, by device.
    queued: BTreeMap<Arc<str>, VecDeque<(u64, Request)>>,
    next_id: u64,
}

/// One accepted request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) device: Arc<str>,
    pub(crate) property: Arc<str>,
    pub(crate) arrived: Duration,
    pub(crate) deadline: Duration,
    pub(crate) origin: Origin,
    /// Only the state is read, for a request that may have been carried out before.
    pub(crate) read_back: bool,
}

/// Where a request came from, and what is owed to it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// What makes it the same as another; none where nothing does.
    pub(crate) key: Option<RequestKey>,
    /// Its entry in the journal; none where it is not remembered.
    pub(crate) entry: Option<EntryId>,
    pub(crate) content: u64,
    pub(crate) reply: Reply,
    pub(crate) durability: Durability,
    /// The deliveries that are acknowledged with its answer.
    pub(crate) deliveries: Vec<DeliveryId>,
}

impl Requests {
    /// Returns how many requests of a device have no answer.
    pub(crate) fn waiting(&self, device: &str) -> usize {
        self.per_device.get(device).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, pending: Pending) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        match self.per_device.get_mut(&pending.device) {
            Some(count) => *count += 1,
            None => drop(self.per_device.insert(pending.device.clone(), 1)),
        }
        self.deadlines.insert((pending.deadline, id));
        self.pending.insert(id, Box::new(pending));
        id
    }

    /// Adds a redelivery to a request in progress.
    pub(crate) fn attach(&mut self, id: RequestId, origin: Origin) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.origin.deliveries.extend(origin.deliveries);
            pending.origin.reply.wait_until(origin.reply.expires);
        }
    }

    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        if let Some(count) = self.per_device.get_mut(&pending.device) {
            *count -= 1;
        }
        Some(*pending)
    }

    /// Starts a request, or returns it where it can start at once; requests to one device keep their order.
    pub(crate) fn start(&mut self, request: Request, needs: Option<u64>) -> Option<Request> {
        if needs.is_none() && !self.queued.contains_key(&request.device) {
            return Some(request);
        }
        let queue = self.queued.entry(request.device.clone()).or_default();
        queue.push_back((needs.unwrap_or(0), request));
        None
    }

    /// Takes the requests that the store no longer holds up, with what is left of their deadlines.
    pub(crate) fn released(&mut self, stored: u64, now: Duration) -> Vec<Request> {
        let mut released = Vec::new();
        for queue in self.queued.values_mut() {
            while queue.front().is_some_and(|(needs, _)| *needs <= stored) {
                let Some((_, mut request)) = queue.pop_front() else { break };
                // One that has had its 408 while it waited is not carried out.
                let Some(pending) = self.pending.get(&request.id) else { continue };
                request.remaining = pending.deadline.saturating_sub(now);
                released.push(request);
            }
        }
        self.queued.retain(|_, queue| !queue.is_empty());
        released
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

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn overdue(&self, now: Duration) -> Option<RequestId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

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
