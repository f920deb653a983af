//! Feeds systemd's watchdog while the broker answers: it connects to itself like any client.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{packet::Connect, systemd::notify};

/// What gives signs of life.
#[derive(Clone, Debug)]
pub(crate) struct Watchdog {
    interval: Duration,
    login: Login,
}

/// How the broker gets into itself: with a secret of this process, which no other client can know.
#[derive(Clone)]
pub(crate) struct Login {
    secret: [u8; 16],
}

impl Watchdog {
    /// Finds out from the environment whether systemd wants signs of life.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        let Some(allowed) = sd_notify::watchdog_enabled() else { return Ok(None) };
        Ok(Some(Self { interval: allowed / 2, login: Login::new()? }))
    }

    /// Returns how it gets in.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// Connects again and again, and tells systemd each time that the broker answered.
    pub(crate) async fn run(self, broker: SocketAddr) {
        loop {
            match timeout(self.interval, self.login.try_at(broker)).await {
                Ok(Ok(())) => notify(NotifyState::Watchdog),
                Ok(Err(error)) => warn!(%error, "the broker does not answer itself"),
                Err(_) => warn!("the broker does not answer itself in time"),
            }
            sleep(self.interval).await;
        }
    }
}

impl Login {
    fn new() -> io::Result<Self> {
        let mut secret = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self { secret })
    }

    /// Returns whether a CONNECT is the broker's own.
    pub(crate) fn is(&self, connect: &Connect) -> bool {
        connect.client_id == NAME
            && connect.username.as_deref() == Some(NAME)
            && connect.password.as_deref() == Some(self.secret.as_slice())
    }

    /// Opens and ends one session in order.
    async fn try_at(&self, broker: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(broker).await?;
        stream.write_all(&self.connect()).await?;
        let mut header = [0; 2];
        stream.read_exact(&mut header).await?;
        let mut body = vec![0; header[1].into()];
        stream.read_exact(&mut body).await?;
        if header[0] != CONNACK || body.get(1) != Some(&SUCCESS) {
            return Err(io::Error::other(format!("{header:?} {body:?} is no good CONNACK")));
        }
        stream.write_all(&DISCONNECT).await
    }

    /// Writes a CONNECT with Clean Start, which leaves no session behind (MQTT 3.1).
    fn connect(&self) -> Vec<u8> {
        let put = |body: &mut Vec<u8>, field: &[u8]| {
            body.extend((field.len() as u16).to_be_bytes());
            body.extend(field);
        };
        let mut body = Vec::new();
        put(&mut body, b"MQTT");
        body.extend([VERSION, CLEAN_START_WITH_LOGIN, 0, 0, NO_PROPERTIES]);
        for field in [NAME.as_bytes(), NAME.as_bytes(), &self.secret] {
            put(&mut body, field);
        }
        let mut packet = vec![CONNECT, body.len() as u8];
        packet.extend(body);
        packet
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// Client identifier and user name.
const NAME: &str = "hearth-broker-watchdog";
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const DISCONNECT: [u8; 2] = [0xE0, 0];
const VERSION: u8 = 5;
const CLEAN_START_WITH_LOGIN: u8 = 0b1100_0010;
const NO_PROPERTIES: u8 = 0;
const SUCCESS: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Received, Version, decode, next_frame};

    #[test]
    fn the_secret_alone_lets_the_broker_in() {
        let (mine, guessed) = (Login::new().unwrap(), Login::new().unwrap());
        let mut bytes = mine.connect().as_slice().into();
        let frame = next_frame(&mut bytes, 1_000, false).unwrap().unwrap();
        let Ok(Received::Connect(connect)) = decode(&frame, Version::V5) else {
            panic!("no CONNECT")
        };
        assert!(mine.is(&connect));
        assert!(!guessed.is(&connect));
    }
}
