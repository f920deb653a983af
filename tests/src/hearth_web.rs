//! `hearth-web`, started with a generated configuration.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::{Built, Doing, Failure, Process, Result, process::eventually};

/// A running `hearth-web` on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct HearthWeb {
    process: Process,
    address: SocketAddr,
}

impl HearthWeb {
    /// Starts it with a configuration, which lies in `folder`, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not say so before the deadline, with its log.
    pub async fn start(built: &Built, folder: &Path, config: &str) -> Result<Self> {
        Self::start_on(built, folder, config, "127.0.0.1:0").await
    }

    /// As [`HearthWeb::start`], on an address that is given.
    ///
    /// # Errors
    /// Where it does not say so before the deadline, with its log.
    pub async fn start_on(built: &Built, folder: &Path, config: &str, on: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let file = folder.join("hearth-web.toml");
        std::fs::write(&file, config).doing(file.display())?;
        let mut command = Command::new(built.binary("hearth-web"));
        command.arg("--config").arg(&file).args(["--listen", on]);
        let mut process = Process::start(&mut command, &folder.join("hearth-web.log"))?;
        let address = eventually("hearth-web's address", Duration::from_secs(30), || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("hearth-web ended: {status}\n{}", process.log())));
            }
            let said = process.stdout();
            let line = said.lines().find_map(|line| line.strip_prefix("listening on "));
            Ok(line.and_then(|address| address.parse().ok()))
        });
        let address = address.await?;
        Ok(Self { process, address })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns what it wrote to its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// Where it does not end, with its log.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let ended = self.process.terminate(Duration::from_secs(10)).await;
        ended.map_err(|failure| Failure(format!("{failure}\n{}", self.process.log())))
    }
}
