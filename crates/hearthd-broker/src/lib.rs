//! The bundled MQTT broker of one home.
//!
//! One home per broker: its user ID is the Response Information of every CONNACK that asks for it, and the prefix of its
//! topics. [`core`] decides, without clock, socket or file; [`driver`] executes; [`store`] keeps; [`packet`] reads and
//! writes MQTT; [`rights`] says who may do what.

pub mod accounts;
pub mod cli;
pub mod config;
pub mod core;
pub mod driver;
mod memory;
pub mod packet;
pub mod rights;
pub mod store;
mod systemd;
pub mod watchdog;
