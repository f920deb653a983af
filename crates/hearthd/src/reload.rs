//! A new configuration while the daemon runs: checked as a whole beside it, and only then applied.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use hearthd_core::{Answer, RequestId, Status};
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::{
    config::{Config, Requests},
    device::{Checked, Complaint, Devices, Difference},
    plugin::Plugins,
    preflight::{self, Accepted},
};

/// Reloads the configuration file, one reload after the other.
#[derive(Debug)]
pub struct Reloader {
    plugins: Arc<Plugins>,
    staging: PathBuf,
    running: Option<oneshot::Receiver<Result<Accepted, String>>>,
    /// The requests that the running reload answers.
    requests: Vec<RequestId>,
    /// Somebody has asked for another one meanwhile.
    again: bool,
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
            // If nothing waits any more, the daemon ends.
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
    pub async fn checked(&mut self) -> Result<Accepted, String> {
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

    /// Applies what was checked, or returns why not; also returns the answers to the requests, and the new
    /// configuration.
    pub fn finish(
        &mut self,
        config: &Config,
        devices: &mut Devices,
        outcome: Result<Accepted, String>,
    ) -> (Vec<(RequestId, Answer)>, Option<Config>) {
        let (answer, applied) = match outcome {
            Ok(accepted) if accepted.config.devices.contains_key(&config.broker.client_id) => {
                let id = &config.broker.client_id;
                return self.finish(
                    config,
                    devices,
                    Err(format!("devices.{id}: the hub is `{id}` until its next start")),
                );
            }
            Ok(accepted) => {
                let (summary, config) = self.apply(config, devices, accepted);
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
    pub(crate) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Checks the configuration file, and waits for the result.
    ///
    /// # Errors
    /// Every problem, one on each line.
    pub fn prepare(&self, config: &Config, checked: &Checked) -> Result<Accepted, String> {
        prepare(config.source.path(), &self.plugins, checked, &self.staging)
    }

    /// Applies what was checked; returns what that does, and the configuration that holds now.
    ///
    /// Sections that cannot change while the daemon runs stay as they are.
    pub fn apply(
        &mut self,
        config: &Config,
        devices: &mut Devices,
        accepted: Accepted,
    ) -> (Summary, Config) {
        let Accepted { config: new, plugins, checked } = accepted;
        for warning in new.warnings.iter().filter(|warning| !config.warnings.contains(warning)) {
            warn!(%warning, "the configuration has a risk");
        }
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
) -> Result<Accepted, String> {
    preflight::check(file, plugins, checked, staging).map_err(|problems| problems.to_string())
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
    // Every key is named, so that a new one is either compared here or taken over below.
    let Config {
        broker,
        response_information,
        topics,
        allow_responses,
        allow_bridges: _,
        will_delay,
        requests,
        plugin_path: _,
        containment: _,
        state_directory,
        devices: _,
        home_assistant: _,
        guards,
        warnings: _,
        source: _,
    } = now;
    let differs = [
        ("broker", *broker != new.broker),
        ("response_information", *response_information != new.response_information),
        ("topics", *topics != new.topics),
        ("responses", *allow_responses != new.allow_responses),
        ("will", *will_delay != new.will_delay),
        ("requests", bounds(requests) != bounds(&new.requests)),
        ("guard", *guards != new.guards),
        ("state", *state_directory != new.state_directory),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(section, _)| section).collect()
}

/// The keys of `[requests]` that are more than defaults of the devices.
fn bounds(requests: &Requests) -> (usize, usize) {
    let Requests { deadline: _, stale: _, queue, max_payload } = requests;
    (*queue, *max_payload)
}

/// The new configuration, without the sections that wait for the next start.
fn kept(now: &Config, new: Config) -> Config {
    // Every key is named here too: one that is missing would keep its old value without a word.
    let Config {
        broker: _,
        response_information: _,
        topics: _,
        allow_responses: _,
        allow_bridges,
        will_delay: _,
        requests: _,
        plugin_path,
        containment,
        state_directory: _,
        devices,
        home_assistant,
        guards: _,
        warnings,
        source,
    } = new;
    Config {
        allow_bridges,
        plugin_path,
        containment,
        devices,
        home_assistant,
        warnings,
        source,
        ..now.clone()
    }
}
