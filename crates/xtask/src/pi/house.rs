//! The machine with a whole Debian on its SD card: systemd, udev, and the package still to be installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearthd_tests::{Doing, Failure, Result};

use super::{
    board::{copy, ramdisk, write},
    machine::{Boot, Machine},
    parts::{Parts, SUITE},
};
use crate::provision::{is_root, mirror, succeed};

/// Assembles the machine with a package beside it, and boots it.
pub(crate) async fn start(
    parts: &Parts,
    package: &Path,
    device_tree: &Path,
    folder: &Path,
) -> Result<Machine> {
    let initrd = assemble_loader(parts, folder)?;
    let card = assemble_card(parts, package, folder)?;
    let boot = Boot { initrd: &initrd, device_tree, card: Some(&card), deadline: UP };
    let mut machine = Machine::start(parts, &boot, folder, "house").await?;
    // Before anybody looks: a sensor that jumps is not believed at once.
    machine.outside.set_room(19.0).await?;
    Ok(machine)
}

/// Makes the ramdisk that finds the card.
fn assemble_loader(parts: &Parts, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("loader");
    if root.exists() {
        std::fs::remove_dir_all(&root).doing(root.display())?;
    }
    let initrd = folder.join("loader.initrd");
    ramdisk(parts, &root, CARD_DRIVERS, include_str!("guest/card-init.sh"), &initrd)?;
    Ok(initrd)
}

/// Writes the SD card's image from a Debian that is laid once, with what changes laid over it.
fn assemble_card(parts: &Parts, package: &Path, folder: &Path) -> Result<PathBuf> {
    if !is_root() {
        return Err(Failure::new("the machine with systemd is put together by root alone"));
    }
    let root = folder.join("debian");
    lay_debian(&root, folder)?;
    let release = parts.kernel_release()?;
    let modules = root.join("usr/lib/modules");
    if !modules.join(&release).exists() {
        std::fs::create_dir_all(&modules).doing(modules.display())?;
        succeed(Command::new("cp").arg("-a").arg(parts.modules(&release)).arg(&modules))?;
    }
    copy(package, &root.join("root/hearthd.deb"))?;
    for (file, text) in FILES {
        write(&root.join(file), text)?;
    }
    let card = folder.join("card.img");
    if card.exists() {
        std::fs::remove_file(&card).doing(card.display())?;
    }
    let mut mke2fs = parts.tool("sbin/mke2fs")?;
    mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&root).args(["-E", "root_owner=0:0"]);
    // An SD card's size is a power of two.
    succeed(mke2fs.arg(&card).arg("1G"))?;
    Ok(card)
}

fn lay_debian(root: &Path, folder: &Path) -> Result<()> {
    let wanted = format!("{SUITE} {PACKAGES}\n");
    let stamp = root.with_extension("packages");
    if std::fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("xtask: laying a Debian {SUITE} for arm64 into {}", root.display());
    if root.exists() {
        std::fs::remove_dir_all(root).doing(root.display())?;
    }
    let script = folder.join("debian-root.sh");
    write(&script, include_str!("guest/debian-root.sh"))?;
    let mut lay = Command::new("bash");
    succeed(lay.arg(&script).arg(root).args([SUITE, PACKAGES]).args(mirror()))?;
    write(&stamp, &wanted)
}

const FILES: [(&str, &str); 6] = [
    ("etc/hostname", "pi\n"),
    ("etc/hosts", "127.0.0.1 localhost pi\n"),
    // One that is set: otherwise systemd would take this for the first boot of a system to be set up.
    ("etc/machine-id", "c1d4a31f6f0f4c33a3d2bb8f0a3e9b10\n"),
    ("usr/local/lib/shell.sh", include_str!("guest/shell.sh")),
    ("etc/systemd/system/shell.service", include_str!("guest/shell.service")),
    (
        "root/hearthd.toml",
        concat!(include_str!("guest/house.toml"), include_str!("guest/devices.toml")),
    ),
];

const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,procps,kmod";
const CARD_DRIVERS: &[&str] = &["sdhci-iproc", "bcm2835", "crc32c_generic", "ext4"];
const UP: Duration = Duration::from_secs(300);
