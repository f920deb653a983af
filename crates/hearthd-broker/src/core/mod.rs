//! Decides: sessions, subscriptions, retained messages, wills, rights and queues. It owns no clock, no socket, no file.

mod alphabet;
mod connecting;
mod delivering;
mod delivery;
mod ending;
mod journal;
mod limits;
mod link;
mod message;
mod overflow;
mod publishing;
mod record;
mod recovery;
mod retained;
mod routing;
mod session;
mod subscribing;
mod timers;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use alphabet::{Input, LinkId, Notice, NoticeKind, Now, Outgoing, Output};
pub use delivery::{Delivery, SENDER_ACCOUNT, SENDER_CLIENT_ID, VOUCHES};
pub use limits::Limits;
pub use message::{Expiry, Message, Sender};
pub use record::{Change, Table};

use journal::{Journal, Key};
use link::{Link, PendingReply};
use retained::Retained;
use session::{Session, SessionId};
use timers::{Timer, Timers};
use tree::Tree;

use crate::{
    packet::{Reason, Received, Reply, Version, fitting},
    rights::{AccountTable, Grant, Rules},
};

/// The broker of one home.
///
/// Call [`Broker::handle`] with one input, then [`Broker::poll_output`] until it returns none, and carry the outputs out in
/// their order. Then wait for the next input, or until [`Broker::poll_timeout`], at which [`Input::Tick`] is the input.
#[derive(Debug)]
pub struct Broker {
    limits: Limits,
    accounts: AccountTable,
    /// What each account grants, once for all its clients.
    rules: BTreeMap<Arc<str>, Arc<Rules>>,
    links: BTreeMap<LinkId, Link>,
    sessions: BTreeMap<SessionId, Session>,
    clients: BTreeMap<Arc<str>, SessionId>,
    last_session: u64,
    tree: Tree,
    subscription_memory: usize,
    /// For each shared subscription, how many messages it had.
    shares: BTreeMap<Arc<str>, usize>,
    retained: Retained,
    /// Messages that wait in the queues of durable sessions.
    bodies: BTreeMap<u64, Body>,
    last_body: u64,
    /// Memory of all queues.
    queued: usize,
    /// Sessions that too much waits for: they end with the input.
    overfull: BTreeSet<SessionId>,
    /// The batch without the sessions that ended because they were full.
    ///
    /// A session that came back by a power cut would lack the messages that were acknowledged since then.
    ended_in: u64,
    /// Messages whose acknowledgement waits for that of their receivers.
    publications: BTreeMap<u64, Publication>,
    last_publication: u64,
    timers: Timers,
    journal: Journal,
    /// Connections that wait for a batch, or may continue now.
    waiting: BTreeSet<LinkId>,
    outputs: VecDeque<Output>,
    /// What the wall clock is ahead of the monotonic one, in seconds.
    ahead: i64,
    /// Makes assigned client IDs differ from those before a restart.
    seed: u64,
    assigned: u64,
}

/// A message in the store, and how many queues hold it.
#[derive(Debug)]
struct Body {
    message: Arc<message::Message>,
    holders: usize,
    stored: bool,
}

/// A message whose acknowledgement waits until all durable receivers acknowledged it, or a batch is written.
#[derive(Debug)]
struct Publication {
    link: LinkId,
    /// Receivers that have not acknowledged it, and one while there may come more of them.
    remaining: usize,
    batch: u64,
}

