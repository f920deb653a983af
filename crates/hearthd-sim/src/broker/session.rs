//! A hub's session at the broker: subscriptions, queued messages, messages without PUBACK (MQTT 4.1).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use hearthd_core::{QoS, Subscription, Will, topic::TopicFilter};

use super::{Habits, Letter};
use crate::link::{LinkId, ToHub};

/// What the broker keeps for the hub, connected or not.
#[derive(Debug, Default)]
pub(crate) struct Session {
    granted: Vec<Granted>,
    queue: VecDeque<Queued>,
    in_flight: Vec<InFlight>,
    /// The Packet Identifiers of what is in flight.
    packet_ids: BTreeSet<u16>,
    last_packet_id: u16,
    client_receive_maximum: u16,
    pub(crate) will: Option<Will>,
    pub(crate) link: Option<LinkId>,
    pub(crate) will_due: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    /// The Response Information that the hub was given last.
    pub(crate) offered: Option<String>,
}

/// A subscription that the broker has granted.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) filter: TopicFilter,
    pub(crate) qos: QoS,
    no_local: bool,
}

/// A message that waits, at the lower of two QoS: its own, and that of the subscription.
#[derive(Debug)]
struct Queued {
    letter: Rc<Letter>,
    qos: QoS,
}

/// A message that has been sent and has no PUBACK.
#[derive(Debug)]
struct InFlight {
    packet_id: u16,
    letter: Rc<Letter>,
    /// On this connection.
    sent: bool,
}

impl Session {
    /// A client has come back: what was in flight is sent again.
    pub(crate) fn resume(&mut self, link: LinkId, will: Option<Will>, client_receive_maximum: u16) {
        self.link = Some(link);
        self.will = will;
        self.will_due = None;
        self.expires = None;
        self.client_receive_maximum = client_receive_maximum;
        for in_flight in &mut self.in_flight {
            in_flight.sent = false;
        }
    }

    /// Adds the subscriptions that the reason codes grant, and queues the retained messages that they ask for.
    pub(crate) fn subscribe(
        &mut self,
        subscriptions: Vec<Subscription>,
        reason_codes: &[u8],
        retained: &BTreeMap<String, Rc<Letter>>,
    ) {
        for (subscription, reason_code) in subscriptions.into_iter().zip(reason_codes) {
            let qos = match reason_code {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => continue,
            };
            let Ok(filter) = TopicFilter::parse(&subscription.filter) else { continue };
            self.granted.retain(|old| old.filter != filter);
            let granted = Granted { filter, qos, no_local: subscription.no_local };
            if subscription.retained {
                let topics = retained.iter().filter(|(topic, _)| granted.filter.matches(topic));
                self.queue.extend(topics.map(|(_, letter)| Queued::new(letter, qos)));
            }
            self.granted.push(granted);
        }
    }

    /// Removes topic filters.
    pub(crate) fn unsubscribe(&mut self, filters: &[String]) {
        self.granted.retain(|granted| filters.iter().all(|gone| gone != granted.filter.as_str()));
    }

    /// Queues a message that it wants; `own` says that its client has published it.
    pub(super) fn offer(&mut self, letter: &Rc<Letter>, own: bool) {
        let wanted = self.granted.iter().filter(|granted| {
            !(own && granted.no_local) && granted.filter.matches(&letter.message.topic)
        });
        let Some(granted) = wanted.map(|granted| granted.qos).max() else { return };
        let queued = Queued::new(letter, granted);
        if queued.qos == QoS::AtLeastOnce || self.link.is_some() {
            self.queue.push_back(queued);
        }
    }

