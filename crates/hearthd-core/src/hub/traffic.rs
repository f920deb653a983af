//! The messages of devices that have not come to their end. Each look-up costs the same however many devices there are.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use super::bridging::CORRELATION;
use crate::{Publication, RequestId};

/// What waits to leave, and the replies that are awaited, of all devices.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Only devices that have something under way.
    devices: BTreeMap<Arc<str>, OfDevice>,
    /// The devices with a message that waits to leave.
    ready: BTreeSet<Arc<str>>,
    /// When each message that waits, and each wait for a reply, is over.
    dues: BTreeSet<(Duration, Arc<str>, u64)>,
    /// The messages that belong to a request.
    of_requests: BTreeMap<RequestId, Vec<(Arc<str>, u64)>>,
    /// The replies that are awaited, by Correlation Data.
    replies: BTreeMap<[u8; CORRELATION], (Arc<str>, u64)>,
    /// The device that has published last: the others come first.
    last: Option<Arc<str>>,
}

/// What is under way for one device: messages, their bytes, and replies that are awaited.
#[derive(Debug, Default)]
struct OfDevice {
    waiting: VecDeque<Waiting>,
    /// By the number of the publication.
    awaited: BTreeMap<u64, Awaited>,
    messages: usize,
    bytes: usize,
}

/// A message that has not left.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) publication: Publication,
    /// When it need not leave any more.
    pub(super) until: Duration,
    pub(super) size: usize,
    /// See [`VIA`](super::bridging::VIA).
    pub(super) via: Option<String>,
}

/// A reply that has not come.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) correlation: [u8; CORRELATION],
    pub(super) request: Option<RequestId>,
    pub(super) until: Duration,
    pub(super) size: usize,
    /// It is another device's answer.
    pub(super) asks: bool,
}

impl Traffic {
    /// Returns how much a device has under way: messages and bytes.
    pub(super) fn load(&self, device: &str) -> (usize, usize) {
        self.devices.get(device).map_or((0, 0), |of| (of.messages, of.bytes))
    }

    /// Returns when the first message or wait is over.
    pub(super) fn due(&self) -> Option<Duration> {
        self.dues.first().map(|(until, ..)| *until)
    }

