//! End to end: the built binaries and plugins against real brokers.

mod answers;
mod bad_input;
mod bundled_broker;
mod chaos;
mod classic;
mod command_line;
mod faults;
mod home;
mod privacy;
mod will;
