//! Writes the hub's notices to the log.

use std::time::Duration;

use hearthd_core::{Disconnection, Lack, Notice, RequestFailure, Telling};
use tracing::{debug, error, info, warn};

use hearthd_config::printable_line;

use crate::config::Broker;

/// The log of the hub's notices.
///
/// The core tells of each message that was lost. A flood of requests causes as many of those notices, so the log has
/// only a few of each kind in a minute, and how many it left out.
#[derive(Debug, Default)]
pub(crate) struct NoticeLog {
    queue_full: Telling,
    dropped: Telling,
    refused: Telling,
    late: Telling,
}

impl NoticeLog {
    /// Logs one notice, unless there were enough like it.
    pub(crate) fn write(&mut self, now: Duration, notice: &Notice, broker: &Broker) {
        if let Some(more) = self.admit(now, notice) {
            log(notice, more, broker);
        }
    }

    /// Returns how many notices like this one were left out before it; none where this one is left out as well.
    fn admit(&mut self, now: Duration, notice: &Notice) -> Option<u64> {
        let telling = match notice {
            Notice::QueueFull { .. } => &mut self.queue_full,
            Notice::MessageDropped { .. } => &mut self.dropped,
            Notice::PublishRefused { .. } => &mut self.refused,
            Notice::LateAnswer { .. } => &mut self.late,
            _ => return Some(0),
        };
        telling.tell(now)
    }
}

