//! Converts the state to stored records, and back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Body, Broker, Limits, Now, Output,
    alphabet::{Notice, NoticeKind},
    journal::Key,
    record::{
        Change, EntryRecord, MessageRecord, SessionRecord, Table, decode, encode, key_of, split_key,
    },
    session::{Progress, RetainedCursor, Session, SessionId, Subscription},
};
use crate::{
    packet::{QoS, Version},
    rights::AccountTable,
};

impl Broker {
    /// Creates a broker that continues where the previous one ended, from the stored data: each table with its
    /// records, in the order of [`Table::ALL`].
    ///
    /// Records that cannot be read, or belong to nothing, are left out and removed.
    pub fn restore(
        limits: Limits,
        accounts: AccountTable,
        seed: u64,
        now: Now,
        records: impl IntoIterator<Item = (Table, Vec<u8>, Vec<u8>)>,
    ) -> Self {
        let mut broker = Self::new(limits, accounts, seed, now);
        let mut damaged = 0_usize;
        for (table, key, value) in records {
            if broker.take_record(now, table, &key, &value).is_none() {
                damaged += 1;
                if let Some(key) = broken_key(table, &key) {
                    broker.mark_lazily(now, key);
                }
            }
        }
        if damaged > 0 {
            let why = format!("{damaged} records of the store belong to nothing or are damaged");
            let (client_id, account) = ("".into(), "".into());
            let notice = Notice { kind: NoticeKind::StoreDamaged, client_id, account, why };
            broker.outputs.push_back(Output::Notice(notice));
        }
        broker.finish_restore(now);
        broker
    }

    /// Takes on one record; returns nothing where it cannot be used.
    fn take_record(&mut self, now: Now, table: Table, key: &[u8], value: &[u8]) -> Option<()> {
        match table {
            Table::Sessions => self.take_session(now, key, value),
            Table::Subscriptions => {
                let (id, filter) = split_key(key)?;
                let filter: Arc<str> = std::str::from_utf8(filter).ok()?.into();
                let subscription: Subscription = decode(value)?;
                self.sessions.get(&id)?;
                self.add_subscription(id, &filter, subscription);
                Some(())
            }
            Table::Received => {
                let (id, packet_id) = split_key(key)?;
                let packet_id = u16::from_be_bytes(packet_id.try_into().ok()?).try_into().ok()?;
                self.sessions.get_mut(&id)?.received.insert(packet_id, 0);
                Some(())
            }
            Table::Bodies => {
                let number = u64::from_be_bytes(key.try_into().ok()?);
                let message = Arc::new(decode::<MessageRecord>(value)?.restore(now)?);
                self.last_body = self.last_body.max(number);
                self.bodies.insert(number, Body { message, holders: 0, stored: true });
                Some(())
            }
            Table::Entries => self.take_entry(key, value),
            Table::Retained => {
                let message = decode::<MessageRecord>(value)?.restore(now)?;
                (message.topic.as_bytes() == key).then_some(())?;
                self.retained.put(Arc::new(message));
                Some(())
            }
            Table::Cursors => {
                let (id, filter) = split_key(key)?;
                let filter: Arc<str> = std::str::from_utf8(filter).ok()?.into();
                let after = decode::<Option<String>>(value)?.map(Arc::from);
                let session = self.sessions.get_mut(&id)?;
                session.subscriptions.get(&filter)?;
                session.retained.push_back(RetainedCursor { filter, after, ready: true });
                Some(())
            }
        }
    }

