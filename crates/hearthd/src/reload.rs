//! A new configuration while the daemon runs: checked as a whole beside it, and only then applied.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use hearth_core::{Answer, RequestId, Status};
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::{
    config::Config,
    device::{self, Checked, Complaint, Devices, Difference},
    plugin::Plugins,
};

/// Reloads the configuration file, one reload after the other.
#[derive(Debug)]
pub struct Reloader {
    plugins: Arc<Plugins>,
    staging: PathBuf,
    running: Option<oneshot::Receiver<Result<Prepared, String>>>,
    /// The requests that the running reload answers.
    requests: Vec<RequestId>,
    /// Somebody has asked for another one meanwhile.
    again: bool,
}

/// A configuration that can be applied.
#[derive(Debug)]
pub struct Prepared {
    /// The configuration.
    pub config: Config,
    plugins: Plugins,
    checked: Checked,
}

/// What a reload has done, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What became of the devices.
    pub devices: Difference,
    /// Plugin files whose code is new to the daemon.
    pub plugins: Vec<PathBuf>,
    /// Sections that have changed, and take effect at the next start.
    pub restart_needed: Vec<&'static str>,
}

impl Reloader {
    /// Goes on from the plugins that are in use; copies of new ones go to `staging`.
    pub fn new(plugins: Plugins, staging: PathBuf) -> Self {
        let plugins = Arc::new(plugins);
        Self { plugins, staging, running: None, requests: Vec::new(), again: false }
    }

    /// Begins a reload, or another one after the one that runs.
    pub fn begin(&mut self, config: &Config, checked: Arc<Checked>, request: Option<RequestId>) {
        self.requests.extend(request);
        if self.running.is_some() {
            self.again = true;
            return;
        }
        info!(file = %config.source.path().display(), "reloading");
        let file = config.source.path().to_owned();
        let (plugins, staging) = (Arc::clone(&self.plugins), self.staging.clone());
        let (sender, result) = oneshot::channel();
        // A thread of its own, which the end of the daemon does not wait for as it would for one of the runtime.
        let thread = thread::Builder::new().name("reload".into()).spawn(move || {
            // Where nobody waits any more, the daemon ends.
            let _ = sender.send(prepare(&file, &plugins, &checked, &staging));
        });
        self.running = Some(match thread {
            Ok(_) => result,
            Err(error) => {
                let (sender, result) = oneshot::channel();
                sender.send(Err(format!("start a thread: {error}"))).expect("it is received below");
                result
            }
        });
    }

    /// Waits for the end of the check, for ever where none runs; may be dropped and called again.
    pub async fn checked(&mut self) -> Result<Prepared, String> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let result = running.await;
        self.running = None;
        // A panic in it has been told by its own thread's line in the log.
        result.unwrap_or_else(|_| Err("the check has ended before it was done".into()))
    }

    /// Gives up the reload that runs, because the daemon ends; returns the requests that wait for it.
    ///
    /// Its thread may wait for a plugin that takes long, and ends with the process.
    pub fn give_up(&mut self) -> Vec<RequestId> {
        self.running = None;
        self.again = false;
        std::mem::take(&mut self.requests)
    }

    /// Applies what was checked, or says why not; returns the answers to whoever asked, and the new configuration.
    pub fn finish(
        &mut self,
        config: &Config,
        devices: &mut Devices,
        outcome: Result<Prepared, String>,
    ) -> (Vec<(RequestId, Answer)>, Option<Config>) {
        let (answer, applied) = match outcome {
            Ok(prepared) if prepared.config.devices.contains_key(&config.broker.client_id) => {
                let id = &config.broker.client_id;
                return self.finish(
                    config,
                    devices,
                    Err(format!("devices.{id}: the hub is `{id}` until its next start")),
                );
            }
            Ok(prepared) => {
                let (summary, config) = self.apply(config, devices, prepared);
                summary.log();
                let json = serde_json::to_value(&summary).expect("a summary has only text keys");
                (Answer::json(&json), Some(config))
            }
            Err(problems) => {
                for problem in problems.lines() {
                    error!(problem, "the configuration is not reloaded");
                }
                let status = Status::Unprocessable;
                (Answer::failure(status, format!("nothing has changed: {problems}")), None)
            }
        };
        let requests = if self.again { Vec::new() } else { std::mem::take(&mut self.requests) };
        (requests.into_iter().map(|id| (id, answer.clone())).collect(), applied)
    }

    /// Tells once whether another reload was asked for while one ran.
    pub fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Checks the configuration file, and waits for the result.
    ///
    /// # Errors
    /// Every problem, one on each line.
    pub fn prepare(&self, config: &Config, checked: &Checked) -> Result<Prepared, String> {
        prepare(config.source.path(), &self.plugins, checked, &self.staging)
    }

    /// Applies what was checked; returns what that does, and the configuration that holds now.
    ///
    /// Sections that cannot change while the daemon runs stay as they are.
    pub fn apply(
        &mut self,
        config: &Config,
        devices: &mut Devices,
        prepared: Prepared,
    ) -> (Summary, Config) {
        let Prepared { config: new, plugins, checked } = prepared;
        let launcher = plugins.launcher().clone();
        let difference = devices.apply(&new, checked, &launcher);
        let summary = Summary {
            devices: difference,
            plugins: plugins.new_files(&self.plugins),
            restart_needed: restart_needed(config, &new),
        };
        self.plugins = Arc::new(plugins);
        (summary, kept(config, new))
    }
}

