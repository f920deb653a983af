//! Pairing codes: a second password of an account, short enough to type, for one login within five minutes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::Argon2;

use crate::accounts::{HashError, PasswordHash};

/// The code of an account as the accounts file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairingCode {
    /// Argon2 hash of the [letters](letters).
    pub hash: PasswordHash,
    /// When it ends, in seconds since 1970.
    pub until: u64,
    /// The password of the account, for whoever logs in with the code.
    pub sealed: Option<Sealed>,
}

impl PairingCode {
    /// Makes a code that is valid from now on, and hands out a password; returns it with the text for people, `ABCD-EFGH`.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn make(
        now: SystemTime,
        password: Option<&str>,
    ) -> Result<(Self, String), HashError> {
        let letters = random_letters()?;
        let hash = PasswordHash::of(&letters)?;
        let (first, second) = letters.split_at(LETTERS / 2);
        let text = format!("{first}-{second}");
        let sealed = password.map(|password| Sealed::of(password, &letters)).transpose()?;
        Ok((Self { hash, until: seconds(now + VALID), sealed }, text))
    }

    /// Returns how long it is still valid, [`VALID`] at the most.
    pub(crate) fn left(&self, now: SystemTime) -> Duration {
        Duration::from_secs(seconds_left(self.until, now)).min(VALID)
    }
}

/// A password that only the letters of a code open: it is combined with what Argon2 makes of them and of a salt of its
/// own, once. The letters have 36 bits: whoever has a copy of the accounts file needs decades of a processor core to try
/// them all.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    salt: [u8; SALT],
    bytes: Vec<u8>,
}

/// A password of an account on its way to its client, which no debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lasting(pub String);

impl Sealed {
    fn of(password: &str, letters: &str) -> Result<Self, HashError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(HashError::Random)?;
        let mut bytes = password.as_bytes().to_vec();
        combine(&mut bytes, letters, &salt)?;
        Ok(Self { salt, bytes })
    }

    /// Returns the password; other letters than those it was sealed with give something else, or nothing.
    pub(crate) fn open(&self, letters: &str) -> Option<Lasting> {
        let mut bytes = self.bytes.clone();
        combine(&mut bytes, letters, &self.salt).ok()?;
        String::from_utf8(bytes).ok().map(Lasting)
    }

    /// Returns it as text, in hexadecimal digits.
    pub(crate) fn text(&self) -> String {
        self.salt.iter().chain(&self.bytes).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the text again.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes().chunks(2);
        let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let (salt, bytes) = bytes.split_first_chunk()?;
        let is_whole =
            text.len().is_multiple_of(2) && (SHORTEST..=MOST_HANDED).contains(&bytes.len());
        is_whole.then(|| Self { salt: *salt, bytes: bytes.to_vec() })
    }
}

fn combine(bytes: &mut [u8], letters: &str, salt: &[u8]) -> Result<(), HashError> {
    let mut stream = vec![0; bytes.len()];
    Argon2::default()
        .hash_password_into(letters.as_bytes(), salt, &mut stream)
        .map_err(|error| HashError::Hash(error.to_string()))?;
    bytes.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
    Ok(())
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl std::fmt::Debug for Lasting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lasting(..)")
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
const SALT: usize = 16;
/// The lengths of a password that a code can hand out, in bytes: Argon2 makes no fewer.
pub(crate) const SHORTEST: usize = 4;
pub(crate) const MOST_HANDED: usize = 256;
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
        let (code, text) = PairingCode::make(now, None).unwrap();
        assert_eq!((text.len(), text.as_bytes()[4]), (9, b'-'));
        let plain = text.replace('-', "");
        for typed in
            [text.clone(), plain.to_lowercase(), format!(" {} {} ", &plain[..4], &plain[4..])]
        {
            let letters = letters(typed.as_bytes()).unwrap();
            assert_eq!(letters, plain);
            assert!(code.hash.verify(letters.as_bytes()), "{typed}");
        }
        assert_ne!(PairingCode::make(now, None).unwrap().1, text);
    }

    #[test]
    fn a_password_is_opened_by_its_letters_alone() {
        let (code, text) = PairingCode::make(UNIX_EPOCH, Some("gänsehaut")).unwrap();
        let sealed = Sealed::parse(&code.sealed.unwrap().text()).unwrap();
        let typed = letters(text.as_bytes()).unwrap();
        assert_eq!(sealed.open(&typed), Some(Lasting("gänsehaut".into())));
        assert_ne!(sealed.open("ABCDEFGH"), sealed.open(&typed));
        assert!(!format!("{sealed:?}{:?}", sealed.open(&typed)).contains("haut"));
        for wrong in ["", "0", "zz", &"0".repeat(33), &"0".repeat(38), &"0".repeat(1000)] {
            assert_eq!(Sealed::parse(wrong), None, "{wrong}");
        }
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
        let (code, _) = PairingCode::make(made, None).unwrap();
        assert_eq!(code.left(made), VALID);
        assert_eq!(code.left(made + Duration::from_secs(299)), Duration::from_secs(1));
        assert_eq!(code.left(made + VALID), Duration::ZERO);
        assert_eq!(code.left(made + 2 * VALID), Duration::ZERO);
        assert_eq!(code.left(made - 2 * VALID), VALID);
    }
}
