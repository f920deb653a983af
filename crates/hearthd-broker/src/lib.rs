//! The bundled MQTT broker of one home.
//!
//! A broker serves one home. The home's user ID is the Response Information of every CONNACK that asks for it, and the
//! prefix of the home's topics. [`core`] decides, without clock, socket or file; `driver` executes; `store` keeps;
//! [`packet`] reads and writes MQTT; [`rights`] says who may do what.

mod accounts;
pub mod cli;
mod config;
pub mod core;
mod driver;
mod memory;
pub mod packet;
mod pairing;
pub mod rights;
mod store;
mod systemd;
mod watchdog;
