//! Problems of a configuration file, each with its place.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use crate::{places::Places, printable, printable_line, regular};

/// All problems of a configuration file; prints one problem on each line, the first hundred of them.
#[derive(Clone, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns the problems in the order of the files and their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|one, other| (&one.file, one.place).cmp(&(&other.file, other.place)));
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(MOST_SHOWN).enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        match self.0.len() {
            count if count > MOST_SHOWN => {
                write!(f, "\n{count} problems, of which these are the first {MOST_SHOWN}")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Problems {}

/// One problem: `file:line:column: key.path: what is wrong and the remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column in characters, both from 1; `None` if the file itself is the problem.
    pub place: Option<(usize, usize)>,
    /// The key's path; empty if the problem is not about a key.
    pub key: String,
    /// What is wrong, and the remedy.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable_line(&self.file.to_string_lossy()))?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", printable_line(&self.key))?;
        }
        // What follows a line break is not a separate problem.
        write!(f, ": {}", printable(&self.what).replace('\n', "\n    "))
    }
}

/// A configuration file's path and text.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    text: Arc<str>,
    /// Where each line begins.
    lines: Arc<[usize]>,
    /// Computed only when a problem needs it.
    places: Arc<OnceLock<Places>>,
}

impl Source {
    /// Creates a source from a text.
    pub fn new(path: &Path, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Self { path: path.into(), text: text.into(), lines, places: Arc::default() }
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let (bytes, _) = regular::read(path, MAX_FILE)
            .map_err(|what| {
                let what = format!("cannot be read: {what}; give --config FILE");
                Self::new(path, "").problem_at(None, "", &what)
            })
            .map_err(|problem| vec![problem])?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, &text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[at];
                let readable = Self::new(path, &String::from_utf8_lossy(error.as_bytes()));
                let what = format!("is not UTF-8: the byte {byte:#04x}; save the file as UTF-8");
                // The text before the byte keeps its length.
                Err(vec![readable.problem_at(Some(readable.place(at)), "", &what)].into())
            }
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Creates a problem; its place is line and column from 1.
    pub fn problem_at(&self, place: Option<(usize, usize)>, key: &str, what: &str) -> Problem {
        let file = self.path.to_path_buf();
        Problem { file, place, key: key.to_owned(), what: what.to_owned() }
    }

    /// Resolves a path; relative paths start at the file's folder.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Returns the line of a byte, from 0.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at) - 1
    }

    /// Returns a line without its line break.
    pub(crate) fn line_text(&self, line: usize) -> &str {
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        &self.text[self.lines[line]..end]
    }

    /// Returns line and column, from 1, of a byte.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let before = self.text.get(self.lines[line]..at).unwrap_or_default();
        (line + 1, before.chars().count() + 1)
    }

    /// Starts to look up places from the beginning of the file to its end.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { source: self, at: 0, place: (1, 1) }
    }

    /// Returns the place of a key of a device, such as `config.rooms[2].name`, or of the nearest existing key around
    /// it; `None` for an unknown device.
    pub fn find(&self, device: &str, path: &str) -> Option<usize> {
        self.places.get_or_init(|| Places::of_devices(&self.text)).find(device, path)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

/// Looks up places in order, so that many places in a long line are not each counted from the line's beginning.
pub(crate) struct Cursor<'s> {
    source: &'s Source,
    at: usize,
    place: (usize, usize),
}

impl Cursor<'_> {
    /// Returns line and column, from 1, of a byte that is not before the previous one.
    pub(crate) fn place(&mut self, at: usize) -> (usize, usize) {
        let line = self.source.line(at) + 1;
        let between = self.source.text.get(self.at..at).filter(|_| line == self.place.0);
        self.place = match between {
            Some(between) => (line, self.place.1 + between.chars().count()),
            None => self.source.place(at),
        };
        self.at = at;
        self.place
    }
}

/// A person does not correct more problems at once.
const MOST_SHOWN: usize = 100;
/// A larger file is not a configuration.
const MAX_FILE: usize = 64 * 1024 * 1024;
