//! The small machine: no disk, no systemd, the programs of the package and a shell. It is up in seconds.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use hearthd_tests::{Doing, Result};

use super::{
    board::{put_libraries, ramdisk, write},
    hub::Hub,
    machine::{Boot, Machine},
    parts::Parts,
};
use crate::provision::succeed;

/// Assembles the machine anew from a package, boots it, and starts broker and hub.
pub(crate) async fn start(
    parts: &Parts,
    package: &Path,
    device_tree: &Path,
    folder: &Path,
) -> Result<Hub> {
    let initrd = assemble(parts, package, folder)?;
    let boot = Boot { initrd: &initrd, device_tree, card: None, deadline: UP };
    let mut machine = Machine::start(parts, &boot, folder, "small").await?;
    // Before anybody looks: a sensor that jumps is not believed at once.
    machine.outside.set_room(19.0).await?;
    machine.done(BROKER).await?;
    let mut hub = Hub::of(machine);
    spawn(&mut hub).await?;
    hub.online().await?;
    Ok(hub)
}

/// Starts the hub alone.
pub(crate) async fn spawn(hub: &mut Hub) -> Result<()> {
    let line = "hearthd run >>/tmp/hearthd.log 2>&1 & echo $! >/tmp/hearthd.pid";
    hub.machine.done(line).await.map(drop)
}

/// Sends the hub SIGKILL.
pub(crate) async fn kill(hub: &mut Hub) -> Result<()> {
    hub.machine.done("kill -9 $(cat /tmp/hearthd.pid)").await.map(drop)
}

fn assemble(parts: &Parts, package: &Path, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("small");
    if root.exists() {
        std::fs::remove_dir_all(&root).doing(root.display())?;
    }
    std::fs::create_dir_all(&root).doing(root.display())?;
    succeed(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    for (file, text) in [
        ("etc/hearthd/hearthd.toml", HUB),
        ("etc/hearthd/hearth-broker.toml", include_str!("guest/hearth-broker.toml")),
        ("etc/hearthd/hub.password", "a password of the emulated home"),
        ("shell.sh", include_str!("guest/shell.sh")),
    ] {
        write(&root.join(file), text)?;
    }
    put_libraries(parts, &root)?;
    let initrd = folder.join("small.initrd");
    ramdisk(parts, &root, DRIVERS, include_str!("guest/init.sh"), &initrd)?;
    Ok(initrd)
}

const BROKER: &str =
    "hearth-broker --config /etc/hearthd/hearth-broker.toml >/tmp/broker.log 2>&1 &";
const HUB: &str = concat!(include_str!("guest/small.toml"), include_str!("guest/devices.toml"));
/// The drivers of what is wired to the Pi.
const DRIVERS: &[&str] =
    &["i2c-bcm2835", "lm75", "pwm-bcm2835", "leds-gpio", "w1-gpio", "w1_therm"];
const UP: Duration = Duration::from_secs(120);
