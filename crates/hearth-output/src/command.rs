//! A program that switches what is wired elsewhere.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hearth_hardware::Span;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use crate::Problem;

/// The hub waits so long for a device by default; a program must not take all of it.
const LONGEST: Span = Span::seconds(4);
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// A program, its arguments and how long it may take; no shell is involved.
///
/// In the arguments `{power}` and other names in braces stand for the values that are to be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// How long it may take, 2 s by default and 4 s at the most.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
}

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It said no.
    #[error("{program}: {status}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// It took too long, and was killed with all that it had started.
    #[error("{program}: not done after {timeout}")]
    TimedOut {
        /// The program.
        program: String,
        /// How long it had.
        timeout: Span,
    },
}

impl Command {
    /// Returns what no machine can make right; `names` are those that may stand in braces.
    pub fn problems(&self, names: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.program.is_absolute() {
            let message = format!("{} is not an absolute path", self.program.display());
            problems.push(("command.program", message));
        }
        if self.timeout > LONGEST || self.timeout.0.is_zero() {
            let message = format!("{} is not more than 0 s and at most {LONGEST}", self.timeout);
            problems.push(("command.timeout", message));
        }
        let known: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
        for argument in &self.arguments {
            let rest = known.iter().fold(argument.clone(), |text, name| text.replace(name, ""));
            if let Some((_, unknown)) = rest.split_once('{')
                && let Some((unknown, _)) = unknown.split_once('}')
            {
                let known = known.join(", ");
                let message = format!("`{{{unknown}}}` is not known; there is {known}");
                problems.push(("command.arguments", message));
            }
        }
        problems
    }

    /// Runs the program with the values in place of their names, and waits until it ends.
    ///
    /// It reads nothing, its output is dropped, and what it says on standard error goes where the daemon's goes.
    pub fn run(&self, values: &[(&str, String)]) -> Result<(), CommandError> {
        let program = self.program.display().to_string();
        let fill = |argument: &String| {
            let named = |text: String, (name, value): &(&str, String)| {
                text.replace(&format!("{{{name}}}"), value)
            };
            values.iter().fold(argument.clone(), named)
        };
        let mut child = process::Command::new(&self.program)
            .args(self.arguments.iter().map(fill))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| CommandError::Start { program: program.clone(), source })?;
        match wait(&mut child, self.timeout.0) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(CommandError::Failed { program, status }),
            None => Err(CommandError::TimedOut { program, timeout: self.timeout }),
        }
    }
}

/// Waits for the end of a child; one that takes too long is killed with its whole process group.
fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if start.elapsed() < timeout => std::thread::sleep(LOOKS_EVERY),
            Ok(None) | Err(_) => break,
        }
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself just now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    None
}

fn two_seconds() -> Span {
    Span::seconds(2)
}
