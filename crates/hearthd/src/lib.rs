//! The daemon: configuration, plugins, devices, the link to the broker, and the command line.

pub(crate) mod boundary;
pub mod cli;
pub(crate) mod client;
pub mod config;
pub mod device;
pub(crate) mod driver;
pub(crate) mod journald;
pub(crate) mod link;
pub(crate) mod metrics;
pub(crate) mod notice;
pub mod plugin;
pub mod preflight;
pub(crate) mod random;
pub mod reload;
pub(crate) mod service;
pub(crate) mod store;
pub(crate) mod sync;
