//! The responders that other software is built on: each in a folder of its own, in the versions that are pinned here.

use std::{path::Path, process::Command};

use hearthd_tests::{Result, built::workspace, peers};

/// What is installed.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    installed: peers::Peers,
}

/// Installs paho-mqtt into a virtual environment, and MQTT.js beside its script.
pub(crate) fn provide(folder: &Path) -> Result<Peers> {
    let from = workspace().join("crates/hearthd/benches/peers");
    Ok(Peers { installed: peers::Peers::provide(&folder.join("peers"), &from, FILES)? })
}

impl Peers {
    /// Returns the commands of both, ready for a port and a topic filter.
    pub(crate) fn paho(&self) -> Command {
        self.installed.command("responder.py")
    }

    pub(crate) fn mqtt_js(&self) -> Command {
        self.installed.command("responder.mjs")
    }

    /// Returns the command of the pages without a browser.
    pub(crate) fn pages(&self) -> Command {
        self.installed.command("pages.mjs")
    }
}

const FILES: &[&str] = &[
    "requirements.txt",
    "responder.py",
    "package.json",
    "package-lock.json",
    "responder.mjs",
    "pages.mjs",
];
