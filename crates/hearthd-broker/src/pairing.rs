//! Pairing codes: a second password of an account, short enough to type, for one login within five minutes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::accounts::{HashError, PasswordHash};

/// The code of an account as the accounts file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairingCode {
    /// Argon2 hash of the [letters](letters).
    pub hash: PasswordHash,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

impl PairingCode {
    /// Makes a code that is valid from now on; returns it with the text for people, `ABCD-EFGH`.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn make(now: SystemTime) -> Result<(Self, String), HashError> {
        let letters = random_letters()?;
        let hash = PasswordHash::of(&letters)?;
        let (first, second) = letters.split_at(LETTERS / 2);
        let text = format!("{first}-{second}");
        Ok((Self { hash, until: seconds(now + VALID) }, text))
    }

    /// Returns how long it is still valid, [`VALID`] at the most.
    pub(crate) fn left(&self, now: SystemTime) -> Duration {
        Duration::from_secs(seconds_left(self.until, now)).min(VALID)
    }
}

/// Returns the letters of a code as they are hashed: capitals without dash and spaces. Other passwords give none.
pub(crate) fn letters(password: &[u8]) -> Option<String> {
    if password.len() > LONGEST {
        return None;
    }
    let typed = password.iter().filter(|byte| !matches!(byte, b'-' | b' '));
    let letters: Vec<u8> = typed.map(u8::to_ascii_uppercase).collect();
    let is_code = letters.len() == LETTERS && letters.iter().all(|it| ALPHABET.contains(it));
    is_code.then(|| letters.into_iter().map(char::from).collect())
}

/// Draws letters, each of the alphabet as often as any other.
fn random_letters() -> Result<String, HashError> {
    let mut letters = String::new();
    while letters.len() < LETTERS {
        let mut bytes = [0; 2 * LETTERS];
        getrandom::fill(&mut bytes).map_err(HashError::Random)?;
        // Bytes above the last whole round of the alphabet would favour its first letters.
        let fair =
            bytes.iter().filter(|byte| usize::from(**byte) < 256 / ALPHABET.len() * ALPHABET.len());
        let drawn = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        letters.extend(drawn.take(LETTERS - letters.len()));
    }
    Ok(letters)
}

/// Returns the seconds from now until a time in seconds since 1970.
pub(crate) fn seconds_left(until: u64, now: SystemTime) -> u64 {
    until.saturating_sub(seconds(now))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How long a code is valid.
pub(crate) const VALID: Duration = Duration::from_secs(300);
const LETTERS: usize = 8;
/// Letters that nobody takes for another letter or a digit.
const ALPHABET: &[u8] = b"ABCDEFGHJKMNPQRSTUVWXYZ";
/// A code as people type it, with some spaces.
const LONGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let (code, text) = PairingCode::make(now).unwrap();
        assert_eq!((text.len(), text.as_bytes()[4]), (9, b'-'));
        let plain = text.replace('-', "");
        for typed in
            [text.clone(), plain.to_lowercase(), format!(" {} {} ", &plain[..4], &plain[4..])]
        {
            let letters = letters(typed.as_bytes()).unwrap();
            assert_eq!(letters, plain);
            assert!(code.hash.verify(letters.as_bytes()), "{typed}");
        }
        assert_ne!(PairingCode::make(now).unwrap().1, text);
    }

    #[test]
    fn passwords_of_another_shape_are_no_codes() {
        for other in ["", "ABCDEFG", "ABCDEFGHJ", "ABCDEFG1", "ABCDEFGO", "ABCDÉFGH"] {
            assert_eq!(letters(other.as_bytes()), None, "{other}");
        }
        assert_eq!(letters("A-B-C-D-E-F-G-H-----".as_bytes()), None);
    }

    #[test]
    fn a_code_is_valid_for_five_minutes_whatever_the_clock_says() {
        let made = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (code, _) = PairingCode::make(made).unwrap();
        assert_eq!(code.left(made), VALID);
        assert_eq!(code.left(made + Duration::from_secs(299)), Duration::from_secs(1));
        assert_eq!(code.left(made + VALID), Duration::ZERO);
        assert_eq!(code.left(made + 2 * VALID), Duration::ZERO);
        assert_eq!(code.left(made - 2 * VALID), VALID);
    }
}
