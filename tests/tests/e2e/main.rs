//! End to end: the built binaries and plugins against real brokers.

mod answers;
mod authoring;
mod bad_input;
mod bundled_broker;
mod chaos;
mod classic;
mod command;
mod command_line;
mod durable;
mod examples;
mod faults;
mod first_boot;
mod guards;
mod home;
mod isolation;
mod neighbours;
mod privacy;
mod receive_maximum;
mod reload;
mod requester;
mod service;
mod stopping;
mod tls;
mod update;
mod usage;
mod will;