    /// Returns whether a message waits to leave.
    pub(super) fn has_waiting(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns whether a reply is awaited.
    pub(super) fn awaits_reply(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Adds a message that waits to leave.
    pub(super) fn add(&mut self, device: &Arc<str>, waiting: Waiting) {
        let Publication { number, request, .. } = waiting.publication;
        self.index(device, number, request, waiting.until);
        self.ready.insert(device.clone());
        self.count(device, waiting.size);
        self.devices.entry(device.clone()).or_default().waiting.push_back(waiting);
    }

    /// Takes the next message to send: of each device in turn.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, Waiting)> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.ready.range::<Arc<str>, _>((after, Bound::Unbounded));
        let device = later.next().or_else(|| self.ready.first())?.clone();
        let waiting = self.devices.get_mut(&device)?.waiting.pop_front()?;
        let Publication { number, request, .. } = waiting.publication;
        self.remove_index(&device, number, request, waiting.until);
        self.discount(&device, waiting.size);
        self.last = Some(device.clone());
        Some((device, waiting))
    }

    /// Notes that a reply is awaited.
    pub(super) fn add_reply(&mut self, device: &Arc<str>, number: u64, awaited: Awaited) {
        self.index(device, number, awaited.request, awaited.until);
        self.replies.insert(awaited.correlation, (device.clone(), number));
        self.count(device, awaited.size);
        self.devices.entry(device.clone()).or_default().awaited.insert(number, awaited);
    }

    /// Takes a reply in, and returns whose it is, and whether it is another device's answer.
    pub(super) fn take_reply(
        &mut self,
        correlation: &[u8; CORRELATION],
    ) -> Option<(Arc<str>, u64, bool)> {
        let (device, number) = self.replies.get(correlation)?.clone();
        let asks = self.asks(&device, number);
        self.end(&device, number).then_some((device, number, asks))
    }

    /// Returns whether a message asks another device, whose answer has not come.
    pub(super) fn asks(&self, device: &str, number: u64) -> bool {
        let awaited = self.devices.get(device).and_then(|of| of.awaited.get(&number));
        awaited.is_some_and(|awaited| awaited.asks)
    }

    /// Counts a message that has left, until [`discount`](Self::discount).
    pub(super) fn count(&mut self, device: &Arc<str>, size: usize) {
        let of = self.devices.entry(device.clone()).or_default();
        of.messages += 1;
        of.bytes += size;
    }

    /// Counts a message no longer.
    pub(super) fn discount(&mut self, device: &Arc<str>, size: usize) {
        let Some(of) = self.devices.get_mut(device) else { return };
        of.messages = of.messages.saturating_sub(1);
        of.bytes = of.bytes.saturating_sub(size);
        if of.waiting.is_empty() {
            self.ready.remove(device);
        }
        if of.messages == 0 {
            self.devices.remove(device);
        }
    }

    /// Ends a message that waits, or the wait for its reply; returns whether there was one.
    pub(super) fn end(&mut self, device: &Arc<str>, number: u64) -> bool {
        let Some(of) = self.devices.get_mut(device) else { return false };
        let is_it = |waiting: &Waiting| waiting.publication.number == number;
        let (request, until, size) =
            if let Some(Awaited { correlation, request, until, size, .. }) =
                of.awaited.remove(&number)
            {
                self.replies.remove(&correlation);
                (request, until, size)
            } else if let Some(place) = of.waiting.iter().position(is_it)
                && let Some(Waiting { publication, until, size, .. }) = of.waiting.remove(place)
            {
                (publication.request, until, size)
            } else {
                return false;
            };
        self.remove_index(device, number, request, until);
        self.discount(device, size);
        true
    }

    /// Returns what belongs to a request.
    pub(super) fn of_request(&self, request: RequestId) -> Vec<(Arc<str>, u64)> {
        self.of_requests.get(&request).cloned().unwrap_or_default()
    }

    /// Returns what is over at this time.
    pub(super) fn overdue(&self, now: Duration) -> Vec<(Arc<str>, u64)> {
        let over = self.dues.iter().take_while(|(until, ..)| *until <= now);
        over.map(|(_, device, number)| (device.clone(), *number)).collect()
    }

    /// Returns everything that waits, or awaits a reply.
    pub(super) fn all(&self) -> Vec<(Arc<str>, u64)> {
        let numbers = self.devices.iter().flat_map(|(device, of)| {
            let waiting = of.waiting.iter().map(|waiting| waiting.publication.number);
            waiting.chain(of.awaited.keys().copied()).map(|number| (device.clone(), number))
        });
        numbers.collect()
    }

    /// Returns what a device has waiting to leave.
    pub(super) fn waiting_of(&self, device: &str) -> Vec<u64> {
        let of = self.devices.get(device).map(|of| &of.waiting);
        of.into_iter().flatten().map(|waiting| waiting.publication.number).collect()
    }

    /// Forgets all that a device has under way.
    pub(super) fn forget(&mut self, device: &Arc<str>) {
        let Some(of) = self.devices.remove(device) else { return };
        self.ready.remove(device);
        for Waiting { publication, until, .. } in of.waiting {
            self.remove_index(device, publication.number, publication.request, until);
        }
        for (number, Awaited { correlation, request, until, .. }) in of.awaited {
            self.replies.remove(&correlation);
            self.remove_index(device, number, request, until);
        }
    }

    fn index(
        &mut self,
        device: &Arc<str>,
        number: u64,
        request: Option<RequestId>,
        until: Duration,
    ) {
        self.dues.insert((until, device.clone(), number));
        if let Some(request) = request {
            self.of_requests.entry(request).or_default().push((device.clone(), number));
        }
    }

    fn remove_index(
        &mut self,
        device: &Arc<str>,
        number: u64,
        request: Option<RequestId>,
        until: Duration,
    ) {
        self.dues.remove(&(until, device.clone(), number));
        if let Some(request) = request
            && let Some(of) = self.of_requests.get_mut(&request)
        {
            of.retain(|(other, of)| (other, *of) != (device, number));
            if of.is_empty() {
                self.of_requests.remove(&request);
            }
        }
    }
}
