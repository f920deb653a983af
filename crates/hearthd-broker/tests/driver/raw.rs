//! A client that writes bytes.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A connection; packets are as they are on the wire.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
}

impl Raw {
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }
}

impl<S: Read + Write> Raw<S> {
    pub(crate) fn send(&mut self, packet: &[u8]) {
        self.stream.write_all(packet).unwrap();
    }

    /// Sends what may be refused in the middle.
    pub(crate) fn try_send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.stream.write_all(packet)
    }

    /// Receives a packet: its first byte and its body.
    pub(crate) fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut first = [0];
        self.stream.read_exact(&mut first)?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((first[0], body))
    }

    pub(crate) fn expect(&mut self, first: u8) -> Vec<u8> {
        let (got, body) = self.receive().unwrap();
        assert_eq!(got, first, "{body:02x?}");
        body
    }

    pub(crate) fn expect_connack(&mut self, reason: u8) -> Vec<u8> {
        let body = self.expect(0x20);
        assert_eq!(body[1], reason, "{}", String::from_utf8_lossy(&body));
        body
    }

    /// Subscribes at QoS 1.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        self.send(&packet(0x82, &[&[0, 1, 0][..], &text(filter), &[1]].concat()));
        let suback = self.expect(0x90);
        assert!(suback[suback.len() - 1] < 0x80, "{suback:02x?}");
    }

    /// Receives a PUBLISH; returns its topic and its payload.
    pub(crate) fn message(&mut self) -> (String, Vec<u8>) {
        let (first, body) = self.receive().unwrap();
        assert_eq!(first >> 4, 3, "{first:02x} {body:02x?}");
        let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..end].to_vec()).unwrap();
        let mut at = end;
        if first & 0x06 != 0 {
            self.send(&packet(0x40, &body[end..end + 2]));
            at += 2;
        }
        let properties = usize::from(body[at]);
        (topic, body[at + 1 + properties..].to_vec())
    }
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A CONNECT of MQTT 5 without Clean Start, with a Session Expiry Interval.
pub(crate) fn connect(client_id: &str, account: &str, password: &str, expiry: u32) -> Vec<u8> {
    let properties = [&[5, 0x11][..], &expiry.to_be_bytes()].concat();
    let body = [
        &text("MQTT")[..],
        &[5, 0b1100_0000, 0, 0],
        &properties,
        &text(client_id),
        &text(account),
        &text(password),
    ];
    packet(0x10, &body.concat())
}

/// A PUBLISH of MQTT 5; packet identifier 0 means QoS 0.
pub(crate) fn publish(topic: &str, payload: &[u8], id: u16, retain: bool) -> Vec<u8> {
    let qos = if id > 0 { 0x02 } else { 0 };
    let id = id.to_be_bytes();
    let id = if qos > 0 { &id[..] } else { &[] };
    packet(0x30 | qos | u8::from(retain), &[&text(topic)[..], id, &[0], payload].concat())
}
