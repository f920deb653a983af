//! Real brokers, daemons and clients, started by the end-to-end tests and by xtask.
//!
//! Each has its own process, port and folder, and ends when it is dropped, so tests run in parallel.

mod asked_hub;
mod azure;
pub mod browser;
pub mod built;
pub mod chaos;
pub mod client;
pub mod daemon;
pub mod fake_device;
pub mod fault_proxy;
pub mod firefox;
pub mod fleet;
pub mod hearth_broker;
pub mod hearth_web;
mod memory;
pub mod mosquitto;
pub mod odd_broker;
pub mod peers;
pub mod process;
pub mod sdk;
pub mod shim;
pub mod systemd;
pub mod tls;
mod wire;
pub mod zigbee2mqtt;

pub use asked_hub::AskedHub;
pub use azure::Azure;
pub use browser::Browser;
pub use built::Built;
pub use client::{Access, Client, Message};
pub use daemon::{Daemon, DaemonConfig};
pub use fake_device::FakeDevice;
pub use fault_proxy::{Fault, FaultProxy};
pub use firefox::Firefox;
pub use hearth_broker::HearthBroker;
pub use hearth_web::HearthWeb;
pub use memory::Memory;
pub use mosquitto::Mosquitto;
pub use odd_broker::{OddBroker, OddPuback, Oddities, Subacks};
pub use process::Process;
pub use shim::Shim;
pub use systemd::Systemd;
pub use tls::{Authority, TlsFront};
pub use zigbee2mqtt::Zigbee2Mqtt;

/// What did not happen as it should, for people.
pub struct Failure(pub String);

/// The result of whatever starts, asks or waits here.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Makes the error of a step that failed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("JSON: {error}"))
    }
}

/// Adds what was being done to an error.
pub trait Doing<T> {
    /// Puts `what` before the error.
    ///
    /// # Errors
    /// The same as before, with more to say.
    fn doing(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}

impl<T> Doing<T> for Option<T> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(what.to_string()))
    }
}
