//! Finds the packets in a stream of bytes (MQTT 2.1).

use bytes::{Buf as _, Bytes, BytesMut};

use super::{Reason, WireError};

/// One packet: its first byte and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Packet type and flags.
    pub first: u8,
    /// What follows the fixed header.
    pub body: Bytes,
}

/// Takes the next whole packet from a buffer; `None` if bytes are missing.
///
/// A packet above `limit` bytes is refused once its length is known, before any room is made for it. So is a type that
/// no client may send, and any packet but CONNECT on a connection that is not `open` (MQTT 3.1, 4.13).
///
/// # Errors
/// Where what comes can be no packet, or is none that may come now.
pub fn next_frame(
    buffer: &mut BytesMut,
    limit: usize,
    open: bool,
) -> Result<Option<Frame>, WireError> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    check_first(first, open)?;
    let Some((length, header)) = remaining_length(buffer)? else { return Ok(None) };
    if header + length > limit {
        return Err(WireError { reason: Reason::PacketTooLarge, what: "the packet is too large" });
    }
    if buffer.len() < header + length {
        return Ok(None);
    }
    buffer.advance(header);
    Ok(Some(Frame { first, body: buffer.split_to(length).freeze() }))
}

fn check_first(first: u8, open: bool) -> Result<(), WireError> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    let right = match kind {
        PUBLISH => true,
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => flags == 0b0010,
        _ => flags == 0,
    };
    match kind {
        CONNECT if open => Err(WireError::protocol("a second CONNECT")),
        CONNECT | PUBLISH..=PUBCOMP | SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT | AUTH => {
            if !open && kind != CONNECT {
                Err(WireError::protocol("the first packet is no CONNECT"))
            } else if right {
                Ok(())
            } else {
                Err(WireError::malformed("reserved flags of the fixed header"))
            }
        }
        CONNACK | SUBACK | UNSUBACK | PINGRESP => {
            Err(WireError::protocol("a packet that only a broker sends"))
        }
        _ => Err(WireError::malformed("packet type 0")),
    }
}

/// Reads Remaining Length (MQTT 2.1.4); returns it and the size of the fixed header.
fn remaining_length(buffer: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut length = 0;
    for place in 0..4 {
        let Some(&byte) = buffer.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            if byte == 0 && place > 0 {
                break;
            }
            return Ok(Some((length, 2 + place)));
        }
    }
    Err(WireError::malformed("the remaining length has too many bytes"))
}

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGREQ: u8 = 12;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;