    /// Takes a session from its record; none where the record cannot be read, or where its client has a session already.
    fn take_session(&mut self, now: Now, key: &[u8], value: &[u8]) -> Option<()> {
        let id = SessionId(u64::from_be_bytes(key.try_into().ok()?));
        let record: SessionRecord = decode(value)?;
        let mut session = Session::restored(&record.client_id, &record.account);
        session.version = if record.version_5 { Version::V5 } else { Version::V3 };
        session.expiry = record.expiry;
        session.last_packet_id = record.last_packet_id;
        session.grant = self.grant(&record.account, session.client_id.clone());
        if let Some(will) = record.will {
            session.will = Some(will.restore(now)?);
        }
        session.was_connected = record.ended.is_none();
        // A connection that the broker's own end cut ended when it is back: nothing else is known.
        let ended = record.ended.map_or(now.monotonic, |ended| now.at_unix(ended));
        session.ended = Some(ended.min(now.monotonic));
        let longest = session.expiry;
        if let Some(will) = &mut session.will {
            let latest = now.monotonic + Duration::from_secs(will.delay.min(longest).into());
            will.due = Some(will.due.map_or(latest, |due| due.min(latest)));
        }
        self.last_session = self.last_session.max(id.0);
        if self.clients.insert(session.client_id.clone(), id).is_some() {
            return None;
        }
        self.sessions.insert(id, session);
        Some(())
    }

    /// Takes a queued message from its record, after the sessions and bodies. One that its client may have got before the end
    /// of the broker is sent again as a repeat (MQTT 4.4).
    fn take_entry(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (id, number) = split_key(key)?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let record: EntryRecord = decode(value)?;
        let body = self.bodies.get_mut(&record.body)?;
        let session = self.sessions.get_mut(&id)?;
        let mut entry = record.restore(number, body.message.clone())?;
        // At QoS 2 the identifier is stored ahead of the message; at QoS 1 it may be lost with the mark that it was sent.
        let may_be_sent =
            entry.packet_id.is_some() || (entry.qos == QoS::AtLeastOnce && session.was_connected);
        if may_be_sent && entry.progress == Progress::Waiting {
            entry.progress = Progress::Sent;
        }
        body.holders += 1;
        session.last_entry = session.last_entry.max(number);
        session.queued += entry.memory();
        self.queued += entry.memory();
        match entry.packet_id {
            Some(packet_id) => {
                session.packet_ids.insert(packet_id);
                session.last_packet_id = session.last_packet_id.max(packet_id.get());
                session.in_flight.insert(packet_id, entry);
            }
            None => session.queue.push_back(entry),
        }
        Some(())
    }

