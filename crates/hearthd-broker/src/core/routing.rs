//! Who gets a message (MQTT 3.3.4, 4.7, 4.8.2).

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Body, Broker, LinkId, NoticeKind, Now, Publication,
    journal::Key,
    message::Message,
    session::{Entry, Progress, SessionId, Subscription},
    tree::Subscriber,
};
use crate::packet::{QoS, Reason};

/// What became of a message.
#[derive(Debug)]
pub(super) enum Routed {
    /// Some session has it, or will get it.
    Accepted {
        /// The batch that has all of it that outlives the broker; 0 where nothing does.
        batch: u64,
        /// The publication whose end makes the batch needless.
        publication: Option<u64>,
    },
    /// Nobody has subscribed to it.
    Unmatched,
    /// It finds no room.
    Refused(Reason, String),
}

/// A session that will get a message.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) session: SessionId,
    pub(super) qos: QoS,
    retain_as_published: bool,
    identifiers: Vec<u32>,
}

impl Broker {
    /// Retains a message where that is asked for, and gives it to all who subscribed to it.
    ///
    /// `from` is the connection whose acknowledgement waits, and its session.
    pub(super) fn route(
        &mut self,
        now: Now,
        message: Message,
        retain: bool,
        from: Option<(LinkId, SessionId)>,
    ) -> Routed {
        let message = Arc::new(message);
        let targets = self.targets(&message, from.map(|(_, session)| session));
        if from.is_some()
            && let Some(hub) = self.full_hub(now, &targets, &message)
        {
            let why = format!("too much waits for hub `{hub}`");
            return Routed::Refused(Reason::QuotaExceeded, why);
        }
        if retain && let Err(why) = self.retain(now, &message) {
            if message.qos > QoS::AtMostOnce {
                return Routed::Refused(Reason::QuotaExceeded, why);
            }
            // Its publisher cannot be told, so the one before it is not retained any longer either (MQTT 3.1.1, 3.3.1.3).
            if self.retained.remove(&message.topic) {
                self.mark_lazily(now, Key::Retained(message.topic.clone()));
            }
            if let Some((_, id)) = from {
                self.notice(id, NoticeKind::Dropped, why);
            }
        }
        if targets.is_empty() {
            return Routed::Unmatched;
        }
        let publication = from.filter(|_| message.qos > QoS::AtMostOnce).map(|(link, _)| {
            self.last_publication += 1;
            let publication = Publication { link, remaining: 1, batch: 0 };
            self.publications.insert(self.last_publication, publication);
            self.last_publication
        });
        let mut body = None;
        let mut batch = 0;
        for target in targets {
            let retain = retain && target.retain_as_published;
            let entry = self.entry(&target, &message, retain, publication);
            batch = self.enqueue(now, target.session, entry, &mut body).max(batch);
        }
        if let Some(publication) = publication {
            self.start_publication(publication, batch);
        }
        Routed::Accepted { batch, publication }
    }

    fn start_publication(&mut self, number: u64, batch: u64) {
        if let Some(publication) = self.publications.get_mut(&number) {
            publication.batch = batch;
            publication.remaining -= 1;
            if publication.remaining == 0 {
                self.publications.remove(&number);
            }
        }
    }

    /// Keeps a retained message, or removes the one of its topic where it is empty (MQTT 3.3.1.3).
    fn retain(&mut self, now: Now, message: &Arc<Message>) -> Result<(), String> {
        if message.payload.is_empty() {
            if self.retained.remove(&message.topic) {
                self.mark_lazily(now, Key::Retained(message.topic.clone()));
            }
            return Ok(());
        }
        if !self.retained.has_room(message) {
            return Err(format!("retained messages use up their {} bytes", self.limits.retained));
        }
        self.retained.put(message.clone());
        self.mark_lazily(now, Key::Retained(message.topic.clone()));
        Ok(())
    }

