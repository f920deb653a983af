//! The page for the phone, and the WebSocket through which it reaches the broker.
//!
//! [`server`] answers HTTP and serves the page's files; a WebSocket at `/mqtt` becomes a connection to the broker of
//! [`config`], which does the authentication. The program holds no password and knows no topic.
//!
//! HTTP is hyper's: it reads what strangers send, and most of it was in use in every third service of the world before this
//! one. WebSocket frames are tokio-websockets': it brings two crates beside what hyper and rustls have already, where tungstenite
//! brings a random number generator that a server has no use for, and fastwebsockets an older `thiserror`. Its release with
//! hyper's version of `http` is of this year.

mod bridge;
mod broker;
pub mod cli;
pub mod config;
mod doors;
mod files;
mod host;
mod logins;
mod packets;
pub mod server;
mod tls;