impl Broker {
    /// Creates a broker without sessions; `seed` is different at every start.
    pub fn new(limits: Limits, accounts: AccountTable, seed: u64, now: Now) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Sweep, now.monotonic + SWEEP);
        Self {
            retained: Retained::new(limits.retained),
            limits,
            rules: rules_of(&accounts),
            accounts,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
            last_session: 0,
            tree: Tree::default(),
            subscription_memory: 0,
            shares: BTreeMap::new(),
            bodies: BTreeMap::new(),
            last_body: 0,
            queued: 0,
            overfull: BTreeSet::new(),
            ended_in: 0,
            publications: BTreeMap::new(),
            last_publication: 0,
            timers,
            journal: Journal::new(),
            waiting: BTreeSet::new(),
            outputs: VecDeque::new(),
            ahead: ahead(now),
            seed,
            assigned: 0,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { link, connect, account } => {
                self.connected(now, link, *connect, &account);
            }
            Input::Received { link, packet } => self.received(now, link, packet),
            Input::Malformed { link, error } => self.fail(now, link, error.reason, error.what),
            Input::Closed { link } => self.lose(now, link),
            Input::Drained { link } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.unsent = 0;
                }
                self.pump(now, link);
            }
            Input::Written { batch } => self.written(batch),
            Input::Accounts(accounts) => self.change_accounts(now, accounts),
            Input::LoggedOut { account } => self.log_out(now, &account),
            Input::Stop => self.stop(now),
            Input::Tick => {}
        }
        let ahead = ahead(now);
        if ahead.abs_diff(self.ahead) > CLOCK_WAS_SET {
            self.ahead = ahead;
            self.rewrite_times(now);
        }
        while let Some(timer) = self.timers.take_due(now.monotonic) {
            self.fire(now, timer);
        }
        while let Some(id) = self.overfull.pop_first() {
            self.end_overfull(now, id);
        }
        while let Some(link) = self.waiting.pop_first() {
            self.reply_and_pump(now, link);
        }
        self.write_if_due(now);
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Tick`] has to come at the latest, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        [self.timers.next(), self.journal.due()].into_iter().flatten().min()
    }

    /// Returns whether the store has everything.
    pub fn is_settled(&self) -> bool {
        self.journal.is_settled()
    }

    fn received(&mut self, now: Now, link: LinkId, packet: Received) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.last_received = now.monotonic;
        match packet {
            Received::Publish(publish) => self.publish(now, link, publish),
            Received::Puback(ack) => self.puback(now, link, ack),
            Received::Pubrec(ack) => self.pubrec(now, link, ack),
            Received::Pubrel(ack) => self.pubrel(now, link, ack),
            Received::Pubcomp(ack) => self.pubcomp(now, link, ack),
            Received::Subscribe(subscribe) => self.subscribe(now, link, subscribe),
            Received::Unsubscribe(unsubscribe) => self.unsubscribe(now, link, unsubscribe),
            Received::Pingreq => self.answer_ping(now, link),
            Received::Disconnect(disconnect) => self.disconnect(now, link, disconnect),
            Received::Connect(_) => {
                self.fail(now, link, Reason::ProtocolError, "a second CONNECT");
            }
            Received::Auth => {
                self.fail(now, link, Reason::ProtocolError, "AUTH without enhanced authentication");
            }
        }
    }

    /// Answers at once, except CONNACK, which is the first packet (MQTT 3.2).
    fn answer_ping(&mut self, now: Now, link: LinkId) {
        if self.links.get(&link).is_some_and(|state| state.open) {
            self.send(link, Reply::Pingresp);
        } else {
            self.reply(now, link, PendingReply::now(Reply::Pingresp));
        }
    }

    fn fire(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::KeepAlive(link) => self.check_silence(now, link),
            Timer::Will(session) => self.publish_will(now, session),
            Timer::SessionEnd(session) => self.end_session(now, session),
            Timer::Sweep => {
                self.sweep(now);
                self.timers.set(Timer::Sweep, now.monotonic + SWEEP);
            }
        }
    }

    /// Removes the messages that have ended.
    fn sweep(&mut self, now: Now) {
        for topic in self.retained.remove_expired(now.monotonic) {
            self.mark_lazily(now, Key::Retained(topic));
        }
        let waiting: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.link.is_none() && !session.queue.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.drop_entries(now, id, |entry, _| {
                entry.packet_id.is_none() && entry.message.is_expired(now.monotonic)
            });
        }
    }

    /// Wakes every connection whose next reply or message may have waited for a batch that the store now has.
    fn written(&mut self, batch: u64) {
        self.journal.written(batch);
        while let Some(publication) = self.publications.first_entry() {
            if !self.journal.has(publication.get().batch) {
                break;
            }
            publication.remove();
        }
        // Every connection whose next reply or message may have waited for the batch.
        let links = self.links.iter();
        let held = links.filter(|(_, link)| !link.replies.is_empty() || link.open);
        let held: Vec<LinkId> = held
            .filter(|(_, link)| {
                let queue = self.sessions.get(&link.session).map(|session| &session.queue);
                let first = queue.and_then(VecDeque::front);
                !link.replies.is_empty() || first.is_some_and(|entry| entry.hold > 0)
            })
            .map(|(id, _)| *id)
            .collect();
        self.waiting.extend(held);
    }

    /// Marks a record whose change something waits for; returns the batch that will have it.
    fn mark(&mut self, now: Now, key: Key) -> u64 {
        self.journal.mark(key, now.monotonic + self.limits.write_delay)
    }

    /// Marks a record whose change nothing waits for.
    fn mark_lazily(&mut self, now: Now, key: Key) {
        self.journal.mark(key, now.monotonic + self.limits.lazy_write_delay);
    }

    fn write_if_due(&mut self, now: Now) {
        if self.journal.due().is_some_and(|due| due <= now.monotonic) {
            let (batch, keys) = self.journal.take();
            let changes = keys.into_iter().map(|key| self.change(now, key)).collect();
            self.outputs.push_back(Output::Write { batch, changes });
        }
    }

    /// Sends a packet at once, ahead of the replies that wait; returns whether the client takes one of its size.
    fn send(&mut self, link: LinkId, reply: Reply) -> bool {
        let Some(state) = self.links.get(&link) else { return false };
        let Some(reply) = fitting(reply, state.version, state.maximum_packet_size) else {
            return false;
        };
        self.outputs.push_back(Output::Send { link, packet: Outgoing::Reply(reply) });
        true
    }

    /// Ends a connection for a reason; an MQTT 5 client gets the reason (MQTT 4.13).
    fn fail(&mut self, now: Now, link: LinkId, reason: Reason, why: &str) {
        let Some(state) = self.links.get(&link) else { return };
        let session = &self.sessions[&state.session];
        let (client_id, account) = (session.client_id.clone(), session.account.clone());
        // Nothing comes before CONNACK (MQTT 3.14).
        if state.version == Version::V5 && state.open {
            self.send(link, Reply::Disconnect { reason, text: Some(why.to_owned()) });
        }
        self.outputs.push_back(Output::Close { link });
        let notice = Notice { kind: NoticeKind::Ended, client_id, account, why: why.to_owned() };
        self.outputs.push_back(Output::Notice(notice));
        self.lose(now, link);
    }

    fn grant(&self, account: &str, client_id: Arc<str>) -> Grant {
        Grant { rules: self.rules.get(account).cloned().unwrap_or_default(), client_id }
    }

    fn notice(&mut self, session: SessionId, kind: NoticeKind, why: String) {
        let Some(session) = self.sessions.get(&session) else { return };
        let (client_id, account) = (session.client_id.clone(), session.account.clone());
        self.outputs.push_back(Output::Notice(Notice { kind, client_id, account, why }));
    }
}

fn rules_of(accounts: &AccountTable) -> BTreeMap<Arc<str>, Arc<Rules>> {
    accounts.accounts.keys().map(|name| (name.clone(), accounts.rules_of(name))).collect()
}

fn ahead(now: Now) -> i64 {
    now.unix.as_secs() as i64 - now.monotonic.as_secs() as i64
}

/// Seconds by which the clocks drift apart before all times are stored anew.
const CLOCK_WAS_SET: u64 = 30;
/// How often messages that have ended are looked for.
const SWEEP: Duration = Duration::from_secs(60);