    /// Returns the topic filters.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &str> {
        self.granted.iter().map(|granted| granted.filter.as_str())
    }

    /// Whether a message of somebody else on this topic reaches the hub.
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.granted.iter().any(|granted| granted.filter.matches(topic))
    }

    /// PUBACK has come; returns the message, if it was in flight.
    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<Rc<Letter>> {
        let index = self.in_flight.iter().position(|sent| sent.packet_id == packet_id)?;
        self.packet_ids.remove(&packet_id);
        Some(self.in_flight.remove(index).letter)
    }

    /// Loses all messages, and keeps the subscriptions.
    pub(crate) fn forget_messages(&mut self) {
        self.queue.clear();
        self.in_flight.clear();
        self.packet_ids.clear();
    }

    /// Whether the hub has got, and acknowledged, everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Whether such a message is kept until the hub has it.
    pub(crate) fn keeps(&self, topic: &str) -> bool {
        let granted = self.granted.iter().filter(|granted| granted.filter.matches(topic));
        granted.map(|granted| granted.qos).max() == Some(QoS::AtLeastOnce)
    }

    /// Takes the next message that may be sent: first what was sent on an earlier connection.
    pub(crate) fn next_packet(
        &mut self,
        now: Duration,
        habits: &Habits,
        rng: &mut fastrand::Rng,
    ) -> Option<ToHub> {
        let sent = self.in_flight.iter().filter(|in_flight| in_flight.sent).count();
        if !habits.overruns && sent >= usize::from(self.client_receive_maximum) {
            return None;
        }
        let unsent = || self.in_flight.iter().enumerate().filter(|(_, sent)| !sent.sent);
        if let Some(index) = choose(unsent().map(|(i, sent)| (i, &sent.letter)), habits, rng) {
            let again = &mut self.in_flight[index];
            again.sent = true;
            let letter = Rc::clone(&again.letter);
            let expiry = remaining(&letter, now);
            return Some(ToHub::Publish { packet_id: again.packet_id, letter, dup: true, expiry });
        }
        self.queue.retain(|queued| remaining(&queued.letter, now) != Some(0));
        let waiting = self.queue.iter().map(|queued| &queued.letter);
        let index = choose(waiting.enumerate(), habits, rng)?;
        let Queued { letter, qos } = self.queue.remove(index)?;
        let packet_id = match qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => self.fresh_packet_id(habits),
        };
        if packet_id != 0 {
            let letter = Rc::clone(&letter);
            self.in_flight.push(InFlight { packet_id, letter, sent: true });
        }
        let expiry = remaining(&letter, now);
        Some(ToHub::Publish { packet_id, letter, dup: false, expiry })
    }

    fn fresh_packet_id(&mut self, habits: &Habits) -> u16 {
        let mut id = if habits.counts_packet_ids { self.last_packet_id } else { 0 };
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if self.packet_ids.insert(id) {
                self.last_packet_id = id;
                return id;
            }
        }
    }
}

impl Queued {
    fn new(letter: &Rc<Letter>, granted: QoS) -> Self {
        Self { letter: Rc::clone(letter), qos: granted.min(letter.message.qos) }
    }
}

/// Chooses what is sent next: the oldest, or the oldest of any topic.
fn choose<'l>(
    letters: impl Iterator<Item = (usize, &'l Rc<Letter>)>,
    habits: &Habits,
    rng: &mut fastrand::Rng,
) -> Option<usize> {
    let mut letters = letters.peekable();
    if !habits.reorders {
        return letters.next().map(|(index, _)| index);
    }
    let mut topics: Vec<(usize, &str)> = Vec::new();
    for (index, letter) in letters {
        let topic = letter.message.topic.as_str();
        if topics.iter().all(|(_, known)| *known != topic) {
            topics.push((index, topic));
        }
    }
    rng.choice(topics).map(|(index, _)| index)
}

/// Returns the Message Expiry Interval less the whole seconds waited (MQTT 3.3.2.3.3).
fn remaining(letter: &Letter, now: Duration) -> Option<u32> {
    let waited = u32::try_from((now - letter.accepted).as_secs()).unwrap_or(u32::MAX);
    letter.message.expiry.map(|expiry| expiry.saturating_sub(waited))
}
