//! The options of commands that ask a hub: which hub, at which broker, with which account.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{CONFIG_FILE, CONFIG_VARIABLE, exit, fail, parse_duration};
use crate::config::Config;

/// The options of all commands that ask a hub.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Asking {
    /// The configuration file, which names the broker; the variable HEARTHD_CONFIG sets it for all commands [default:
    /// /etc/hearthd/hearthd.toml, or none with --broker].
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE, hide_env = true)]
    config: Option<PathBuf>,
    /// The client ID of the hub, if it is not the configuration's.
    #[arg(long, value_name = "CLIENT_ID")]
    hub: Option<String>,
    /// The broker, if it is not the configuration's: mqtt://HOST:PORT or mqtts://HOST:PORT.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// The account at the broker, instead of the configuration's.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file with that account's password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// How long to wait for the answer [default: two seconds longer than the device's deadline].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
}

impl Asking {
    /// Returns the configuration to ask with.
    ///
    /// # Errors
    /// The exit code; the error is already printed.
    pub(super) fn configuration(&self) -> Result<Config, ExitCode> {
        let mut config = match (&self.config, &self.broker) {
            (Some(file), _) => Config::load(file),
            (None, None) => Config::load(Path::new(CONFIG_FILE)),
            (None, Some(_)) => Config::parse(Path::new("--broker"), ""),
        }
        .map_err(|problems| fail(exit::CONFIG, problems))?;
        if let Some(url) = &self.broker {
            let at_broker = |what| fail(exit::USAGE, format!("--broker: {what}"));
            config.broker.move_to(url).map_err(at_broker)?;
        }
        if let Some(user) = &self.user {
            let password = self.password_file.as_deref();
            let logged_in = config.broker.log_in_as(user, password);
            logged_in.map_err(|what| fail(exit::USAGE, what))?;
        }
        Ok(config)
    }

    /// Returns the client ID of the hub to ask.
    ///
    /// # Errors
    /// The exit code, if neither the command line nor the configuration names one.
    pub(super) fn hub(&self, config: &Config) -> Result<String, ExitCode> {
        match &self.hub {
            Some(hub) => Ok(hub.clone()),
            None if self.config.is_none() && self.broker.is_some() => {
                Err(fail(exit::USAGE, "--broker: name the hub as well: --hub CLIENT_ID"))
            }
            None => Ok(config.broker.client_id.clone()),
        }
    }
}
