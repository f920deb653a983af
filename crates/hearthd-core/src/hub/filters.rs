//! The session's subscriptions: as many SUBSCRIBE packets as the broker takes, one after the other.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{Hub, Next, Phase};
use crate::{Notice, Now, Output, QoS, Subscriber, Subscription};

/// The filters on their way to the broker.
#[derive(Debug, Default)]
pub(super) struct Filters {
    waiting: VecDeque<Subscription>,
    /// The filters of those.
    waiting_names: BTreeSet<String>,
    /// Those of the packet that has no SUBACK yet, and when that is given up.
    asked: Vec<Subscription>,
    due: Option<Duration>,
    /// Those of that packet that the hub has unsubscribed from since.
    left: BTreeSet<String>,
    /// Those that the broker has refused, and when they are asked for again.
    refused: Vec<Subscription>,
    again: Option<Duration>,
    pause: Duration,
    /// What people were told of on this connection.
    told: BTreeSet<String>,
    /// The broker does not answer a packet with several filters.
    one_at_a_time: bool,
}

impl Filters {
    /// The connection is gone, and with it whatever waits for an answer.
    pub(super) fn disconnected(&mut self) {
        *self = Self { one_at_a_time: self.one_at_a_time, ..Self::default() };
    }

    /// Asks for more filters, those that are asked for already aside.
    pub(super) fn ask(&mut self, more: impl IntoIterator<Item = Subscription>) {
        for subscription in more {
            let is_there = |other: &Subscription| other.filter == subscription.filter;
            let is_asked =
                self.asked.iter().any(is_there) && !self.left.contains(&subscription.filter);
            if !is_asked && self.waiting_names.insert(subscription.filter.clone()) {
                self.waiting.push_back(subscription);
            }
        }
    }

    /// Asks no more for filters that are not wanted any longer.
    pub(super) fn drop(&mut self, filters: &[String]) {
        let unwanted = |other: &Subscription| filters.contains(&other.filter);
        self.waiting.retain(|other| !unwanted(other));
        for filter in filters {
            self.waiting_names.remove(filter);
        }
        self.refused.retain(|other| !unwanted(other));
        let asked = self.asked.iter().map(|asked| &asked.filter);
        self.left.extend(asked.filter(|filter| filters.contains(filter)).cloned());
    }

    /// Returns whether the broker has not answered about a filter yet.
    pub(super) fn asks_for(&self, filter: &str) -> bool {
        self.waiting_names.contains(filter) || self.asked.iter().any(|asked| asked.filter == filter)
    }

    /// Returns the filters of the packet that has no SUBACK yet, where they are devices'; from now on each goes by itself.
    pub(super) fn unanswered_of_devices(&mut self) -> Vec<String> {
        let of_device = |asked: &Subscription| asked.subscriber == Subscriber::Device;
        let asked = self.asked.iter().filter(|asked| of_device(asked));
        let filters: Vec<String> = asked.map(|asked| asked.filter.clone()).collect();
        self.one_at_a_time |= filters.len() > 1;
        filters
    }

    /// Returns whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    /// Returns when something is due: a SUBACK that has not come, or another try.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.into_iter().chain(self.again).min()
    }

    /// Takes the next packet's filters, where none is under way.
    fn next_packet(&mut self, now: Duration, maximum_packet_size: usize) -> Vec<Subscription> {
        const FIXED: usize = 5 + 2 + 4; // fixed header, packet id, property length
        const FILTER: usize = 2 + 1; // length and options
        if !self.asked.is_empty() {
            return Vec::new();
        }
        let most = if self.one_at_a_time { 1 } else { FILTERS };
        let mut size = FIXED;
        // What the broker does not want of a device must not cost the hub its own.
        let fits = |asked: &[Subscription], next: &Subscription| {
            asked.first().is_none_or(|first| first.subscriber == next.subscriber)
        };
        while let Some(next) = self.waiting.front()
            && self.asked.len() < most
            && fits(&self.asked, next)
        {
            size += FILTER + next.filter.len();
            if size > maximum_packet_size && !self.asked.is_empty() {
                break;
            }
            self.waiting_names.remove(&next.filter);
            self.asked.extend(self.waiting.pop_front());
        }
        self.due = (!self.asked.is_empty()).then_some(now + SUBACK_TIMEOUT);
        self.asked.clone()
    }
}

