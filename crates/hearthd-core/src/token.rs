//! The Correlation Data of the hub's own messages: text that any client can echo, and that only the hub can make.
//!
//! Everybody may read what the hub publishes, so one message must not reveal enough to forge another. All tokens of one
//! connection begin with the same random half; the other half is a keyed hash of it and of the purpose. The will's
//! token is the [`Generation`]: nobody sees it before the broker publishes the will.

use std::hash::Hasher;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::absence::{Generation, from_hex, to_hex};

/// The key that tokens are made with; it never leaves the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenKey([u8; 16]);

/// What a message of the hub is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The will, and whatever acknowledges it.
    Will,
    Online,
    /// The `offline` of an end in order.
    Farewell,
    Fence,
    /// What asks whether the session is the one of before.
    Session,
    /// What comes back once the broker has sent what it has retained.
    Retained,
}

impl TokenKey {
    /// Makes a key of random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// Names a connection: 40 random bits, and as many that only this key yields.
    pub(crate) fn generation(&self, random: [u8; 16]) -> Generation {
        let mut name = [0; HALF];
        for (letter, byte) in name.iter_mut().zip(random) {
            *letter = ALPHABET[usize::from(byte) % ALPHABET.len()];
        }
        Generation(self.token(name, Purpose::Will))
    }

    /// Returns the token of a message on the connection of this generation.
    pub(crate) fn of(&self, generation: Generation, purpose: Purpose) -> Bytes {
        if !self.made(generation) {
            // An earlier version gave all messages of a connection the same Correlation Data.
            return generation.0.to_vec().into();
        }
        self.token(name_of(generation.0), purpose).to_vec().into()
    }

    /// Returns whether this key has made a generation.
    pub(crate) fn made(&self, generation: Generation) -> bool {
        self.token(name_of(generation.0), Purpose::Will) == generation.0
    }

    /// Reads a token that this key has made: its purpose, and the generation of its connection.
    pub(crate) fn read(&self, data: &[u8]) -> Option<(Purpose, Generation)> {
        let token: [u8; 2 * HALF] = data.try_into().ok()?;
        let name = name_of(token);
        let purpose = PURPOSES.into_iter().find(|purpose| self.token(name, *purpose) == token)?;
        Some((purpose, Generation(self.token(name, Purpose::Will))))
    }

    fn token(&self, name: [u8; HALF], purpose: Purpose) -> [u8; 2 * HALF] {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[purpose as u8]);
        hasher.write(&name);
        let mut hash = hasher.finish();
        let mut token = [0; 2 * HALF];
        token[..HALF].copy_from_slice(&name);
        for letter in &mut token[HALF..] {
            *letter = ALPHABET[(hash % ALPHABET.len() as u64) as usize];
            hash /= ALPHABET.len() as u64;
        }
        token
    }

    /// Stands for bytes that are too long to be kept; nobody without the key finds others with the same hash.
    pub(crate) fn digest(&self, bytes: &[u8]) -> [u8; 16] {
        let mut digest = [0; 16];
        for (half, part) in digest.chunks_exact_mut(8).enumerate() {
            let mut hasher = SipHasher24::new_with_key(&self.0);
            hasher.write(&[DIGEST + half as u8]);
            hasher.write(bytes);
            part.copy_from_slice(&hasher.finish().to_be_bytes());
        }
        digest
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl From<TokenKey> for String {
    fn from(key: TokenKey) -> Self {
        to_hex(&key.0)
    }
}

impl TryFrom<String> for TokenKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        from_hex(&text).map(Self).ok_or("a key is 32 hexadecimal digits")
    }
}

fn name_of(token: [u8; 2 * HALF]) -> [u8; HALF] {
    let mut name = [0; HALF];
    name.copy_from_slice(&token[..HALF]);
    name
}

/// How many characters the random half has, and the other one.
const HALF: usize = 8;
/// Base 32 of RFC 4648, in lower case: a shell, a script and a person can all copy it.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const PURPOSES: [Purpose; 6] = [
    Purpose::Will,
    Purpose::Online,
    Purpose::Farewell,
    Purpose::Fence,
    Purpose::Session,
    Purpose::Retained,
];
/// Keeps digests apart from tokens.
const DIGEST: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_text_that_a_shell_can_echo() {
        let generation = TokenKey::new([7; 16]).generation([0xFF; 16]);
        assert!(generation.0.iter().all(|byte| ALPHABET.contains(byte)), "{generation}");
        assert_eq!(generation.to_string().len(), 16);
    }

    #[test]
    fn a_token_is_read_by_its_own_key_alone() {
        let key = TokenKey::new([7; 16]);
        let generation = key.generation([1; 16]);
        for purpose in PURPOSES {
            let token = key.of(generation, purpose);
            assert_eq!(key.read(&token), Some((purpose, generation)));
            assert_eq!(TokenKey::new([8; 16]).read(&token), None);
        }
        assert_eq!(key.read(b"offline"), None);
        assert_eq!(key.read(&[9; 16]), None);
    }

    #[test]
    fn what_one_message_carries_does_not_tell_the_token_of_another() {
        let key = TokenKey::new([7; 16]);
        let generation = key.generation([1; 16]);
        let online = key.of(generation, Purpose::Online);
        assert_eq!(online[..HALF], generation.0[..HALF]);
        assert_ne!(online[HALF..], generation.0[HALF..]);
    }
}
