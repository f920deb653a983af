//! What the machine boots from: a device tree with our wiring, and a ramdisk with drivers and the product.

use std::{
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use hearth_tests::{Doing, Failure, Result};

use super::parts::Parts;
use crate::provision::succeed;

/// Writes the device tree of a Pi 3B with what is wired to it.
pub(crate) fn device_tree(parts: &Parts, folder: &Path) -> Result<PathBuf> {
    let source = folder.join("board.dts");
    let (overlay, tree) = (source.with_extension("dtbo"), source.with_extension("dtb"));
    std::fs::write(&source, include_str!("guest/board.dts")).doing(source.display())?;
    let mut dtc = parts.tool("dtc", "dtc")?;
    dtc.args(["-q", "-@", "-I", "dts", "-O", "dtb", "-o"]).arg(&overlay).arg(&source);
    succeed(&mut dtc)?;
    let release = parts.kernel_release()?;
    let pi = format!("usr/lib/linux-image-{release}/broadcom/bcm2837-rpi-3-b.dtb");
    let mut merge = parts.tool("fdtoverlay", "fdtoverlay")?;
    merge.arg("-i").arg(parts.file(&pi)).arg("-o").arg(&tree).arg(&overlay);
    succeed(&mut merge)?;
    Ok(tree)
}

/// Writes a ramdisk whose files are below `root` and those of the machine: a shell, libraries, drivers.
pub(crate) fn ramdisk(parts: &Parts, root: &Path, file: &Path) -> Result<()> {
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).doing(folder)?;
    }
    copy(&parts.file("usr/bin/busybox"), &root.join("bin/busybox"))?;
    let libraries = root.join("lib/aarch64-linux-gnu");
    for library in ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1"] {
        let from = parts.file("usr/lib/aarch64-linux-gnu").join(library);
        copy(&from, &libraries.join(library))?;
    }
    let loader = root.join("lib/ld-linux-aarch64.so.1");
    symlink("aarch64-linux-gnu/ld-linux-aarch64.so.1", &loader).doing(loader.display())?;
    modules(parts, &root.join("modules"), DRIVERS)?;
    let init = root.join("init");
    std::fs::write(&init, include_str!("guest/init.sh")).doing(init.display())?;
    std::fs::set_permissions(&init, PermissionsExt::from_mode(0o755))?;
    pack(parts, root, file)
}

/// Unpacks drivers and all that they need, and lists them in the order to load them.
fn modules(parts: &Parts, folder: &Path, drivers: &[&str]) -> Result<()> {
    let release = parts.kernel_release()?;
    let place = parts.modules(&release);
    let index = place.join("modules.dep");
    let index = std::fs::read_to_string(&index).doing(index.display())?;
    let mut order: Vec<&str> = Vec::new();
    for driver in drivers {
        let name = |path: &str| {
            path.rsplit('/').next().and_then(|file| file.split('.').next()) == Some(driver)
        };
        let line =
            index.lines().find_map(|line| line.split_once(':').filter(|(path, _)| name(path)));
        let (path, needs) = line.doing(format!("{release} has no driver {driver}"))?;
        // What a module needs is listed in the reverse order of loading.
        let all = needs.split_whitespace().rev().chain([path]);
        for module in all {
            if !order.contains(&module) {
                order.push(module);
            }
        }
    }
    std::fs::create_dir_all(folder).doing(folder.display())?;
    let mut list = String::new();
    for module in order {
        let name = module.rsplit('/').next().unwrap_or(module).trim_end_matches(".xz");
        let to = folder.join(name);
        let unpacked = std::fs::File::create(&to).doing(to.display())?;
        let mut xz = parts.tool("xz", "xz")?;
        succeed(xz.args(["-d", "-c"]).arg(place.join(module)).stdout(unpacked))?;
        list += &format!("{name}\n");
    }
    let order = folder.join("order");
    std::fs::write(&order, list).doing(order.display())
}

/// Packs all files below a folder as the kernel unpacks them.
fn pack(parts: &Parts, root: &Path, file: &Path) -> Result<()> {
    let mut names = String::new();
    list(root, Path::new(""), &mut names)?;
    let mut cpio = parts.tool("cpio", "cpio")?;
    cpio.args(["-o", "-H", "newc", "--quiet", "-R", "0:0"]).current_dir(root);
    cpio.stdin(Stdio::piped()).stdout(std::fs::File::create(file).doing(file.display())?);
    let mut running = cpio.spawn().doing("start cpio")?;
    running.stdin.take().doing("cpio reads nothing")?.write_all(names.as_bytes())?;
    let status = running.wait()?;
    if status.success() { Ok(()) } else { Err(Failure(format!("cpio: {status}"))) }
}

/// Lists what is below a folder, each folder before what is in it.
fn list(root: &Path, below: &Path, names: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(root.join(below)).doing(below.display())? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        *names += &format!("{}\n", path.display());
        if entry.file_type()?.is_dir() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}

/// Copies a file with its mode, into a folder that need not be there.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().doing(to.display())?;
    std::fs::create_dir_all(folder).doing(folder.display())?;
    std::fs::copy(from, to).doing(format!("copy {}", from.display())).map(drop)
}

/// The drivers of what is wired to the Pi.
const DRIVERS: &[&str] =
    &["i2c-bcm2835", "lm75", "pwm-bcm2835", "leds-gpio", "w1-gpio", "w1_therm"];
