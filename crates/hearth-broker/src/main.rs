//! The bundled MQTT 5 broker of one home.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearth_broker::cli::main()
}
