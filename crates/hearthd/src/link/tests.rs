use std::path::Path;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error,
    v5::{ConnAck, ConnectReturnCode, PubAck},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::Config;

/// A broker that says what a test has it say.
struct Script {
    socket: TcpStream,
    received: BytesMut,
}

impl Script {
    async fn accept(listener: &TcpListener) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        Self { socket, received: BytesMut::new() }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn receive(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.received, None) {
                Ok(packet) => return packet,
                Err(Error::InsufficientBytes(_)) => self.fill().await,
                Err(error) => panic!("{error}: {:?}", self.received),
            }
        }
    }

    /// DISCONNECT 0x00 in its short form (MQTT 3.14.2.1), which rumqttc writes and does not read.
    async fn expect_disconnect(&mut self) {
        while self.received.len() < 2 {
            self.fill().await;
        }
        assert_eq!(self.received, [0xE0, 0][..]);
    }

    async fn fill(&mut self) {
        let length = self.socket.read_buf(&mut self.received).await.unwrap();
        assert_ne!(length, 0, "the link has closed the connection");
    }
}

/// Connects a link to a script.
async fn connect() -> (Link, Script) {
    connect_by(false).await
}

async fn connect_by(relayed: bool) -> (Link, Script) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("broker.url = \"mqtt://{}\"", listener.local_addr().unwrap());
    let config = Config::parse(Path::new("c.toml"), &url).unwrap();
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: "hub",
        keep_session: true,
        will: None,
        relayed,
    };
    let mut link = Link::open(&options, 0).unwrap();
    let mut script = Script::accept(&listener).await;
    assert!(matches!(script.receive().await, Packet::Connect(..)));
    let code = ConnectReturnCode::Success;
    script.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
    assert!(matches!(link.next().await, LinkEvent::Connected(_)));
    (link, script)
}

#[tokio::test]
async fn a_message_overtakes_acknowledgements_and_disconnect_follows_all() {
    let (mut link, mut script) = connect().await;
    let mut deliveries = Vec::new();
    for packet_id in 1..=RECEIVE_MAXIMUM {
        let mut publish = Publish::new("cmnd/lamp/power", WireQoS::AtLeastOnce, "ON", None);
        publish.pkid = packet_id;
        script.send(Packet::Publish(publish)).await;
        let LinkEvent::Received(_, Some(delivery)) = link.next().await else { panic!("a message") };
        assert_eq!(delivery.packet_id, packet_id);
        deliveries.push(delivery.id);
    }
    for delivery in deliveries {
        link.acknowledge(delivery);
    }
    let answer = Message { topic: "response/phone/1".into(), ..Message::default() };
    link.publish(PublishId(1), answer).unwrap();
    link.disconnect();
    assert!(matches!(script.receive().await, Packet::Publish(_)));
    for packet_id in 1..=RECEIVE_MAXIMUM {
        let Packet::PubAck(PubAck { pkid, .. }) = script.receive().await else { panic!("PUBACK") };
        assert_eq!(pkid, packet_id);
    }
    script.expect_disconnect().await;
    let closed = loop {
        if let LinkEvent::Closed(cause) = link.next().await {
            break cause;
        }
    };
    assert_eq!(closed, Disconnection::Requested);
}

#[tokio::test]
async fn a_relayed_connection_has_ended_in_order_only_once_the_broker_knows() {
    for _ in 0..50 {
        let (mut link, mut script) = connect_by(true).await;
        link.publish(PublishId(1), Message { topic: "t".into(), ..Message::default() }).unwrap();
        link.disconnect();
        let closed = loop {
            if let LinkEvent::Closed(cause) = link.next().await {
                break cause;
            }
        };
        assert_eq!(closed, Disconnection::Requested);
        drop(link);
        assert!(matches!(script.receive().await, Packet::Publish(_)));
        script.expect_disconnect().await;
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects a link to somebody who answers CONNECT with these bytes, and says how it ends.
async fn end_after(url: &str, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("broker.url = \"{url}{}\"", listener.local_addr().unwrap());
    let config = Config::parse(Path::new("c.toml"), &url).unwrap();
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: "hub",
        keep_session: true,
        will: None,
        relayed: false,
    };
    let mut link = Link::open(&options, 0).unwrap();
    let answering = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut received = BytesMut::new();
            socket.read_buf(&mut received).await.unwrap();
            socket.write_all(answer).await.unwrap();
            socket.shutdown().await.unwrap();
        }
    });
    let _answering = AbortOnDrop(answering);
    loop {
        if let LinkEvent::Closed(cause) = link.next().await {
            return crate::notice::describe(&cause);
        }
    }
}

