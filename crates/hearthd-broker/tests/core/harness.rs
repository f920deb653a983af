//! A broker with a clock that the test moves, and a store that can lose its power.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hearthd_broker::{
    core::{Broker, Change, Delivery, Input, Limits, LinkId, Notice, Now, Outgoing, Output, Table},
    packet::{
        Ack, Connack, Connect, Disconnect, Publish, QoS, Received, Reply, Subscribe,
        SubscriptionOptions, Unsubscribe, Version, Will, encode,
    },
    rights::{Account, AccountTable, NamePattern, Right, Role},
};

/// The broker, and all around it.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Now,
    pub(crate) limits: Limits,
    pub(crate) accounts: AccountTable,
    /// What is on the disk.
    pub(crate) store: Store,
    /// Batches that were not written.
    pub(crate) unwritten: Vec<(u64, Vec<Change>)>,
    /// Whether batches are written at once.
    pub(crate) writes: bool,
    /// How many batches there were.
    pub(crate) batches: usize,
    pub(crate) notices: Vec<Notice>,
    pub(crate) closed: BTreeSet<LinkId>,
    sent: BTreeMap<LinkId, Vec<Outgoing>>,
    last_link: u64,
}

pub(crate) type Store = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), accounts())
    }

    pub(crate) fn with(limits: Limits, accounts: AccountTable) -> Self {
        let now = Now {
            monotonic: Duration::from_secs(1 << 32),
            unix: Duration::from_secs(1_800_000_000),
        };
        Self {
            broker: Broker::new(limits.clone(), accounts.clone(), 7, now),
            now,
            limits,
            accounts,
            store: Store::new(),
            unwritten: Vec::new(),
            writes: true,
            batches: 0,
            notices: Vec::new(),
            closed: BTreeSet::new(),
            sent: BTreeMap::new(),
            last_link: 0,
        }
    }

    /// Ends the broker without a word, and starts it again from the disk after a while.
    pub(crate) fn crash(&mut self, down: Duration) {
        self.now.monotonic += down;
        self.now.unix += down;
        self.unwritten.clear();
        self.sent.clear();
        let mut records: Vec<_> = self.store.iter().collect();
        records.sort_by_key(|((table, _), _)| *table);
        let records: Vec<_> = records
            .into_iter()
            .map(|((table, key), value)| (*table, key.clone(), value.clone()))
            .collect();
        self.broker =
            Broker::restore(self.limits.clone(), self.accounts.clone(), 8, self.now, records);
        self.drain();
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.broker.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send { link, packet } => {
                    require_listed_codes(&packet);
                    self.sent.entry(link).or_default().push(packet);
                }
                Output::Close { link } => drop(self.closed.insert(link)),
                Output::Write { batch, changes } => {
                    self.batches += 1;
                    self.unwritten.push((batch, changes));
                }
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
        if self.writes {
            self.write();
        }
    }

    /// Writes the batches that wait.
    pub(crate) fn write(&mut self) {
        while !self.unwritten.is_empty() {
            let (batch, changes) = self.unwritten.remove(0);
            apply(&mut self.store, changes);
            self.broker.handle(self.now, Input::Written { batch });
            self.drain();
        }
    }

    /// Lets time pass, with every deadline in it met.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while let Some(due) = self.broker.poll_timeout().filter(|due| *due <= end) {
            let step = due.saturating_sub(self.now.monotonic);
            self.now.monotonic += step;
            self.now.unix += step;
            self.handle(Input::Tick);
        }
        let rest = end - self.now.monotonic;
        self.now.monotonic += rest;
        self.now.unix += rest;
    }

    /// Lets the batch that is due be written.
    pub(crate) fn settle(&mut self) {
        self.pass(Duration::from_millis(20));
    }

    /// Connects and returns the connection, with the CONNACK still to be read.
    pub(crate) fn connect(&mut self, client: Client) -> LinkId {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        let account = client.account.into();
        self.handle(Input::Connected { link, connect: Box::new(client.connect), account });
        self.settle();
        link
    }

    /// Connects, and requires a CONNACK of success.
    pub(crate) fn join(&mut self, client: Client) -> LinkId {
        let link = self.connect(client);
        let sent = self.sent.get_mut(&link).map(|sent| sent.remove(0));
        let Some(Outgoing::Reply(Reply::Connack(connack))) = sent else { panic!("{sent:?}") };
        assert!(!connack.reason.is_failure(), "{connack:?}");
        link
    }

    /// Takes the CONNACK.
    pub(crate) fn connack(&mut self, link: LinkId) -> Connack {
        match self.sent.get_mut(&link).map(|sent| sent.remove(0)) {
            Some(Outgoing::Reply(Reply::Connack(connack))) => *connack,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn receive(&mut self, link: LinkId, packet: Received) {
        self.handle(Input::Received { link, packet });
    }

    pub(crate) fn subscribe(&mut self, link: LinkId, filter: &str, qos: u8) -> Vec<String> {
        self.receive(link, subscribe(1, &[(filter, options(qos))]));
        self.settle();
        self.got(link)
    }

    pub(crate) fn publish(&mut self, link: LinkId, message: Publish) {
        self.receive(link, Received::Publish(message));
    }

    pub(crate) fn ack(&mut self, link: LinkId, packet: fn(Ack) -> Received, id: u16) {
        self.receive(link, packet(Ack { packet_id: number(id), reason: 0 }));
    }

    /// Takes what was sent on a connection, as text.
    pub(crate) fn got(&mut self, link: LinkId) -> Vec<String> {
        self.sent.remove(&link).unwrap_or_default().iter().map(told).collect()
    }

    /// Takes what was sent on a connection, as sizes in bytes on the wire.
    pub(crate) fn sizes(&mut self, link: LinkId, version: Version) -> Vec<usize> {
        let size = |packet: &Outgoing| match packet {
            Outgoing::Publish(delivery) => delivery.size(version),
            Outgoing::Reply(reply) => {
                let mut bytes = BytesMut::new();
                encode(reply, version, &mut bytes);
                bytes.len()
            }
        };
        self.sent.remove(&link).unwrap_or_default().iter().map(size).collect()
    }

    /// Takes the messages that were sent on a connection.
    pub(crate) fn deliveries(&mut self, link: LinkId) -> Vec<Delivery> {
        let sent = self.sent.remove(&link).unwrap_or_default().into_iter();
        let publishes = sent.filter_map(|packet| match packet {
            Outgoing::Publish(delivery) => Some(delivery),
            Outgoing::Reply(_) => None,
        });
        publishes.collect()
    }

    /// Takes the payloads of the messages that were sent on a connection.
    pub(crate) fn payloads(&mut self, link: LinkId) -> Vec<String> {
        self.deliveries(link).iter().map(payload).collect()
    }
}

pub(crate) fn apply(store: &mut Store, changes: Vec<Change>) {
    for change in changes {
        match change.value {
            Some(value) => drop(store.insert((change.table, change.key), value)),
            None => drop(store.remove(&(change.table, change.key))),
        }
    }
}

pub(crate) fn payload(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message.payload).into_owned()
}

