//! The host side of the plugin ABI: every call into a plugin and every call of a plugin, and nothing of the hub above it.

pub(crate) mod call;
pub(crate) mod host;
pub(crate) mod library;
pub(crate) mod local;
mod mqtt;
mod pairs;
pub(crate) mod plugin_log;
pub(crate) mod rate_limit;
mod reports;
