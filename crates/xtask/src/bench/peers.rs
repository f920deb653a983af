//! The responders that other software is built on: each in a folder of its own, in the versions that are pinned here.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hearthd_tests::{Doing, Result, built::workspace};

use crate::provision::succeed;

/// What is installed.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    folder: PathBuf,
}

/// Installs paho-mqtt into a virtual environment, and MQTT.js beside its script.
pub(crate) fn provide(folder: &Path) -> Result<Peers> {
    let folder = folder.join("peers");
    std::fs::create_dir_all(&folder).doing(folder.display())?;
    let mut changed = false;
    for name in FILES {
        let from = workspace().join("crates/hearthd/benches/peers").join(name);
        let content = std::fs::read(&from).doing(from.display())?;
        let to = folder.join(name);
        changed |= std::fs::read(&to).ok().as_ref() != Some(&content);
        std::fs::write(&to, content).doing(to.display())?;
    }
    let peers = Peers { folder };
    let there = peers.python().exists() && peers.folder.join("node_modules").exists();
    if changed || !there {
        let venv = peers.folder.join("venv");
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv)).doing(PYTHON)?;
        let pip = ["-m", "pip", "install", "--quiet", "--requirement", "requirements.txt"];
        succeed(Command::new(peers.python()).args(pip).current_dir(&peers.folder))?;
        let npm = ["ci", "--no-audit", "--no-fund", "--silent"];
        succeed(Command::new("npm").args(npm).current_dir(&peers.folder)).doing(NODE)?;
    }
    Ok(peers)
}

impl Peers {
    /// Returns the commands of both, ready for a port and a topic filter.
    pub(crate) fn paho(&self) -> Command {
        let mut command = Command::new(self.python());
        command.arg(self.folder.join("responder.py"));
        command
    }

    pub(crate) fn mqtt_js(&self) -> Command {
        let mut command = Command::new("node");
        command.arg(self.folder.join("responder.mjs"));
        command
    }

    fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }
}

const FILES: [&str; 5] =
    ["requirements.txt", "responder.py", "package.json", "package-lock.json", "responder.mjs"];
const PYTHON: &str = "paho-mqtt needs Python 3 with its venv module (Debian: python3-venv)";
const NODE: &str = "MQTT.js needs Node.js and npm (Debian: nodejs npm)";
