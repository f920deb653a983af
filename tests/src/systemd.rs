//! The notification socket of a service, with this program in systemd's place.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::UnixDatagram,
    time::{Instant, timeout_at},
};

use crate::{Doing, Failure, Result};

/// A socket on which a service tells how it is.
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Systemd {
    /// Listens in a folder.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub fn listen(folder: &Path) -> Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).doing(path.display())?;
        Ok(Self { socket, path })
    }

    /// Returns what `NOTIFY_SOCKET` shall say.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a notification that holds a text; returns all that came, that one last.
    ///
    /// # Errors
    /// Where it does not come before the deadline, with what came instead.
    pub async fn expect(&self, text: &str, deadline: Duration) -> Result<Vec<String>> {
        let end = Instant::now() + deadline;
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let Ok(received) = timeout_at(end, self.socket.recv(&mut buffer)).await else {
                let text = format!("no `{text}` within {deadline:?}; systemd heard {heard:#?}");
                return Err(Failure(text));
            };
            heard.push(String::from_utf8_lossy(&buffer[..received?]).into_owned());
            if heard.last().is_some_and(|last| last.contains(text)) {
                return Ok(heard);
            }
        }
    }

    /// Returns what came meanwhile, without waiting.
    pub fn heard(&self) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.try_recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard
    }
}
