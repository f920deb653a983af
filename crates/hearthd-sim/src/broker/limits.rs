//! What the broker refuses a client on an established connection, and what it delays.

use hearthd_core::{Message, Subscription};

use super::Session;
use crate::link::{HubId, LinkId};

/// The limits of the moment.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Maximum Packet Size in the next CONNACK.
    pub(crate) maximum_packet_size: Option<u32>,
    /// So many of the hub's next messages about a matter are refused, with a reason code.
    pub(crate) publishes: Option<(Matter, u8, u32)>,
    /// So many of the next SUBSCRIBE packets are refused in part: the filters of the bits that are set.
    pub(crate) subscribes: Option<(u8, u8, u32)>,
    /// How many filters the session may have.
    pub(crate) quota: Option<usize>,
    /// Whether PUBACKs are held up.
    pub(crate) withholds: bool,
    /// The last connection that was refused something for good, or takes no large packet: only another one gets on.
    pub(crate) limited: Option<LinkId>,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matter {
    Everything,
    /// What the hub publishes to itself: the fence, and what asks for the session.
    Itself,
    Presence,
    State,
    /// Answers to requests and to wills.
    Answer,
}

impl Limits {
    /// Returns the reason code that a message is refused with.
    pub(super) fn refuse_publish(
        &mut self,
        message: &Message,
        hub: HubId,
        link: LinkId,
    ) -> Option<u8> {
        let (matter, reason_code, times) = self.publishes.as_mut()?;
        if !matter.covers(&message.topic, hub.client_id()) {
            return None;
        }
        let reason_code = *reason_code;
        if reason_code == NOT_AUTHORIZED {
            self.limited = Some(link);
        }
        *times -= 1;
        if *times == 0 {
            self.publishes = None;
        }
        Some(reason_code)
    }

    /// Returns the reason code of each filter of a SUBSCRIBE packet: the QoS that is granted, or a refusal.
    pub(super) fn refuse_subscriptions(
        &mut self,
        asked: &[Subscription],
        session: &Session,
        wildcards: bool,
        link: LinkId,
    ) -> Vec<u8> {
        let mut room = self.quota.map(|quota| quota.saturating_sub(session.filters().count()));
        let subscribes = self.subscribes;
        let mut code = |(index, subscription): (usize, &Subscription)| {
            let refuses = |(bits, ..): &(u8, u8, u32)| index < 8 && bits >> index & 1 == 1;
            let known = session.filters().any(|filter| filter == subscription.filter);
            if let Some((_, refused, _)) = subscribes.filter(refuses) {
                refused
            } else if !wildcards && subscription.filter.contains(['+', '#']) {
                WILDCARDS_NOT_SUPPORTED
            } else if !known && room == Some(0) {
                QUOTA_EXCEEDED
            } else {
                room = room.map(|room| room - usize::from(!known));
                subscription.subscriber.qos() as u8
            }
        };
        let codes: Vec<u8> = asked.iter().enumerate().map(&mut code).collect();
        if self.subscribes.is_some() || self.quota.is_some() {
            self.limited = Some(link);
        }
        self.subscribes = self
            .subscribes
            .and_then(|(bits, refused, times)| (times > 1).then(|| (bits, refused, times - 1)));
        codes
    }
}

impl Matter {
    fn covers(self, topic: &str, client_id: &str) -> bool {
        let ends = |head: &str, tail: &str| {
            let client = topic.strip_suffix(tail).and_then(|rest| rest.strip_suffix(client_id));
            client.is_some_and(|rest| rest.ends_with(head))
        };
        let itself = ends("response/", "/fence") || ends("response/", "/session");
        let presence = ends("hub/", "/presence");
        let state = topic.split('/').any(|level| level == "state");
        match self {
            Self::Everything => true,
            Self::Itself => itself,
            Self::Presence => presence,
            Self::State => state,
            Self::Answer => !itself && !presence && !state && !topic.ends_with("/absence"),
        }
    }
}

/// SUBACK reason codes (MQTT 3.9.3).
const QUOTA_EXCEEDED: u8 = 0x97;
const WILDCARDS_NOT_SUPPORTED: u8 = 0xA2;
/// PUBACK reason code of what stays refused (MQTT 3.4.2.1).
const NOT_AUTHORIZED: u8 = 0x87;
