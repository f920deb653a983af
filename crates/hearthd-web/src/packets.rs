//! Reads the first packet of each side: who logs in, and whether the broker accepts it. Nothing else is read.

/// What a CONNECT says (MQTT 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    /// 4 for MQTT 3.1.1, 5 for MQTT 5.
    pub(crate) version: u8,
    /// The account; `None` if there is no user name.
    pub(crate) username: Option<String>,
}

/// The bytes are not such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Returns whether the bytes may be the beginning of a CONNECT.
pub(crate) fn may_be_connect(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == CONNECT)
}

/// Returns the length of the packet that the bytes begin with; `None` if there are too few bytes to tell (MQTT 2.1.4).
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut length = 0;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some(2 + index + length));
        }
    }
    if bytes.len() > 4 { Err(Malformed) } else { Ok(None) }
}

/// Reads a whole CONNECT as far as its user name.
pub(crate) fn connect(packet: &[u8]) -> Result<Connect, Malformed> {
    let [CONNECT, rest @ ..] = packet else { return Err(Malformed) };
    let start = rest.iter().position(|byte| byte & 0x80 == 0).ok_or(Malformed)?;
    let mut rest = Rest(&rest[start + 1..]);
    if rest.text()? != b"MQTT" {
        return Err(Malformed);
    }
    let (version, flags) = (rest.byte()?, rest.byte()?);
    if !matches!(version, 4 | 5) {
        return Err(Malformed);
    }
    let skip_properties =
        |rest: &mut Rest<'_>| if version == 5 { rest.properties() } else { Ok(()) };
    rest.take(2)?;
    skip_properties(&mut rest)?;
    rest.text()?;
    if flags & WILL != 0 {
        skip_properties(&mut rest)?;
        rest.text()?;
        rest.text()?;
    }
    let username = (flags & USERNAME != 0).then(|| rest.text()).transpose()?;
    let username = username.map(|name| String::from_utf8_lossy(name).into_owned());
    Ok(Connect { version, username })
}

/// The meaning of a CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Logged in.
    Accepted,
    /// User name or password are wrong, or the account is not allowed to log in.
    WrongPassword,
    /// Refused for another reason.
    Refused,
}

/// Reads a whole CONNACK (MQTT 3.2); the codes of MQTT 3.1.1 are understood as well.
pub(crate) fn connack(packet: &[u8]) -> Result<Verdict, Malformed> {
    let [CONNACK, _, _, code, ..] = packet else { return Err(Malformed) };
    Ok(match code {
        0 => Verdict::Accepted,
        // Bad user name or password, not authorized, bad authentication method.
        4 | 5 | 0x86 | 0x87 | 0x8C => Verdict::WrongPassword,
        _ => Verdict::Refused,
    })
}

/// Writes the CONNACK that refuses a client which has tried too many passwords.
pub(crate) fn too_many_passwords(version: u8) -> Vec<u8> {
    if version == 4 {
        // 3.1.1 has no better code than "server unavailable".
        return vec![CONNACK, 2, 0, 3];
    }
    let why = b"too many wrong passwords; try again in a minute";
    let properties = 3 + why.len();
    let mut packet = vec![CONNACK, (3 + properties) as u8, 0, RATE_EXCEEDED, properties as u8];
    packet.extend([REASON_STRING, 0, why.len() as u8]);
    packet.extend(why);
    packet
}

/// The rest of a packet.
struct Rest<'p>(&'p [u8]);

impl<'p> Rest<'p> {
    fn take(&mut self, length: usize) -> Result<&'p [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn text(&mut self) -> Result<&'p [u8], Malformed> {
        let length = u16::from_be_bytes([self.byte()?, self.byte()?]);
        self.take(length.into())
    }

    fn properties(&mut self) -> Result<(), Malformed> {
        // A length of properties is written as that of a packet, without the byte before it.
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(Malformed);
            }
        }
        self.take(length).map(drop)
    }
}

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const WILL: u8 = 0b0000_0100;
const USERNAME: u8 = 0b1000_0000;
const RATE_EXCEEDED: u8 = 0x9F;
const REASON_STRING: u8 = 0x1F;

#[cfg(test)]
mod tests {
    use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

    use super::*;

    fn put(body: &mut Vec<u8>, field: &[u8]) {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field);
    }

    /// A CONNECT of MQTT 5 that asks for Response Information, which another library reads as well.
    fn v5(will: bool) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, b"MQTT");
        body.extend([5, if will { 0b1100_0110 } else { 0b1100_0010 }, 0, 30, 2, 0x19, 1]);
        put(&mut body, b"web-1");
        if will {
            body.extend([5, 0x18, 0, 0, 0, 10]);
            put(&mut body, b"a/b");
            put(&mut body, b"gone");
        }
        put(&mut body, b"anna");
        put(&mut body, b"secret");
        let (connect, _) = v5_0::Connect::parse(&body).unwrap();
        assert_eq!(connect.user_name(), Some("anna"));
        let mut packet = vec![CONNECT, body.len() as u8];
        packet.extend(body);
        packet
    }

    #[test]
    fn a_connect_tells_its_account() {
        for will in [false, true] {
            let packet = v5(will);
            assert_eq!(length(&packet), Ok(Some(packet.len())));
            assert_eq!(connect(&packet), Ok(Connect { version: 5, username: Some("anna".into()) }));
        }
        let packet = b"\x10\x0D\0\x04MQTT\x04\x02\0\x1E\0\x01x";
        assert!(v3_1_1::Connect::parse(&packet[2..]).is_ok());
        assert_eq!(connect(packet), Ok(Connect { version: 4, username: None }));
    }

    #[test]
    fn whatever_is_cut_off_or_something_else_is_malformed_and_no_panic() {
        let packet = v5(true);
        for end in 0..packet.len() - 10 {
            assert!(connect(&packet[..end]).is_err(), "{end}");
        }
        for index in 0..packet.len() {
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut damaged = packet.clone();
                damaged[index] = value;
                let _ = (length(&damaged), connect(&damaged), connack(&damaged));
            }
        }
        assert_eq!(length(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF]), Err(Malformed));
        assert_eq!(length(&[0x10, 0xFF]), Ok(None));
        assert_eq!(connect(&[0x30, 3, 0, 1, b'a']), Err(Malformed));
    }

    #[test]
    fn the_refusal_is_a_connack() {
        for version in [4, 5] {
            let packet = too_many_passwords(version);
            assert_eq!(length(&packet), Ok(Some(packet.len())));
            assert_eq!(connack(&packet), Ok(Verdict::Refused));
        }
        let packet = too_many_passwords(5);
        let (parsed, used) = v5_0::Connack::parse(&packet[2..]).unwrap();
        assert_eq!(used, packet.len() - 2);
        assert_eq!(parsed.reason_code() as u8, RATE_EXCEEDED);
    }
}
