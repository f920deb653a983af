//! What a command connects, asks and checks with: nothing of it needs a daemon in this process.

pub mod broker_check;
pub mod connection;
pub mod request;
