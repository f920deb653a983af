//! Bytes from and to clients (MQTT 2, 3).

mod fuzz;
mod malformed;
mod samples;
mod second_opinion;
mod sent;
