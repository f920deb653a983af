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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("broker.url = \"mqtt://{}\"", listener.local_addr().unwrap());
    let config = Config::parse(Path::new("c.toml"), &url).unwrap();
    let options =
        ConnectOptions { broker: &config.broker, client_id: "hub", keep_session: true, will: None };
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
