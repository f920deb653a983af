//! Reads the data types of MQTT (MQTT 1.5) from the body of a packet.

use std::num::NonZeroU16;

use super::WireError;

/// What is left of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all that is left.
    pub(super) fn rest(self) -> &'b [u8] {
        self.rest
    }

    /// Requires that nothing is left.
    pub(super) fn finish(self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(WireError::malformed("bytes after its end")) }
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'b [u8], WireError> {
        let cut = self.rest.split_at_checked(length);
        let (taken, rest) = cut.ok_or(WireError::malformed("a field is longer than the packet"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.bytes(1)?[0])
    }

    /// Reads a Two Byte Integer (MQTT 1.5.2).
    pub(super) fn two(&mut self) -> Result<u16, WireError> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Reads a Four Byte Integer (MQTT 1.5.3).
    pub(super) fn four(&mut self) -> Result<u32, WireError> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a Packet Identifier, which is never 0 (MQTT 2.2.1).
    pub(super) fn packet_id(&mut self) -> Result<NonZeroU16, WireError> {
        NonZeroU16::new(self.two()?).ok_or(WireError::protocol("packet identifier 0"))
    }

    /// Reads a Variable Byte Integer, which has no more bytes than it needs (MQTT 1.5.5).
    pub(super) fn variable(&mut self) -> Result<u32, WireError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(LONG_INTEGER) } else { Ok(value) };
            }
        }
        Err(LONG_INTEGER)
    }

    /// Reads Binary Data (MQTT 1.5.6).
    pub(super) fn binary(&mut self) -> Result<&'b [u8], WireError> {
        let length = self.two()?;
        self.bytes(length.into())
    }

    /// Reads a UTF-8 Encoded String, which has no NUL in it (MQTT 1.5.4).
    pub(super) fn text(&mut self) -> Result<&'b str, WireError> {
        let text = std::str::from_utf8(self.binary()?)
            .map_err(|_| WireError::malformed("a string is not UTF-8"))?;
        if text.contains('\0') {
            return Err(WireError::malformed("a string has a NUL in it"));
        }
        Ok(text)
    }
}

const LONG_INTEGER: WireError = WireError {
    reason: super::Reason::MalformedPacket,
    what: "a variable byte integer has too many bytes",
};
