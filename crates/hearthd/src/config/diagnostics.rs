//! Problems of a configuration file, each with its place.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::de::{DeTable, DeValue};

use super::reader;

/// Everything that is wrong with a configuration file; it prints one problem on each line.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The exit code for a wrong configuration (sysexits.h, `EX_CONFIG`).
    pub const EXIT_CODE: u8 = 78;

    /// Returns the problems in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong: `file:line:column: key.path: what is wrong and the remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column in characters, both from 1; none where the file itself is the problem.
    pub place: Option<(usize, usize)>,
    /// The key's path, empty where no key is concerned.
    pub key: String,
    /// What is wrong, and the remedy.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// A configuration file's path and text.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    text: Arc<str>,
}

impl Source {
    /// Creates a source from a text.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(path: &Path) -> Result<Self, Problems> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::new(path, &text)),
            Err(error) => {
                let what = format!("cannot be read: {error}; give --config FILE");
                Err(vec![Self::new(path, "").problem_at(None, "", &what)].into())
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn problem_at(
        &self,
        place: Option<(usize, usize)>,
        key: &str,
        what: &str,
    ) -> Problem {
        let file = self.path.to_path_buf();
        Problem { file, place, key: key.to_owned(), what: what.to_owned() }
    }

    /// Relative paths start at the file's folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Returns line and column, from 1, of a byte.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |index| index + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    pub(super) fn locate_device_key(&self, device: &str, path: &str) -> Option<(usize, usize)> {
        let root = DeTable::parse(&self.text).ok()?;
        let devices = reader::find(root.get_ref(), "devices")?.1.get_ref().as_table()?;
        let (key, table) = reader::find(devices, device)?;
        let mut at = key.span().start;
        let mut value = table.get_ref();
        for step in std::iter::once(Step::Key("config")).chain(steps(path)) {
            let found = match (step, value) {
                (Step::Key(key), DeValue::Table(table)) => reader::find(table, key)
                    .map(|(key, value)| (value_place(key.span().start, value), value)),
                (Step::Index(index), DeValue::Array(array)) => {
                    array.get(index).map(|value| (value.span().start, value))
                }
                _ => None,
            };
            let Some((start, inner)) = found else { break };
            (at, value) = (start, inner.get_ref());
        }
        Some(self.place(at))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

/// A table is found by its key, everything else by its value.
fn value_place(key: usize, value: &toml::Spanned<DeValue<'_>>) -> usize {
    if value.get_ref().is_table() { key } else { value.span().start }
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// Splits `rooms[2].name`; what cannot be split ends the path there.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).filter(|step| !step.is_empty()).map(|step| {
        match step.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Step::Index(index),
            None => Step::Key(step),
        }
    })
}
