//! Tells the SDK which compiler builds it, and with it the plugin: identities name it (L3); and which build it belongs to.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    io,
    path::Path,
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for sources in SOURCES.iter().filter(|sources| Path::new(sources).exists()) {
        println!("cargo::rerun-if-changed={sources}");
    }
    println!("cargo::rerun-if-env-changed={WORKSPACE}");
    let compiler = env::var_os("RUSTC").expect("cargo names the compiler");
    let version = Command::new(compiler).arg("--version").output().expect("the compiler runs");
    let version = String::from_utf8_lossy(&version.stdout);
    println!("cargo::rustc-env=HEARTH_TOOLCHAIN={}", version.trim());
    let build = env::var_os(WORKSPACE).map(|_| build(&version).expect("the sources can be read"));
    println!("cargo::rustc-env=HEARTH_BUILD={}", build.unwrap_or_default());
}

/// Names the build: the same for all that is built from these sources with this compiler, wherever they are.
fn build(compiler: &str) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    let package = ["CARGO_PKG_VERSION", "TARGET"].map(|name| env::var(name).unwrap_or_default());
    (compiler, package).hash(&mut hasher);
    for sources in SOURCES {
        hash_folder(Path::new(sources), &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_folder(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_folder(&path, hasher)?;
        } else {
            path.hash(hasher);
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}

/// The sources of the SDK, and of what it checks values with.
const SOURCES: [&str; 2] = ["src", "../hearthd-property/src"];
/// What the hub's own workspace sets for all that is built in it.
const WORKSPACE: &str = "HEARTHD_WORKSPACE";