impl Hub {
    /// Sends the next SUBSCRIBE, where the last one has its answer.
    pub(super) fn send_filters(&mut self, now: Now) {
        let maximum = match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection)
                if connection.subscribe_after.is_some() =>
            {
                return;
            }
            Phase::Subscribing(connection) | Phase::Online(connection) => {
                connection.window.maximum_packet_size()
            }
            _ => return,
        };
        let packet = self.filters.next_packet(now.monotonic, maximum);
        if !packet.is_empty() {
            self.outputs.push_back(Output::Subscribe(packet));
        }
    }

    /// SUBACK has come: what it refuses is asked for again later.
    pub(super) fn on_subscribed(&mut self, now: Now, reason_codes: &[u8]) {
        let prefix = match &self.phase {
            Phase::Subscribing(connection) | Phase::Online(connection) => connection.prefix.clone(),
            _ => return,
        };
        let evidence = self.evidence_filters(prefix.as_ref());
        let asked = std::mem::take(&mut self.filters.asked);
        let left = std::mem::take(&mut self.filters.left);
        self.filters.due = None;
        let answered: Vec<String> = asked.iter().map(|asked| asked.filter.clone()).collect();
        for (index, subscription) in asked.into_iter().enumerate() {
            let reason_code = reason_codes.get(index).copied().unwrap_or(UNSPECIFIED);
            let of_device = subscription.subscriber == Subscriber::Device;
            if of_device && reason_code < REFUSED && !left.contains(&subscription.filter) {
                self.grant_filter(&subscription.filter);
            }
            if reason_code < REFUSED {
                self.begin_hearing_of_rivals(now, prefix.as_ref(), &subscription.filter);
            }
            if reason_code < REFUSED && reason_code >= subscription.subscriber.qos() as u8 {
                continue;
            }
            if evidence.contains(&subscription.filter) {
                self.watch_no_more();
            }
            self.on_not_granted(now, subscription, reason_code);
        }
        self.filters.refused.retain(|refused| !left.contains(&refused.filter));
        self.send_filters(now);
        self.raise_links_of(&answered);
        if !self.filters.is_idle() {
            return;
        }
        match self.phase {
            Phase::Subscribing(_) => self.all_subscribed(now),
            Phase::Online(_) => self.go_on_taking_back(now),
            _ => {}
        }
    }

    fn on_not_granted(&mut self, now: Now, subscription: Subscription, reason_code: u8) {
        let filter = subscription.filter.clone();
        if reason_code >= REFUSED && self.start_refused(&filter, reason_code) {
            return;
        }
        let is_news = self.filters.told.insert(filter.clone());
        if reason_code < REFUSED {
            // Where the broker has said that it has no QoS 1, that was told once.
            let expected = self.wills.memory().limits.qos == QoS::AtMostOnce;
            if is_news && !expected && reason_code < AT_LEAST_ONCE {
                self.notice(Notice::SubscriptionWeakened { filter });
            }
            return;
        }
        if is_news {
            self.notice(Notice::SubscriptionRefused { filter, reason_code });
        }
        if self.serving.cannot_look_at(&subscription.filter) {
            return;
        }
        if subscription.subscriber == Subscriber::Device {
            let filter = &subscription.filter;
            let reason = format!("the broker refuses its topic `{filter}` (0x{reason_code:02X})");
            self.refuse_filter(filter, &reason);
        }
        self.filters.refused.push(subscription);
        if self.filters.again.is_none() {
            let pause = (self.filters.pause * 2).clamp(REFUSED_AGAIN, REFUSED_AGAIN_AT_MOST);
            self.filters.pause = pause;
            self.filters.again = Some(now.monotonic + pause);
        }
    }

    /// Gives a SUBACK up that has not come, and asks again for what was refused.
    pub(super) fn follow_up_filters(&mut self, now: Now) {
        if self.filters.again.take_if(|again| *again <= now.monotonic).is_some() {
            let refused = std::mem::take(&mut self.filters.refused);
            self.filters.ask(refused);
            self.send_filters(now);
        }
        if self.filters.due.take_if(|due| *due <= now.monotonic).is_none() {
            return;
        }
        let filters = self.filters.asked.len();
        self.notice(Notice::SubscriptionUnanswered { filters });
        let next = if filters > 1 { Next::Reconnect } else { Next::Wait };
        self.filters.one_at_a_time |= filters > 1;
        self.leave_silent_broker(next);
    }

    /// The broker does not keep what tells of the hub's wills: silence proves nothing.
    fn watch_no_more(&mut self) {
        if let Phase::Subscribing(connection) | Phase::Online(connection) = &mut self.phase {
            connection.watched = false;
        }
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
const UNSPECIFIED: u8 = 0x80;
/// Granted QoS 1 (MQTT 3.9.3).
const AT_LEAST_ONCE: u8 = 1;
/// How many filters go into one packet.
const FILTERS: usize = 64;
/// How long SUBACK may take.
const SUBACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after a refusal a filter is asked for again, at first and at most.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);
const REFUSED_AGAIN_AT_MOST: Duration = Duration::from_secs(600);
