//! How a connection begins (MQTT 3.1, 3.2).

use std::{sync::Arc, time::Duration};

use super::{
    Broker, LinkId, NoticeKind, Now, Outgoing, Output,
    alphabet::Notice,
    delivery::VOUCHES,
    journal::Key,
    link::{Link, PendingReply},
    message::{Message, Sender},
    session::{PendingWill, Progress, Session, SessionId},
    timers::Timer,
};
use crate::{
    packet::{
        Answer, Connack, Connect, Reason, Reply, Version, Will, fitting, remove_user_properties,
    },
    rights::{Action, Grant, MAX_LEVELS, Refused, Role},
};

impl Broker {
    pub(super) fn connected(&mut self, now: Now, link: LinkId, connect: Connect, account: &str) {
        let account: Arc<str> = account.into();
        let mut connect = connect;
        let assigned = self.assign_client_id(&mut connect);
        let grant = match self.admit(&connect, &account) {
            Ok(grant) => grant,
            Err((reason, why)) => return self.refuse(link, &connect, account, reason, why),
        };
        let present = self.take_over(now, &connect);
        let id = self.open_session(link, &connect, account, grant);
        let mut connack = self.connack(&connect, id, present.is_some());
        connack.assigned_client_id = assigned.filter(|_| connect.version == Version::V5);
        let session = &self.sessions[&id];
        let batch = match session.is_durable() || session.will.is_some() {
            true => self.mark(now, Key::Session(id)),
            false => 0,
        };
        self.open_link(now, link, id, &connect);
        let reply = PendingReply::after(Reply::Connack(Box::new(connack)), batch);
        self.reply(now, link, reply);
    }

    /// Gives a client without a client ID one (MQTT 3.1.3.1).
    fn assign_client_id(&mut self, connect: &mut Connect) -> Option<String> {
        let may = connect.version == Version::V5 || connect.clean_start;
        if !connect.client_id.is_empty() || !may {
            return None;
        }
        loop {
            self.assigned += 1;
            connect.client_id = format!("auto-{:08x}-{}", self.seed as u32, self.assigned);
            if !self.clients.contains_key(connect.client_id.as_str()) {
                break;
            }
        }
        Some(connect.client_id.clone())
    }

    /// Returns what a client is granted, or why it may not connect like this.
    fn admit(&self, connect: &Connect, account: &str) -> Result<Grant, (Reason, String)> {
        let id = connect.client_id.as_str();
        let refuse = |reason, why: &str| Err((reason, why.to_owned()));
        let Some(known) = self.accounts.accounts.get(account) else {
            return refuse(Reason::NotAuthorized, "the account was removed");
        };
        if connect.authentication_method.is_some() {
            return refuse(Reason::BadAuthenticationMethod, "only passwords are taken here");
        }
        if id.is_empty() {
            let why = "MQTT 3.1.1 has no session without a client ID";
            return refuse(Reason::ClientIdentifierNotValid, why);
        }
        if id.len() > MAX_CLIENT_ID {
            return refuse(
                Reason::ClientIdentifierNotValid,
                "the client ID is longer than 256 bytes",
            );
        }
        if let Some(why) = self.accounts.client_id_fault(known, id) {
            let own = !known.client_ids.is_empty();
            let reason = if own { Reason::ClientIdentifierNotValid } else { Reason::NotAuthorized };
            return Err((reason, why));
        }
        let session = self.clients.get(id).and_then(|id| self.sessions.get(id));
        match session {
            Some(session) if *session.account != *account => {
                let why = "the client ID has a session of another account";
                return refuse(Reason::NotAuthorized, why);
            }
            Some(_) => {}
            None => self.has_room_for_session(account)?,
        }
        let grant = self.grant(account, id.into());
        if let Some(will) = &connect.will {
            self.check_will(&grant, will, account)?;
        }
        Ok(grant)
    }

