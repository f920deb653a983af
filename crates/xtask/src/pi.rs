//! `cargo xtask test-pi`: the hardware back ends on an emulated Raspberry Pi 3B with a real kernel and real drivers.
//!
//! Nothing of it is simulated but the silicon: Debian's arm64 kernel, its GPIO, LED, PWM, I2C and 1-wire drivers, and our
//! programs for arm64. What the pins do is read from the chip's registers, outside of the machine.

mod board;
mod hub;
mod machine;
mod outside;
mod parts;
mod scenes;
mod verdicts;

use std::{path::Path, process::Command, time::Duration};

use hearth_tests::{Doing, Result, built::workspace};

use self::{
    hub::Hub,
    machine::{Boot, Machine},
    parts::Parts,
    verdicts::Verdicts,
};
use crate::{
    package::{self, Architecture, Profile},
    provision::succeed,
};

/// Gets the parts, builds, boots, plays every scene, and says what was not seen.
pub(crate) async fn test_pi() -> Result<()> {
    let folder = workspace().canonicalize()?.join("target/pi");
    std::fs::create_dir_all(&folder).doing(folder.display())?;
    let package = package::make(Architecture::Arm64, Profile::Release, 1)?;
    let parts = Parts::get(&folder)?;
    let small = assemble(&parts, &package, &folder)?;
    let mut verdicts = Verdicts::default();
    let mut machine = Machine::start(&parts, &small.boot(), &folder).await?;
    // Before anybody looks: a sensor that jumps is not believed at once.
    machine.outside.set_room(19.0).await?;
    let mut hub = Hub::start(machine).await?;
    scenes::lights::play(&mut hub, &mut verdicts).await?;
    scenes::thermostats::play(&mut hub, &mut verdicts).await?;
    scenes::ends::play(&mut hub, &mut verdicts).await?;
    verdicts.sum_up()
}

/// The files that the small machine boots from.
struct Small {
    initrd: std::path::PathBuf,
    device_tree: std::path::PathBuf,
}

impl Small {
    fn boot(&self) -> Boot<'_> {
        let Self { initrd, device_tree } = self;
        Boot { initrd, device_tree, card: None, deadline: Duration::from_secs(120) }
    }
}

fn assemble(parts: &Parts, package: &Path, folder: &Path) -> Result<Small> {
    let device_tree = board::device_tree(parts, folder)?;
    let root = folder.join("small");
    if root.exists() {
        std::fs::remove_dir_all(&root).doing(root.display())?;
    }
    std::fs::create_dir_all(&root).doing(root.display())?;
    succeed(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    let etc = root.join("etc/hearthd");
    std::fs::create_dir_all(&etc).doing(etc.display())?;
    for (file, text) in CONFIGURATION {
        std::fs::write(etc.join(file), text).doing(file)?;
    }
    let initrd = folder.join("small.initrd");
    board::ramdisk(parts, &root, &initrd)?;
    Ok(Small { initrd, device_tree })
}

const CONFIGURATION: [(&str, &str); 3] = [
    ("hearthd.toml", include_str!("pi/guest/hearthd.toml")),
    ("hearth-broker.toml", include_str!("pi/guest/hearth-broker.toml")),
    ("hub.password", "a password of the emulated home"),
];
