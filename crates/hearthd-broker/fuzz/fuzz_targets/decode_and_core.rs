//! Bytes as they may come on a few connections, decoded and played to the core, with time, power cuts and full sockets
//! in between. `cargo xtask nightly fuzz` runs it.

#![no_main]

use std::{collections::BTreeMap, time::Duration};

use bytes::BytesMut;
use hearthd_broker::{
    core::{Broker, Input, Limits, LinkId, Now, Outgoing, Output, Table},
    packet::{Received, Version, decode, encode, next_frame},
    rights::{Account, AccountTable, Role},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    let mut rest = data;
    while let [step, length, after @ ..] = rest {
        let (bytes, after) = after.split_at(usize::from(*length).min(after.len()));
        world.step(*step, bytes);
        rest = after;
    }
});

struct World {
    broker: Broker,
    now: Now,
    limits: Limits,
    links: [Option<Link>; 4],
    last_link: u64,
    store: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

struct Link {
    id: LinkId,
    version: Version,
    open: bool,
    received: BytesMut,
}

impl World {
    fn new() -> Self {
        let now = Now {
            monotonic: Duration::from_secs(1 << 32),
            unix: Duration::from_secs(1_800_000_000),
        };
        let limits = Limits {
            session_queue: 20_000,
            queues: 40_000,
            retained: 10_000,
            sessions: 6,
            subscriptions: 8,
            ..Limits::default()
        };
        let broker = Broker::new(limits.clone(), accounts(), 1, now);
        let store = BTreeMap::new();
        Self { broker, now, limits, links: [const { None }; 4], last_link: 0, store }
    }

    /// The lower two bits name a connection, the others what happens.
    fn step(&mut self, step: u8, bytes: &[u8]) {
        let place = usize::from(step & 3);
        match step >> 2 {
            0..=40 => self.receive(place, bytes),
            41..=46 => self.close(place),
            47..=52 => self.pass(bytes.len() as u64),
            53..=58 => {
                if let Some(link) = &self.links[place] {
                    self.handle(Input::Drained { link: link.id });
                }
            }
            _ => self.cut_power(),
        }
    }

    fn receive(&mut self, place: usize, bytes: &[u8]) {
        let link = self.links[place].get_or_insert_with(|| {
            self.last_link += 1;
            let received = BytesMut::new();
            Link { id: LinkId(self.last_link), version: Version::V5, open: false, received }
        });
        link.received.extend_from_slice(bytes);
        loop {
            let Some(link) = &mut self.links[place] else { return };
            let (id, open) = (link.id, link.open);
            let read = next_frame(&mut link.received, 100_000, open)
                .and_then(|frame| frame.map(|frame| decode(&frame, link.version)).transpose());
            match read {
                Ok(None) => return,
                Ok(Some(Received::Connect(connect))) => {
                    link.version = connect.version;
                    link.open = true;
                    let account = ["hub", "anna", "old"][place % 3].into();
                    self.handle(Input::Connected { link: id, connect, account });
                }
                Ok(Some(packet)) => self.handle(Input::Received { link: id, packet }),
                Err(error) if open => self.handle(Input::Malformed { link: id, error }),
                Err(_) => self.links[place] = None,
            }
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(link) = self.links[place].take() {
            self.handle(Input::Closed { link: link.id });
        }
    }

    fn pass(&mut self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.now.monotonic += time;
        self.now.unix += time;
        self.handle(Input::Tick);
    }

    /// What was written is there afterwards; nothing that was must stop the broker.
    fn cut_power(&mut self) {
        self.links = [const { None }; 4];
        let mut records: Vec<_> = self.store.iter().collect();
        records.sort_by_key(|((table, _), _)| *table);
        let records =
            records.into_iter().map(|((table, key), value)| (*table, key.clone(), value.clone()));
        let records: Vec<_> = records.collect();
        self.broker = Broker::restore(self.limits.clone(), accounts(), 2, self.now, records);
        self.drain();
    }

    fn handle(&mut self, input: Input) {
        self.broker.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut written = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send { link, packet } => {
                    let version = self.links.iter().flatten().find(|it| it.id == link);
                    let version = version.map_or(Version::V5, |it| it.version);
                    let mut bytes = BytesMut::new();
                    match packet {
                        Outgoing::Publish(delivery) => {
                            delivery.encode(version, &mut bytes);
                            assert_eq!(bytes.len(), delivery.size(version));
                        }
                        Outgoing::Reply(reply) => encode(&reply, version, &mut bytes),
                    }
                }
                Output::Close { link } => {
                    for place in &mut self.links {
                        if place.as_ref().is_some_and(|it| it.id == link) {
                            *place = None;
                        }
                    }
                }
                Output::Write { batch, changes } => {
                    for change in changes {
                        let key = (change.table, change.key);
                        match change.value {
                            Some(value) => drop(self.store.insert(key, value)),
                            None => drop(self.store.remove(&key)),
                        }
                    }
                    written.push(batch);
                }
                Output::Notice(_) => {}
            }
        }
        for batch in written {
            self.handle(Input::Written { batch });
        }
    }
}

fn accounts() -> AccountTable {
    let account = |name: &str, role| Account {
        name: name.into(),
        role,
        client_ids: Vec::new(),
        devices: Vec::new(),
        rights: Vec::new(),
    };
    let all = [
        account("hub", Role::Hub),
        account("anna", Role::Resident),
        account("old", Role::Everything),
    ];
    let accounts = all.into_iter().map(|account| (account.name.clone(), account)).collect();
    AccountTable { home: "home".into(), accounts }
}
