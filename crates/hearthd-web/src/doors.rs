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

use crate::config::Limits;

/// Counts connections.
///
/// If there is no place for another connection without a login, the oldest such one is closed: a browser needs its
/// place only for a moment, and an attacker that keeps sockets open loses them.
#[derive(Debug)]
pub(crate) struct Doors {
    limits: Limits,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    logged_in: usize,
    /// The connections that are not logged in, oldest first.
    strangers: BTreeMap<u64, Stranger>,
    last: u64,
    last_line: Option<Instant>,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    /// Tells the connection to close.
    shown_out: Rc<Notify>,
}

/// The place of one connection; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    doors: Rc<Doors>,
    number: u64,
    is_logged_in: bool,
    shown_out: Rc<Notify>,
}

impl Doors {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, state: RefCell::default() }
    }

    /// Gives a connection a place; another connection may have to close for it.
    pub(crate) fn let_in(self: &Rc<Self>, address: IpAddr) -> Place {
        let state = &mut *self.state.borrow_mut();
        let of_address = state.strangers.values().filter(|it| it.address == address).count();
        if of_address >= self.limits.strangers_of_address {
            state.show_out(address);
            state.tell(address, "strangers_of_address");
        } else if state.strangers.len() >= self.limits.strangers {
            state.show_out(state.busiest());
            state.tell(address, "strangers");
        }
        state.last += 1;
        let shown_out = Rc::new(Notify::new());
        state.strangers.insert(state.last, Stranger { address, shown_out: shown_out.clone() });
        Place { doors: self.clone(), number: state.last, is_logged_in: false, shown_out }
    }
}

impl State {
    /// Tells the oldest connection without a login of an address to close.
    fn show_out(&mut self, address: IpAddr) {
        let oldest = self.strangers.iter().find(|(_, it)| it.address == address);
        if let Some(number) = oldest.map(|(number, _)| *number)
            && let Some(stranger) = self.strangers.remove(&number)
        {
            stranger.shown_out.notify_one();
        }
    }

    /// Returns the address with the most connections without a login.
    fn busiest(&self) -> IpAddr {
        let mut counts = BTreeMap::<IpAddr, usize>::new();
        for stranger in self.strangers.values() {
            *counts.entry(stranger.address).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |(address, _)| address)
    }

    fn tell(&mut self, address: IpAddr, limit: &str) {
        if self.last_line.is_none_or(|last| last.elapsed() >= SILENCE) {
            self.last_line = Some(Instant::now());
            warn!(%address, limit, "too many connections: one was closed");
        }
    }
}

impl Place {
    /// Waits until another connection needs the place. A connection that is logged in keeps its place.
    pub(crate) async fn shown_out(&self) {
        if self.is_logged_in {
            std::future::pending::<()>().await;
        }
        self.shown_out.notified().await;
    }

    /// Counts the connection as logged in; returns whether there is room for it.
    pub(crate) fn log_in(&mut self) -> bool {
        let state = &mut *self.doors.state.borrow_mut();
        if state.logged_in >= self.doors.limits.connections {
            let address = state.strangers.get(&self.number).map(|it| it.address);
            state.tell(address.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()), "connections");
            return false;
        }
        state.strangers.remove(&self.number);
        state.logged_in += 1;
        self.is_logged_in = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = &mut *self.doors.state.borrow_mut();
        state.strangers.remove(&self.number);
        state.logged_in -= usize::from(self.is_logged_in);
    }
}

/// How long to wait after a log line about too many connections before the next one.
const SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn doors(strangers: usize, of_address: usize, connections: usize) -> Rc<Doors> {
        let strangers_of_address = of_address;
        Rc::new(Doors::new(Limits {
            connections,
            strangers,
            strangers_of_address,
            ..Limits::default()
        }))
    }

    fn is_shown_out(place: &Place) -> bool {
        let waker = std::task::Waker::noop();
        let mut told = std::pin::pin!(place.shown_out());
        told.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn the_oldest_stranger_of_the_same_address_gives_way() {
        let doors = doors(10, 2, 10);
        let other = doors.let_in(address(9));
        let places = [(); 3].map(|()| doors.let_in(address(1)));
        let told: Vec<_> = places.iter().map(is_shown_out).collect();
        assert_eq!(told, [true, false, false]);
        assert!(!is_shown_out(&other));
    }

    #[test]
    fn whoever_comes_from_elsewhere_is_let_in_while_one_address_fills_all_places() {
        let doors = doors(4, 4, 10);
        let mut places: Vec<_> = (0..4).map(|_| doors.let_in(address(1))).collect();
        assert!(places[0].log_in());
        places.push(doors.let_in(address(1)));
        let phone = doors.let_in(address(2));
        let told: Vec<_> = places.iter().map(is_shown_out).collect();
        assert_eq!(told, [false, true, false, false, false]);
        assert!(!is_shown_out(&phone));
    }

    #[test]
    fn no_more_log_in_than_there_is_room_for() {
        let doors = doors(4, 4, 1);
        let (mut one, mut two) = (doors.let_in(address(1)), doors.let_in(address(1)));
        assert!(one.log_in());
        assert!(!two.log_in());
        drop(one);
        assert!(two.log_in());
    }
}