    /// Forgets what nobody needs any more, and sets the deadlines: of sessions, and of wills whose connections the broker's end
    /// cut.
    fn finish_restore(&mut self, now: Now) {
        let unheld: Vec<u64> =
            self.bodies.iter().filter(|(_, body)| body.holders == 0).map(|(id, _)| *id).collect();
        for number in unheld {
            self.bodies.remove(&number);
            self.mark_lazily(now, Key::Body(number));
        }
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.rewind();
            // Packet identifiers rise in steps that the store does not have.
            session.last_packet_id = session.last_packet_id.wrapping_add(PACKET_IDS_UNKNOWN);
            if !self.accounts.accounts.contains_key(&session.account) {
                session.will = None;
                self.end_session(now, id);
            } else if session.expiry == 0 {
                // It ended with the broker; its will is published after its delay, which is none (MQTT 3.1.3.2.2).
                self.end_session(now, id);
            } else {
                if session.was_connected {
                    // Another restart must not put off what is due after the end of that connection.
                    self.mark(now, Key::Session(id));
                }
                self.set_deadlines(now, id);
            }
        }
    }

    /// Returns what the store should hold under a key now.
    pub(super) fn change(&mut self, now: Now, key: Key) -> Change {
        match key {
            Key::Session(id) => {
                let session = self.sessions.get(&id);
                let kept = session.filter(|it| it.is_durable() || it.will.is_some());
                let value = kept.map(|session| encode(&SessionRecord::of(session, now)));
                Change { table: Table::Sessions, key: key_of(id, &[]), value }
            }
            Key::Subscription(id, filter) => {
                let session = self.sessions.get(&id).filter(|session| session.is_durable());
                let subscription = session.and_then(|session| session.subscriptions.get(&filter));
                let key = key_of(id, filter.as_bytes());
                Change { table: Table::Subscriptions, key, value: subscription.map(encode) }
            }
            Key::Cursor(id, filter) => {
                let session = self.sessions.get(&id).filter(|session| session.is_durable());
                let mut cursors = session.into_iter().flat_map(|session| &session.retained);
                let cursor = cursors.find(|cursor| cursor.filter == filter);
                let value = cursor.map(|cursor| encode(&cursor.after.as_deref()));
                let key = key_of(id, filter.as_bytes());
                Change { table: Table::Cursors, key, value }
            }
            Key::Received(id, packet_id) => {
                let session = self.sessions.get(&id);
                let known = session.is_some_and(|it| it.received.contains_key(&packet_id));
                let key = key_of(id, &packet_id.get().to_be_bytes());
                Change { table: Table::Received, key, value: known.then(Vec::new) }
            }
            Key::Body(number) => {
                let body = self.bodies.get_mut(&number);
                let value = body.map(|body| {
                    body.stored = true;
                    encode(&MessageRecord::of(&body.message, now))
                });
                let key = number.to_be_bytes().to_vec();
                Change { table: Table::Bodies, key, value }
            }
            Key::Entry(id, number) => {
                let entry = self.sessions.get_mut(&id).and_then(|session| session.entry(number));
                let value = entry.and_then(|entry| {
                    entry.stored = true;
                    entry.body.map(|body| encode(&EntryRecord::of(entry, body)))
                });
                let key = key_of(id, &number.to_be_bytes());
                Change { table: Table::Entries, key, value }
            }
            Key::Retained(topic) => {
                let message = self.retained.get(&topic);
                let value = message.map(|message| encode(&MessageRecord::of(message, now)));
                Change { table: Table::Retained, key: topic.as_bytes().to_vec(), value }
            }
        }
    }

    /// Makes all stored times of the wall clock be written anew, after that clock was set.
    pub(super) fn rewrite_times(&mut self, now: Now) {
        let mut keys: Vec<Key> = Vec::new();
        for (id, session) in &self.sessions {
            if session.link.is_none() {
                keys.push(Key::Session(*id));
            }
        }
        let lasting = self.bodies.iter().filter(|(_, body)| body.stored);
        let ending = lasting.filter(|(_, body)| body.message.expiry.is_some());
        keys.extend(ending.map(|(number, _)| Key::Body(*number)));
        let retained = self.retained.topics_that_end();
        keys.extend(retained.map(|topic| Key::Retained(topic.clone())));
        for key in keys {
            self.mark_lazily(now, key);
        }
    }

    /// Returns the topics of the retained messages.
    pub fn retained_topics(&self) -> BTreeSet<Arc<str>> {
        self.retained.topics().cloned().collect()
    }
}

impl Session {
    /// Finds a message of the session by its number.
    fn entry(&mut self, number: u64) -> Option<&mut super::session::Entry> {
        // Messages that are sent again come first, so the queue is in order.
        let place = self.queue.binary_search_by_key(&number, |entry| entry.number);
        match place {
            Ok(place) => self.queue.get_mut(place),
            Err(_) => self.in_flight.values_mut().find(|entry| entry.number == number),
        }
    }
}

/// Returns the key of a record that is of no use, so that it is removed.
fn broken_key(table: Table, key: &[u8]) -> Option<Key> {
    let number = || Some(u64::from_be_bytes(key.try_into().ok()?));
    let (id, rest) = split_key(key).unwrap_or((SessionId(0), &[]));
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Arc::from);
    match table {
        Table::Sessions => Some(Key::Session(SessionId(number()?))),
        Table::Subscriptions => Some(Key::Subscription(id, text(rest)?)),
        Table::Received => {
            let packet_id = u16::from_be_bytes(rest.try_into().ok()?);
            Some(Key::Received(id, packet_id.try_into().ok()?))
        }
        Table::Bodies => Some(Key::Body(number()?)),
        Table::Entries => Some(Key::Entry(id, u64::from_be_bytes(rest.try_into().ok()?))),
        Table::Retained => Some(Key::Retained(text(key)?)),
        Table::Cursors => Some(Key::Cursor(id, text(rest)?)),
    }
}

/// Packet identifiers that may have been given out and are not in the store.
const PACKET_IDS_UNKNOWN: u16 = 4_096;
