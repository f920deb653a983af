//! `cargo xtask test-pi`: the package on emulated Raspberry Pis with a real kernel and real drivers.
//!
//! Nothing of it is simulated but the silicon: Debian's arm64 kernel, its GPIO, LED, PWM, I2C and 1-wire drivers, and our
//! programs for arm64. What the pins do is read from the chip's registers, outside of the machine.

mod board;
mod house;
mod hub;
mod machine;
mod outside;
mod parts;
mod scenes;
mod small;
mod verdicts;

use hearthd_tests::{Doing, Result, built::workspace};

use self::{hub::Hub, parts::Parts, verdicts::Verdicts};
use crate::package::{self, Architecture, Profile};

/// Which machines to run.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// One machine alone.
    #[arg(long, value_enum)]
    only: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Up in seconds: the hardware, and what it does when the hub is killed.
    Small,
    /// A Debian with systemd, on which the package is installed.
    House,
}

/// Gets the parts, builds the package, boots, plays every scene, and says what was not seen.
pub(crate) async fn test_pi(options: Options) -> Result<()> {
    let folder = workspace().canonicalize()?.join("target/pi");
    std::fs::create_dir_all(&folder).doing(folder.display())?;
    let package = package::make(Architecture::Arm64, Profile::Release, 1)?;
    let parts = Parts::get(&folder)?;
    let device_tree = board::device_tree(&parts, &folder)?;
    let wanted = |kind| options.only.is_none_or(|only| only == kind);
    let mut verdicts = Verdicts::default();
    if wanted(Kind::Small) {
        let mut hub = small::start(&parts, &package, &device_tree, &folder).await?;
        scenes::lights::play(&mut hub, &mut verdicts).await?;
        scenes::thermostats::play(&mut hub, &mut verdicts).await?;
        scenes::ends::play(&mut hub, &mut verdicts).await?;
    }
    if wanted(Kind::House) {
        let machine = house::start(&parts, &package, &device_tree, &folder).await?;
        scenes::installed::play(&mut Hub::of(machine), &mut verdicts).await?;
    }
    verdicts.sum_up()
}
