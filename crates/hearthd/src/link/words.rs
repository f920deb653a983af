//! Describes why there is no connection: rumqttc's own texts name neither packet nor protocol.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rumqttc::v5::{ConnectionError, StateError, mqttbytes::Error as Unreadable};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::config::Broker;

/// Says what ended a connection, or kept one from being made.
pub(super) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::Timeout(_) => "the broker does not answer".into(),
        ConnectionError::MqttState(StateError::Io(error)) => error.to_string(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection".into()
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker does not answer PINGREQ".into()
        }
        ConnectionError::MqttState(StateError::Deserialization(error)) => unreadable(error),
        ConnectionError::Tls(error) => certificate(&error.to_string()),
        other => other.to_string(),
    }
}

/// Names a packet that cannot be read, as far as rumqttc tells.
pub(super) fn unreadable(error: &Unreadable) -> String {
    let what = match error {
        Unreadable::InvalidConnectReturnCode(code) | Unreadable::InvalidReason(code) => {
            format!(
                "a PUBACK, CONNACK or DISCONNECT with the reason code {code:#04x}, which MQTT 5 does not know"
            )
        }
        Unreadable::InvalidSubscribeReasonCode(code) => {
            format!("a SUBACK with the reason code {code:#04x}, which MQTT 5 does not know")
        }
        Unreadable::InvalidPropertyType(id) => {
            let name = property(*id);
            format!("a packet with the property {id:#04x}{name}, which does not belong there")
        }
        Unreadable::PayloadSizeLimitExceeded { pkt_size, max } => {
            format!("a packet of {pkt_size} bytes, where the hub announced {max} at most")
        }
        Unreadable::Io(error) => return error.to_string(),
        other => format!("a packet that is malformed ({other})"),
    };
    format!("the broker sent {what}")
}

/// Names a property (MQTT 2.2.2.2) that brokers are known to send where it does not belong.
fn property(id: u8) -> &'static str {
    match id {
        0x18 => " (Will Delay Interval)",
        0x1C => " (Server Reference)",
        0x1F => " (Reason String)",
        0x23 => " (Topic Alias)",
        0x26 => " (User Property)",
        _ => "",
    }
}

/// Says what to do about a certificate that is not accepted.
fn certificate(text: &str) -> String {
    let remedy = if text.contains("UnsupportedCertVersion") {
        "the certificate is of X.509 v1: make one of v3, with the broker's name as subjectAltName"
    } else if text.contains("CaUsedAsEndEntity") {
        "the broker's certificate is its own authority: make an authority and let it sign one for the broker, \
         as config/hearthd-cloud.toml shows"
    } else if text.contains("UnknownIssuer") {
        "no authority that is trusted has signed it: name the one that has as [broker.tls] ca_file"
    } else {
        return format!("TLS: {text}");
    };
    format!("TLS: {text}: {remedy}")
}

/// Finds out who answers in place of a broker, by a CONNECT of its own without any account; none where that tells
/// nothing, or where the same was asked a moment ago.
pub(super) async fn who_answers(broker: &Broker) -> Option<&'static str> {
    if !may_ask(broker) {
        return None;
    }
    // Some that speak TLS answer nothing at all to what is no TLS.
    for question in [CONNECT, CLIENT_HELLO] {
        if let Ok(Some(who)) = timeout(PATIENCE, answer_to(question, broker)).await {
            return Some(who);
        }
    }
    None
}

async fn answer_to(question: &[u8], broker: &Broker) -> Option<&'static str> {
    let mut socket = TcpStream::connect((broker.host.as_str(), broker.port)).await.ok()?;
    socket.write_all(question).await.ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 16];
    while answer.len() < part.len() && classify(&answer, broker.tls.is_some()).is_none() {
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
    }
    classify(&answer, broker.tls.is_some())
}

/// Returns whether an address may be asked now: a line that is cut again and again makes no more work at the broker.
fn may_ask(broker: &Broker) -> bool {
    static ASKED: Mutex<BTreeMap<(String, u16), Instant>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    asked.retain(|_, at| now < *at + ASKED_AGAIN);
    let address = (broker.host.clone(), broker.port);
    !asked.contains_key(&address) && asked.insert(address, now).is_none()
}

fn classify(answer: &[u8], wants_tls: bool) -> Option<&'static str> {
    match answer {
        [0x20, ..] if wants_tls => Some("it speaks no TLS: write mqtt:// in the url"),
        // CONNACK of MQTT 3.1.1 has no properties.
        [0x20, 2, ..] => Some("the broker does not speak MQTT 5; the hub needs it"),
        [0x15, 3, ..] if !wants_tls => Some("it speaks TLS: write mqtts:// in the url"),
        [b'H', b'T', b'T', b'P', ..] => Some("a web server answers there, and no broker"),
        [b'S', b'S', b'H', b'-', ..] => Some("an SSH server answers there, and no broker"),
        _ => None,
    }
}

/// CONNECT of MQTT 5 with a client ID that no hub has, a session of its own that does not outlive it, and a keep alive of
/// ten seconds.
const CONNECT: &[u8] = b"\x10\x18\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x0bhearthd-who";
/// A TLS handshake record with an empty ClientHello, which every TLS server answers with an alert.
const CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon the same address may be asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_used_comes_with_a_remedy() {
        for (text, remedy) in [
            ("invalid peer certificate: Other(UnsupportedCertVersion)", "X.509 v1"),
            ("invalid peer certificate: Other(CaUsedAsEndEntity)", "its own authority"),
            ("invalid peer certificate: UnknownIssuer", "ca_file"),
        ] {
            let told = certificate(text);
            assert!(told.contains(remedy) && told.contains(text), "{told}");
        }
    }

    #[test]
    fn a_property_where_it_does_not_belong_is_named() {
        let told = unreadable(&Unreadable::InvalidPropertyType(0x18));
        assert!(told.contains("0x18 (Will Delay Interval)"), "{told}");
    }
}
