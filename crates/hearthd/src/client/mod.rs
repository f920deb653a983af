//! How commands connect, ask and check. They need no daemon in this process.

pub(crate) mod broker_check;
pub(crate) mod connection;
pub(crate) mod request;
