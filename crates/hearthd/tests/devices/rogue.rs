//! A house of rogue devices: a real plugin file in a folder of its own, and a configuration that can change.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use hearthd::{
    config::Config,
    device::{Checked, Devices, Difference, Remembered},
    plugin::Plugins,
    reload::{self, Reloader},
};
use hearthd_sdk::export::BUILD;
use tempfile::TempDir;

use crate::{
    built::plugin,
    test_devices::{TestDevices, launcher},
};

/// Devices under test, with their folder.
#[derive(Debug)]
pub(crate) struct House {
    running: TestDevices,
    config: Config,
    reloader: Reloader,
    // After the devices, whose devices' processes are in it.
    folder: TempDir,
}

impl House {
    /// Starts devices from tables below `[devices]`, and waits until each was to be created.
    pub(crate) fn start(devices: &str) -> Self {
        Self::start_with(devices, &BTreeMap::new())
    }

    pub(crate) fn start_with(devices: &str, saved: &BTreeMap<String, Vec<u8>>) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), devices, saved)
    }

    /// Starts devices in a folder that may have files which their tables name.
    pub(crate) fn start_in(
        folder: TempDir,
        devices: &str,
        saved: &BTreeMap<String, Vec<u8>>,
    ) -> Self {
        Self::start_of("rogue", folder, devices, saved.clone().into())
    }

    /// Starts devices of another plugin, with what is remembered of them.
    pub(crate) fn start_of(
        name: &str,
        folder: TempDir,
        devices: &str,
        remembered: Remembered,
    ) -> Self {
        fs::create_dir(folder.path().join("plugins")).expect("a folder");
        let content = fs::read(plugin(name)).expect("the plugin is built");
        let is_foreign = devices.contains("isolation = \"auto\"");
        let content = if is_foreign { of_another_build(content) } else { content };
        fs::write(plugin_in(folder.path()), content).expect("the folder can be written to");
        write_config(folder.path(), devices);
        let config = Config::load(&config_in(folder.path())).expect("the configuration is good");
        let staging = folder.path().join("staging");
        let launcher = launcher().with_limits(config.containment.limits);
        let (plugins, errors) = Plugins::load(&config.plugin_path, &staging, &launcher);
        assert!(errors.is_empty(), "{errors:?}");
        let devices = Devices::start(&config, &plugins, remembered).expect("good tables");
        let running = TestDevices::of(devices, BTreeMap::new());
        let ids: Vec<_> = config.devices.keys().cloned().collect();
        for id in &ids {
            let states = ["ready", "restarting", "failed", "quarantined"];
            running.wait_for(id, &states, |entry| entry["reason"] != "starting");
        }
        Self { running, config, reloader: Reloader::new(plugins, staging), folder }
    }

    /// Starts the devices `a`, and `b` that nothing may happen to, both isolated or both not; with `auto` the plugin is
    /// one of another build, and they share a process.
    pub(crate) fn two(isolation: &str) -> Self {
        Self::start(&format!(
            "[devices.a]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\n\
             [devices.b]\nplugin = \"rogue\"\nisolation = \"{isolation}\"\n"
        ))
    }

    /// Changes the configuration and reloads it.
    pub(crate) fn reload_with(&mut self, devices: &str) -> Result<Difference, String> {
        write_config(self.folder.path(), devices);
        self.reload()
    }

    /// Reloads what there is.
    pub(crate) fn reload(&mut self) -> Result<Difference, String> {
        let before = self.running.devices.checked();
        let prepared = self.reloader.prepare(&self.config, &before)?;
        let (summary, config) =
            self.reloader.apply(&self.config, &mut self.running.devices, prepared);
        self.config = config;
        Ok(summary.devices)
    }

    /// Says what `hearthd check` would.
    pub(crate) fn check(&self) -> Result<(), String> {
        let staging = tempfile::tempdir().expect("a temporary folder");
        let none = Plugins::none(&launcher());
        let file = config_in(self.folder.path());
        reload::prepare(&file, &none, &Checked::default(), staging.path()).map(|_| ())
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).expect("the folder can be written to");
    }

    /// Returns the plugin file.
    pub(crate) fn plugin(&self) -> PathBuf {
        plugin_in(self.folder.path())
    }

    pub(crate) fn into_running(self) -> (TestDevices, TempDir) {
        (self.running, self.folder)
    }
}

impl Deref for House {
    type Target = TestDevices;

    fn deref(&self) -> &TestDevices {
        &self.running
    }
}

impl DerefMut for House {
    fn deref_mut(&mut self) -> &mut TestDevices {
        &mut self.running
    }
}

/// Makes a plugin one that was not built with the hub.
fn of_another_build(mut content: Vec<u8>) -> Vec<u8> {
    let build = &BUILD[..16];
    let at = content.windows(build.len()).position(|bytes| bytes == build);
    content[at.expect("it was built with the hub")] ^= 1;
    content
}

fn write_config(folder: &Path, devices: &str) {
    let text = format!("[plugins]\npath = [\"plugins\"]\nmax_failures = 3\n{devices}");
    fs::write(config_in(folder), text).expect("the folder can be written to");
}

fn config_in(folder: &Path) -> PathBuf {
    folder.join("hearthd.toml")
}

fn plugin_in(folder: &Path) -> PathBuf {
    folder.join("plugins/rogue.so")
}