/// Checks a configuration file, its plugins and each device's table, as `hearthd check` does.
///
/// # Errors
/// Every problem, one on each line.
pub fn prepare(
    file: &Path,
    plugins: &Plugins,
    checked: &Checked,
    staging: &Path,
) -> Result<Prepared, String> {
    let config = Config::load(file).map_err(|problems| problems.to_string())?;
    let launcher = plugins.launcher().with_limits(config.containment.limits);
    let (plugins, errors) = plugins.load_again(&config.plugin_path, staging, &launcher);
    let checked = device::check(&config, &plugins, checked);
    let mut problems: Vec<_> = errors.iter().map(ToString::to_string).collect();
    match checked {
        Ok(checked) if problems.is_empty() => Ok(Prepared { config, plugins, checked }),
        Ok(_) => Err(problems.join("\n")),
        Err(complaints) => {
            problems.push(render(&config, &complaints));
            Err(problems.join("\n"))
        }
    }
}

impl Summary {
    fn log(&self) {
        let Difference { added, removed, changed, restarted } = &self.devices;
        info!(?added, ?removed, ?changed, ?restarted, plugins = ?self.plugins, "reloaded");
        if !self.restart_needed.is_empty() {
            let sections = self.restart_needed.join(", ");
            warn!(sections, "these sections have changed and take effect at the next start");
        }
    }
}

/// Writes the devices' complaints with their places, one on each line.
pub fn render(config: &Config, complaints: &[Complaint]) -> String {
    let problem = |(device, path, message): &Complaint| {
        config.device_problem(device, path, message).to_string()
    };
    complaints.iter().map(problem).collect::<Vec<_>>().join("\n")
}

/// Names the sections that differ and cannot change while the daemon runs.
fn restart_needed(now: &Config, new: &Config) -> Vec<&'static str> {
    let differs = [
        ("broker", now.broker != new.broker),
        ("response_information", now.response_information != new.response_information),
        ("topics", now.topics != new.topics),
        ("responses", now.allow_responses != new.allow_responses),
        ("will", now.will_delay != new.will_delay),
        ("requests", bounds(now) != bounds(new)),
        ("guard", now.guards != new.guards),
        ("state", now.state_directory != new.state_directory),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

/// The keys of `[requests]` that are more than defaults of the devices.
fn bounds(config: &Config) -> (usize, usize) {
    (config.requests.queue, config.requests.max_payload)
}

/// The new configuration, but for the sections that wait for the next start.
fn kept(now: &Config, new: Config) -> Config {
    Config {
        containment: new.containment,
        plugin_path: new.plugin_path,
        devices: new.devices,
        source: new.source,
        ..now.clone()
    }
}
