//! The page for phones, and the WebSocket through which it reaches the broker.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearthd_web::cli::main()
}
