//! The bundled MQTT 5 broker of one home.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearthd_broker::cli::main()
}
