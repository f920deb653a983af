//! `hearthd log`: shows the log lines and the events of a device.

use std::{
    io::BufReader,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    ask::{check_levels, failure},
    asking::Asking,
    complain, exit, fail,
};
use crate::client::request::follow;

/// What to show.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Log {
    /// Device ID.
    device: String,
    /// Keep running, and show new log lines and events.
    #[arg(short, long)]
    follow: bool,
    /// The number of log lines to show first.
    #[arg(short = 'n', long, default_value_t = 20)]
    lines: u32,
    /// The systemd unit that the daemon runs as.
    #[arg(long, default_value = "hearthd")]
    unit: String,
    #[command(flatten)]
    common: Asking,
}

/// Shows the log lines and events of a device.
pub(super) fn show(log: &Log) -> ExitCode {
    if let Err(code) = check_id(&log.device) {
        return code;
    }
    let journalctl = start_journalctl(log);
    if !log.follow {
        return match journalctl
            .and_then(|mut journalctl| Ok((print_lines(&mut journalctl), journalctl.wait()?)))
        {
            Ok((lines, status)) if status.success() => {
                if lines == 0 && log.lines > 0 {
                    complain(format_args!(
                        "hearthd: the log of `{}` has no line about `{}` that you may read; `hearthd devices` lists the \
                         devices, and root and the group systemd-journal may read all",
                        log.unit, log.device
                    ));
                }
                ExitCode::SUCCESS
            }
            Ok((_, status)) => fail(exit::UNAVAILABLE, format!("journalctl: {status}")),
            Err(error) => fail(exit::UNAVAILABLE, format!("start journalctl: {error}")),
        };
    }
    let mut journalctl = match journalctl {
        Ok(journalctl) => Some(journalctl),
        Err(error) => {
            complain(format_args!("hearthd: start journalctl: {error}; following only the events"));
            None
        }
    };
    if let Some(stdout) = journalctl.as_mut().and_then(|journalctl| journalctl.stdout.take()) {
        thread::spawn(move || print_all(BufReader::new(stdout)));
    }
    let code = follow_events(log);
    if let Some(mut journalctl) = journalctl {
        // It may have ended already.
        let _ = journalctl.kill();
        let _ = journalctl.wait();
    }
    code
}

/// Refuses an ID that no device can have, before anything is asked.
fn check_id(device: &str) -> Result<(), ExitCode> {
    check_levels(&[("device", device)])?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if device.chars().all(allowed) {
        return Ok(());
    }
    let what = format!("`{device}` is not a device: its ID has only a-z, 0-9, `_` and `-`");
    Err(fail(exit::USAGE, what))
}

/// Each fact of a line is a field of journald.
fn start_journalctl(log: &Log) -> std::io::Result<Child> {
    let format = if log.common.json { "json" } else { "short-iso" };
    let mut journalctl = Command::new("journalctl");
    journalctl.args(["--unit", &log.unit, "--output", format, "--quiet", "--no-pager"]);
    journalctl.args(["--lines", &log.lines.to_string()]);
    if log.follow {
        journalctl.arg("--follow");
    }
    journalctl.arg(format!("DEVICE={}", log.device));
    journalctl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

fn print_lines(journalctl: &mut Child) -> usize {
    journalctl.stdout.take().map_or(0, |stdout| print_all(BufReader::new(stdout)))
}

/// Prints all lines, and returns how many those are.
fn print_all(reader: impl std::io::BufRead) -> usize {
    let mut lines = 0;
    for line in reader.split(b'\n').map_while(Result::ok) {
        say!("{}", String::from_utf8_lossy(&line));
        lines += 1;
    }
    lines
}

fn follow_events(log: &Log) -> ExitCode {
    let config = match log.common.configuration() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(exit::SOFTWARE, error),
    };
    let timeout = log.common.timeout.unwrap_or(CONNECT_TIMEOUT);
    let error = runtime.block_on(follow(&config, &log.device, timeout, |message| {
        let text = String::from_utf8_lossy(&message.payload);
        if log.common.json {
            say!("{text}");
        } else {
            let now = humantime::format_rfc3339_seconds(SystemTime::now());
            say!("{now} event: {}", in_words(&text));
        }
    }));
    failure(&error)
}

/// Describes an event in words; returns an event of another form unchanged.
fn in_words(text: &str) -> String {
    let event: Value = serde_json::from_str(text).unwrap_or_default();
    let fact = |key: &str| event[key].as_str().unwrap_or_default();
    match (fact("event"), &event["status"]) {
        ("failed", Value::Number(status)) => {
            let (property, message) = (fact("property"), fact("message"));
            let payload = match fact("payload") {
                "" => String::new(),
                payload => format!(" {payload:?}"),
            };
            format!("{property}{payload} failed: {status} {message}")
        }
        _ => text.to_owned(),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let failed = r#"{"event":"failed","property":"power","payload":"banana","status":400,"message":"no fruit"}"#;
        assert_eq!(in_words(failed), "power \"banana\" failed: 400 no fruit");
        assert_eq!(in_words("pressed"), "pressed");
        assert_eq!(in_words(r#"{"event":"pressed"}"#), r#"{"event":"pressed"}"#);
    }
}
