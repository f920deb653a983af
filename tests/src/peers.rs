//! Clients and responders of other makes, installed below the build folder in the versions that their files pin.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use rustix::fs::{FlockOperation, flock};

use crate::{Built, Doing, Failure, Result, built::workspace};

/// A folder with programs for Python and Node.js, and the packages that they use.
#[derive(Clone, Debug)]
pub struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Returns the clients of the end-to-end tests, installed where they are not.
    ///
    /// # Errors
    /// Where Python, Node.js or a package cannot be had; the error says what to install.
    pub fn for_this_test() -> Result<Self> {
        static PEERS: OnceLock<std::result::Result<Peers, String>> = OnceLock::new();
        let provide = || {
            let folder = Built::beside_this_program()?.binary("peers");
            Self::provide(&folder, &workspace().join("tests/peers"), CLIENTS)
        };
        PEERS
            .get_or_init(|| provide().map_err(|failure: Failure| failure.0))
            .clone()
            .map_err(Failure)
    }

    /// Copies `files` of a folder to another one, and installs there what `package-lock.json` names, and
    /// `requirements.txt` where it is among them.
    ///
    /// # Errors
    /// Where that fails.
    pub fn provide(folder: &Path, from: &Path, files: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder).doing(folder.display())?;
        // Other tests may want the same at the same time.
        let lock = File::create(folder.join("lock")).doing(folder.display())?;
        flock(&lock, FlockOperation::LockExclusive).doing("lock the folder of the peers")?;
        let mut all = String::new();
        for name in files {
            let content = fs::read_to_string(from.join(name)).doing(name)?;
            fs::write(folder.join(name), &content).doing(name)?;
            all += &content;
        }
        let peers = Self { folder: folder.to_owned() };
        let done = folder.join("installed");
        if fs::read_to_string(&done).is_ok_and(|before| before == all) {
            return Ok(peers);
        }
        let _ = fs::remove_file(&done);
        if files.contains(&"requirements.txt") {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")), PYTHON)?;
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
            let mut install = Command::new(peers.python());
            install.args(pip).args(["--requirement", "requirements.txt"]).current_dir(folder);
            let index = "the packages of requirements.txt are fetched from the package index";
            run(&mut install, index)?;
        }
        let npm =
            ["ci", "--no-audit", "--no-fund", "--silent", "--ignore-scripts", "--omit=optional"];
        run(Command::new("npm").args(npm).current_dir(folder), NODE)?;
        fs::write(&done, all).doing(done.display())?;
        Ok(peers)
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the command that runs one of the files.
    pub fn command(&self, file: &str) -> Command {
        let interpreter = if file.ends_with(".py") { self.python() } else { PathBuf::from("node") };
        let mut command = Command::new(interpreter);
        command.arg(self.folder.join(file));
        command
    }

    fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }
}

fn run(command: &mut Command, needs: &str) -> Result<()> {
    let line = format!("{command:?}");
    let output = command.output().doing(format!("{line}: {needs}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{line}: {}: {needs}\n{}", output.status, said.trim_end())))
}

const CLIENTS: &[&str] = &[
    "requirements.txt",
    "package.json",
    "package-lock.json",
    "paho_client.py",
    "gmqtt_client.py",
    "mqtt_js_client.mjs",
];
const PYTHON: &str = "it needs Python 3 with its venv module (Debian: python3-venv)";
const NODE: &str = "it needs Node.js and npm (Debian: nodejs npm)";
