//! The broker's machine: its core, and a disk that keeps a prefix of the writes when the power fails.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use hearthd_broker::{
    core::{Broker, Change, Input, Limits, LinkId, NoticeKind, Now, Outgoing, Output, Table},
    packet::{Received, Reply},
    rights::{Account, AccountTable, NamePattern, Role},
};

use super::{Event, Who, World, hub::device, mail, ms};

/// The broker across its lives.
pub(super) struct BrokerSide {
    core: Option<Broker>,
    life: u64,
    disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Batches that are on their way to the disk.
    pending: VecDeque<(u64, Vec<Change>)>,
    writes_until: Duration,
    write_latency: Duration,
    accounts: AccountTable,
}

impl BrokerSide {
    /// Makes the broker's machine, with an account for each hub and one for all people.
    pub(super) fn new(hubs: usize, rng: &mut Rng) -> Self {
        let account = |name: String, role, devices| {
            let name: Arc<str> = name.into();
            let (client_ids, rights) = (Vec::new(), Vec::new());
            (name.clone(), Account { name, role, client_ids, devices, rights })
        };
        let devices = |hub| NamePattern::parse(&device(hub)).into_iter().collect();
        let hubs = (0..hubs).map(|hub| account(format!("hub-{hub}"), Role::Hub, devices(hub)));
        let people = account("people".into(), Role::Everything, Vec::new());
        let accounts = hubs.chain([people]).collect();
        Self {
            core: None,
            life: 0,
            disk: BTreeMap::new(),
            pending: VecDeque::new(),
            writes_until: Duration::ZERO,
            write_latency: ms([0, 2, 15, 80][rng.usize(..4)]),
            accounts: AccountTable { home: "home".into(), accounts },
        }
    }

    /// Returns whether the broker runs.
    pub(super) fn is_up(&self) -> bool {
        self.core.is_some()
    }

    /// Returns when the broker's core wants to be woken.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.core.as_ref()?.poll_timeout().map(|due| due.saturating_sub(BASE))
    }

    fn put(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change.value {
                Some(value) => drop(self.disk.insert((change.table, change.key), value)),
                None => drop(self.disk.remove(&(change.table, change.key))),
            }
        }
    }
}

