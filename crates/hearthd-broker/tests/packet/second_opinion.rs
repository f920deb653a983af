//! What `mqtt-protocol-core` thinks of the same bytes.

use std::sync::Arc;

use hearthd_broker::packet::{Received, Version};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

use crate::samples::{read, valid};

/// Returns whether the other crate reads a packet, all of it.
fn other_reads(bytes: &[u8], version: Version) -> bool {
    let header = 1 + bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = &bytes[header..];
    macro_rules! whole {
        ($parsed:expr) => {
            $parsed.is_ok_and(|(_, length)| length == body.len())
        };
    }
    let flags = bytes[0] & 0x0F;
    match (bytes[0] >> 4, version) {
        (1, Version::V5) => whole!(v5_0::Connect::parse(body)),
        (1, Version::V3) => whole!(v3_1_1::Connect::parse(body)),
        (3, Version::V5) => v5_0::Publish::parse(flags, Arc::from(body)).is_ok(),
        (3, Version::V3) => v3_1_1::Publish::parse(flags, Arc::from(body)).is_ok(),
        (4, Version::V5) => whole!(v5_0::Puback::parse(body)),
        (4, Version::V3) => whole!(v3_1_1::Puback::parse(body)),
        (5, Version::V5) => whole!(v5_0::Pubrec::parse(body)),
        (5, Version::V3) => whole!(v3_1_1::Pubrec::parse(body)),
        (6, Version::V5) => whole!(v5_0::Pubrel::parse(body)),
        (6, Version::V3) => whole!(v3_1_1::Pubrel::parse(body)),
        (7, Version::V5) => whole!(v5_0::Pubcomp::parse(body)),
        (7, Version::V3) => whole!(v3_1_1::Pubcomp::parse(body)),
        (8, Version::V5) => whole!(v5_0::Subscribe::parse(body)),
        (8, Version::V3) => whole!(v3_1_1::Subscribe::parse(body)),
        (10, Version::V5) => whole!(v5_0::Unsubscribe::parse(body)),
        (10, Version::V3) => whole!(v3_1_1::Unsubscribe::parse(body)),
        (14, Version::V5) => whole!(v5_0::Disconnect::parse(body)),
        (15, Version::V5) => whole!(v5_0::Auth::parse(body)),
        _ => true,
    }
}

#[test]
fn both_read_every_valid_packet() {
    for version in [Version::V5, Version::V3] {
        for bytes in valid(version) {
            assert!(other_reads(&bytes, version), "{version:?} {bytes:02x?}");
        }
    }
}

/// Changes one byte at a time. Whatever we read that the other crate refuses is looked at: each reason has to be known.
#[test]
fn what_the_other_refuses_is_refused_here_but_for_known_reasons() {
    for version in [Version::V5, Version::V3] {
        for original in valid(version) {
            for place in 2..original.len() {
                for value in 0..=255 {
                    let mut bytes = original.clone();
                    bytes[place] = value;
                    let Ok(Some(packet)) = read(&bytes, version) else { continue };
                    let ours = other_reads(&bytes, version) || is_known(&packet);
                    assert!(ours, "{version:?} byte {place}: {bytes:02x?} {packet:?}");
                }
            }
        }
    }
}

/// Returns whether the core, or the login, refuses what is read here, so that it can say why.
fn is_known(packet: &Received) -> bool {
    match packet {
        // A filter is judged by itself, with a reason code of its own in SUBACK.
        Received::Subscribe(subscribe) => subscribe.filters.iter().any(|(filter, options)| {
            hearthd_broker::rights::filter_fault(filter).is_some()
                || (options.no_local && filter.starts_with("$share/"))
        }),
        Received::Unsubscribe(unsubscribe) => unsubscribe
            .filters
            .iter()
            .any(|filter| hearthd_broker::rights::filter_fault(filter).is_some()),
        // Of no use to anybody here, whatever is in it.
        Received::Auth => true,
        _ => false,
    }
}
