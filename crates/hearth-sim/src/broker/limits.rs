//! What the broker refuses of an established connection, and what it holds up.

use hearth_core::{Message, Subscription};

use crate::link::LinkId;

/// The limits of the moment.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Maximum Packet Size in the next CONNACK.
    pub(crate) maximum_packet_size: Option<u32>,
    /// So many of the hub's next messages about a matter are refused, with a reason code.
    pub(crate) publishes: Option<(Matter, u8, u32)>,
    /// So many of the next SUBSCRIBE packets are refused in part: the filters of the bits that are set.
    pub(crate) subscribes: Option<(u8, u8, u32)>,
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
    pub(super) fn refuse_publish(&mut self, message: &Message, link: LinkId) -> Option<u8> {
        let (matter, reason_code, times) = self.publishes.as_mut()?;
        if !matter.covers(&message.topic) {
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

    /// Takes out the subscriptions that are refused; returns the reason code of each.
    pub(super) fn refuse_subscriptions(
        &mut self,
        asked: &mut Vec<Subscription>,
        link: LinkId,
    ) -> Vec<u8> {
        const GRANTED: u8 = 1;
        let Some((bits, refused, times)) = self.subscribes.as_mut() else {
            return vec![GRANTED; asked.len()];
        };
        let codes: Vec<u8> = (0..asked.len())
            .map(|index| if *bits >> index & 1 == 1 { *refused } else { GRANTED })
            .collect();
        self.limited = Some(link);
        *times -= 1;
        if *times == 0 {
            self.subscribes = None;
        }
        let mut granted = codes.iter().map(|code| *code == GRANTED);
        asked.retain(|_| granted.next().unwrap_or(false));
        codes
    }
}

impl Matter {
    fn covers(self, topic: &str) -> bool {
        let itself =
            topic.ends_with("response/hub/fence") || topic.ends_with("response/hub/session");
        let presence = topic.ends_with("hub/hub/presence");
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

/// PUBACK reason code of what stays refused (MQTT 3.4.2.1).
const NOT_AUTHORIZED: u8 = 0x87;
