//! A program and its arguments, and what may stand for the value in them.

use std::path::Path;

use serde::Deserialize;

/// A program, which is the first, and its arguments.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Command(Vec<String>);

impl Command {
    /// Returns the program and its arguments.
    pub(crate) fn parts(&self) -> (&Path, &[String]) {
        let (program, arguments) = self.0.split_first().expect("the configuration is checked");
        (Path::new(program), arguments)
    }

    pub(crate) fn has_value(&self) -> bool {
        self.0.iter().any(|argument| argument.contains(VALUE))
    }

    /// Returns the command with a word of the table in the place of the value.
    pub(crate) fn with(&self, word: &str) -> Self {
        Self(self.0.iter().map(|argument| argument.replace(VALUE, word)).collect())
    }

    /// Returns the command with a value of the requester's making in its place.
    ///
    /// # Errors
    /// The program would take the value for an option: see the README.
    pub(crate) fn with_requested(&self, value: &str) -> Result<Self, String> {
        let mut before = self.0.iter().take_while(|argument| *argument != "--");
        if value.starts_with('-') && before.any(|argument| argument.starts_with(VALUE)) {
            return Err(format!(
                "`{}` begins with `-`, and {} would take it for an option; in `run`, write \"--\" before \
                 \"{VALUE}\", or \"NAME={VALUE}\"",
                hearthd_program::excerpt(value),
                self.0[0],
            ));
        }
        Ok(self.with(value))
    }

    /// Says what is wrong with the command; `path` is the `PATH` of the table.
    pub(crate) fn check(
        &self,
        key: &str,
        path: Option<&str>,
        complain: &mut impl FnMut(&str, String),
    ) {
        let Some(program) = self.0.first() else {
            return complain(key, "is empty; the first is the program".into());
        };
        if self.0.iter().any(|argument| argument.contains('\0')) {
            return complain(key, "an argument contains a NUL".into());
        }
        if program.contains(VALUE) {
            return complain(key, format!("`{program}` is no program; a value cannot choose it"));
        }
        if let Err(problem) = hearthd_program::find(program, path) {
            complain(key, problem);
        }
        for name in self.0[1..].iter().flat_map(|argument| names(argument)) {
            if name != "value" {
                let message = format!(
                    "`{{{name}}}` is unknown: only `{VALUE}` is replaced; if the program wants it as it is, \
                     write `{{ {name} }}`"
                );
                complain(key, message);
            }
        }
    }
}

/// Returns the names in braces; `${name}` of a shell and `%{name}` of a format are no such names.
fn names(argument: &str) -> impl Iterator<Item = &str> {
    argument.match_indices('{').filter_map(|(at, _)| {
        let (name, _) = argument[at + 1..].split_once('}')?;
        let mut letters = name.chars();
        let fits = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        (fits && !argument[..at].ends_with(['$', '%'])).then_some(name)
    })
}

/// Stands for the value in an argument.
pub(crate) const VALUE: &str = "{value}";
