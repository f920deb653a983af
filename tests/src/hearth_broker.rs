//! The bundled broker of one home, `alice`.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{Access, Built, Doing, Failure, Process, Result, process::eventually};

/// A running `hearth-broker` with the accounts `hub`, `phone`, `tablet` and `guardian`, `zigbee2mqtt` for a bridge, and
/// `bulb` for a device beside the home, which has the topics below `bulbs` with the hub, and those of usual firmwares.
#[derive(Debug)]
pub struct HearthBroker {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl HearthBroker {
    /// Starts the broker with its state in `folder`, on a free port, and waits until it listens.
    ///
    /// # Errors
    /// Where it does not say so before the deadline.
    pub async fn start(built: &Built, folder: &Path) -> Result<Self> {
        Self::start_with(built, folder, |_| {}).await
    }

    /// As [`HearthBroker::start`], with a change of the command that starts it for the first time.
    ///
    /// # Errors
    /// Where it does not say so before the deadline.
    pub async fn start_with(
        built: &Built,
        folder: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let mut text = "home = \"alice\"\n\n".to_owned();
        text += &format!("[storage]\ndirectory = {:?}\n", folder.join("storage"));
        for account in ACCOUNTS {
            let file = password_file(folder, account);
            std::fs::write(&file, password(account)).doing(file.display())?;
            // The broker warns of one that everybody can read.
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).doing(file.display())?;
            text += &format!("\n[[account]]\nname = \"{account}\"\npassword_file = {file:?}\n");
            if account == "hub" {
                text += "role = \"hub\"\nclient_ids = [\"hearthd-demo\", \"hearthd-demo-*\"]\n";
                text += "rights = [{ filter = \"bulbs/#\" }, { filter = \"zigbee2mqtt/#\" }, ";
                text += &format!("{FIRMWARES}]\n");
            }
            if account == "bulb" {
                text += "role = \"device\"\n";
                text +=
                    "rights = [{ filter = \"bulbs/#\" }, { filter = \"alice/response/+/reply\" }, ";
                text += &format!("{FIRMWARES}]\n");
            }
            if account == "zigbee2mqtt" {
                text += "role = \"device\"\nrights = [{ filter = \"zigbee2mqtt/#\" }]\n";
            }
        }
        let config = config_file(folder);
        std::fs::write(&config, text).doing(config.display())?;
        let program = built.binary("hearth-broker");
        let (process, port) = listen(&program, folder, 0, change).await?;
        Ok(Self { process, program, folder: folder.to_owned(), port })
    }

    /// Starts the broker with a configuration of the caller's, on a free port.
    ///
    /// # Errors
    /// Where it does not say that it listens before the deadline.
    pub async fn start_configured(built: &Built, folder: &Path, text: &str) -> Result<Self> {
        let config = config_file(folder);
        std::fs::write(&config, text).doing(config.display())?;
        let program = built.binary("hearth-broker");
        let (process, port) = listen(&program, folder, 0, |_| {}).await?;
        Ok(Self { process, program, folder: folder.to_owned(), port })
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends SIGKILL and waits; what the broker had written stays.
    ///
    /// # Errors
    /// Where it had ended by itself, with its log.
    pub fn stop(&mut self) -> Result<()> {
        let ended = self.process.kill9();
        ended.map_err(|failure| Failure(format!("{failure}\n{}", self.process.log())))
    }

    /// Listens on the same port again after [`HearthBroker::stop`].
    ///
    /// # Errors
    /// Where it does not listen.
    pub async fn start_again(&mut self) -> Result<()> {
        (self.process, _) = listen(&self.program, &self.folder, self.port, |_| {}).await?;
        Ok(())
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

const ACCOUNTS: [&str; 6] = ["hub", "phone", "tablet", "guardian", "bulb", "zigbee2mqtt"];
/// The topics of devices with Tasmota and ESPHome, and of those by Shelly.
const FIRMWARES: &str = r#"{ filter = "cmnd/#" }, { filter = "stat/#" }, { filter = "tele/#" },
    { filter = "shelly/#" }, { filter = "shellies/#" }, { filter = "node/#" }"#;
const STARTED: Duration = Duration::from_secs(60);

/// Starts the process and waits until it says which port it listens on; port 0 is a free one.
async fn listen(
    program: &Path,
    folder: &Path,
    port: u16,
    change: impl FnOnce(&mut Command),
) -> Result<(Process, u16)> {
    let mut command = Command::new(program);
    command.arg("--config").arg(config_file(folder));
    command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    change(&mut command);
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
    Ok((process, port))
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("hearth-broker.toml")
}

fn password(account: &str) -> String {
    format!("password-of-{account}")
}

fn password_file(folder: &Path, account: &str) -> PathBuf {
    folder.join(format!("{account}.password"))
}
