//! The daemon: configuration, plugins, devices, the link to the broker, and the command line.

pub(crate) mod boundary;
pub mod cli;
pub mod config;
pub mod device;
pub mod driver;
pub mod examination;
pub mod journal;
pub mod link;
pub mod notice;
pub mod plugin;
pub mod preflight;
pub(crate) mod printable;
pub mod reload;
pub mod requester;
pub mod service;
pub(crate) mod similar;
pub mod store;
pub(crate) mod sync;
pub mod visit;