/// Requires that a packet has a reason code that the standard lists for it.
fn require_listed_codes(packet: &Outgoing) {
    let Outgoing::Reply(reply) = packet else { return };
    let (codes, listed): (Vec<u8>, &[u8]) = match reply {
        Reply::Connack(connack) => (
            vec![connack.reason as u8],
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
                0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
            ],
        ),
        Reply::Puback(it) | Reply::Pubrec(it) => {
            (vec![it.reason as u8], &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
        }
        Reply::Pubrel(it) | Reply::Pubcomp(it) => (vec![it.reason as u8], &[0x00, 0x92]),
        Reply::Suback(it) => (
            codes(&it.reasons),
            &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        ),
        Reply::Unsuback(it) => (codes(&it.reasons), &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
        Reply::Pingresp => return,
        Reply::Disconnect { reason, .. } => (
            vec![*reason as u8],
            &[
                0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
                0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
            ],
        ),
    };
    assert!(codes.iter().all(|code| listed.contains(code)), "{reply:?}");
}

/// Writes a packet in one line: what it is, its identifier, its reason codes.
fn told(packet: &Outgoing) -> String {
    match packet {
        Outgoing::Publish(delivery) => {
            let mut line = format!("{}={}", delivery.message.topic, payload(delivery));
            line += &format!(" q{}", delivery.qos as u8);
            line += &delivery.packet_id.map_or(String::new(), |id| format!(" #{id}"));
            for (set, name) in [(delivery.dup, " dup"), (delivery.retain, " retained")] {
                line += if set { name } else { "" };
            }
            line
        }
        Outgoing::Reply(reply) => match reply {
            Reply::Connack(connack) => {
                format!("CONNACK {:02x} present={}", connack.reason as u8, connack.session_present)
            }
            Reply::Puback(it) => format!("PUBACK #{} {:02x}", it.packet_id, it.reason as u8),
            Reply::Pubrec(it) => format!("PUBREC #{} {:02x}", it.packet_id, it.reason as u8),
            Reply::Pubrel(it) => format!("PUBREL #{} {:02x}", it.packet_id, it.reason as u8),
            Reply::Pubcomp(it) => format!("PUBCOMP #{} {:02x}", it.packet_id, it.reason as u8),
            Reply::Suback(it) => format!("SUBACK {:02x?}", codes(&it.reasons)),
            Reply::Unsuback(it) => format!("UNSUBACK {:02x?}", codes(&it.reasons)),
            Reply::Pingresp => "PINGRESP".to_owned(),
            Reply::Disconnect { reason, .. } => format!("DISCONNECT {:02x}", *reason as u8),
        },
    }
}

fn codes(reasons: &[hearthd_broker::packet::Reason]) -> Vec<u8> {
    reasons.iter().map(|reason| *reason as u8).collect()
}

/// A client to be.
#[derive(Clone)]
pub(crate) struct Client {
    account: &'static str,
    pub(crate) connect: Connect,
}

impl Client {
    pub(crate) fn new(account: &'static str, client_id: &str) -> Self {
        let connect = Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 0,
            client_id: client_id.to_owned(),
            username: None,
            password: None,
            will: None,
            session_expiry: 0,
            receive_maximum: None,
            maximum_packet_size: None,
            wants_response_information: false,
            wants_problem_information: true,
            authentication_method: None,
        };
        Self { account, connect }
    }

    pub(crate) fn durable(mut self) -> Self {
        self.connect.session_expiry = 3_600;
        self
    }

    pub(crate) fn classic(mut self, clean: bool) -> Self {
        self.connect.version = Version::V3;
        self.connect.clean_start = clean;
        self.connect.session_expiry = if clean { 0 } else { u32::MAX };
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Connect)) -> Self {
        change(&mut self.connect);
        self
    }

    pub(crate) fn will(mut self, topic: &str, payload: &str, delay: u32) -> Self {
        self.connect.will = Some(Will {
            topic: topic.to_owned(),
            qos: QoS::AtLeastOnce,
            retain: false,
            delay,
            expiry: None,
            properties: Default::default(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        });
        self
    }
}

