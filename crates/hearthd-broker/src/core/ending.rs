//! How connections, wills and sessions end (MQTT 3.1.2.5, 3.14, 4.1).

use std::time::Duration;

use super::{
    Broker, LinkId, NoticeKind, Now,
    journal::Key,
    link::Link,
    message::Expiry,
    session::{Session, SessionId},
    timers::Timer,
};
use crate::{
    packet::{Disconnect, QoS, Reason, Reply, Version},
    rights::AccountTable,
};

impl Broker {
    pub(super) fn disconnect(&mut self, now: Now, link: LinkId, disconnect: Disconnect) {
        let Some(state) = self.links.get(&link) else { return };
        let (id, expires_at_once) = (state.session, state.expires_at_once);
        if let Some(seconds) = disconnect.session_expiry {
            if expires_at_once && seconds > 0 {
                let why = "a session that ends with its connection cannot be prolonged";
                return self.fail(now, link, Reason::ProtocolError, why);
            }
            let longest = self.limits.session_expiry.as_secs().min(u32::MAX.into()) as u32;
            if let Some(session) = self.sessions.get_mut(&id) {
                session.expiry = seconds.min(longest);
            }
        }
        if disconnect.reason == NORMAL
            && let Some(session) = self.sessions.get_mut(&id)
            && session.will.take().is_some()
        {
            // Nobody waits for it, but a will that is taken back must not come after a restart.
            self.mark(now, Key::Session(id));
        }
        self.outputs.push_back(super::Output::Close { link });
        self.lose(now, link);
    }

    /// Does what the end of a connection asks for: its will is due after its delay, its session after its expiry.
    pub(super) fn lose(&mut self, now: Now, link: LinkId) {
        let Some(state) = self.links.remove(&link) else { return };
        self.timers.clear(Timer::KeepAlive(link));
        self.waiting.remove(&link);
        let id = state.session;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.link = None;
        session.ended = Some(now.monotonic);
        let expiry = session.expiry;
        let mut due_at_once = false;
        if let Some(will) = &mut session.will {
            will.due = Some(now.monotonic + seconds(will.delay.min(expiry)));
            due_at_once = will.delay == 0;
        }
        let had_will = session.will.is_some();
        if !session.is_durable() {
            return self.end_session(now, id);
        }
        session.queue.retain_mut(|entry| {
            // Of no more use: no client takes it. It has no acknowledgement and no record.
            let lasting = entry.body.is_some();
            if !lasting {
                session.queued -= entry.memory();
                session.giving_way -= usize::from(entry.qos == QoS::AtMostOnce);
                self.queued -= entry.memory();
            }
            lasting
        });
        if due_at_once {
            self.publish_will(now, id);
        } else if had_will {
            self.mark(now, Key::Session(id));
        }
        self.mark_lazily(now, Key::Session(id));
        self.set_deadlines(now, id);
    }

    /// Sets the deadlines of a session without a connection.
    pub(super) fn set_deadlines(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let ended = session.ended.unwrap_or(now.monotonic);
        let due = session.will.as_ref().and_then(|will| will.due);
        let end = session.expiry_end(ended);
        if let Some(due) = due {
            self.timers.set(Timer::Will(id), due);
        }
        if let Some(end) = end {
            self.timers.set(Timer::SessionEnd(id), end);
        }
    }

    /// Publishes the will of a session, if it has one (MQTT 3.1.2.5).
    pub(super) fn publish_will(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(will) = session.will.take() else { return };
        self.timers.clear(Timer::Will(id));
        let mut message = will.message;
        message.expiry = will.expiry.map(|seconds| Expiry::start(now.monotonic, seconds));
        let topic = message.topic.clone();
        let allowed = session.grant.may_publish(&topic, will.retain, message.payload.is_empty());
        self.mark(now, Key::Session(id));
        if !allowed {
            let why = format!("its account may not publish on `{topic}` any more");
            return self.notice(id, NoticeKind::WillRefused, why);
        }
        if let super::routing::Routed::Refused(_, why) = self.route(now, message, will.retain, None)
        {
            self.notice(id, NoticeKind::WillRefused, why);
        }
    }

