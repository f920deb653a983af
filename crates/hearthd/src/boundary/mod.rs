//! The host side of the plugin ABI: every call into a plugin, and every call from a plugin. It knows nothing of the
//! hub.

pub(crate) mod call;
mod children;
pub(crate) mod host;
pub(crate) mod library;
pub(crate) mod local;
mod mqtt;
mod pairs;
pub(crate) mod plugin_log;
pub(crate) mod rate_limit;
mod reports;
mod secrets;
pub(crate) mod under_way;
