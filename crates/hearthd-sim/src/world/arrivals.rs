//! What the broker sends to a hub's driver, and what the driver passes on.

use std::rc::Rc;

use hearthd_core::{
    Delivery, DeliveryId, Disconnection, Input, Message, Notice, QoS, SENDER_ACCOUNT,
    SENDER_CLIENT_ID, Subscriber, Subscription,
};

use super::{Occasion, World, daemon::Handed, network::show_message};
use crate::{
    broker::Letter,
    invariants::Invariant,
    ledger::Asked,
    link::{HubId, LinkId, ToHub},
    report::Reached,
};

impl World {
    /// Gives a hub a packet, unless the connection is an earlier one.
    pub(super) fn hub_gets(&mut self, hub: HubId, id: LinkId, packet: ToHub) {
        if self.connection(hub).is_none_or(|connection| connection.id != id) {
            return;
        }
        match packet {
            ToHub::Connack(connack) => {
                self.note(hub.client_id(), || format!("[{id}] gets {connack:?}"));
                if let Some(connection) = self.connection_mut(hub) {
                    connection.connack = Some(connack.clone());
                }
                if connack.session_present {
                    self.reach(Reached::Resumed);
                }
                self.feed(hub, Input::Connected(connack));
            }
            ToHub::Refused(reason_code) => {
                self.reach(Reached::Refused);
                let (reason_string, server_reference) = (None, None);
                let refused =
                    Disconnection::Refused { reason_code, reason_string, server_reference };
                self.lose_connection(hub, refused);
            }
            ToHub::Suback(reason_codes) => self.hub_subscribed(hub, reason_codes),
            ToHub::Publish { packet_id, letter, dup, expiry } => {
                self.hand_over(hub, packet_id, letter, dup, expiry);
            }
            ToHub::Puback(packet_id, reason_code) => {
                let Some(connection) = self.connection_mut(hub) else { return };
                let Some(id) = connection.publishing.remove(&packet_id) else { return };
                let is_announcement = connection.announcing.remove(&id);
                let is_refused = reason_code >= FAILURE;
                if is_announcement && is_refused {
                    connection.announced.clear();
                    connection.announces_later = true;
                }
                self.feed(hub, Input::Published { id, reason_code });
                // Of announcements the first refusal alone is told.
                self.check_noticed(hub, usize::from(is_refused && !is_announcement));
            }
            ToHub::Disconnect(reason_code) => {
                let (reason_string, server_reference) = (None, None);
                let cause =
                    Disconnection::ByBroker { reason_code, reason_string, server_reference };
                self.lose_connection(hub, cause);
            }
            ToHub::End => {
                let reached = self.connection(hub).is_none_or(|connection| connection.reachable);
                let error = String::new();
                self.lose_connection(
                    hub,
                    if reached {
                        Disconnection::Lost { error }
                    } else {
                        Disconnection::Unreachable { error }
                    },
                );
            }
        }
    }

    fn hub_subscribed(&mut self, hub: HubId, reason_codes: Vec<u8>) {
        if reason_codes.contains(&0) {
            self.reach(Reached::Downgraded);
        }
        let now = self.now;
        let (mut starts, wanted) = self.start_topics(hub);
        starts.extend(wanted);
        let Some(connection) = self.connection_mut(hub) else { return };
        let asked = std::mem::take(&mut connection.asking);
        let asked_for_start = asked.iter().any(|asked| starts.contains(&asked.filter));
        let granted = |asked: &Subscription| asked.subscriber.qos() as u8;
        let asked = asked.into_iter().zip(&reason_codes);
        let refused = asked.filter(|(asked, code)| **code != granted(asked));
        // It is told once, although it is tried again and again; what is granted at QoS 0 counts as told.
        let news = refused
            .filter(|(asked, code)| {
                connection.told.insert(asked.filter.clone())
                    && **code >= FAILURE
                    && !starts.contains(&asked.filter)
            })
            .count();
        let asks_for_start = asked_for_start && reason_codes.iter().any(|code| *code >= FAILURE);
        self.feed_on(Occasion::Subscribed, hub, Input::Subscribed { reason_codes });
        if asks_for_start {
            // It is told as what it was asked for: for announcements, or for nothing any more.
            let noticed = &mut self.hub_mut(hub).refusals_noticed;
            *noticed = (*noticed).min(news);
        }
        if let Some(connection) = self.connection_mut(hub)
            && connection.asking.iter().all(|asked| asked.subscriber == Subscriber::Device)
        {
            connection.subscribed_at.get_or_insert(now);
        }
        self.check_noticed(hub, news);
    }

    fn hand_over(
        &mut self,
        hub: HubId,
        packet_id: u16,
        letter: Rc<Letter>,
        dup: bool,
        expiry: Option<u32>,
    ) {
        let qos = if packet_id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let mut message = Message { dup, expiry, qos, ..letter.message.clone() };
        if self.broker.habits.vouches {
            let (account, client_id) = letter.source.sender();
            message.user_properties.push((SENDER_ACCOUNT.into(), account.into()));
            message.user_properties.push((SENDER_CLIENT_ID.into(), client_id.into()));
        }
        self.note(hub.client_id(), || format!("gets {packet_id} {}", show_message(&message)));
        self.note_handed(hub, &letter, packet_id, dup);
        self.note_shown(hub, &message);
        self.note_start(hub, &message);
        let occasion = letter.asked.map_or(Occasion::Other, Occasion::Request);
        let Some(daemon) = &mut self.hub_mut(hub).daemon else { return };
        let Some(connection) = &mut daemon.link else { return };
        daemon.next_delivery += 1;
        let id = DeliveryId(daemon.next_delivery);
        let delivery = (packet_id != 0).then_some(Delivery { id, packet_id });
        let for_device =
            ["bulbs/", "strangers/"].iter().any(|base| message.topic.starts_with(base));
        connection.at_once += usize::from(delivery.is_none() && !for_device);
        if delivery.is_some() {
            connection.unacknowledged.push_back(Handed { id, packet_id, letter });
        }
        self.feed_on(occasion, hub, Input::Received { message, delivery });
    }

