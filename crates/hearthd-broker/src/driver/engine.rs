//! Passes inputs to the core and performs its outputs.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use hearthd_config::exit;
use tokio::{sync::Notify, time::Instant};

use super::{clock::Clock, notices::NoticeLog};
use crate::{
    core::{Broker, Input, LinkId, Outgoing, Output},
    packet::{Reason, Reply, Version, encode},
    pairing::Lasting,
    store::Writer,
};

/// The core with all that it acts on. Everything happens on one thread.
#[derive(Debug)]
pub(super) struct Engine {
    state: RefCell<State>,
    clock: Clock,
    /// The next deadline may have come nearer.
    deadline_changed: Notify,
    /// The store has everything.
    settled: Notify,
}

#[derive(Debug)]
struct State {
    broker: Broker,
    links: HashMap<LinkId, Rc<Outbox>>,
    writer: Writer,
    notices: NoticeLog,
    last_link: u64,
    deadline: Option<Duration>,
}

/// What goes out on one connection.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Bytes that the system has not taken.
    pub(super) bytes: RefCell<BytesMut>,
    pub(super) version: Cell<Version>,
    /// Bytes that were written are still in TLS.
    pub(super) unflushed: Cell<bool>,
    /// The connection ends once all is sent.
    pub(super) closing: Cell<bool>,
    /// The password that a pairing code hands out: the CONNACK carries it as the user property `password`.
    pub(super) handed: RefCell<Option<Lasting>>,
    /// There is something to send, or the connection ends.
    pub(super) changed: Notify,
}

impl Engine {
    pub(super) fn new(broker: Broker, writer: Writer, clock: Clock) -> Self {
        let state = State {
            broker,
            links: HashMap::new(),
            writer,
            notices: NoticeLog::default(),
            last_link: 0,
            deadline: None,
        };
        Self {
            state: RefCell::new(state),
            clock,
            deadline_changed: Notify::new(),
            settled: Notify::new(),
        }
    }

    /// Names a new connection.
    pub(super) fn open(&self) -> (LinkId, Rc<Outbox>) {
        let mut state = self.state.borrow_mut();
        state.last_link += 1;
        let link = LinkId(state.last_link);
        let outbox = Rc::new(Outbox::new());
        state.links.insert(link, outbox.clone());
        (link, outbox)
    }

    /// Forgets a connection.
    pub(super) fn close(&self, link: LinkId) {
        self.state.borrow_mut().links.remove(&link);
        self.handle(Input::Closed { link });
    }

    /// Gives the core one input, and carries out what it wants.
    pub(super) fn handle(&self, input: Input) {
        let state = &mut *self.state.borrow_mut();
        state.broker.handle(self.clock.now(), input);
        while let Some(output) = state.broker.poll_output() {
            match output {
                Output::Send { link, packet } => {
                    if let Some(outbox) = state.links.get(&link) {
                        outbox.put(&packet);
                    }
                }
                Output::Close { link } => {
                    if let Some(outbox) = state.links.get(&link) {
                        outbox.closing.set(true);
                        outbox.changed.notify_one();
                    }
                }
                Output::Write { batch, changes } => {
                    if !state.writer.write(batch, changes) {
                        // Its thread told why; without a store nothing may be acknowledged.
                        std::process::exit(exit::IO.into());
                    }
                }
                Output::Notice(notice) => state.notices.write(&notice),
            }
        }
        let deadline = state.broker.poll_timeout();
        if deadline != state.deadline {
            state.deadline = deadline;
            self.deadline_changed.notify_one();
        }
        if state.broker.is_settled() {
            self.settled.notify_waiters();
        }
    }

    /// Writes a line of the log about a client that the core has not met.
    pub(super) fn tell(&self, notice: &crate::core::Notice, address: IpAddr) {
        self.state.borrow_mut().notices.write_of_stranger(notice, address);
    }

    /// Wakes the core at its deadlines, for ever.
    pub(super) async fn keep_time(&self) {
        loop {
            let deadline = self.state.borrow().deadline;
            let changed = self.deadline_changed.notified();
            match deadline {
                None => changed.await,
                Some(deadline) => {
                    let at = Instant::from_std(self.clock.instant(deadline));
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => self.handle(Input::Tick),
                    }
                }
            }
        }
    }

    /// Ends every connection, and waits until the store has everything.
    pub(super) async fn stop(&self) {
        self.handle(Input::Stop);
        while !self.state.borrow().broker.is_settled() {
            self.settled.notified().await;
        }
    }
}

impl Outbox {
    fn new() -> Self {
        Self {
            bytes: RefCell::new(BytesMut::new()),
            version: Cell::new(Version::V5),
            unflushed: Cell::new(false),
            closing: Cell::new(false),
            handed: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Adds a packet to what goes out.
    pub(super) fn put(&self, packet: &Outgoing) {
        let bytes = &mut *self.bytes.borrow_mut();
        match packet {
            Outgoing::Publish(delivery) => delivery.encode(self.version.get(), bytes),
            Outgoing::Reply(Reply::Connack(connack)) if connack.reason == Reason::Success => {
                let mut connack = connack.clone();
                if let Some(Lasting(password)) = self.handed.take() {
                    connack.user_properties.push(("password", password.into()));
                }
                encode(&Reply::Connack(connack), self.version.get(), bytes);
            }
            Outgoing::Reply(reply) => encode(reply, self.version.get(), bytes),
        }
        self.changed.notify_one();
    }
}
