//! Reads keys out of parsed TOML, and notes every problem instead of stopping at the first.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<(usize, String)>,
}

/// A table of the file, or the absence of one.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// Its name; empty for the file's root.
    pub(super) path: String,
    /// Where its name stands.
    pub(super) at: usize,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

/// A value with its path and place.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) path: String,
    pub(super) at: usize,
    pub(super) value: T,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, at: usize, path: &str, what: impl AsRef<str>) {
        let what = what.as_ref();
        let separator = if path.is_empty() { "" } else { ": " };
        self.problems.push((at, format!("{path}{separator}{what}")));
    }

    /// Notes a problem of a key that is there.
    pub(super) fn problem_of_key(&mut self, section: &Section<'_>, key: &str, what: &str) {
        let at = section.table.and_then(|table| find(table, key)).map_or(section.at, |it| it.1);
        self.problem(at, &join(&section.path, key), what);
    }

    /// Returns all problems in the order of the file, each with its line and column.
    pub(super) fn into_problems(mut self) -> Vec<String> {
        self.problems.sort();
        self.problems.dedup();
        let place = |at: usize| {
            let before = self.text.get(..at).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("{}:{line}:{column}", self.file.display())
        };
        let problems = self.problems.iter();
        problems.map(|(at, what)| format!("{}: {}", place(*at), what.replace('\n', "; "))).collect()
    }

    /// Returns a table; an empty one where it is missing or something else.
    pub(super) fn section<'t>(
        &mut self,
        parent: &mut Section<'t>,
        key: &'static str,
    ) -> Section<'t> {
        parent.asked.push(key);
        let path = join(&parent.path, key);
        let found = parent.table.and_then(|table| find(table, key));
        let table = match found {
            Some((DeValue::Table(table), _)) => Some(table),
            Some((_, at)) => {
                self.problem(at, &path, format!("must be a table: [{path}]"));
                None
            }
            None => None,
        };
        Section { path, at: found.map_or(parent.at, |it| it.1), table, asked: Vec::new() }
    }

    /// Returns a text.
    pub(super) fn text<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Entry<&'t str>> {
        let entry = self.entry(section, key)?;
        match entry.value {
            DeValue::String(text) => Some(Entry { path: entry.path, at: entry.at, value: text }),
            _ => {
                self.problem(entry.at, &entry.path, "must be a text in quotes");
                None
            }
        }
    }

    /// Returns the texts of an array.
    pub(super) fn texts<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Vec<Entry<&'t str>>> {
        let entry = self.entry(section, key)?;
        let DeValue::Array(array) = entry.value else {
            self.problem(entry.at, &entry.path, "must be an array of texts: [\"...\"]");
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref() {
                DeValue::String(text) => {
                    texts.push(Entry { path: entry.path.clone(), at, value: text.as_ref() });
                }
                _ => self.problem(at, &entry.path, "must be a text in quotes"),
            }
        }
        Some(texts)
    }

    /// Returns what a function makes of a value, or notes what it says against it.
    pub(super) fn parsed<'t, T>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
        parse: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(section, key)?;
        parse(entry.value).map_err(|what| self.problem(entry.at, &entry.path, what)).ok()
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(&mut self, section: &Section<'_>) {
        for (key, value) in section.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            if !section.asked.contains(&name) {
                let path = join(&section.path, name);
                let known = section.asked.join(", ");
                // The name of a table stands in its header, which may be what is wrong.
                let at = key.span().start.min(value.span().start);
                self.problem(at, &path, format!("is no key; there are: {known}"));
            }
        }
    }

    /// Relative paths start at the configuration file's folder.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn entry<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Entry<&'t DeValue<'t>>> {
        section.asked.push(key);
        let (value, at) = find(section.table?, key)?;
        Some(Entry { path: join(&section.path, key), at, value })
    }
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), at: 0, table: Some(table), asked: Vec::new() }
    }

    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }
}

fn find<'t>(table: &'t DeTable<'t>, key: &str) -> Option<(&'t DeValue<'t>, usize)> {
    let (_, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
    Some((value.get_ref(), value.span().start))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
