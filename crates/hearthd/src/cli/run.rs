//! `hearthd run`.

use std::{io::IsTerminal, panic, path::Path, process::ExitCode};

use tokio::sync::mpsc;
use tracing::{Level, info, warn};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::{exit, fail};
use crate::{
    config::Config,
    device::{
        Devices, Remembered,
        crashes::{self, Crashes},
    },
    driver::{self, DriverError, Parts},
    journald::Journald,
    plugin::{Launcher, PluginError, Plugins, system},
    reload::{self, Reloader},
    service::Service,
    store::{self, Store, StoreError},
};

/// Runs the daemon until a signal ends it.
pub(super) fn run(file: &Path, log: Option<Targets>) -> ExitCode {
    start_log(log);
    if let Err(error) = system::hide_memory() {
        warn!(%error, "other processes of this user can read the hub's memory");
    }
    let mut config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => return fail(exit::CONFIG, problems),
    };
    for warning in &config.warnings {
        warn!(%warning, "the configuration has a risk");
    }
    let (stored_sender, stored) = mpsc::unbounded_channel();
    let is_configured = |device: &str| config.devices.contains_key(device);
    let opened = Store::open(&config.state_directory, is_configured, move |event| {
        // If the driver has ended already, nothing waits for this.
        let _ = stored_sender.send(event);
    });
    let (store, contents) = match opened {
        Ok(opened) => opened,
        Err(error @ StoreError::InUse(_)) => return fail(exit::NO_ANSWER, error),
        Err(error) => return fail(exit::IO, error),
    };
    // After the store, whose lock keeps a second daemon from emptying the folder of the first.
    let launcher = Launcher::new(config.containment.limits);
    let staging = config.state_directory.join("plugins");
    if let Err(cause) = store::make_private(&staging) {
        warn!(%cause, folder = %staging.display(), "other users may write the plugins' private copies");
    }
    let (plugins, errors) = Plugins::load(&config.plugin_path, &staging, &launcher);
    for error in &errors {
        warn!(%error, "plugin refused");
    }
    let folder = crashes::folder(&config.state_directory);
    let crashes = Crashes::open(&folder, config.containment.failure_window);
    let crashes = crashes.unwrap_or_else(|error| {
        let folder = folder.display();
        warn!(%folder, %error, "if a plugin crashes the hub, the hub cannot find out which one");
        Crashes::default()
    });
    let remembered = Remembered { saved: contents.devices, children: contents.children };
    let devices = match Devices::start_after(&config, &plugins, remembered, crashes) {
        Ok(devices) => devices,
        Err(problems) => {
            store.close();
            // Where it is for want of room, starting again may help, and a person need not.
            let no_copy = errors.iter().any(|error| matches!(error, PluginError::Copy { .. }));
            let code = if no_copy { exit::IO } else { exit::CONFIG };
            return fail(code, reload::render(&config, &problems));
        }
    };
    for (device, path, what) in devices.checked().warnings() {
        let warning = config.device_problem(device, path, what);
        warn!(%warning, "the configuration has a risk");
        config.warnings.push(warning);
    }
    info!(version = env!("CARGO_PKG_VERSION"), devices = config.devices.len(), "starting");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::SOFTWARE, error),
    };
    let reloader = Reloader::new(plugins, staging);
    let service = Service::from_environment();
    let parts = Parts { config, kept: contents.kept, store, stored, devices, reloader, service };
    // As a task: the link wakes a task without a look at the sockets first.
    let ended = runtime.block_on(async { tokio::spawn(driver::run(parts)).await });
    // Nobody waits for the address of a broker that is still being looked up.
    runtime.shutdown_background();
    match ended.unwrap_or_else(|error| panic::resume_unwind(error.into_panic())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ DriverError::ResponseInformationRequired(_)) => fail(exit::CONFIG, error),
        Err(error) => fail(exit::SOFTWARE, error),
    }
}

/// Logs to systemd's journal where standard error leads there, elsewhere as text.
///
/// What to log says the command line, else `RUST_LOG`.
fn start_log(filter: Option<Targets>) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    let (filter, error) = match (filter, wanted.parse::<Targets>()) {
        (Some(filter), _) | (None, Ok(filter)) => (filter, None),
        (None, Err(error)) => (Targets::new().with_default(Level::INFO), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(filter);
    match Journald::behind_standard_error() {
        Some(journald) => registry.with(journald).init(),
        None => {
            let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            let text = text.with_target(false).with_ansi(std::io::stderr().is_terminal());
            registry.with(text).init();
        }
    }
    if let Some(error) = error {
        warn!(RUST_LOG = wanted, %error, "invalid log filter");
    }
}
