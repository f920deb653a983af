//! The daemon: configuration, plugins, devices, the link to the broker, and the command line.

pub mod config;
pub mod link;
pub mod store;
