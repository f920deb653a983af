//! The accounts of the home with their passwords, and the file that keeps those which the command line made.

use std::{collections::BTreeMap, sync::Arc};

use argon2::{
    Argon2, PasswordHasher as _, PasswordVerifier as _,
    password_hash::{PasswordHash as ParsedHash, SaltString},
};

use crate::rights::{Account, AccountTable};

/// An account and how it proves who it is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account.
    pub account: Account,
    /// Its password.
    pub secret: Secret,
}

/// What the broker knows of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
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
pub struct Credentials {
    /// The home.
    pub home: Arc<str>,
    /// The accounts by name.
    pub accounts: BTreeMap<Arc<str>, Credential>,
}

impl Credentials {
    /// Returns the accounts without their passwords.
    pub fn table(&self) -> AccountTable {
        let accounts = self.accounts.iter();
        let accounts = accounts.map(|(name, it)| (name.clone(), it.account.clone())).collect();
        AccountTable { home: self.home.clone(), accounts }
    }
}

/// An Argon2 hash in the PHC format, which no debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

impl PasswordHash {
    /// Parses a hash: `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = ParsedHash::new(text).ok()?;
        let known = matches!(parsed.algorithm.as_str(), "argon2id" | "argon2i" | "argon2d");
        let whole = parsed.salt.is_some() && parsed.hash.is_some();
        (known && whole).then(|| Self(text.into()))
    }

    /// Hashes a password.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub fn of(password: &str) -> Result<Self, HashError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(HashError::Random)?;
        let failed = |error: argon2::password_hash::Error| HashError::Hash(error.to_string());
        let salt = SaltString::encode_b64(&salt).map_err(failed)?;
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(failed)?;
        Ok(Self(hash.to_string().into()))
    }

    /// Returns whether a password is the one; takes tens of milliseconds and 19 MiB.
    pub fn verify(&self, password: &[u8]) -> bool {
        ParsedHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// Why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
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
            assert!(PasswordHash::parse(bad).is_none(), "{bad}");
        }
    }
}
