//! The bundled broker: the `mqtt5` crate's broker, configured for one home.
//!
//! One home per broker: its user ID is the Response Information of every CONNACK and the prefix of
//! every topic. Accounts have passwords of their own and share that prefix.

pub mod accounts;
pub mod broker;
pub mod cli;
pub mod config;
pub mod core;
mod memory;
pub mod packet;
pub mod rights;
pub mod watchdog;
