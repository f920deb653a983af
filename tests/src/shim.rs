//! A TCP proxy that gives Mosquitto what it lacks: Response Information for each user.

use std::{fmt, sync::Arc};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{
    Access, Result,
    wire::{length, push_length, read_packet},
};

/// A running proxy; dropping it cuts every connection.
#[derive(Debug)]
pub struct Shim {
    port: u16,
    task: JoinHandle<()>,
}

impl Shim {
    /// Listens on a free port in front of a broker; `rule` makes Response Information of a user name.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(
        broker_port: u16,
        rule: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let rule = Rule(Arc::new(rule));
        let task = tokio::spawn(accept(listener, broker_port, rule));
        Ok(Self { port, task })
    }

    /// Returns how a user gets in; the password is never checked.
    pub fn access(&self, user: &str) -> Access {
        Access { port: self.port, login: Some((user.into(), "any".into())) }
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Rule(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule(..)")
    }
}

async fn accept(listener: TcpListener, broker_port: u16, rule: Rule) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let rule = rule.clone();
        // A link that breaks has told its two ends; nobody else is there to act on it.
        links.spawn(async move { link(client, broker_port, rule).await.ok() });
    }
}

async fn link(mut client: TcpStream, broker_port: u16, rule: Rule) -> std::io::Result<()> {
    let mut broker = TcpStream::connect(("127.0.0.1", broker_port)).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let connect = read_packet(&mut client).await?;
    broker.write_all(&connect).await?;
    let connack = read_packet(&mut broker).await?;
    let connack = match asking_user(&connect) {
        Some(user) => with_response_information(&connack, &(rule.0)(&user)).unwrap_or(connack),
        None => connack,
    };
    client.write_all(&connack).await?;
    copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}

/// Returns the user name of a CONNECT with Request Response Information 1 (MQTT 3.1.2.11.6).
fn asking_user(connect: &[u8]) -> Option<String> {
    let Ok(Packet::Connect(connect, _, Some(login))) =
        Packet::read(&mut BytesMut::from(connect), None)
    else {
        return None;
    };
    let asked = connect.properties?.request_response_info == Some(1);
    asked.then_some(login.username)
}

/// Adds the property to a CONNACK that accepts (MQTT 3.2.2.3.15); none where it refuses.
fn with_response_information(connack: &[u8], information: &str) -> Option<Vec<u8>> {
    let (_, header) = length(connack.get(1..)?)?;
    let body = &connack[1 + header..];
    let [flags, 0, properties @ ..] = body else { return None };
    let (_, skip) = length(properties)?;
    let mut properties = properties[skip..].to_vec();
    properties.push(RESPONSE_INFORMATION);
    properties.extend(u16::try_from(information.len()).ok()?.to_be_bytes());
    properties.extend(information.as_bytes());
    let mut body = vec![*flags, 0];
    push_length(&mut body, properties.len());
    body.extend(properties);
    let mut packet = vec![connack[0]];
    push_length(&mut packet, body.len());
    packet.extend(body);
    Some(packet)
}

const RESPONSE_INFORMATION: u8 = 0x1A;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Message, Mosquitto, mosquitto::Kind};

    #[test]
    fn response_information_is_added_to_a_connack_that_accepts_and_to_no_other() {
        let accepted = [0x20, 6, 1, 0, 3, 0x21, 0, 20];
        let changed = with_response_information(&accepted, "bob").unwrap();
        assert_eq!(changed, [0x20, 12, 1, 0, 9, 0x21, 0, 20, 0x1A, 0, 3, b'b', b'o', b'b']);
        assert_eq!(with_response_information(&[0x20, 3, 0, 0x87, 0], "bob"), None);
    }

    #[tokio::test]
    async fn each_user_gets_response_information_from_a_broker_that_knows_none() -> Result<()> {
        let mosquitto = Mosquitto::start(Kind::UsersApart).await?;
        let shim = Shim::start(mosquitto.port(), |user| format!("FRONT,{user}")).await?;
        let plain = Client::connect(&mosquitto.access(Some("alice")), "plain").await?;
        assert_eq!(plain.response_information(), None);
        let mut alice = Client::connect(&shim.access("alice"), "a").await?;
        let mut bob = Client::connect(&shim.access("bob"), "b").await?;
        assert_eq!(alice.response_information(), Some("FRONT,alice"));
        assert_eq!(bob.response_information(), Some("FRONT,bob"));
        alice.subscribe("alice/#").await?;
        bob.subscribe("bob/#").await?;
        let _ = bob.publish(Message::new("alice/x", "from bob")).await;
        bob.publish(Message::new("bob/x", "own").respond_to("bob/y", vec![0, 1])).await?;
        let own = bob.expect_on("bob/x").await?;
        assert_eq!(own.correlation_data.as_deref(), Some(&[0, 1][..]));
        assert_eq!(alice.drain("alice/marker").await?, []);
        drop(shim);
        assert!(alice.expect_on("alice/x").await.is_err());
        Ok(())
    }
}
