//! Tells the SDK which compiler builds it, and with it the plugin: identities name it (L3).

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var_os("RUSTC").expect("cargo names the compiler");
    let version = Command::new(compiler).arg("--version").output().expect("the compiler runs");
    let version = String::from_utf8_lossy(&version.stdout);
    println!("cargo::rustc-env=HEARTH_TOOLCHAIN={}", version.trim());
}
