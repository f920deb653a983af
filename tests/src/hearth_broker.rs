//! The bundled broker of one home, `alice`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{Access, Built, Doing, Failure, Process, Result, process::eventually};

/// A running `hearth-broker` with the accounts `hub`, `phone`, `tablet` and `guardian`.
#[derive(Debug)]
pub struct HearthBroker {
    process: Process,
    folder: PathBuf,
    port: u16,
}

impl HearthBroker {
    /// Starts the broker with its state in `folder`, on a free port, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not say so before the deadline.
    pub async fn start(built: &Built, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let mut text = "listen = [\"127.0.0.1:0\"]\nhome = \"alice\"\n\n".to_owned();
        text += &format!("[storage]\ndirectory = {:?}\n", folder.join("storage"));
        for account in ACCOUNTS {
            let file = password_file(folder, account);
            std::fs::write(&file, password(account)).doing(file.display())?;
            text += &format!("\n[[account]]\nname = \"{account}\"\npassword_file = {file:?}\n");
            if account == "hub" {
                text += "client_ids = [\"hearthd-demo\", \"hearthd-demo-*\"]\n";
            }
        }
        let config = folder.join("hearth-broker.toml");
        std::fs::write(&config, text).doing(config.display())?;
        let mut command = Command::new(built.binary("hearth-broker"));
        command.arg("--config").arg(&config);
        let mut process = Process::start(&mut command, &folder.join("hearth-broker.log"))?;
        let port = eventually("`listening on` from hearth-broker", STARTED, || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("hearth-broker: {status}\n{}", process.log())));
            }
            Ok(process.stdout().lines().find_map(|line| {
                line.strip_prefix("listening on ")?.rsplit_once(':')?.1.trim().parse().ok()
            }))
        });
        let port = port.await?;
        Ok(Self { process, folder: folder.to_owned(), port })
    }

    /// Returns how an account gets in.
    pub fn access(&self, account: &str) -> Access {
        Access { port: self.port, login: Some((account.into(), password(account))) }
    }

    /// Returns the file with the account's password.
    pub fn password_file(&self, account: &str) -> PathBuf {
        password_file(&self.folder, account)
    }

    /// Returns the broker's log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the broker's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

const ACCOUNTS: [&str; 4] = ["hub", "phone", "tablet", "guardian"];
const STARTED: Duration = Duration::from_secs(15);

fn password(account: &str) -> String {
    format!("password-of-{account}")
}

fn password_file(folder: &Path, account: &str) -> PathBuf {
    folder.join(format!("{account}.password"))
}
