//! Messages from clients (MQTT 3.3, 4.3).

use std::sync::Arc;

use super::{
    Broker, LinkId, NoticeKind, Now,
    delivering::SENDERS,
    journal::Key,
    link::PendingReply,
    message::{Expiry, Message, Sender},
    routing::Routed,
    session::{Session, SessionId},
};
use crate::{
    packet::{
        Ack, Answer, Publish, QoS, Reason, Reply, Version, WireError, remove_user_properties,
    },
    rights::{Action, MAX_LEVELS, Refused},
};

impl Broker {
    pub(super) fn publish(&mut self, now: Now, link: LinkId, publish: Publish) {
        let topic = match self.topic(link, &publish) {
            Ok(topic) => topic,
            Err(error) => return self.fail(now, link, error.reason, error.what),
        };
        let Some(state) = self.links.get_mut(&link) else { return };
        let (id, version) = (state.session, state.version);
        let Some(session) = self.sessions.get(&id) else { return };
        let is_new = match publish.packet_id {
            Some(packet_id) => !session.received.contains_key(&packet_id),
            None => false,
        };
        let unacknowledged = state.unacknowledged + session.received.len();
        let most = match version {
            Version::V3 => self.limits.replies,
            Version::V5 => self.limits.receive_maximum.into(),
        };
        if is_new && unacknowledged >= most {
            let why = "more messages than the receive maximum are not acknowledged";
            return self.fail(now, link, Reason::ReceiveMaximumExceeded, why);
        }
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                state.unacknowledged += 1;
                let (answer, batch, publication) = self.accept(now, link, id, topic, publish);
                if self.cannot_be_told(now, link, &answer) {
                    return;
                }
                let mut reply = PendingReply::after(
                    Reply::Puback(Answer { packet_id, reason: answer.0, text: answer.1 }),
                    batch,
                );
                reply.publication = publication;
                self.reply(now, link, reply);
            }
            (QoS::ExactlyOnce, Some(_)) => self.publish_exactly_once(now, link, id, topic, publish),
            _ => drop(self.accept(now, link, id, topic, publish)),
        }
    }

    /// Returns the topic of a message, by its alias where it has none of its own (MQTT 3.3.2.3.4).
    fn topic(&mut self, link: LinkId, publish: &Publish) -> Result<Arc<str>, WireError> {
        let invalid = |what| WireError { reason: Reason::TopicAliasInvalid, what };
        if publish.topic.split('/').count() > MAX_LEVELS {
            let what = "the topic has too many levels";
            return Err(WireError { reason: Reason::TopicNameInvalid, what });
        }
        let Some(alias) = publish.alias else { return Ok(publish.topic.as_str().into()) };
        if alias.get() > self.limits.topic_aliases {
            return Err(invalid("a topic alias above the maximum"));
        }
        let Some(state) = self.links.get_mut(&link) else {
            return Err(invalid("the connection is gone"));
        };
        state.aliases.resize(self.limits.topic_aliases.into(), None);
        let known = &mut state.aliases[usize::from(alias.get()) - 1];
        if !publish.topic.is_empty() {
            *known = Some(publish.topic.as_str().into());
        }
        known.clone().ok_or(invalid("a topic alias that was never set"))
    }

    /// Takes a QoS 2 message once, however often it comes (MQTT 4.3.3).
    fn publish_exactly_once(
        &mut self,
        now: Now,
        link: LinkId,
        id: SessionId,
        topic: Arc<str>,
        publish: Publish,
    ) {
        let Some(packet_id) = publish.packet_id else { return };
        let pubrec = |reason, text| Reply::Pubrec(Answer { packet_id, reason, text });
        let received = self.sessions.get(&id).and_then(|session| session.received.get(&packet_id));
        if let Some(&batch) = received {
            let again = PendingReply::after(pubrec(Reason::Success, None), batch);
            return self.reply(now, link, again);
        }
        let ((reason, text), mut batch, mut publication) =
            self.accept(now, link, id, topic, publish);
        let answer = (reason, text);
        if self.cannot_be_told(now, link, &answer) {
            return;
        }
        let (reason, text) = answer;
        if !reason.is_failure() {
            let durable = self.sessions.get(&id).is_some_and(Session::is_durable);
            if durable {
                // That the message came must be known for as long as the client may send it again.
                batch = self.mark(now, Key::Received(id, packet_id)).max(batch);
                publication = None;
            }
            if let Some(session) = self.sessions.get_mut(&id) {
                session.received.insert(packet_id, if durable { batch } else { 0 });
            }
        }
        let mut reply = PendingReply::after(pubrec(reason, text), batch);
        reply.publication = publication;
        self.reply(now, link, reply);
    }

    /// Ends the connection of an MQTT 3.1.1 client whose message finds no room: its acknowledgements always mean success,
    /// and it sends the message again on its next connection.
    fn cannot_be_told(
        &mut self,
        now: Now,
        link: LinkId,
        (reason, why): &(Reason, Option<String>),
    ) -> bool {
        let version = self.links.get(&link).map(|state| state.version);
        let ends = *reason == Reason::QuotaExceeded && version == Some(Version::V3);
        if ends {
            self.fail(now, link, *reason, why.as_deref().unwrap_or_default());
        }
        ends
    }

    /// Checks a message and hands it on; returns the reason code and string, and what their sending waits for.
    fn accept(
        &mut self,
        now: Now,
        link: LinkId,
        id: SessionId,
        topic: Arc<str>,
        publish: Publish,
    ) -> ((Reason, Option<String>), u64, Option<u64>) {
        let session = &self.sessions[&id];
        if !session.grant.may_publish(&topic, publish.retain, publish.payload.is_empty()) {
            let (wanted, action) = match publish.retain && !publish.payload.is_empty() {
                true => ("publish retained on", Action::Retain),
                false => ("publish on", Action::Publish),
            };
            let refused = Refused { wanted, action, topic: &topic };
            let why = self.accounts.refusal(&session.account, &session.client_id, refused);
            self.notice(id, NoticeKind::PublishRefused, why.clone());
            return ((Reason::NotAuthorized, Some(why)), 0, None);
        }
        let message = Message {
            topic,
            payload: publish.payload,
            properties: remove_user_properties(publish.properties, SENDERS),
            qos: publish.qos,
            expiry: publish.expiry.map(|seconds| Expiry::start(now.monotonic, seconds)),
            sender: Sender {
                account: session.account.clone(),
                client_id: session.client_id.clone(),
            },
        };
        match self.route(now, message, publish.retain, Some((link, id))) {
            Routed::Accepted { batch, publication } => {
                let publication = publication.filter(|_| self.journal.has(self.ended_in));
                ((Reason::Success, None), batch.max(self.ended_in), publication)
            }
            Routed::Unmatched => ((Reason::NoMatchingSubscribers, None), self.ended_in, None),
            Routed::Refused(reason, why) => {
                self.notice(id, NoticeKind::PublishRefused, why.clone());
                ((reason, Some(why)), 0, None)
            }
        }
    }

    /// Completes a QoS 2 message, once the store has forgotten its packet identifier: only then is it free again.
    pub(super) fn pubrel(&mut self, now: Now, link: LinkId, ack: Ack) {
        let Some(state) = self.links.get(&link) else { return };
        let id = state.session;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let packet_id = ack.packet_id;
        let known = session.received.remove(&packet_id).is_some();
        let durable = session.is_durable();
        let batch = match known && durable {
            true => self.mark(now, Key::Received(id, packet_id)),
            false => 0,
        };
        let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
        let answer = Answer { packet_id, reason, text: None };
        self.reply(now, link, PendingReply::after(Reply::Pubcomp(answer), batch));
    }
}