    pub(super) fn feed_on(&mut self, occasion: Occasion, hub: HubId, input: Input) {
        self.occasion = occasion;
        self.feed(hub, input);
        self.occasion = Occasion::Other;
    }

    /// The connection in use is gone.
    pub(super) fn lose_connection(&mut self, hub: HubId, cause: Disconnection) {
        self.note(hub.client_id(), || format!("loses the connection: {cause:?}"));
        if let Some(connection) = self.hub_mut(hub).take_connection() {
            self.close_hub_end(connection.id);
        }
        self.feed(hub, Input::Disconnected(cause));
    }

    /// The hub closes its end of a connection; the broker learns it later.
    pub(super) fn close_hub_end(&mut self, id: LinkId) {
        let at = self.now + self.transit();
        if let Some(link) = self.link_mut(id) {
            link.close_hub(at);
        }
    }

    /// Counts what a hub tells people.
    pub(super) fn on_notice(&mut self, hub: HubId, notice: &Notice) {
        self.note(hub.client_id(), || format!("{notice:?}"));
        match notice {
            Notice::Online { .. } => {
                self.reach(Reached::Connections);
                let now = self.now;
                if let Some(daemon) = &mut self.hub_mut(hub).daemon {
                    daemon.was_online = true;
                }
                if let Some(connection) = self.connection_mut(hub) {
                    connection.online_since = Some(now);
                }
                if self.connection(hub).is_some_and(|connection| connection.fence_back_at.is_none())
                {
                    self.reach(Reached::FenceGivenUp);
                }
            }
            Notice::LateAnswer { .. } => self.reach(Reached::Late),
            Notice::RequestDropped { .. } => self.reach(Reached::Dropped),
            Notice::PresenceRestored { .. } => self.reach(Reached::PresenceRestored),
            Notice::Guarding { .. } => self.reach(Reached::Guarded),
            Notice::ReceiveMaximumExceeded { held } => {
                self.reach(Reached::Left);
                // What waits is for the hub itself.
                let others = self
                    .connection(hub)
                    .map_or(0, |connection| connection.at_once + connection.unacknowledged.len());
                self.require(others >= *held, Invariant::OwnFlood, || {
                    format!("{held} messages wait, and only {others} were not for devices")
                });
                if let Some(connection) = self.connection_mut(hub) {
                    connection.has_left = true;
                }
            }
            Notice::QueueFull { topic } => {
                // The answers to a flood may fill half the queue, and those at QoS 0 get no more. A stranger loses its own
                // answers, and the events about its own requests that a crash has ended.
                let of_device = topic.rsplit_once("/event/").map(|(_, device)| device);
                let own = |asked: &Asked| {
                    let answers = asked.message.response_topic.as_ref() == Some(topic);
                    asked.hostile && (answers || of_device == Some(asked.device))
                };
                let excused = self.setup.flooded || self.ledger.asked.iter().any(own);
                self.require(excused, Invariant::Bounded, || format!("no room for {topic}"));
                self.reach(Reached::QueueFull);
                self.ledger.note_undeliverable(topic);
            }
            Notice::PrefixLearned { .. }
            | Notice::ResponseInformationRefused { .. }
            | Notice::WillRefused { .. }
            | Notice::Offline { .. }
            | Notice::RequestAnswered { .. } => {}
            Notice::SubscriptionRefused { .. } => {
                self.reach(Reached::SubscriptionRefused);
                self.hub_mut(hub).refusals_noticed += 1;
            }
            Notice::SubscriptionUnanswered { .. } => self.reach(Reached::Unanswered),
            Notice::RequestFailed { .. } => self.reach(Reached::FailedUnanswered),
            Notice::EvidenceIgnored { .. } => self.reach(Reached::EvidenceIgnored),
            Notice::Rival { .. } => self.reach(Reached::Rival),
            Notice::RivalGone { .. } => self.reach(Reached::RivalGone),
            Notice::ClientIdShared => self.reach(Reached::ClientIdShared),
            Notice::ExpiryAdded { .. } => self.reach(Reached::ExpiryAdded),
            Notice::TakenBack { .. } => self.reach(Reached::TakenBack),
            Notice::PublishUnanswered { .. } => self.reach(Reached::PublishUnanswered),
            Notice::PublishSuspected { .. } => self.reach(Reached::PublishSuspected),
            Notice::Lacks(_) => self.reach(Reached::Lacks),
            Notice::SubscriptionWeakened { .. }
            | Notice::FenceGivenUp
            | Notice::ProtocolError { .. } => {}
            Notice::PublishRefused { .. } => self.hub_mut(hub).refusals_noticed += 1,
            Notice::DiscoveryRefused { .. } => self.reach(Reached::AnnouncementRefused),
            // No broker of the simulation disconnects over a message, or sends one that cannot be read.
            Notice::TopicSetAside { topic, .. }
            | Notice::MessageLeftOut { topic, .. }
            | Notice::MessageUnreadable { topic, .. } => {
                self.require(false, Invariant::Answered, || format!("{topic} is left out"));
            }
            Notice::MessageDropped { topic } => self.note_dropped(hub, topic),
        }
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const FAILURE: u8 = 0x80;
