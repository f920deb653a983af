//! The system's source of randomness.

/// Returns random bytes, for a generation or Correlation Data.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}
