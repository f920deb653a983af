//! The accounts of the home with their passwords, and the file for those that the command line made.

use std::{collections::BTreeMap, sync::Arc};

use argon2::{
    Argon2, Params, PasswordHasher as _, PasswordVerifier as _,
    password_hash::{PasswordHash as ParsedHash, SaltString},
};

use crate::{
    pairing::PairingCode,
    rights::{Account, AccountTable},
};

/// An account and how it proves who it is.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// The account.
    pub account: Account,
    /// Its password.
    pub secret: Secret,
}

/// What the broker knows of a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// An Argon2 hash in the PHC format.
    Hash(PasswordHash),
    /// The password itself, from a file that the service may read.
    Plain(Box<str>),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// All accounts by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// The home.
    pub home: Arc<str>,
    /// The accounts by name.
    pub accounts: BTreeMap<Arc<str>, Credential>,
    /// The pairing codes by the names of their accounts.
    pub codes: BTreeMap<Arc<str>, PairingCode>,
}

impl Credentials {
    /// Returns the accounts without their passwords.
    pub(crate) fn table(&self) -> AccountTable {
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|(name, it)| (name.clone(), it.account.clone())).collect();
        AccountTable { home: self.home.clone(), accounts }
    }
}

/// An Argon2 hash in the PHC format, which no debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(Box<str>);

impl PasswordHash {
    /// Parses a hash: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.
    ///
    /// # Errors
    /// Where it is none, or takes more memory or time to check than a login may.
    pub(crate) fn parse(text: &str) -> Result<Self, HashFault> {
        let parsed = ParsedHash::new(text).map_err(|_| HashFault::NoHash)?;
        let known = matches!(parsed.algorithm.as_str(), "argon2id" | "argon2i" | "argon2d");
        let whole = parsed.salt.is_some() && parsed.hash.is_some();
        if !known || !whole {
            return Err(HashFault::NoHash);
        }
        let cost = Params::try_from(&parsed).map_err(|_| HashFault::NoHash)?;
        match (cost.m_cost(), cost.t_cost(), cost.p_cost()) {
            (memory, ..) if memory > MAX_MEMORY => Err(HashFault::Memory(memory)),
            (_, passes, _) if passes > MAX_PASSES => Err(HashFault::Passes(passes)),
            (.., lanes) if lanes > MAX_LANES => Err(HashFault::Lanes(lanes)),
            _ => Ok(Self(text.into())),
        }
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn of(password: &str) -> Result<Self, HashError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(HashError::Random)?;
        let failed = |error: argon2::password_hash::Error| HashError::Hash(error.to_string());
        let salt = SaltString::encode_b64(&salt).map_err(failed)?;
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(failed)?;
        Ok(Self(hash.to_string().into()))
    }

    /// Returns whether a password is the one; takes tens of milliseconds and 19 MiB where [`PasswordHash::of`] made it.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        ParsedHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }

    /// Returns it as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Why a text cannot be used as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HashFault {
    /// It is no hash, or no whole one.
    #[error("is no argon2 hash")]
    NoHash,
    /// Checking it takes too much memory, in KiB.
    #[error("takes {0} KiB to check (m), {MAX_MEMORY} at the most")]
    Memory(u32),
    /// Checking it takes too long, in passes over the memory.
    #[error("takes {0} passes to check (t), {MAX_PASSES} at the most")]
    Passes(u32),
    /// It has too many lanes.
    #[error("has {0} lanes (p), {MAX_LANES} at the most")]
    Lanes(u32),
}

/// Memory of one check in KiB, the most that OWASP's Password Storage Cheat Sheet recommends; one is done at a time.
const MAX_MEMORY: u32 = 46 * 1024;
/// Passes of one check.
const MAX_PASSES: u32 = 10;
/// Lanes of one check.
const MAX_LANES: u32 = 4;

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    /// The system gives no random numbers.
    #[error("read random numbers: {0}")]
    Random(getrandom::Error),
    /// Argon2 refuses.
    #[error("{0}")]
    Hash(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hash = PasswordHash::of("secret").unwrap();
        let hash = PasswordHash::parse(hash.as_str()).unwrap();
        assert!(hash.verify(b"secret"));
        assert!(!hash.verify(b"Secret"));
    }

    #[test]
    fn a_hash_that_is_no_whole_argon2_hash_is_refused() {
        for bad in ["", "secret", "$argon2id$", "$2b$10$abc", "argon2id$v=19$m=1$salt$hash"] {
            assert_eq!(PasswordHash::parse(bad), Err(HashFault::NoHash), "{bad}");
        }
    }

    #[test]
    fn a_hash_is_bounded_in_what_it_takes_to_check() {
        const REST: &str = "bm9ib2R5cyBoYXNo$uAC5bTzDXcmT2zk2GzYnX3u1xbhLZhZc1l8n1W0n1kE";
        for (cost, fault) in [
            ("m=47104,t=1,p=1", None),
            ("m=19456,t=10,p=4", None),
            ("m=47105,t=1,p=1", Some(HashFault::Memory(47_105))),
            ("m=4194304,t=1,p=1", Some(HashFault::Memory(4_194_304))),
            ("m=19456,t=11,p=1", Some(HashFault::Passes(11))),
            ("m=19456,t=2,p=5", Some(HashFault::Lanes(5))),
            ("m=19456,t=0,p=1", Some(HashFault::NoHash)),
            ("m=1,t=1,p=1", Some(HashFault::NoHash)),
        ] {
            let parsed = PasswordHash::parse(&format!("$argon2id$v=19${cost}${REST}"));
            assert_eq!(parsed.err(), fault, "{cost}");
        }
    }
}