/// The hub of the tests, in a session that lasts.
pub(crate) fn hub() -> Client {
    Client::new("hub", "hearthd-demo").durable()
}

/// A resident's phone.
pub(crate) fn phone() -> Client {
    Client::new("anna", "phone")
}

pub(crate) fn message(topic: &str, payload: &str, qos: QoS, id: u16) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.to_owned(),
        packet_id: NonZeroU16::new(id),
        alias: None,
        expiry: None,
        properties: Default::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(crate) fn retained(mut message: Publish) -> Publish {
    message.retain = true;
    message
}

pub(crate) fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local: false, retain_as_published: false, retain_handling: 0 }
}

pub(crate) fn subscribe(id: u16, filters: &[(&str, SubscriptionOptions)]) -> Received {
    let filters = filters.iter().map(|(filter, options)| (filter.to_string(), *options)).collect();
    Received::Subscribe(Subscribe { packet_id: number(id), identifier: None, filters })
}

pub(crate) fn unsubscribe(id: u16, filters: &[&str]) -> Received {
    let filters = filters.iter().map(|filter| filter.to_string()).collect();
    Received::Unsubscribe(Unsubscribe { packet_id: number(id), filters })
}

pub(crate) fn goodbye(reason: u8) -> Received {
    Received::Disconnect(Disconnect { reason, session_expiry: None })
}

pub(crate) fn number(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).expect("tests count from 1")
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The accounts of the home `home`: one of each role, and one without.
pub(crate) fn accounts() -> AccountTable {
    let account = |name: &str, role| Account {
        name: name.into(),
        role,
        client_ids: Vec::new(),
        devices: Vec::new(),
        rights: Vec::new(),
    };
    let names = |list: &[&str]| list.iter().map(|it| NamePattern::parse(it).unwrap()).collect();
    let mut all = vec![
        account("hub", Role::Hub),
        account("attic", Role::Hub),
        account("anna", Role::Resident),
        account("visitor", Role::Guest),
        account("siren", Role::Responder),
        account("zigbee2mqtt", Role::Device),
        account("old", Role::Everything),
    ];
    all[0].client_ids = names(&["hearthd-demo"]);
    all[1].devices = names(&["boiler"]);
    all[3].devices = names(&["hall-*"]);
    all[4].devices = names(&["siren"]);
    let right = |filter: &str| Right { filter: filter.to_owned(), read: true, write: true };
    all[5].rights = vec![right("zigbee2mqtt/#"), right("homeassistant/#")];
    let accounts = all.into_iter().map(|account| (account.name.clone(), account)).collect();
    AccountTable { home: "home".into(), accounts }
}

/// A client whose session lasts, and may read everything.
pub(crate) fn reader() -> Client {
    Client::new("old", "reader").durable()
}

pub(crate) const TOPIC: &str = "home/x";
