//! Pairing codes in use: for how long, for how many tries, and for one login.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{
    accounts::PasswordHash,
    pairing::{PairingCode, Sealed},
};

/// The codes of all accounts.
///
/// The accounts file belongs to root, so the broker cannot note there that a code was used. It keeps that in memory, and
/// codes that it finds when it starts are void: otherwise one could be used again after each restart.
#[derive(Debug, Default)]
pub(super) struct Codes {
    by_account: HashMap<Arc<str>, Code>,
}

#[derive(Debug)]
struct Code {
    hash: PasswordHash,
    sealed: Option<Sealed>,
    ends: Instant,
    tries: u32,
    used: bool,
}

/// What a password that looks like a code is checked against.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// No code is in use.
    Nothing,
    /// The account has no code in use, but another one has.
    OfAnother,
    /// The account's code. One of its tries is taken.
    Code { hash: PasswordHash, sealed: Option<Sealed>, last_try: bool },
}

impl Codes {
    /// Takes those of the files when the broker starts.
    pub(super) fn at_start(found: &BTreeMap<Arc<str>, PairingCode>, now: Instant) -> Self {
        let void = |code: &PairingCode| Code {
            hash: code.hash.clone(),
            sealed: None,
            ends: now,
            tries: 0,
            used: true,
        };
        let by_account = found.iter().map(|(account, code)| (account.clone(), void(code)));
        Self { by_account: by_account.collect() }
    }

    /// Takes those that the files have now. A code that was there before keeps its tries and its end.
    pub(super) fn replace(
        &mut self,
        found: &BTreeMap<Arc<str>, PairingCode>,
        now: Instant,
        time: SystemTime,
    ) {
        let mut before = std::mem::take(&mut self.by_account);
        for (account, code) in found {
            let known = before.remove(account).filter(|known| known.hash == code.hash);
            let code = known.unwrap_or_else(|| Code {
                hash: code.hash.clone(),
                sealed: code.sealed.clone(),
                ends: now + code.left(time),
                tries: TRIES,
                used: false,
            });
            self.by_account.insert(account.clone(), code);
        }
    }

    /// Returns what to check, and counts a try.
    pub(super) fn offer(&mut self, account: &str, now: Instant) -> Offer {
        let any = self.by_account.values().any(|code| code.is_open(now));
        match self.by_account.get_mut(account).filter(|code| code.is_open(now)) {
            Some(code) => {
                code.tries -= 1;
                let (hash, sealed) = (code.hash.clone(), code.sealed.clone());
                Offer::Code { hash, sealed, last_try: code.tries == 0 }
            }
            None if any => Offer::OfAnother,
            None => Offer::Nothing,
        }
    }

    /// Returns whether a code that was typed right lets its client in; it does so once.
    pub(super) fn spend(&mut self, account: &str, hash: &PasswordHash, now: Instant) -> bool {
        let code = self.by_account.get_mut(account);
        let code = code.filter(|code| code.hash == *hash && !code.used && now < code.ends);
        code.map(|code| code.used = true).is_some()
    }
}

impl Code {
    fn is_open(&self, now: Instant) -> bool {
        !self.used && self.tries > 0 && now < self.ends
    }
}

/// How often a code may be tried, by all clients together.
const TRIES: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pairing::VALID;

    /// An account `phone` with a code that was made just now.
    fn codes() -> (Codes, BTreeMap<Arc<str>, PairingCode>, Instant) {
        let (code, _) = PairingCode::make(SystemTime::now(), None).unwrap();
        let found = BTreeMap::from([(Arc::from("phone"), code)]);
        let (mut codes, now) = (Codes::default(), Instant::now());
        codes.replace(&found, now, SystemTime::now());
        (codes, found, now)
    }

    fn hash(offer: Offer) -> Option<PasswordHash> {
        match offer {
            Offer::Code { hash, .. } => Some(hash),
            Offer::Nothing | Offer::OfAnother => None,
        }
    }

    #[test]
    fn a_code_lets_in_once_of_two_that_know_it() {
        let (mut codes, _, now) = codes();
        let first = hash(codes.offer("phone", now)).unwrap();
        let second = hash(codes.offer("phone", now)).unwrap();
        assert!(codes.spend("phone", &first, now));
        assert!(!codes.spend("phone", &second, now));
        assert_eq!(codes.offer("phone", now), Offer::Nothing);
    }

    #[test]
    fn the_last_try_is_as_good_as_the_first_and_none_follows() {
        let (mut codes, found, now) = codes();
        for _ in 1..TRIES {
            assert!(matches!(codes.offer("phone", now), Offer::Code { last_try: false, .. }));
        }
        let last = codes.offer("phone", now);
        assert!(matches!(last, Offer::Code { last_try: true, .. }));
        assert_eq!(codes.offer("phone", now), Offer::Nothing);
        // The file was written again for another account.
        codes.replace(&found, now, SystemTime::now());
        assert_eq!(codes.offer("phone", now), Offer::Nothing);
        assert!(codes.spend("phone", &hash(last).unwrap(), now));
    }

    #[test]
    fn a_code_ends_after_five_minutes_also_while_it_is_checked() {
        let (mut codes, found, now) = codes();
        let offered = hash(codes.offer("phone", now)).unwrap();
        let late = now + VALID;
        codes.replace(&found, late, SystemTime::now());
        assert!(!codes.spend("phone", &offered, late));
        assert_eq!(codes.offer("phone", late), Offer::Nothing);
    }

    #[test]
    fn a_code_that_is_there_at_the_start_is_void_and_a_new_one_is_not() {
        let (_, found, now) = codes();
        let mut codes = Codes::at_start(&found, now);
        codes.replace(&found, now, SystemTime::now());
        assert_eq!(codes.offer("phone", now), Offer::Nothing);
        let (another, _) = PairingCode::make(SystemTime::now(), None).unwrap();
        codes.replace(&BTreeMap::from([(Arc::from("phone"), another)]), now, SystemTime::now());
        assert!(hash(codes.offer("phone", now)).is_some());
    }

    #[test]
    fn a_code_that_is_taken_from_the_file_is_void() {
        let (mut codes, _, now) = codes();
        let offered = hash(codes.offer("phone", now)).unwrap();
        codes.replace(&BTreeMap::new(), now, SystemTime::now());
        assert!(!codes.spend("phone", &offered, now));
    }

    #[test]
    fn an_account_without_a_code_is_checked_as_long_as_one_that_has_one() {
        let (mut codes, _, now) = codes();
        assert_eq!(codes.offer("nobody", now), Offer::OfAnother);
        assert_eq!(codes.offer("nobody", now + Duration::from_secs(300)), Offer::Nothing);
    }
}
