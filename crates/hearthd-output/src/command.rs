//! A program that switches what is wired elsewhere.

use std::path::PathBuf;

use hearthd_program::{ProgramError, Runner};
use hearthd_sdk::Span;
use serde::Deserialize;

use crate::TableProblem;

/// The hub waits so long for a device by default; a program must not take all of it.
const LONGEST: Span = Span::seconds(4);

/// A program, its arguments and how long it may take; no shell is involved.
///
/// In the arguments `{power}` and other names in braces stand for the values that are to be set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputCommand {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// How long it may take, 2 s by default and 4 s at the most.
    #[serde(default = "two_seconds")]
    pub timeout: Span,
}

impl OutputCommand {
    /// Returns what no machine can make right; `names` are those that may stand in braces.
    pub fn problems(&self, names: &[&str]) -> Vec<TableProblem> {
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
    /// # Errors
    /// Where it did not end with 0 in time; one that takes too long is ended with all that it started.
    pub fn run(&self, values: &[(&str, String)]) -> Result<(), ProgramError> {
        let fill = |argument: &String| {
            let named = |text: String, (name, value): &(&str, String)| {
                text.replace(&format!("{{{name}}}"), value)
            };
            values.iter().fold(argument.clone(), named)
        };
        let arguments: Vec<String> = self.arguments.iter().map(fill).collect();
        let finished = Runner::new(self.timeout.0).run(&self.program, &arguments)?;
        finished.output(&[0]).map(|_| ())
    }
}

fn two_seconds() -> Span {
    Span::seconds(2)
}
