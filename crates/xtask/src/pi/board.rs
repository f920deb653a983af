//! What a machine boots from: a device tree with our wiring, and a ramdisk with drivers.

use std::{
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use hearthd_tests::{Doing, Failure, Result};

use super::parts::Parts;
use crate::provision::succeed;

/// Writes the device tree of a Pi 3B with what is wired to it.
pub(crate) fn device_tree(parts: &Parts, folder: &Path) -> Result<PathBuf> {
    let source = folder.join("board.dts");
    let (overlay, tree) = (source.with_extension("dtbo"), source.with_extension("dtb"));
    write(&source, include_str!("guest/board.dts"))?;
    let mut dtc = parts.tool("bin/dtc")?;
    dtc.args(["-q", "-@", "-I", "dts", "-O", "dtb", "-o"]).arg(&overlay).arg(&source);
    succeed(&mut dtc)?;
    let release = parts.kernel_release()?;
    let pi = format!("usr/lib/linux-image-{release}/broadcom/bcm2837-rpi-3-b.dtb");
    let mut merge = parts.tool("bin/fdtoverlay")?;
    merge.arg("-i").arg(parts.file(&pi)).arg("-o").arg(&tree).arg(&overlay);
    succeed(&mut merge)?;
    Ok(tree)
}

/// Writes a ramdisk of what is below `root`, with a shell, `drivers`, and the first program.
pub(crate) fn ramdisk(
    parts: &Parts,
    root: &Path,
    drivers: &[&str],
    init: &str,
    file: &Path,
) -> Result<()> {
    for folder in ["bin", "card", "dev", "proc", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).doing(folder)?;
    }
    copy(&parts.file("usr/bin/busybox"), &root.join("bin/busybox"))?;
    put_drivers(parts, &root.join("modules"), drivers)?;
    let first = root.join("init");
    write(&first, init)?;
    std::fs::set_permissions(&first, PermissionsExt::from_mode(0o755))?;
    pack(parts, root, file)
}

/// Puts the libraries that our programs need below `root`.
pub(crate) fn put_libraries(parts: &Parts, root: &Path) -> Result<()> {
    let folder = root.join("lib/aarch64-linux-gnu");
    for library in ["libc.so.6", "libm.so.6", "libgcc_s.so.1", LOADER] {
        copy(&parts.file("usr/lib/aarch64-linux-gnu").join(library), &folder.join(library))?;
    }
    let loader = root.join("lib").join(LOADER);
    symlink(folder.strip_prefix(root.join("lib")).doing(LOADER)?.join(LOADER), &loader)
        .doing(loader.display())
}

/// Writes a file into a folder that need not be there.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    create_parent(file)?;
    std::fs::write(file, text).doing(file.display())
}

/// Copies a file with its mode, into a folder that need not be there.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    create_parent(to)?;
    std::fs::copy(from, to).doing(format!("copy {}", from.display())).map(drop)
}

/// Unpacks drivers and all that they need, and lists them in the order to load them.
fn put_drivers(parts: &Parts, folder: &Path, drivers: &[&str]) -> Result<()> {
    let release = parts.kernel_release()?;
    let place = parts.modules(&release);
    let index = place.join("modules.dep");
    let index = std::fs::read_to_string(&index).doing(index.display())?;
    let mut list = String::new();
    for module in in_order(&index, drivers)? {
        let name = module.rsplit('/').next().unwrap_or(module).trim_end_matches(".xz");
        let to = folder.join(name);
        create_parent(&to)?;
        let unpacked = std::fs::File::create(&to).doing(to.display())?;
        let mut xz = parts.tool("bin/xz")?;
        succeed(xz.args(["-d", "-c"]).arg(place.join(module)).stdout(unpacked))?;
        list += &format!("{name}\n");
    }
    write(&folder.join("order"), &list)
}

/// Returns the files of drivers and of what they need, in the order to load them.
fn in_order<'a>(index: &'a str, drivers: &[&str]) -> Result<Vec<&'a str>> {
    let mut order: Vec<&str> = Vec::new();
    for driver in drivers {
        let line = index.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.split('.').next() == Some(driver)
        });
        let (path, needs) = line.doing(format!("the kernel has no driver {driver}"))?;
        // What a module needs is listed in the reverse order of loading.
        for module in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&module) {
                order.push(module);
            }
        }
    }
    Ok(order)
}

/// Packs all files below a folder as the kernel unpacks them.
fn pack(parts: &Parts, root: &Path, file: &Path) -> Result<()> {
    let mut names = String::new();
    list(root, Path::new(""), &mut names)?;
    let mut cpio = parts.tool("bin/cpio")?;
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

fn create_parent(file: &Path) -> Result<()> {
    let folder = file.parent().doing(file.display())?;
    std::fs::create_dir_all(folder).doing(folder.display())
}

const LOADER: &str = "ld-linux-aarch64.so.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_come_after_what_they_need_and_each_once() {
        let index = "kernel/a/w1_therm.ko.xz: kernel/a/wire.ko.xz kernel/c/cn.ko.xz\n\
                     kernel/a/wire.ko.xz: kernel/c/cn.ko.xz\nkernel/c/cn.ko.xz:\n";
        let order = in_order(index, &["wire", "w1_therm"]).expect("all are there");
        assert_eq!(order, ["kernel/c/cn.ko.xz", "kernel/a/wire.ko.xz", "kernel/a/w1_therm.ko.xz"]);
        assert!(in_order(index, &["lm75"]).is_err_and(|failure| failure.0.contains("lm75")));
    }
}
