//! Both sides of an RPC command of Azure IoT Operations, as its own examples connect them.

use std::{collections::VecDeque, error::Error, time::Duration};

use azure_iot_operations_mqtt::{
    aio::connection_settings::MqttConnectionSettingsBuilder,
    session::{Session, SessionOptionsBuilder},
};

/// Whatever goes wrong.
pub type Failure = Box<dyn Error>;

/// The command line: `[--user NAME --password-file FILE] PORT` and what the program wants.
#[derive(Debug)]
pub struct Arguments {
    login: Option<(String, String)>,
    port: u16,
    /// What comes after the port.
    pub rest: VecDeque<String>,
}

impl Arguments {
    /// Reads the command line; `usage` says what comes after the port.
    pub fn read(usage: &str) -> Result<Self, Failure> {
        let mut rest: VecDeque<String> = std::env::args().skip(1).collect();
        let mut take = || rest.pop_front().ok_or_else(|| usage.to_owned());
        let mut next = take()?;
        let mut login = None;
        if next == "--user" {
            let (user, _, file) = (take()?, take()?, take()?);
            login = Some((user, file));
            next = take()?;
        }
        Ok(Self { login, port: next.parse()?, rest })
    }

    /// Opens a session with a broker on this machine; it connects once it is run.
    pub fn session(&self, client_id: &str) -> Result<Session, Failure> {
        let mut settings = MqttConnectionSettingsBuilder::default()
            .client_id(client_id)
            .hostname("127.0.0.1")
            .tcp_port(self.port)
            .keep_alive(Duration::from_secs(60))
            .use_tls(false);
        if let Some((user, file)) = &self.login {
            settings = settings.username(user.clone()).password_file(file.clone());
        }
        let options = SessionOptionsBuilder::default().connection_settings(settings.build()?);
        Ok(Session::new(options.build()?)?)
    }
}