/// Logs one notice; `more` like it were left out before.
fn log(notice: &Notice, more: u64, broker: &Broker) {
    match notice {
        Notice::PrefixLearned { prefix: Some(prefix) } => info!(%prefix, "prefix learned"),
        Notice::PrefixLearned { prefix: None } => {
            info!("the broker offers no prefix: topics have none");
        }
        Notice::ResponseInformationRefused { error } => {
            error!(error, "the broker's Response Information cannot be used");
        }
        Notice::WillRefused { reason_code } => {
            error!(reason_code = %Hex(*reason_code), "the broker refuses the will");
        }
        Notice::Offline { cause, retry_in } => {
            let retry_in_ms = retry_in.as_millis();
            let (host, port) = (&broker.host, broker.port);
            let cause = describe(cause);
            warn!(host, port, cause, retry_in_ms, "no connection to the broker");
        }
        Notice::Online { session_present } => info!(session_present, "online"),
        Notice::SubscriptionRefused { filter, reason_code } => {
            error!(filter, reason_code = %Hex(*reason_code), "the broker refuses a subscription");
        }
        Notice::SubscriptionWeakened { filter } => {
            warn!(
                filter,
                "the broker grants only QoS 0: messages that come while the hub is away are lost"
            );
        }
        Notice::SubscriptionUnanswered { filters } => {
            warn!(filters, "the broker does not answer a subscription: connecting again");
        }
        Notice::Lacks(lacks) if lacks.is_empty() => {
            info!("the broker offers everything that the hub uses");
        }
        Notice::Lacks(lacks) => {
            for lack in lacks {
                let (lack, cost) = explain(lack);
                warn!(lack, cost, "the broker lacks a feature");
            }
        }
        Notice::ProtocolError { what } => error!(what, "the broker breaks the MQTT 5 standard"),
        Notice::PublishSuspected { topic } => {
            warn!(topic, "the broker ended the connection, probably because of this message");
        }
        Notice::TopicSetAside { topic, time } => {
            let minutes = time.as_secs() / 60;
            error!(
                topic,
                minutes,
                "the broker ended two connections because of this message: the hub publishes nothing on its topic for \
                 this time, or until a reload"
            );
        }
        Notice::MessageLeftOut { topic, is_answer: true, more } => {
            warn!(
                topic,
                more, "answer not published: the broker ended connections because of its topic"
            );
        }
        Notice::MessageLeftOut { topic, is_answer: false, more } => {
            warn!(
                topic,
                more, "message not published: the broker ended connections because of its topic"
            );
        }
        Notice::MessageUnreadable { topic, error, more } => {
            error!(topic, error, more, "a message cannot be read: it was refused, and is lost");
        }
        Notice::PublishUnanswered { topic } => {
            warn!(topic, "the broker does not acknowledge a message: connecting again");
        }
        Notice::FenceGivenUp => {
            warn!(
                "the broker does not return the hub's fence: going online without it; the last will's outcome may stay unknown"
            );
        }
        Notice::PublishRefused { topic, reason_code } => {
            warn!(topic, reason_code = %Hex(*reason_code), more, "the broker refuses a message");
        }
        Notice::RequestDropped { topic, reason, remedy: Some(remedy), more } => {
            warn!(topic, reason, remedy, more, "request not executed");
        }
        Notice::RequestDropped { topic, reason, remedy: None, more } => {
            warn!(topic, reason, more, "request not executed");
        }
        Notice::RequestFailed { device, property, status, message, was_accepted, more } => {
            // A field of the name `message` would take the place of the line's own text.
            let reason = message;
            if *was_accepted {
                warn!(%device, %property, status, reason, more, "accepted request failed");
            } else {
                warn!(%device, %property, status, reason, more, "request without a Response Topic failed");
            }
        }
        Notice::EvidenceIgnored { topic, reason, more } => {
            warn!(topic, reason, more, "evidence about a will ignored");
        }
        Notice::Rival { device, hub } => {
            let hub = hub.as_deref().unwrap_or("a hub without a name");
            error!(%device, hub, "another hub claims this device too");
        }
        Notice::RivalGone { device } => {
            info!(%device, "no other hub claims this device any more");
        }
        Notice::ClientIdShared => {
            let client_id = &broker.client_id;
            error!(client_id, "another client uses this hub's client ID, or claims to be this hub");
        }
        Notice::ExpiryAdded { added: true } => warn!(
            "the broker adds an expiry to every message: of requests that waited while the hub was away, only those \
             with the user property `expiry` count as having one"
        ),
        Notice::ExpiryAdded { added: false } => {
            info!("the broker adds no expiry to messages any more");
        }
        Notice::DiscoveryRefused { topic, reason_code } => {
            let reason_code =
                reason_code.map_or_else(|| "none".into(), |code| format!("{code:#04x}"));
            warn!(
                topic,
                reason_code,
                "the broker refuses discovery: Home Assistant learns of no device. Give this account the right to \
                 publish and subscribe there, or set [home_assistant] discovery = false"
            );
        }
        Notice::TakenBack { topics } => {
            info!(topics, "cleared the retained messages of removed devices and properties");
        }
        Notice::RequestAnswered { device, property, status, elapsed, failure } => {
            let elapsed_us = elapsed.as_micros();
            match failure {
                Some(RequestFailure { requester, message, more }) => {
                    let requester = &**requester;
                    let reason = message;
                    info!(requester, %device, %property, status, reason, more, "request failed");
                }
                None => debug!(%device, %property, status, elapsed_us, "request answered"),
            }
        }
        Notice::LateAnswer { request } => {
            warn!(request = request.0, more, "answer after the deadline");
        }
        Notice::PresenceRestored { more } => {
            warn!(more, "another message had replaced `online`: published it again");
        }
        Notice::Guarding { presence, device, property } => {
            info!(presence, %device, %property, "another hub's will was published: acting on it");
        }
        Notice::ReceiveMaximumExceeded { held } => {
            warn!(
                held,
                "the broker sends more than the Receive Maximum: connecting again for the rest"
            );
        }
        Notice::QueueFull { topic } => warn!(topic, more, "message dropped: the queue is full"),
        Notice::MessageDropped { topic } => {
            warn!(
                topic,
                more, "message dropped: too late for its receiver, or too large for the broker"
            );
        }
    }
}

