//! `cargo xtask nightly oldest-rust`: the workspace, built by the oldest Rust that its `rust-version` promises.

use std::process::Command;

use hearthd_tests::{Failure, Result, built::workspace};

use super::child;
use crate::provision::stdout_of;

/// Builds the programs, the plugins and the SDK, in a folder of their own.
pub(super) async fn oldest_rust() -> Result<()> {
    let Ok(said) = stdout_of(rustup("rustc").arg("--version")) else {
        return Err(Failure(format!(
            "nothing was built, for Rust {VERSION} is not here; \
             install it: rustup toolchain install {VERSION} --profile minimal"
        )));
    };
    println!("xtask: {} builds the workspace", said.trim_end());
    let mut cargo = rustup("cargo");
    cargo.args(["build", "--workspace", "--locked", "--target-dir", "target/oldest-rust"]);
    child::succeed(&format!("cargo build, with Rust {VERSION}"), &mut cargo).await
}

fn rustup(program: &str) -> Command {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", VERSION, program]).current_dir(workspace());
    rustup
}

const VERSION: &str = env!("CARGO_PKG_RUST_VERSION");
