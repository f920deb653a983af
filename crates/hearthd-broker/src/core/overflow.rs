//! What happens when there is no room for a message: no acknowledged message is lost silently (MQTT 4.1, 4.5).
//!
//! Messages of QoS 0 are dropped first. A message with a higher QoS for a hub is refused to its publisher, which tries
//! again. Any other receiver could delay all publishers by not reading. So its session ends instead, and it learns that
//! from DISCONNECT, or from the CONNACK of its next connection.
//!
//! An account without a role counts as such a receiver, even if a hub uses it: the broker cannot tell such a hub from a
//! phone, and a phone that sleeps must not delay the home.

use std::{cmp::Reverse, sync::Arc};

use super::{
    Broker, NoticeKind, Now,
    journal::Key,
    message::Message,
    routing::Target,
    session::{Entry, Session, SessionId},
};
use crate::{
    packet::{QoS, Reason},
    rights::Role,
};

impl Broker {
    /// Returns the client ID of a hub that should get a message above QoS 0 and has no room for it.
    pub(super) fn full_hub(
        &mut self,
        now: Now,
        targets: &[Target],
        message: &Message,
    ) -> Option<Arc<str>> {
        let lasting = targets.iter().filter(|target| target.qos > QoS::AtMostOnce);
        let full = lasting
            .filter(|target| self.sessions.get(&target.session).is_some_and(Session::is_of_hub))
            .map(|target| target.session)
            .collect::<Vec<_>>()
            .into_iter()
            .find(|&id| !self.make_room(now, id, QoS::AtLeastOnce, message))?;
        self.sessions.get(&full).map(|session| session.client_id.clone())
    }

    /// Returns whether a message fits into the queue of a session as it is.
    pub(super) fn fits(&self, id: SessionId, message: &Message) -> bool {
        let size = Entry::memory_of(message);
        self.sessions.get(&id).is_some_and(|session| {
            session.queued + size <= self.limits.session_queue && self.fits_pool(session, size)
        })
    }

    /// Returns whether the room of all sessions suffices.
    ///
    /// Sessions of absent clients that use up the room take none from hubs, nor from clients that read.
    fn fits_pool(&self, session: &Session, size: usize) -> bool {
        let reserved =
            session.is_of_hub() || (session.link.is_some() && session.queued + size <= RESERVED);
        reserved || self.queued + size <= self.limits.queues
    }

    /// Sees to it that a message fits, at the cost of QoS 0 messages, of those that have ended, and at last of the
    /// sessions that most waits for; returns whether it does.
    pub(super) fn make_room(
        &mut self,
        now: Now,
        id: SessionId,
        qos: QoS,
        message: &Message,
    ) -> bool {
        if self.fits(id, message) {
            return true;
        }
        if qos == QoS::AtMostOnce {
            return false;
        }
        // Looked through only where there is something to find: a full queue must not make every message dear.
        if self.sessions[&id].giving_way > 0 {
            self.drop_entries(now, id, |entry, _| entry.qos == QoS::AtMostOnce);
        }
        while !self.fits(id, message) && self.sessions[&id].starts_expired(now.monotonic) {
            self.drop_first(now, id);
        }
        let size = Entry::memory_of(message);
        let session = &self.sessions[&id];
        if session.queued + size <= self.limits.session_queue && !self.fits_pool(session, size) {
            self.free_pool(now, size);
        }
        !self.overfull.contains(&id) && self.fits(id, message)
    }

    /// Gives up the sessions that most waits for, until there is room for all others again.
    fn free_pool(&mut self, now: Now, size: usize) {
        let waiting = self.sessions.iter();
        let waiting = waiting.filter(|(_, session)| session.queued > 0 && !session.is_of_hub());
        let mut greedy: Vec<_> = waiting.map(|(id, session)| (session.queued, *id)).collect();
        greedy.sort_unstable_by_key(|&(queued, id)| (Reverse(queued), id));
        // Somewhat more than has to be: with many small queues each message would have all sessions looked through.
        let most = self.limits.queues - self.limits.queues / POOL_STEP;
        for (_, id) in greedy {
            if self.queued + size <= most {
                break;
            }
            self.give_up(now, id);
        }
    }

    /// Ends a session with this input; returns the batch that has its end.
    pub(super) fn give_up(&mut self, now: Now, id: SessionId) -> u64 {
        self.ended_in = self.mark(now, Key::Session(id));
        self.overfull.insert(id);
        if let Some(session) = self.sessions.get_mut(&id) {
            let mut gone = std::mem::take(&mut session.queue);
            gone.extend(std::mem::take(&mut session.in_flight).into_values());
            session.packet_ids.clear();
            session.retained.clear();
            for mut entry in gone {
                // Nobody acknowledged it: its publisher waits for the batch that has it.
                entry.publication = None;
                self.settle(now, id, &entry);
            }
        }
        self.ended_in
    }

    /// Ends a session that was given up, and its connection.
    pub(super) fn end_overfull(&mut self, now: Now, id: SessionId) {
        let why = "too much waits for the client";
        self.notice(id, NoticeKind::SessionFull, why.to_owned());
        if let Some(link) = self.sessions.get(&id).and_then(|session| session.link) {
            self.fail(now, link, Reason::QuotaExceeded, why);
        }
        self.end_session(now, id);
    }
}

impl Session {
    fn is_of_hub(&self) -> bool {
        self.grant.role() == Some(Role::Hub)
    }
}

/// What a connected session may always have waiting.
const RESERVED: usize = 16 * 1024;
/// The part of the room of all sessions that is made free at once.
const POOL_STEP: usize = 64;