    /// Finds the sessions that are to have a message, each once, whatever many of its filters match (MQTT 3.3.4).
    fn targets(&mut self, message: &Message, origin: Option<SessionId>) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut shared: BTreeMap<&Arc<str>, Vec<&Subscriber>> = BTreeMap::new();
        self.tree.matches(&message.topic, &mut |subscriber| {
            let options = subscriber.subscription.options;
            if let Some(share) = &subscriber.share {
                shared.entry(share).or_default().push(subscriber);
            } else if !(options.no_local && origin == Some(subscriber.session)) {
                targets.push(Target::of(subscriber, message.qos));
            }
        });
        targets.sort_by_key(|target| target.session);
        targets.dedup_by(|next, kept| kept.merge(next));
        for (share, members) in shared {
            let turn = self.shares.get(share).copied().unwrap_or_default();
            let reads = |member: &&&Subscriber| {
                let session = self.sessions.get(&member.session);
                session.is_some_and(|session| session.grant.may_read(&message.topic))
            };
            let able: Vec<&&Subscriber> = members.iter().filter(reads).collect();
            let is_online = |member: &&&Subscriber| self.sessions[&member.session].link.is_some();
            let has_room = |member: &&&Subscriber| self.fits(member.session, message);
            let ready = |member: &&&Subscriber| is_online(member) && has_room(member);
            let preferences: [&dyn Fn(&&&Subscriber) -> bool; 3] = [&ready, &has_room, &is_online];
            let chosen = preferences.into_iter().map(|preferred| {
                able.iter().copied().filter(|member| preferred(member)).collect::<Vec<_>>()
            });
            let choice = chosen.into_iter().find(|some| !some.is_empty()).unwrap_or(able);
            if let Some(member) = choice.get(turn % choice.len().max(1)) {
                targets.push(Target::of(member, message.qos));
            }
            self.shares.insert(share.clone(), turn.wrapping_add(1));
        }
        targets.retain(|target| {
            let session = self.sessions.get(&target.session);
            session.is_some_and(|session| session.grant.may_read(&message.topic))
        });
        targets
    }

    fn entry(
        &mut self,
        target: &Target,
        message: &Arc<Message>,
        retain: bool,
        publication: Option<u64>,
    ) -> Entry {
        Entry {
            number: 0,
            message: message.clone(),
            body: None,
            qos: target.qos,
            retain,
            identifiers: target.identifiers.clone().into(),
            packet_id: None,
            hold: 0,
            progress: Progress::Waiting,
            publication,
            stored: false,
        }
    }

    /// Creates the entry of a retained message for a new subscription, whose RETAIN flag is set (MQTT 3.3.1.3).
    pub(super) fn retained_entry(message: Arc<Message>, subscription: &Subscription) -> Entry {
        let most = QoS::from_bits(subscription.options.qos).unwrap_or(QoS::AtMostOnce);
        Entry {
            number: 0,
            qos: message.qos.min(most),
            message,
            body: None,
            retain: true,
            identifiers: subscription.identifier.into_iter().collect(),
            packet_id: None,
            hold: 0,
            progress: Progress::Waiting,
            publication: None,
            stored: false,
        }
    }

    /// Puts a message into a session's queue; returns the batch that will have it, 0 where it is not stored.
    ///
    /// `body` is the message in the store, once for all sessions.
    pub(super) fn enqueue(
        &mut self,
        now: Now,
        id: SessionId,
        mut entry: Entry,
        body: &mut Option<u64>,
    ) -> u64 {
        let Some(session) = self.sessions.get(&id) else { return 0 };
        let link = session.link;
        let lasting = entry.qos > QoS::AtMostOnce && session.is_durable();
        if link.is_none() && !lasting {
            return 0;
        }
        if self.overfull.contains(&id) {
            return self.ended_in;
        }
        if !self.make_room(now, id, entry.qos, &entry.message) {
            if entry.qos > QoS::AtMostOnce {
                return self.give_up(now, id);
            }
            let topic = &entry.message.topic;
            let why = format!("too much waits for the client; a message on `{topic}` is not kept");
            self.notice(id, NoticeKind::Dropped, why);
            return 0;
        }
        let session = self.sessions.get_mut(&id).expect("the session was just found");
        session.last_entry += 1;
        entry.number = session.last_entry;
        session.queued += entry.memory();
        session.giving_way += usize::from(entry.qos == QoS::AtMostOnce);
        self.queued += entry.memory();
        let mut batch = 0;
        if lasting {
            let number = entry.number;
            entry.body = Some(self.hold_body(now, &entry.message, body));
            if let Some(publication) = entry.publication
                && let Some(publication) = self.publications.get_mut(&publication)
            {
                publication.remaining += 1;
            }
            batch = self.mark(now, Key::Entry(id, number));
        } else {
            entry.publication = None;
        }
        let session = self.sessions.get_mut(&id).expect("the session was just found");
        session.queue.push_back(entry);
        if let Some(link) = link {
            self.pump(now, link);
        }
        batch
    }

    /// Counts one more session that needs a message on disk, and has it written the first time; `body` is its number there.
    /// All sessions share one copy.
    pub(super) fn hold_body(
        &mut self,
        now: Now,
        message: &Arc<Message>,
        body: &mut Option<u64>,
    ) -> u64 {
        let number = *body.get_or_insert_with(|| {
            self.last_body += 1;
            self.last_body
        });
        let held = self.bodies.entry(number).or_insert_with(|| Body {
            message: message.clone(),
            holders: 0,
            stored: false,
        });
        held.holders += 1;
        if !held.stored {
            self.mark(now, Key::Body(number));
        }
        number
    }
}

impl Target {
    fn of(subscriber: &Subscriber, qos: QoS) -> Self {
        let options = subscriber.subscription.options;
        Self {
            session: subscriber.session,
            qos: QoS::from_bits(options.qos).unwrap_or(QoS::AtMostOnce).min(qos),
            retain_as_published: options.retain_as_published,
            identifiers: subscriber.subscription.identifier.into_iter().collect(),
        }
    }

    /// Takes on what another subscription of the same session adds; returns whether it is one.
    fn merge(&mut self, other: &mut Self) -> bool {
        if self.session != other.session {
            return false;
        }
        self.qos = self.qos.max(other.qos);
        self.retain_as_published |= other.retain_as_published;
        self.identifiers.append(&mut other.identifiers);
        true
    }
}