impl World<'_> {
    /// Starts the broker with what its disk has.
    pub(super) fn start_broker(&mut self) {
        if self.broker.is_up() {
            return;
        }
        self.broker.life += 1;
        let side = &self.broker;
        let records: Vec<_> = side
            .disk
            .iter()
            .map(|((table, key), value)| (*table, key.clone(), value.clone()))
            .collect();
        let (limits, accounts) = (Limits::default(), side.accounts.clone());
        let core = Broker::restore(limits, accounts, side.life, self.broker_now(), records);
        self.broker.core = Some(core);
        self.broker.writes_until = self.now;
        self.note("the broker starts");
        self.ledger.broker_started(self.now);
        self.perform_of_broker();
    }

    /// Ends the broker; of what it was writing, so much is on the disk as the moment says.
    pub(super) fn kill_broker(&mut self, why: &'static str) {
        if self.broker.core.take().is_none() {
            return;
        }
        self.count(why);
        self.ledger.broker_ended(self.now);
        self.mail.broker_ended(self.now);
        let written = self.rng.usize(..=self.broker.pending.len());
        self.note(format!("{why}: {written} of {} batches are written", self.broker.pending.len()));
        for (_, changes) in std::mem::take(&mut self.broker.pending).into_iter().take(written) {
            self.broker.put(changes);
        }
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            let notices = ms(self.rng.u64(..500));
            let Some(it) = self.links.get_mut(&link) else { continue };
            it.broker_open = false;
            it.cut_at.get_or_insert(self.now);
            self.after(notices, Event::ClientSeesEnd(link));
        }
        let down = match self.rng.u8(..4) {
            0 => ms(self.rng.u64(..60_000)),
            _ => ms(self.rng.u64(..1_500)),
        };
        self.after(down, Event::BrokerStarts);
    }

    /// Lets the core do what is due.
    pub(super) fn wake_broker(&mut self) {
        self.feed_broker(Input::Tick);
    }

    /// Gives the core a packet, with the account of whoever is behind the connection.
    pub(super) fn broker_receives(&mut self, link: u64, packet: Received) {
        let Some(who) = self.links.get(&link).map(|it| it.who) else { return };
        let id = LinkId(link);
        let input = match packet {
            Received::Connect(connect) => {
                let account = match who {
                    Who::Hub(hub) => {
                        self.ledger.hub_connects(hub, self.now);
                        format!("hub-{hub}").into()
                    }
                    Who::Mail(mail::Role::Thief) => "hub-0".into(),
                    Who::Phone(_) | Who::Mail(_) => "people".into(),
                };
                Input::Connected { link: id, connect, account }
            }
            packet => {
                if let (Who::Hub(hub), Received::Disconnect(goodbye)) = (who, &packet)
                    && goodbye.reason == 0
                {
                    self.ledger.hub_says_goodbye(hub, link);
                }
                if let (Who::Mail(mail::Role::Sender), Received::Publish(publish)) = (who, &packet)
                {
                    self.letter_at_broker(&publish.payload);
                }
                Input::Received { link: id, packet }
            }
        };
        self.feed_broker(input);
    }

    /// The broker notices that a connection has ended.
    pub(super) fn broker_loses(&mut self, link: u64) {
        let Some(it) = self.links.get_mut(&link) else { return };
        let who = it.who;
        if std::mem::take(&mut it.broker_open) {
            if let Who::Hub(hub) = who {
                self.ledger.hub_is_gone(hub, link, self.now);
            }
            self.feed_broker(Input::Closed { link: LinkId(link) });
        }
        self.forget_link(link);
    }

    /// All that the broker has sent on a connection has left.
    pub(super) fn drained(&mut self, link: u64) {
        let now = self.now;
        let all = |it: &super::Link| it.broker_open && it.last_to_client <= now;
        if self.links.get(&link).is_some_and(all) {
            self.feed_broker(Input::Drained { link: LinkId(link) });
        }
    }

    /// A batch is on the disk, unless the broker has lost its power meanwhile.
    pub(super) fn batch_written(&mut self, life: u64, batch: u64) {
        if life != self.broker.life || !self.broker.is_up() {
            return;
        }
        if let Some((_, changes)) = self.broker.pending.pop_front() {
            self.broker.put(changes);
        }
        self.feed_broker(Input::Written { batch });
    }

    fn feed_broker(&mut self, input: Input) {
        let now = self.broker_now();
        if let Some(core) = &mut self.broker.core {
            core.handle(now, input);
            self.perform_of_broker();
        }
    }

    fn perform_of_broker(&mut self) {
        while let Some(output) = self.broker.core.as_mut().and_then(Broker::poll_output) {
            match output {
                Output::Send { link, packet } => {
                    self.note_sent(link.0, &packet);
                    let to = self.links.get(&link.0).map(|it| it.who);
                    if to == Some(Who::Mail(mail::Role::Reader)) {
                        self.letter_from_broker(&packet);
                    }
                    self.broker_writes(link.0, &packet);
                }
                Output::Close { link } => {
                    if let Some(Who::Hub(hub)) = self.links.get(&link.0).map(|it| it.who) {
                        self.ledger.hub_is_gone(hub, link.0, self.now);
                    }
                    self.close_broker_end(link.0);
                }
                Output::Write { batch, changes } => {
                    self.broker.pending.push_back((batch, changes));
                    let latency = self.broker.write_latency;
                    let done = self.broker.writes_until.max(self.now) + latency;
                    self.broker.writes_until = done;
                    let life = self.broker.life;
                    self.at(done, Event::BatchWritten { life, batch });
                }
                Output::Notice(notice) => {
                    self.note(format!(
                        "the broker says {:?} of {}: {}",
                        notice.kind, notice.client_id, notice.why
                    ));
                    match notice.kind {
                        NoticeKind::StoreDamaged => {
                            self.violate(format!(
                                "the broker cannot read its own store: {}",
                                notice.why
                            ));
                        }
                        NoticeKind::Dropped | NoticeKind::SessionFull => {
                            self.violate(format!("a message was dropped: {}", notice.why));
                        }
                        NoticeKind::ConnectRefused
                        | NoticeKind::PublishRefused
                        | NoticeKind::SubscribeRefused
                        | NoticeKind::WillRefused
                        | NoticeKind::Ended => self.count("refusals of the broker"),
                    }
                }
            }
        }
    }

    fn note_sent(&mut self, link: u64, packet: &Outgoing) {
        let Some(Who::Hub(hub)) = self.links.get(&link).map(|it| it.who) else { return };
        if let Outgoing::Reply(Reply::Connack(connack)) = packet
            && !connack.reason.is_failure()
        {
            let will = self.hubs[hub].generation_of(link);
            self.ledger.hub_is_connected(hub, link, will);
        }
    }

    fn broker_now(&self) -> Now {
        Now { monotonic: BASE + self.now, unix: Duration::from_secs(1_800_000_000) + self.now }
    }
}

/// The broker's clock is far from 0.
const BASE: Duration = Duration::from_secs(1 << 32);
