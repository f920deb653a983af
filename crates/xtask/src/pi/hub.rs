//! The hub in the machine, asked as anybody asks it.

use std::time::Duration;

use hearthd_tests::{Failure, Result};

use super::machine::{Machine, Said};

/// A hub that is asked in the shell of its machine.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) machine: Machine,
}

impl Hub {
    /// Returns the hub of a machine whose hub runs, or will.
    pub(crate) fn of(machine: Machine) -> Self {
        Self { machine }
    }

    /// Waits until the devices answer.
    pub(crate) async fn online(&mut self) -> Result<()> {
        match self.answers("by-name", "power", STARTED, |_| true).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                let log = self.machine.run(LOG).await?.text;
                Err(Failure(format!("{failure}\n{log}")))
            }
        }
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

/// The last that the hub said, on either machine.
const LOG: &str = "journalctl -u hearthd -n 30 --no-pager || tail -n 30 /tmp/hearthd.log";
const STARTED: Duration = Duration::from_secs(60);
