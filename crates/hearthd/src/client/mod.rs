//! What a command connects, asks and checks with: nothing of it needs a daemon in this process.

pub(crate) mod broker_check;
pub(crate) mod connection;
pub(crate) mod request;
