//! The hub's session at the broker: subscriptions, what is queued, what waits for PUBACK (MQTT 4.1).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use hearth_core::{QoS, Subscription, Will};

use super::{Habits, Letter, matches};
use crate::link::{LinkId, ToHub};

/// What the broker keeps for the hub, connected or not.
#[derive(Debug, Default)]
pub(crate) struct Session {
    subscriptions: Vec<Subscription>,
    pub(crate) queue: VecDeque<Rc<Letter>>,
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

/// A message that has been sent and has no PUBACK.
#[derive(Debug)]
pub(crate) struct InFlight {
    packet_id: u16,
    letter: Rc<Letter>,
    /// On this connection.
    sent: bool,
}

impl Session {
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

    /// Adds subscriptions; returns the retained messages that they ask for.
    pub(crate) fn subscribe(
        &mut self,
        subscriptions: Vec<Subscription>,
        retained: &BTreeMap<String, Rc<Letter>>,
    ) -> Vec<Rc<Letter>> {
        let mut wanted = Vec::new();
        for subscription in subscriptions {
            self.subscriptions.retain(|old| old.filter != subscription.filter);
            if subscription.retained {
                let matching = retained.iter().filter(|(topic, _)| matches(&subscription, topic));
                wanted.extend(matching.map(|(_, letter)| Rc::clone(letter)));
            }
            self.subscriptions.push(subscription);
        }
        wanted
    }

    pub(crate) fn unsubscribe(&mut self, filters: &[String]) {
        self.subscriptions.retain(|subscription| !filters.contains(&subscription.filter));
    }

    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.subscriptions.iter().any(|subscription| matches(subscription, topic))
    }

    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<Rc<Letter>> {
        let index = self.in_flight.iter().position(|sent| sent.packet_id == packet_id)?;
        self.packet_ids.remove(&packet_id);
        Some(self.in_flight.remove(index).letter)
    }

    pub(crate) fn forget_messages(&mut self) {
        self.queue.clear();
        self.in_flight.clear();
        self.packet_ids.clear();
    }

    /// Whether the hub has got, and acknowledged, everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
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
        self.queue.retain(|letter| remaining(letter, now) != Some(0));
        let index = choose(self.queue.iter().enumerate(), habits, rng)?;
        let letter = self.queue.remove(index)?;
        let packet_id = match letter.message.qos {
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