    fn check_will(
        &self,
        grant: &Grant,
        will: &Will,
        account: &str,
    ) -> Result<(), (Reason, String)> {
        let topic = will.topic.as_str();
        if topic.split('/').count() > MAX_LEVELS {
            let why = "the will's topic has too many levels";
            return Err((Reason::TopicNameInvalid, why.to_owned()));
        }
        if !grant.may_publish(topic, will.retain, will.payload.is_empty()) {
            let (wanted, action) = match will.retain && !will.payload.is_empty() {
                true => ("publish its will retained on", Action::Retain),
                false => ("publish its will on", Action::Publish),
            };
            let refused = Refused { wanted, action, topic };
            let why = self.accounts.refusal(account, &grant.client_id, refused);
            return Err((Reason::NotAuthorized, why));
        }
        Ok(())
    }

    /// Checks the bounds for a new session.
    fn has_room_for_session(&self, account: &str) -> Result<(), (Reason, String)> {
        if self.sessions.len() >= self.limits.sessions {
            return Err((Reason::QuotaExceeded, "the broker has too many sessions".to_owned()));
        }
        // Only counted where it can matter.
        if self.sessions.len() >= self.limits.sessions_of_account {
            let of_account =
                self.sessions.values().filter(|session| *session.account == *account).count();
            if of_account >= self.limits.sessions_of_account {
                return Err((
                    Reason::QuotaExceeded,
                    "the account has too many sessions".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Answers with a CONNACK that says why, closes the connection, and tells the log.
    fn refuse(
        &mut self,
        link: LinkId,
        connect: &Connect,
        account: Arc<str>,
        reason: Reason,
        why: String,
    ) {
        let connack = Connack { reason, text: Some(why.clone()), ..Connack::default() };
        let reply = Reply::Connack(Box::new(connack));
        if let Some(reply) = fitting(reply, connect.version, connect.largest_packet()) {
            self.outputs.push_back(Output::Send { link, packet: Outgoing::Reply(reply) });
        }
        self.outputs.push_back(Output::Close { link });
        let client_id = connect.client_id.as_str().into();
        let notice = Notice { kind: NoticeKind::ConnectRefused, client_id, account, why };
        self.outputs.push_back(Output::Notice(notice));
    }

    /// Ends the connection that the session has, and the session itself where a clean start is asked for
    /// (MQTT 3.1.2.4, 3.1.4); returns the session that continues.
    fn take_over(&mut self, now: Now, connect: &Connect) -> Option<SessionId> {
        let &id = self.clients.get(connect.client_id.as_str())?;
        if let Some(old) = self.sessions[&id].link {
            self.fail(now, old, Reason::SessionTakenOver, "the client connected anew");
        }
        // The session may have ended with its connection.
        let &id = self.clients.get(connect.client_id.as_str())?;
        if connect.clean_start {
            self.end_session(now, id);
            return None;
        }
        Some(id)
    }

    /// Connects the session of a client, a new one or the one that it had, with the will and the expiry of this CONNECT.
    fn open_session(
        &mut self,
        link: LinkId,
        connect: &Connect,
        account: Arc<str>,
        grant: Grant,
    ) -> SessionId {
        let client_id = grant.client_id.clone();
        let id = match self.clients.get(&client_id) {
            Some(&id) => id,
            None => {
                self.last_session += 1;
                let id = SessionId(self.last_session);
                self.clients.insert(client_id.clone(), id);
                self.sessions.insert(id, Session::new(client_id.clone(), account.clone()));
                id
            }
        };
        self.timers.clear(Timer::Will(id));
        self.timers.clear(Timer::SessionEnd(id));
        let longest = self.limits.session_expiry.as_secs().min(u32::MAX.into()) as u32;
        let session = self.sessions.get_mut(&id).expect("the session was just found or made");
        session.link = Some(link);
        session.grant = grant;
        session.version = connect.version;
        session.expiry = connect.session_expiry.min(longest);
        session.ended = None;
        let sender = Sender { account, client_id };
        session.will = connect.will.as_ref().map(|will| pending(will, sender));
        session.rewind();
        id
    }

    /// Keeps what holds for this connection alone. It gets nothing before its CONNACK ([`Broker::opened`]).
    fn open_link(&mut self, now: Now, link: LinkId, session: SessionId, connect: &Connect) {
        let asked = connect.receive_maximum.map_or(usize::from(u16::MAX), |most| most.get().into());
        let window = match connect.version {
            Version::V3 => self.limits.window_v3.into(),
            Version::V5 => asked.min(self.limits.window.into()),
        };
        let keep_alive = (connect.keep_alive > 0)
            .then(|| Duration::from_millis(u64::from(connect.keep_alive) * 1_500));
        if let Some(silence) = keep_alive {
            self.timers.set(Timer::KeepAlive(link), now.monotonic + silence);
        }
        let state = Link {
            session,
            version: connect.version,
            open: false,
            keep_alive,
            last_received: now.monotonic,
            maximum_packet_size: connect.largest_packet(),
            window,
            wants_reasons: connect.wants_problem_information,
            expires_at_once: connect.session_expiry == 0,
            aliases: Vec::new(),
            replies: Default::default(),
            unacknowledged: 0,
            unsent: 0,
        };
        self.links.insert(link, state);
    }

    fn connack(&self, connect: &Connect, session: SessionId, session_present: bool) -> Connack {
        let session = &self.sessions[&session];
        let mut connack = Connack { session_present, ..Connack::default() };
        if connect.version == Version::V3 {
            return connack;
        }
        connack.receive_maximum = Some(self.limits.receive_maximum);
        connack.maximum_packet_size = Some(self.limits.packet);
        connack.topic_alias_maximum = Some(self.limits.topic_aliases);
        connack.session_expiry =
            (session.expiry != connect.session_expiry).then_some(session.expiry);
        connack.response_information =
            connect.wants_response_information.then(|| self.accounts.home.to_string());
        if session.grant.role() == Some(Role::Hub) {
            connack.user_properties.push((VOUCHES, "1".into()));
        }
        connack
    }

    /// Sends what may follow a CONNACK: first the PUBRELs that were not completed (MQTT 4.4).
    pub(super) fn opened(&mut self, now: Now, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.open = true;
        let Some(session) = self.sessions.get(&state.session) else { return };
        let in_flight = session.in_flight.iter();
        let mut released: Vec<_> = in_flight
            .filter(|(_, entry)| entry.progress == Progress::Released)
            .map(|(id, entry)| (entry.number, *id))
            .collect();
        released.sort_unstable();
        for (_, packet_id) in released {
            let answer = Answer { packet_id, reason: Reason::Success, text: None };
            self.send(link, Reply::Pubrel(answer));
        }
        self.pump(now, link);
    }
}

impl Session {
    fn new(client_id: Arc<str>, account: Arc<str>) -> Self {
        let grant = Grant { rules: Arc::default(), client_id: client_id.clone() };
        Self {
            client_id,
            account,
            grant,
            version: Version::V5,
            link: None,
            expiry: 0,
            ended: None,
            was_connected: false,
            will: None,
            subscriptions: Default::default(),
            queue: Default::default(),
            in_flight: Default::default(),
            packet_ids: Default::default(),
            last_packet_id: 0,
            last_entry: 0,
            retained: Default::default(),
            received: Default::default(),
            queued: 0,
            giving_way: 0,
        }
    }

    /// Creates a session as the store has it.
    pub(super) fn restored(client_id: &str, account: &str) -> Self {
        Self::new(client_id.into(), account.into())
    }
}

fn pending(will: &Will, sender: Sender) -> PendingWill {
    let properties = remove_user_properties(will.properties.clone(), super::delivering::SENDERS);
    let message = Message {
        topic: will.topic.as_str().into(),
        payload: will.payload.clone(),
        properties,
        qos: will.qos,
        expiry: None,
        sender,
    };
    PendingWill { message, expiry: will.expiry, retain: will.retain, delay: will.delay, due: None }
}

/// Longest client ID in bytes.
const MAX_CLIENT_ID: usize = 256;
