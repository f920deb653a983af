//! The two sides of an RPC command of Azure IoT Operations, from a workspace of their own.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    Built, Doing, Failure, Result,
    built::{cargo, workspace},
};

/// The programs `executor`, which echoes requests, and `invoker`, which asks.
#[derive(Clone, Debug)]
pub struct Azure {
    folder: PathBuf,
}

impl Azure {
    /// Builds both with a cargo profile, in the versions that their lock file pins.
    ///
    /// # Errors
    /// Where a crate cannot be had or built.
    pub fn provide(profile: &str) -> Result<Self> {
        let target = Built::beside_this_program()?.binary("peers").join("azure");
        fs::create_dir_all(&target).doing(target.display())?;
        let lock = File::create(target.join("lock")).doing(target.display())?;
        flock(&lock, FlockOperation::LockExclusive).doing("lock the folder of the peers")?;
        let manifest = workspace().join("crates/hearthd/benches/peers/azure/Cargo.toml");
        let mut build = cargo();
        build.args(["build", "--quiet", "--locked", "--profile", profile]).arg("--manifest-path");
        build.arg(manifest).arg("--target-dir").arg(&target);
        let output = build.output().doing("cargo build")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure(format!("the peer does not build: {said}")));
        }
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(Self { folder: target.join(folder) })
    }

    /// Returns the program that echoes what is asked: `[--user NAME --password-file FILE] PORT PATTERN`.
    pub fn executor(&self) -> PathBuf {
        self.folder.join("executor")
    }

    /// Returns the program that asks, and prints what comes of it:
    /// `[--user NAME --password-file FILE] PORT REQUEST_TOPIC RESPONSE_TOPIC PAYLOAD...`.
    pub fn invoker(&self) -> PathBuf {
        self.folder.join("invoker")
    }
}
