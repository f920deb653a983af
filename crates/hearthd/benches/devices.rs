//! What a device costs: from mailbox to answer, a reload, and the memory of its thread.
//!
//! `cargo bench -p hearthd --bench devices` prints the figures of this machine.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use hearthd::{
    config::Config,
    device::{DeviceEvent, Devices},
    plugin::{Launcher, Plugins},
    reload::Reloader,
};
use hearthd_core::{Request, RequestId};
use tokio::runtime::Runtime;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    fs::copy(light(), folder.path().join("plugins/light.so")).expect("the plugin is built");
    println!("set a light, mailbox to answer, median of {REQUESTS}");
    for (name, isolation) in [("in the daemon", "none"), ("isolated", "process")] {
        let mut hub = Hub::start(folder.path(), &lights(1, isolation));
        println!("  {name:<22}{:>8.1} us", micros(hub.dispatch()));
        hub.devices.stop(GRACE);
    }
    println!("reload, until the changed device answers, median of {RELOADS}");
    for (name, isolation) in [("in the daemon", "none"), ("isolated", "process")] {
        let mut hub = Hub::start(folder.path(), &lights(1, isolation));
        println!("  {name:<22}{:>8.2} ms", micros(hub.reload(folder.path())) / 1000.0);
        hub.devices.stop(GRACE);
    }
    println!("memory");
    let few = Hub::start(folder.path(), &lights(1, "none"));
    let before = resident("self");
    let many = Hub::start(folder.path(), &lights(1 + DEVICES, "none"));
    let each = resident("self").saturating_sub(before) * 1024 / DEVICES as u64;
    println!("  each device           {:>8.1} kB resident", each as f64 / 1024.0);
    few.devices.stop(GRACE);
    many.devices.stop(GRACE);
}

/// Devices, driven as the driver does.
struct Hub {
    devices: Devices,
    reloader: Reloader,
    config: Config,
    runtime: Runtime,
    last_id: u64,
}

impl Hub {
    fn start(folder: &Path, devices: &str) -> Self {
        write_config(folder, devices);
        let config = Config::load(&folder.join("hearthd.toml")).expect("it is good");
        let launcher = Launcher::new(config.containment.limits);
        let launcher = launcher.with_program(env!("CARGO_BIN_EXE_hearthd").into());
        let staging = folder.join("staging");
        let (plugins, errors) = Plugins::load(&config.plugin_path, &staging, &launcher);
        assert!(errors.is_empty(), "{errors:?}");
        let devices = Devices::start(&config, &plugins, BTreeMap::new()).expect("good tables");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let reloader = Reloader::new(plugins, staging);
        let mut hub = Self { devices, reloader, config, runtime, last_id: 0 };
        while hub.set("ON") != 200 {
            std::thread::sleep(Duration::from_millis(1));
        }
        hub
    }

    /// Sets the first light, and returns the status of the answer.
    fn set(&mut self, payload: &'static str) -> u16 {
        self.last_id += 1;
        let asked = RequestId(self.last_id);
        self.devices.request(Request {
            id: asked,
            device: "light-0".into(),
            property: "power".into(),
            payload: payload.into(),
            content_type: None,
            remaining: GRACE,
        });
        loop {
            let next = self.runtime.block_on(self.devices.next());
            if let DeviceEvent::Answered { id, answer } = next
                && id == asked
            {
                return answer.status.code();
            }
        }
    }

    fn dispatch(&mut self) -> Duration {
        let mut times = Vec::with_capacity(REQUESTS);
        for n in 0..REQUESTS {
            let begin = Instant::now();
            assert_eq!(self.set(["OFF", "ON"][n % 2]), 200);
            times.push(begin.elapsed());
        }
        median(times)
    }

    /// Puts another plugin file in place, reloads, and waits for an answer.
    fn reload(&mut self, folder: &Path) -> Duration {
        let plugin = folder.join("plugins/light.so");
        let mut times = Vec::new();
        for _ in 0..RELOADS {
            let mut content = fs::read(&plugin).expect("it is there");
            content.push(0);
            fs::write(plugin.with_extension("new"), content).expect("the folder can be written");
            fs::rename(plugin.with_extension("new"), &plugin).expect("as above");
            let begin = Instant::now();
            let prepared = self.reloader.prepare(&self.config, &self.devices.checked());
            let prepared = prepared.expect("it is good");
            let (summary, _) = self.reloader.apply(&self.config, &mut self.devices, prepared);
            assert_eq!(summary.devices.changed.len(), 1);
            assert_eq!(self.set("ON"), 200);
            times.push(begin.elapsed());
        }
        median(times)
    }
}

fn write_config(folder: &Path, devices: &str) {
    let text = format!("[plugins]\npath = [\"plugins\"]\n{devices}");
    fs::write(folder.join("hearthd.toml"), text).expect("the folder can be written to");
}

fn lights(count: usize, isolation: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        let table = format!("[devices.light-{n}]\nplugin = \"light\"\nisolation = \"{isolation}\"");
        writeln!(text, "{table}\nconfig.backend = \"simulated\"").expect("a String takes all");
    }
    text
}

/// Builds the light plugin as this benchmark is built, and returns it.
fn light() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--package", "hearthd-light"]);
    assert!(build.status().expect("cargo runs").success(), "hearthd-light is not built");
    Path::new(env!("CARGO_BIN_EXE_hearthd")).with_file_name("libhearthd_light.so")
}

/// Reads VmRSS in kB.
fn resident(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("procfs is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("VmRSS is a number")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

const REQUESTS: usize = 20_000;
const RELOADS: usize = 31;
const DEVICES: usize = 200;
const GRACE: Duration = Duration::from_secs(10);
