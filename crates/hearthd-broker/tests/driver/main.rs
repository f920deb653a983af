//! The program: sockets, passwords, files, and what strangers can do to it.

mod accounts;
mod broker;
mod certificates;
mod codes;
mod kept;
mod load;
mod logins;
mod raw;
mod transports;
mod upgrade;
mod wire;
