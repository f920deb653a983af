//! `cargo xtask nightly authors`: plugins are written, built and tested with the installed package and without a checkout.

use std::fs;

use hearthd_tests::{Doing, Result};

use super::fresh::{run, write_registries};
use crate::{
    container,
    package::{self, Architecture, Profile},
    root,
};

/// Installs the package on a Debian with compilers, and follows what `hearthd plugin new` says.
pub(super) async fn authors() -> Result<()> {
    container::require()?;
    let package = package::make(Architecture::Amd64, Profile::Dev, 1)?;
    let root = root::provide("authors", SUITE, PACKAGES)?;
    let home = tempfile::tempdir()?;
    fs::copy(&package, home.path().join("hearthd.deb")).doing(package.display())?;
    write_registries(home.path())?;
    run(&root, home.path(), &script()).await.doing("a plugin by the package alone")
}

/// Returns the whole of it as one line of shell, since each container forgets what was installed.
fn script() -> String {
    let mut lines = vec!["set -e".to_owned(), INSTALL.to_owned()];
    for template in ["minimal", "http", "serial", "mqtt", "sensor"] {
        let new = format!("hearthd plugin new c-{template} --language c --from {template}");
        lines.push(format!("{new} && make -C c-{template} test"));
    }
    for template in ["minimal", "http", "serial", "sensor"] {
        let new = format!("hearthd plugin new py-{template} --language python --from {template}");
        lines.push(format!("{new} && python3 py-{template}/test_py_{template}.py"));
    }
    for template in ["minimal", "http", "serial", "mqtt", "sensor"] {
        let new = format!("hearthd plugin new rs-{template} --from {template}");
        let object = format!("target/debug/librs_{template}.so");
        let build = format!("cd rs-{template} && cargo test && cargo build");
        lines.push(format!("{new} && ({build} && hearthd plugin check {object})"));
    }
    lines.join("\n")
}

/// There is no service manager in this container, and so nothing is started.
const INSTALL: &str = "dpkg --install hearthd.deb";
const SUITE: &str = "bookworm";
/// What the package depends on, and what authors need.
const PACKAGES: &str = "systemd,init-system-helpers,libgcc-s1,gcc,libc6-dev,make,python3";
