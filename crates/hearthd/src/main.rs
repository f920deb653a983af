//! The `hearthd` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearthd::cli::main()
}
