//! A broker that knows MQTT 3.1.1 and nothing newer, although the one behind it does.

use std::io::{Error, ErrorKind};

use hearthd_tests::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Forwards connections by MQTT 3.1.1, and refuses newer ones as MQTT 3.1.1 says; all end when it is dropped.
pub(crate) struct OlderBroker {
    port: u16,
    task: JoinHandle<()>,
}

impl OlderBroker {
    /// Listens on a free port in front of a broker.
    pub(crate) async fn start(broker_port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // The two ends see when it breaks.
                links.spawn(async move { forward(client, broker_port).await.ok() });
            }
        });
        Ok(Self { port, task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for OlderBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, broker_port: u16) -> std::io::Result<()> {
    let mut begin = vec![client.read_u8().await?, client.read_u8().await?];
    while begin.last().is_some_and(|byte| byte & 0x80 != 0) {
        begin.push(client.read_u8().await?);
    }
    // The protocol's name, and its level (3.1.2).
    let mut name = [0; 7];
    client.read_exact(&mut name).await?;
    let Some(level) = name.strip_prefix(b"\0\x04MQTT") else {
        return Err(Error::from(ErrorKind::InvalidData));
    };
    if level != [4] {
        return client.write_all(&UNACCEPTABLE).await;
    }
    begin.extend(name);
    let mut broker = TcpStream::connect(("127.0.0.1", broker_port)).await?;
    broker.write_all(&begin).await?;
    copy_bidirectional(&mut client, &mut broker).await.map(drop)
}

/// CONNACK with the return code 1, unacceptable protocol version (3.2.2.3).
const UNACCEPTABLE: [u8; 4] = [0x20, 2, 0, 1];
