//! `nightly fuzz`: libFuzzer plays bytes to the broker's decoder and core.

use hearthd_tests::{Result, built::workspace};

use super::child;
use crate::sanitize::{host_of_nightly, nightly};

/// Builds the target as cargo-fuzz does, which need not be there, and runs it for ten minutes.
pub(super) async fn fuzz() -> Result<()> {
    let host = host_of_nightly()?;
    let folder = workspace().join("crates/hearthd-broker/fuzz");
    let target = workspace().canonicalize()?.join("target/fuzz");
    let corpus = target.join("corpus");
    std::fs::create_dir_all(&corpus)?;
    let mut run = nightly("run");
    run.args(["--locked", "--release", "--bin", "decode_and_core", "--target", &host]);
    run.arg("--target-dir").arg(target);
    run.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    // What was found before, and evenings that go well.
    run.arg("--").arg(corpus).arg(folder.canonicalize()?.join("seeds")).args(OPTIONS);
    child::succeed("cargo run --bin decode_and_core", run.env("RUSTFLAGS", FLAGS)).await
}

/// Coverage as libFuzzer wants it, with all of our own assertions.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";
const OPTIONS: [&str; 4] =
    ["-max_total_time=600", "-max_len=4096", "-timeout=10", "-artifact_prefix=target/fuzz/"];
