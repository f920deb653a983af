//! A million packets that nobody meant: none may panic, hang or be read past its end.

use bytes::BytesMut;
use hearthd_broker::packet::{Version, decode, next_frame};

use crate::samples::valid;

#[test]
fn a_million_damaged_packets_are_read_or_refused() {
    let mut random = fastrand::Rng::with_seed(5);
    let packets = [valid(Version::V5), valid(Version::V3)].concat();
    let rounds = 1_000_000;
    for _ in 0..rounds {
        let mut bytes = packets[random.usize(..packets.len())].clone();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[place] = random.u8(..),
                1 => bytes.truncate(place.max(1)),
                2 => bytes.insert(place, random.u8(..)),
                _ => bytes[place] ^= 1 << random.u8(..8),
            }
        }
        let version = if random.bool() { Version::V5 } else { Version::V3 };
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut before = buffer.len() + 1;
        while let Ok(Some(frame)) = next_frame(&mut buffer, 100_000, random.bool()) {
            assert!(buffer.len() < before);
            before = buffer.len();
            let _ = decode(&frame, version);
        }
    }
}
