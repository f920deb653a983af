//! The page for the phone, and the WebSocket through which it reaches the broker.
//!
//! [`server`] answers HTTP and serves the page's files; a WebSocket at `/mqtt` becomes a connection to the broker of
//! [`config`], which does the authentication. The program holds no password and knows no topic.
//!
//! HTTP is hyper's, the library below most of what speaks HTTP in Rust; of it, HTTP/1.1 and the server alone. WebSocket frames
//! are tokio-websockets': beside what hyper and rustls have already it brings simdutf8, and a base64 that is older than the one
//! of the tests' rcgen. tungstenite 0.30 brings rand, chacha20 and second copies of rand_core and cpufeatures, for masks that a
//! server never makes; fastwebsockets 0.10 brings rand and second copies of base64 and thiserror. flate2 compresses the page's
//! files when the program starts, so that they are embedded as they stand.

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
