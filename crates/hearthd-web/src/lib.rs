//! The page for phones, and the WebSocket through which it reaches the broker.
//!
//! `server` answers HTTP and serves the page's files. A WebSocket at `/mqtt` becomes a connection to the broker of
//! `config`, and the broker authenticates it. The program holds no password and knows no topic.
//!
//! hyper handles HTTP; only its HTTP/1.1 server is built. tokio-websockets handles WebSocket frames: besides what hyper
//! and rustls need already, it brings simdutf8, and a base64 that is older than the one of the tests' rcgen. The
//! alternatives bring more: tungstenite 0.30 brings rand, chacha20 and second copies of rand_core and cpufeatures, for
//! masks that a server never makes; fastwebsockets 0.10 brings rand and second copies of base64 and thiserror. flate2
//! compresses the page's files when the program starts, so the files are embedded unchanged.

mod addresses;
mod bridge;
mod broker;
pub mod cli;
mod config;
mod doors;
mod files;
mod host;
mod logins;
mod packets;
mod server;
mod tls;
