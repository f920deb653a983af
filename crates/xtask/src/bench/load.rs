//! The requester: `hearthd-load`, a process of its own.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use hearthd_tests::{Access, Built, Doing, Failure, Result};
use tokio::process::Command;

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Topic of the requests; `{n}` counts up to `targets`.
    pub(crate) topic: String,
    pub(crate) targets: usize,
    pub(crate) payloads: Vec<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) qos: u8,
    pub(crate) requesters: usize,
    /// For each requester.
    pub(crate) in_flight: usize,
    /// Message Expiry Interval, in seconds.
    pub(crate) expiry: Option<u32>,
    pub(crate) until: Until,
}

/// When it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After milliseconds of warm-up and of measurement.
    Time { warm_up: u64, measure: u64 },
    /// After so many answers.
    Count(usize),
}

/// What came of it; all but `failed` is about answers that tell of success.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// How many other answers there were, by status.
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) per_second: f64,
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
    /// What one request costs the requester on a processor.
    pub(crate) requester_us: f64,
}

/// Asks, and waits for the end.
pub(crate) async fn ask(built: &Built, access: &Access, question: &Question) -> Result<Figures> {
    let mut command = command(built, access, question);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output())
        .await
        .doing("hearthd-load does not end")?
        .doing("start hearthd-load")?;
    read(&question.topic, &output)
}

/// Makes the command; its last line of output is what [`read`] takes.
pub(crate) fn command(built: &Built, access: &Access, question: &Question) -> Command {
    let mut command = Command::new(built.binary("hearthd-load"));
    command.arg("ask").args(login(access)).stdin(Stdio::null());
    let response = hearthd_tests::daemon::under(question.prefix.as_deref(), "response/load-{k}/r");
    command.args(["--topic", &question.topic, "--response", &response]);
    for payload in &question.payloads {
        command.args(["--payload", payload]);
    }
    for (name, value) in [
        ("--targets", question.targets),
        ("--qos", question.qos.into()),
        ("--requesters", question.requesters),
        ("--in-flight", question.in_flight),
    ] {
        command.arg(name).arg(value.to_string());
    }
    if let Some(expiry) = question.expiry {
        command.arg("--expiry").arg(expiry.to_string());
    }
    match question.until {
        Until::Time { warm_up, measure } => {
            command.arg("--warm-up").arg(warm_up.to_string());
            command.arg("--measure").arg(measure.to_string())
        }
        Until::Count(count) => command.arg("--count").arg(count.to_string()),
    };
    command
}

/// Returns the arguments with which `hearthd-load` gets into a broker.
pub(crate) fn login(access: &Access) -> Vec<String> {
    let mut arguments = vec!["--port".into(), access.port.to_string()];
    if let Some((user, password)) = &access.login {
        arguments.extend(["--user".into(), user.clone(), "--password".into(), password.clone()]);
    }
    arguments
}

/// Reads what `hearthd-load` said.
pub(crate) fn read(what: &str, output: &std::process::Output) -> Result<Figures> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure(format!("{what}: {}", said.trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().doing("hearthd-load said nothing")?;
    let json: serde_json::Value = serde_json::from_str(line)?;
    let figure = |name| json[name].as_f64().doing(format!("no {name} in `{line}`"));
    Ok(Figures {
        failed: failed(&json)?,
        per_second: figure("per_second")?,
        median_us: figure("median_us")?,
        p99_us: figure("p99_us")?,
        requester_us: figure("cpu_us_each")?,
    })
}

/// Takes the answers that do not tell of success from what `hearthd-load` printed, by status.
pub(crate) fn failed(json: &serde_json::Value) -> Result<BTreeMap<String, u64>> {
    Ok(serde_json::from_value(json["failed"].clone())?)
}

const PATIENCE: Duration = Duration::from_secs(300);
