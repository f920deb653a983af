//! The daemon: configuration, plugins, devices, the link to the broker, and the command line.

pub(crate) mod boundary;
pub mod cli;
pub mod client;
pub mod config;
pub mod device;
pub mod driver;
pub mod exit;
pub mod journald;
pub mod link;
pub mod notice;
pub mod plugin;
pub mod preflight;
pub(crate) mod random;
pub mod reload;
pub mod service;
pub mod store;
pub(crate) mod sync;
