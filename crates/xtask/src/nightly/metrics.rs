//! What `hearthd metrics` prints, in the opinion of Prometheus's own tool, and the dashboard that shows it.

use std::{collections::BTreeSet, io::Write as _, process::Stdio};

use hearthd_tests::{AskedHub, Built, Doing, Failure, Result, built::workspace};

use crate::provision::provide;

/// Asks a hub for its metrics after a request that succeeds and one that fails, and has `promtool` check them.
pub(super) async fn metrics() -> Result<()> {
    provide("checking the metrics", &[("promtool", "prometheus")])?;
    let built = Built::beside_this_program()?;
    built.build()?;
    let folder = tempfile::tempdir()?;
    let mut asked = AskedHub::start(&built, folder.path(), &["ON", "nonsense"]).await?;
    let text = asked.hub.command(&["metrics"]).await?.stdout;
    asked.hub.terminate().await?;
    promtool(&text)?;
    dashboard(&text)
}

fn promtool(text: &str) -> Result<()> {
    let mut command = std::process::Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().doing("start promtool")?;
    child.stdin.take().doing("promtool has no input")?.write_all(text.as_bytes())?;
    let ended = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.success() && said.trim().is_empty() {
        return Ok(());
    }
    Err(Failure(format!("promtool: {}\n{said}\n{text}", ended.status)))
}

/// Every metric that the dashboard shows is one that the hub has, and the other way round.
fn dashboard(text: &str) -> Result<()> {
    let file = workspace().join("config/grafana/hearthd.json");
    let dashboard = std::fs::read_to_string(&file).doing(file.display())?;
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).doing(file.display())?;
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().doing("panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let words = target["expr"].as_str().unwrap_or_default();
            let words = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names = words.filter(|word| word.starts_with("hearthd_"));
            shown.extend(names.map(|name| name.trim_end_matches("_bucket").to_owned()));
        }
    }
    let has = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let has: BTreeSet<String> = has.map(str::to_owned).collect();
    if shown == has {
        return Ok(());
    }
    Err(Failure(format!("the dashboard shows {shown:?}, and the hub has {has:?}")))
}
