//! Messages that arrived and wait: a broker may exceed the hub's Receive Maximum, or take no answers for a while.
//!
//! The hub accepts no request whose answer may find no room. Everything behind such a request waits with it, so that
//! the order is kept, and the fence comes last.

use std::time::Duration;

use super::{Hub, Inbound, Next, Phase, address::Address};
use crate::{Delivery, Message, Notice, Now, outbox::ANSWERS};

/// A message as it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) message: Message,
    pub(super) delivery: Option<Delivery>,
    pub(super) at: Duration,
    /// Bytes as a packet.
    pub(super) size: usize,
    /// Bytes of memory.
    memory: usize,
}

impl Arrival {
    /// Notes when a message came, and its sizes.
    pub(super) fn new(message: Message, delivery: Option<Delivery>, at: Duration) -> Self {
        Self { size: message.packet_size(), memory: message.memory_size(), message, delivery, at }
    }
}

impl Hub {
    /// Takes in what has come, in order, as far as there is room; returns whether anything was.
    pub(super) fn take_in_held(&mut self, now: Now) -> bool {
        let mut taken_in = false;
        while let Some(connection) = self.connection()
            && let Some(next) = self.held.front()
        {
            let prefix = connection.prefix.clone();
            let address = self.address(prefix.as_ref(), &next.message.topic);
            if self.wants_room(&address) && !self.has_room() {
                break;
            }
            let Some(arrival) = self.held.pop_front() else { break };
            self.held_bytes -= arrival.memory;
            self.take_in(now, prefix.as_ref(), address, arrival);
            taken_in = true;
        }
        taken_in
    }

    /// Keeps a message until there is room for it, or leaves it to another connection.
    pub(super) fn hold_back(&mut self, now: Now, arrival: Arrival) {
        let size = arrival.memory;
        let most = self.most_held();
        let fits = self.held.is_empty()
            || (self.held.len() < most && self.held_bytes + size <= HELD_MEMORY);
        match arrival.delivery {
            // What a session still brings of a filter that nobody wants any more takes no room from what waits.
            None if !self.held.is_empty() && self.is_nobodys(&arrival.message) => return,
            None if !fits => {
                let reason = format!("{} messages wait to be taken in already", self.held.len());
                return self.tell_dropped(now, &arrival.message.topic, reason, None, None);
            }
            // What comes behind one that was left is left as well: PUBACKs keep their order.
            Some(_) if self.has_left || !fits => {
                if !std::mem::replace(&mut self.has_left, true) {
                    let held = self.held.len();
                    self.notice(Notice::ReceiveMaximumExceeded { held });
                }
                return;
            }
            None | Some(_) => {}
        }
        self.deliveries.extend(arrival.delivery.map(|delivery| Inbound::new(delivery.id)));
        self.held_bytes += size;
        self.held.push_back(arrival);
    }

    fn is_nobodys(&self, message: &Message) -> bool {
        matches!(self.address(self.prefix(), &message.topic), Address::Other)
    }

    /// Has the broker send again what was left, once all before it is done; returns whether there is more to send.
    ///
    /// Each such connection gets on by what the hub can hold, so the rest becomes less each time.
    pub(super) fn fetch_what_was_left(&mut self, now: Now) -> bool {
        if !self.has_left || self.stopping.is_some() || !self.held.is_empty() {
            return false;
        }
        let Phase::Online(connection) = &self.phase else { return false };
        let generation = connection.generation;
        if self.deliveries.is_empty() {
            self.disconnect(Next::Reconnect, Some(generation));
        } else if self.waiting_wills() > 0 && self.unfinished() == self.waiting_wills() {
            // The fence for which they wait comes on a later connection, which their PUBACKs must not wait for.
            self.release_wills(now);
            return true;
        }
        false
    }

    /// Returns how many messages the hub holds at most.
    pub(super) fn most_held(&self) -> usize {
        HELD_MAXIMA * usize::from(self.config.receive_maximum)
    }

    fn wants_room(&self, address: &Address) -> bool {
        match address {
            Address::Request { .. } => true,
            // Before that it only waits, and must not keep the fence from coming.
            Address::Guarded => self.has_passed_fence(),
            Address::Fence
            | Address::Session
            | Address::Retained
            | Address::WillAnswer
            | Address::Presence
            | Address::Leftover
            | Address::Rival { .. }
            | Address::Started
            | Address::Other => false,
        }
    }

    /// Whether one more request can be taken on: the broker gets its answer, however long it takes none.
    fn has_room(&self) -> bool {
        let first_held = self.held.iter().find_map(|arrival| arrival.delivery);
        let taken_in = first_held.map_or(self.deliveries.len(), |first| {
            self.deliveries.partition_point(|inbound| inbound.id < first.id)
        });
        let answers = self.requests.len() + self.unpublished.len() + self.outbox.len();
        // What comes behind a will that waits for the fence has its PUBACK after it, and must not wait for that.
        let within = taken_in < usize::from(self.config.receive_maximum);
        (within || self.waiting_wills() > 0)
            && answers < ANSWERS
            && self.requests.bytes() < REQUEST_BYTES
    }

    /// Counts the deliveries that are not done, whether PUBACKs go out for the others or not.
    fn unfinished(&self) -> usize {
        self.deliveries.iter().filter(|inbound| inbound.holds > 0).count()
    }

    /// Counts the deliveries that wait for the fence.
    fn waiting_wills(&self) -> usize {
        self.held_wills.iter().filter(|(_, delivery)| delivery.is_some()).count()
    }
}

/// How many times its Receive Maximum the hub holds at most: some brokers send a returning client all that they have.
const HELD_MAXIMA: usize = 16;
/// How many bytes of memory that may be: a packet full of short user properties takes ten times its size.
const HELD_MEMORY: usize = 16 * 1024 * 1024;
/// How many bytes of requests may be in progress before the next ones wait.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;
