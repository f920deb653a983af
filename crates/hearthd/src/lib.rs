//! The daemon: configuration, plugins, devices, the link to the broker, and the command line.

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
pub mod reload;
pub mod requester;
pub mod service;
pub mod store;
pub mod visit;