#[tokio::test]
async fn who_speaks_something_else_is_told_in_words() {
    for (url, answer, words) in [
        ("mqtt://", &[0x20, 2, 0, 1][..], "the broker does not speak MQTT 5"),
        ("mqtt://", &[0x15, 3, 3, 0, 2, 2, 10][..], "speaks TLS: write mqtts://"),
        ("mqtt://", b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server"),
        ("mqtts://", &[0x20, 2, 0, 1][..], "speaks no TLS: write mqtt://"),
    ] {
        let told = end_after(url, answer).await;
        assert!(told.contains(words), "{url} {answer:?}: {told}");
    }
}

#[tokio::test]
async fn a_packet_that_cannot_be_read_is_named() {
    // PUBACK with a reason code that no standard knows.
    let (mut link, mut script) = connect().await;
    script.socket.write_all(&[0x40, 4, 0, 1, 0x42, 0]).await.unwrap();
    let LinkEvent::Closed(cause) = link.next().await else { panic!("the connection ends") };
    let told = crate::notice::describe(&cause);
    assert!(told.contains("a PUBACK") && told.contains("0x42"), "{told}");
}

#[tokio::test]
async fn what_comes_together_with_the_end_of_a_connection_is_seen_before_it() {
    let (mut link, mut script) = connect().await;
    let mut bytes = BytesMut::new();
    for payload in ["ON", "OFF"] {
        let mut publish = Publish::new("cmnd/lamp/power", WireQoS::AtLeastOnce, payload, None);
        publish.pkid = 1;
        publish.write(&mut bytes).unwrap();
    }
    // DISCONNECT: not authorized.
    bytes.extend([0xE0, 2, 0x87, 0]);
    script.socket.write_all(&bytes).await.unwrap();
    for payload in ["ON", "OFF"] {
        let LinkEvent::Received(message, _) = link.next().await else { panic!("{payload}") };
        assert_eq!(&message.payload[..], payload.as_bytes());
    }
    let LinkEvent::Closed(cause) = link.next().await else { panic!("the connection ends") };
    assert_eq!(
        cause,
        Disconnection::ByBroker { reason_code: 0x87, reason_string: None, server_reference: None }
    );
}

#[tokio::test]
async fn what_comes_too_late_for_a_connection_hides_nothing_of_its_end() {
    let (mut link, mut script) = connect().await;
    script.socket.write_all(&[0xE0, 2, 0x87, 0]).await.unwrap();
    while !link.events.is_closed() {
        tokio::task::yield_now().await;
    }
    let state = || Message { topic: "state/lamp/power".into(), ..Message::default() };
    assert_eq!(link.publish(PublishId(1), state()), Ok(()));
    assert_eq!(link.unsubscribe(&["cmnd/lamp/+".into()]), Ok(()));
    let LinkEvent::Closed(cause) = link.next().await else { panic!("the connection ends") };
    assert_eq!(
        cause,
        Disconnection::ByBroker { reason_code: 0x87, reason_string: None, server_reference: None }
    );
}

#[tokio::test]
async fn a_server_keep_alive_of_zero_means_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("broker.url = \"mqtt://{}\"", listener.local_addr().unwrap());
    let config = Config::parse(Path::new("c.toml"), &url).unwrap();
    let options = ConnectOptions {
        broker: &config.broker,
        client_id: "hub",
        keep_session: true,
        will: None,
        relayed: false,
    };
    let mut link = Link::open(&options, 0).unwrap();
    let mut script = Script::accept(&listener).await;
    script.receive().await;
    // CONNACK with Server Keep Alive 0 (MQTT 3.2.2.3.14).
    script.socket.write_all(&[0x20, 6, 0, 0, 3, 0x13, 0, 0]).await.unwrap();
    let LinkEvent::Connected(connack) = link.next().await else { panic!("CONNACK") };
    assert_eq!(connack.server_keep_alive, Some(0));
    // PINGREQ may come once, and not again and again.
    let mut pings = 0;
    let quiet = Duration::from_millis(300);
    while let Ok(packet) = tokio::time::timeout(quiet, script.receive()).await {
        assert!(matches!(packet, Packet::PingReq(_)), "{packet:?}");
        pings += 1;
        assert!(pings <= 1, "PINGREQ without end");
        script.send(Packet::PingResp(rumqttc::v5::mqttbytes::v5::PingResp)).await;
    }
}
