//! What the machine is made of: Debian's emulator, kernel and libraries, unpacked and not installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Failure, Result};

use crate::provision::{mirror, provide, succeed};

/// The folders with what came from Debian; they stay for the next run.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Programs for this machine.
    tools: PathBuf,
    /// What the emulated machine runs.
    arm64: PathBuf,
}

impl Parts {
    /// Gets what is not in `folder` yet.
    pub(crate) fn get(folder: &Path) -> Result<Self> {
        let parts = Self { tools: folder.join("tools"), arm64: folder.join("arm64") };
        unpack(&parts.tools, None, TOOLS)?;
        unpack(&parts.arm64, Some("arm64"), ARM64)?;
        // Debian's kmod looks for modules below /lib.
        let lib = parts.arm64.join("lib");
        if !lib.exists() {
            std::os::unix::fs::symlink("usr/lib", &lib).doing(lib.display())?;
        }
        let release = parts.kernel_release()?;
        if !parts.modules(&release).join("modules.dep").exists() {
            let mut depmod = parts.tool("sbin/depmod")?;
            succeed(depmod.arg("-b").arg(&parts.arm64).arg(&release))?;
        }
        Ok(parts)
    }

    /// Returns a program of Debian's by its path below `/usr`, with its own loader and libraries.
    pub(crate) fn tool(&self, path: &str) -> Result<Command> {
        let (triplet, loader) = match std::env::consts::ARCH {
            "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
            "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
            other => return Err(Failure(format!("not known how Debian lays out {other}"))),
        };
        let libraries = self.tools.join("usr/lib").join(triplet);
        let mut command = Command::new(libraries.join(loader));
        command.arg("--library-path").arg(&libraries);
        command.arg(self.tools.join("usr").join(path));
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        Ok(command)
    }

    /// Returns a file of the emulated machine's.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.arm64.join(path)
    }

    /// Returns the kernel's release, such as `6.12.118+deb13-arm64`.
    pub(crate) fn kernel_release(&self) -> Result<String> {
        let boot = self.file("boot");
        for entry in std::fs::read_dir(&boot).doing(boot.display())? {
            let name = entry?.file_name();
            if let Some(release) = name.to_string_lossy().strip_prefix("vmlinuz-") {
                return Ok(release.to_owned());
            }
        }
        Err(Failure(format!("{}: no kernel", boot.display())))
    }

    /// Returns the folder with the modules of a kernel.
    pub(crate) fn modules(&self, release: &str) -> PathBuf {
        self.file("usr/lib/modules").join(release)
    }
}

/// Unpacks Debian packages with all that they depend on, unless the folder has them.
fn unpack(folder: &Path, architecture: Option<&str>, packages: &str) -> Result<()> {
    // Written last, so a folder without it is not complete.
    let stamp = folder.with_extension("packages");
    let wanted = format!("{SUITE} {packages}\n");
    if std::fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("xtask: unpacking {packages} of Debian {SUITE} into {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder).doing(folder.display())?;
    }
    provide("unpacking Debian's packages", &[("mmdebstrap", "mmdebstrap")])?;
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=extract"]).arg(format!("--include={packages}"));
    if let Some(architecture) = architecture {
        mmdebstrap.arg(format!("--architectures={architecture}"));
    }
    mmdebstrap.arg(SUITE).arg(folder).args(mirror());
    succeed(&mut mmdebstrap)?;
    std::fs::write(&stamp, wanted).doing(stamp.display())
}

/// The first release whose emulator has the I2C bus of the Pi and whose kernel the drivers.
pub(crate) const SUITE: &str = "trixie";
const TOOLS: &str = "qemu-system-arm,device-tree-compiler,kmod,cpio,xz-utils,e2fsprogs";
const ARM64: &str = "linux-image-arm64,busybox-static,libc6,libgcc-s1";