/// Says what a broker does not offer, and the consequence.
pub(crate) fn explain(lack: &Lack) -> (String, &'static str) {
    match lack {
        Lack::AtLeastOnce => (
            "QoS 1".into(),
            "a request or an answer may be lost; messages that come while the hub is away are lost; the will's outcome \
             is unknown",
        ),
        Lack::Retain => (
            "retained messages".into(),
            "later subscribers get states and presence only when they change",
        ),
        Lack::Wildcards => (
            "filters with wildcards".into(),
            "the hub subscribes to each property by itself; requests for other names get no answer",
        ),
        Lack::SessionExpiry { seconds } => (
            format!("a session that lives longer than {seconds} s"),
            "after a longer absence the will's outcome is unknown, and requests are lost",
        ),
        Lack::ClientId { assigned } => (
            format!("the hub's client ID; it assigns `{assigned}`"),
            "if the ID changes each time, so does the session; if all clients of the account get the same one, each \
             client and each command ends the hub's connection",
        ),
    }
}

/// Says why there is no connection.
pub(crate) fn describe(cause: &Disconnection) -> String {
    match cause {
        Disconnection::Requested => "by request".into(),
        Disconnection::Refused { reason_code, reason_string, server_reference } => {
            let words = reason_string.as_ref().map(|words| format!("; the broker says: {words}"));
            let refusal = format!("{} ({})", meaning(*reason_code), Hex(*reason_code));
            refusal + &words.unwrap_or_default() + &instead(server_reference.as_deref())
        }
        Disconnection::ByBroker { reason_code, reason_string, server_reference } => {
            let reason = reason_string.as_deref().unwrap_or(meaning(*reason_code));
            let text = format!("the broker disconnected: {reason} ({})", Hex(*reason_code));
            text + &instead(server_reference.as_deref())
        }
        Disconnection::Unreachable { error } | Disconnection::Lost { error } => error.clone(),
    }
}

/// Says where the broker sends its clients; the hub goes nowhere that its configuration does not name.
fn instead(server_reference: Option<&str>) -> String {
    let say = |other: &str| format!("; the broker says to use {} instead", printable_line(other));
    server_reference.map(say).unwrap_or_default()
}

/// Names a reason code (MQTT 2.4).
fn meaning(reason_code: u8) -> &'static str {
    match reason_code {
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x84 => "the broker does not speak MQTT 5",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "broker unavailable",
        0x89 => "broker busy",
        0x8A => "banned",
        0x8B => "the broker shuts down",
        0x8D => "keep alive timeout",
        0x8E => "session taken over",
        0x90 => "topic name invalid",
        0x93 => "receive maximum exceeded",
        0x95 => "packet too large",
        0x97 => "quota exceeded",
        0x99 => "payload format invalid",
        0x9A => "retain not supported",
        0x9B => "QoS not supported",
        0x9C => "the broker wants another one to be used for now",
        0x9D => "the broker has moved",
        0x9F => "connection rate exceeded",
        _ => "refused",
    }
}

/// A reason code as the standard writes it, such as `0x87`.
struct Hex(u8);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use hearthd_core::RequestId;

    use super::*;

    #[test]
    fn a_flood_of_lost_messages_writes_a_few_lines_and_counts_the_others() {
        let topic = "home/response/a".to_owned();
        for notice in [
            Notice::QueueFull { topic: topic.clone() },
            Notice::MessageDropped { topic: topic.clone() },
            Notice::PublishRefused { topic, reason_code: 0x87 },
            Notice::LateAnswer { request: RequestId(1) },
        ] {
            let mut log = NoticeLog::default();
            let seconds = (1..=100).chain([200]).map(Duration::from_secs);
            let mores: Vec<_> = seconds.filter_map(|now| log.admit(now, &notice)).collect();
            assert_eq!(mores, [0, 0, 0, 0, 0, 55, 0, 0, 0, 0, 35], "{notice:?}");
        }
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other_notice() {
        let now = Duration::from_secs(1);
        let mut log = NoticeLog::default();
        let full = Notice::QueueFull { topic: "a".into() };
        while log.admit(now, &full).is_some() {}
        let late = Notice::LateAnswer { request: RequestId(1) };
        assert_eq!(log.admit(now, &late), Some(0));
        let gone = Notice::RivalGone { device: "a".into() };
        assert_eq!([(); 9].map(|()| log.admit(now, &gone)), [Some(0); 9]);
    }
}
