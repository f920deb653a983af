//! Limits the number of connections, and keeps clients without a login from using up the places of others.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::warn;

use super::link::Shared;

/// Counts connections.
///
/// If there is no place for another connection without a login, the one that has been silent for longest is closed: a
/// client logs in within a moment, and an attacker that keeps sockets open loses them.
#[derive(Debug, Default)]
pub(super) struct Doors {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    /// Those that are not logged in, in the order in which they came.
    strangers: BTreeMap<u64, Stranger>,
    last: u64,
    last_line: Option<Instant>,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    /// Tells it to go.
    shown_out: Rc<Notify>,
    /// Its CONNECT is here, and its password is being checked.
    has_knocked: bool,
}

/// The place of one connection; it is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) shared: Rc<Shared>,
    pub(super) doors: Rc<Doors>,
    number: u64,
    shown_out: Rc<Notify>,
}

impl Doors {
    /// Gives a connection a place, if there is one.
    pub(super) fn let_in(self: &Rc<Self>, shared: &Rc<Shared>, address: IpAddr) -> Option<Place> {
        let limits = &shared.limits;
        let state = &mut *self.state.borrow_mut();
        let of_address = state.strangers.values().filter(|it| it.address == address).count();
        let room = if state.connections >= limits.connections {
            Err("connections")
        } else if of_address >= limits.strangers_of_address {
            state.show_out(address).ok_or("strangers_of_address")
        } else if state.strangers.len() >= limits.strangers {
            state.show_out(state.busiest()).ok_or("strangers")
        } else {
            Ok(())
        };
        if let Err(limit) = room {
            if state.last_line.is_none_or(|last| last.elapsed() >= SILENCE) {
                state.last_line = Some(Instant::now());
                warn!(%address, limit, "too many connections: one was closed");
            }
            return None;
        }
        state.connections += 1;
        state.last += 1;
        let shown_out = Rc::new(Notify::new());
        let stranger = Stranger { address, shown_out: shown_out.clone(), has_knocked: false };
        state.strangers.insert(state.last, stranger);
        Some(Place { shared: shared.clone(), doors: self.clone(), number: state.last, shown_out })
    }
}

impl State {
    /// Tells the stranger of an address that is silent for longest to go, if there is one.
    fn show_out(&mut self, address: IpAddr) -> Option<()> {
        let silent = |it: &(&u64, &Stranger)| it.1.address == address && !it.1.has_knocked;
        let number = *self.strangers.iter().find(silent)?.0;
        self.strangers.remove(&number)?.shown_out.notify_one();
        Some(())
    }

    /// Returns the address that most strangers come from.
    fn busiest(&self) -> IpAddr {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for stranger in self.strangers.values() {
            *counts.entry(stranger.address).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |(address, _)| address)
    }
}

impl Place {
    /// Waits until another needs the place.
    pub(super) async fn shown_out(&self) {
        self.shown_out.notified().await;
    }

    /// Notes that the client's CONNECT is here.
    pub(super) fn knock(&self) {
        if let Some(stranger) = self.doors.state.borrow_mut().strangers.get_mut(&self.number) {
            stranger.has_knocked = true;
        }
    }

    /// Counts the connection as one that is logged in.
    pub(super) fn log_in(&self) {
        self.doors.state.borrow_mut().strangers.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.log_in();
        self.doors.state.borrow_mut().connections -= 1;
    }
}

/// How long the log is silent after a line about connections that found no place.
const SILENCE: Duration = Duration::from_secs(60);
