//! One TCP connection between a hub and the broker: two directions, each in order, each may end by itself.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use hearthd_core::{Connack, Message, Subscription, Will};

use crate::broker::Letter;

/// Names a connection; later ones are larger.
pub(crate) type LinkId = u64;

/// Names one hub of the home, and its session at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HubId(pub(crate) usize);

impl HubId {
    /// Returns the client identifier that the hub connects with.
    pub(crate) fn client_id(self) -> &'static str {
        ["hub", "annex", "shed"][self.0]
    }

    /// Lists the hubs of a home that has so many.
    pub(crate) fn all(hubs: usize) -> impl Iterator<Item = Self> {
        (0..hubs).map(Self)
    }
}

/// One life of a hub's daemon, and of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) hub: HubId,
    pub(crate) daemon: u32,
    pub(crate) store: u32,
}

/// What the hub sends.
#[derive(Clone, Debug)]
pub(crate) enum ToBroker {
    Connect {
        hub: HubId,
        will: Option<Will>,
        receive_maximum: u16,
    },
    Subscribe(Vec<Subscription>),
    Unsubscribe(Vec<String>),
    /// A Packet Identifier of zero stands for none, at QoS 0.
    Publish {
        packet_id: u16,
        message: Message,
    },
    Puback(u16),
    Disconnect,
    /// The connection is closed, or its time-out is over.
    End,
}

/// What the broker sends.
#[derive(Clone, Debug)]
pub(crate) enum ToHub {
    Connack(Connack),
    Refused(u8),
    Suback(Vec<u8>),
    Publish {
        packet_id: u16,
        letter: Rc<Letter>,
        dup: bool,
        expiry: Option<u32>,
    },
    /// Packet Identifier and reason code.
    Puback(u16, u8),
    Disconnect(u8),
    End,
}

/// A connection, with what is under way.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// Who made it.
    pub(crate) life: Life,
    up: VecDeque<(Duration, ToBroker)>,
    down: VecDeque<(Duration, ToHub)>,
    /// Nothing passes any more, and neither end knows.
    silent: bool,
    hub_open: bool,
    broker_open: bool,
}

impl Link {
    /// Makes a connection that is open at both ends.
    pub(crate) fn new(id: LinkId, life: Life) -> Self {
        Self {
            id,
            life,
            up: VecDeque::new(),
            down: VecDeque::new(),
            silent: false,
            hub_open: true,
            broker_open: true,
        }
    }

    /// Sends to the broker; it arrives at this time, or behind what was sent before.
    pub(crate) fn send_up(&mut self, at: Duration, packet: ToBroker) {
        if self.hub_open && !self.silent {
            let at = self.up.back().map_or(at, |(last, _)| at.max(*last));
            self.up.push_back((at, packet));
        }
    }

    /// Sends to the hub, likewise.
    pub(crate) fn send_down(&mut self, at: Duration, packet: ToHub) {
        if self.broker_open && !self.silent {
            let at = self.down.back().map_or(at, |(last, _)| at.max(*last));
            self.down.push_back((at, packet));
        }
    }

    /// The hub closes its end, or is killed: what it has sent still arrives.
    pub(crate) fn close_hub(&mut self, at: Duration) {
        self.send_up(at, ToBroker::End);
        self.hub_open = false;
        self.down.clear();
    }

    /// The broker closes its end: what it has sent still arrives.
    pub(crate) fn close_broker(&mut self, at: Duration) {
        self.send_down(at, ToHub::End);
        self.broker_open = false;
        self.up.clear();
    }

    /// The connection breaks: of what is under way only this much arrives.
    pub(crate) fn cut(&mut self, at: Duration, up: usize, down: usize) {
        self.break_at(at, at, up, down);
    }

    /// Nothing arrives any more; each end notices by its own time-out.
    pub(crate) fn fall_silent(&mut self, hub_notices: Duration, broker_notices: Duration) {
        self.break_at(broker_notices, hub_notices, 0, 0);
    }

    /// Returns when the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        [self.up.front().map(|(at, _)| *at), self.down.front().map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what has arrived at the broker.
    pub(crate) fn take_up(&mut self, now: Duration) -> Option<ToBroker> {
        if self.up.front().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, packet) = self.up.pop_front()?;
        if matches!(packet, ToBroker::End) {
            self.broker_open = false;
        }
        Some(packet)
    }

    /// Takes what has arrived at the hub.
    pub(crate) fn take_down(&mut self, now: Duration) -> Option<ToHub> {
        if self.down.front().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, packet) = self.down.pop_front()?;
        if matches!(packet, ToHub::End) {
            self.hub_open = false;
        }
        Some(packet)
    }

    /// Whether nothing can happen on it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.up.is_empty() && self.down.is_empty() && !(self.hub_open && self.broker_open)
    }

    fn break_at(&mut self, broker_learns: Duration, hub_learns: Duration, up: usize, down: usize) {
        if self.silent {
            return;
        }
        self.up.truncate(up);
        self.down.truncate(down);
        if self.broker_open {
            let at = self.up.back().map_or(broker_learns, |(last, _)| broker_learns.max(*last));
            self.up.push_back((at, ToBroker::End));
        }
        if self.hub_open {
            let at = self.down.back().map_or(hub_learns, |(last, _)| hub_learns.max(*last));
            self.down.push_back((at, ToHub::End));
        }
        self.silent = true;
    }
}
