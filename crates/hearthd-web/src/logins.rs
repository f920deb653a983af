//! Counts wrong passwords for brokers to which all phones look like one.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    time::{Duration, Instant},
};

use hearthd_config::address::network;

/// The number of wrong passwords of each address, and of each address and account.
///
/// A client that tries passwords in a loop is refused before the broker is asked. Clients at other addresses are not
/// affected.
#[derive(Debug)]
pub(crate) struct Logins {
    allowed: u32,
    hasher: RandomState,
    counts: RefCell<HashMap<u64, Count>>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    wrong: u32,
    since: Instant,
}

impl Logins {
    /// Allows this many wrong passwords a minute for each address and account.
    pub(crate) fn new(allowed: u32) -> Self {
        Self { allowed, hasher: RandomState::new(), counts: RefCell::default() }
    }

    /// Returns whether the broker may be asked about another password.
    pub(crate) fn may_try(&self, address: IpAddr, account: Option<&str>, now: Instant) -> bool {
        let counts = self.counts.borrow();
        let wrong = |key| {
            let count = counts.get(&key).filter(|count| count.is_of(now));
            count.map_or(0, |count| count.wrong)
        };
        let [of_both, of_address] = self.keys(address, account);
        wrong(of_both) < self.allowed && wrong(of_address) < self.allowed * OF_ADDRESS
    }

    /// Counts a wrong password.
    pub(crate) fn was_wrong(&self, address: IpAddr, account: Option<&str>, now: Instant) {
        let counts = &mut *self.counts.borrow_mut();
        for key in self.keys(address, account) {
            if counts.len() >= MOST {
                counts.retain(|_, count| count.is_of(now));
            }
            if counts.len() >= MOST
                && let Some(oldest) = counts.iter().min_by_key(|(_, it)| it.since).map(|it| *it.0)
            {
                counts.remove(&oldest);
            }
            let count = counts.entry(key).or_insert(Count { wrong: 0, since: now });
            if !count.is_of(now) {
                *count = Count { wrong: 0, since: now };
            }
            count.wrong = count.wrong.saturating_add(1);
        }
    }

    fn keys(&self, address: IpAddr, account: Option<&str>) -> [u64; 2] {
        let network = network(address);
        [
            self.hasher.hash_one((network, Some(account))),
            self.hasher.hash_one((network, None::<Option<&str>>)),
        ]
    }
}

impl Count {
    fn is_of(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < FORGIVEN
    }
}

/// The number of accounts that may be tried from one address.
const OF_ADDRESS: u32 = 5;
const FORGIVEN: Duration = Duration::from_secs(60);
/// The number of counts that are kept.
const MOST: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn address(last: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, last, 0, 0, 0, 1).into()
    }

    #[test]
    fn who_tries_passwords_is_turned_away_for_a_minute_and_nobody_else_is() {
        let (logins, now) = (Logins::new(3), Instant::now());
        for _ in 0..3 {
            assert!(logins.may_try(address(1), Some("anna"), now));
            logins.was_wrong(address(1), Some("anna"), now);
        }
        assert!(!logins.may_try(address(1), Some("anna"), now));
        assert!(logins.may_try(address(1), Some("bert"), now));
        assert!(logins.may_try(address(2), Some("anna"), now));
        assert!(logins.may_try(address(1), Some("anna"), now + FORGIVEN));
    }

    #[test]
    fn other_accounts_help_for_a_while_and_other_addresses_of_the_same_network_not_at_all() {
        let (logins, now) = (Logins::new(3), Instant::now());
        let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 9, 9, 9, 9).into();
        let mut tried = 0;
        for account in 0..1_000 {
            let account = account.to_string();
            if logins.may_try(neighbour, Some(&account), now) {
                tried += 1;
                logins.was_wrong(address(1), Some(&account), now);
            }
        }
        assert_eq!(tried, 15);
        assert!(logins.may_try(address(2), None, now));
    }

    #[test]
    fn it_remembers_no_more_than_its_bound() {
        let (logins, now) = (Logins::new(3), Instant::now());
        for number in 0..10_000_u16 {
            logins.was_wrong(address(number), Some("x"), now);
        }
        assert!(logins.counts.borrow().len() <= MOST);
    }
}