    /// Ends a session, and publishes its will before (MQTT 3.1.3.2.2).
    pub(super) fn end_session(&mut self, now: Now, id: SessionId) {
        self.publish_will(now, id);
        self.timers.clear(Timer::SessionEnd(id));
        let Some(session) = self.sessions.get(&id) else { return };
        let filters: Vec<_> = session.subscriptions.keys().cloned().collect();
        for filter in filters {
            self.remove_subscription(id, &filter);
            self.mark_lazily(now, Key::Cursor(id, filter.clone()));
            self.mark_lazily(now, Key::Subscription(id, filter));
        }
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.clients.remove(&session.client_id);
        let in_flight = std::mem::take(&mut session.in_flight);
        for entry in session.queue.iter().chain(in_flight.values()) {
            self.settle(now, id, entry);
        }
        for packet_id in session.received.keys() {
            self.mark_lazily(now, Key::Received(id, *packet_id));
        }
        self.mark_lazily(now, Key::Session(id));
    }

    /// Ends a connection whose client was silent for one and a half times its keep alive (MQTT 3.1.2.10).
    pub(super) fn check_silence(&mut self, now: Now, link: LinkId) {
        let Some(state) = self.links.get(&link) else { return };
        let Some(silence) = state.keep_alive else { return };
        let end = state.last_received + silence;
        if end > now.monotonic {
            return self.timers.set(Timer::KeepAlive(link), end);
        }
        self.fail(now, link, Reason::KeepAliveTimeout, "silent for too long");
    }

    /// Takes other accounts: what they grant holds from now on, for what waits as well.
    pub(super) fn change_accounts(&mut self, now: Now, accounts: AccountTable) {
        self.rules = super::rules_of(&accounts);
        self.accounts = accounts;
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if !self.accounts.accounts.contains_key(&session.account) {
                self.forget_account(now, id);
                continue;
            }
            let rules = self.rules.get(&session.account).cloned().unwrap_or_default();
            let changed = rules != session.grant.rules;
            session.grant.rules = rules;
            if changed {
                self.drop_entries(now, id, |entry, grant| !grant.may_read(&entry.message.topic));
            }
        }
    }

    fn forget_account(&mut self, now: Now, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            // What a removed account left behind is not published.
            session.will = None;
            session.expiry = 0;
            match session.link {
                Some(link) => {
                    self.fail(now, link, Reason::NotAuthorized, "the account was removed");
                }
                None => self.end_session(now, id),
            }
        }
    }

    /// Ends the connections of an account whose password changed.
    pub(super) fn log_out(&mut self, now: Now, account: &str) {
        let of_account = |id: &SessionId| {
            self.sessions.get(id).is_some_and(|session| *session.account == *account)
        };
        let links = self.links.iter().filter(|(_, state)| of_account(&state.session));
        let links: Vec<LinkId> = links.map(|(link, _)| *link).collect();
        for link in links {
            self.fail(now, link, Reason::NotAuthorized, "the account's password changed");
        }
    }

    /// Ends every connection, and has everything written.
    pub(super) fn stop(&mut self, now: Now) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            let told = |state: &Link| state.version == Version::V5 && state.open;
            if self.links.get(&link).is_some_and(told) {
                let reason = Reason::ServerShuttingDown;
                self.send(link, Reply::Disconnect { reason, text: None });
            }
            self.outputs.push_back(super::Output::Close { link });
            self.lose(now, link);
        }
        self.journal.hurry(now.monotonic);
    }
}

impl Session {
    /// Returns when the session ends by itself, if ever.
    fn expiry_end(&self, ended: Duration) -> Option<Duration> {
        (self.expiry != u32::MAX).then(|| ended + seconds(self.expiry))
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// Normal disconnection (MQTT 3.14.2.1).
const NORMAL: u8 = 0;
