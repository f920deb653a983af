//! The hub in the machine, asked as anybody asks it.

use std::time::Duration;

use hearth_tests::{Failure, Result};

use super::machine::{Machine, Said};

/// How to start the hub and ask it, in the shell of a machine.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) machine: Machine,
}

impl Hub {
    /// Starts broker and hub, and waits until a device answers.
    pub(crate) async fn start(mut machine: Machine) -> Result<Self> {
        machine
            .done("hearth-broker --config /etc/hearthd/hearth-broker.toml >/tmp/broker.log 2>&1 &")
            .await?;
        let mut hub = Self { machine };
        hub.spawn().await?;
        match hub.answers("by-name", "power", STARTED, |_| true).await {
            Ok(_) => Ok(hub),
            Err(failure) => Err(Failure(format!("{failure}\n{}", hub.log().await?))),
        }
    }

    /// Returns the end of the hub's log.
    async fn log(&mut self) -> Result<String> {
        self.machine.done("tail -n 30 /tmp/broker.log /tmp/hearthd.log").await
    }

    /// Starts the hub alone.
    pub(crate) async fn spawn(&mut self) -> Result<()> {
        let line = "hearthd run >>/tmp/hearthd.log 2>&1 & echo $! >/tmp/hearthd.pid";
        self.machine.done(line).await.map(drop)
    }

    /// Sends the hub SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.machine.done("kill -9 $(cat /tmp/hearthd.pid)").await.map(drop)
    }

    /// Sets a property, which must be answered with success.
    pub(crate) async fn set(
        &mut self,
        device: &str,
        property: &str,
        value: &str,
    ) -> Result<String> {
        self.machine.done(&format!("hearthd request {device} {property} '{value}'")).await
    }

    /// Reads a property until it is as it should be.
    pub(crate) async fn answers(
        &mut self,
        device: &str,
        property: &str,
        within: Duration,
        accept: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let line = format!("hearthd request {device} {property}");
        let accepted = |said: &Said| said.status == 0 && accept(said.text.trim());
        let said = self.machine.until(&line, within, accepted).await?;
        Ok(said.text.trim().to_owned())
    }
}

const STARTED: Duration = Duration::from_secs(60);
