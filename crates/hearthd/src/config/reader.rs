//! Reads keys out of parsed TOML, and notes every problem instead of stopping at the first.

use std::path::PathBuf;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    diagnostics::{Problem, Source},
    password::warn_of_readers,
    regular,
    syntax::Mistakes,
};
use crate::similar::most_similar;

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) source: Source,
    found: Vec<Found>,
    warnings: Vec<Problem>,
    /// The paths of all keys that were asked for.
    pub(super) known: Vec<String>,
}

/// A problem whose place is not looked up yet.
#[derive(Debug)]
struct Found {
    at: usize,
    path: String,
    what: String,
}

/// A table of the file, or the absence of one.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// Path of the table, empty for the file's root.
    pub(super) path: String,
    /// Where its name stands.
    pub(super) at: usize,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

/// A value with its path and place.
#[derive(Clone, Debug)]
pub(super) struct Entry<'t> {
    pub(super) path: String,
    pub(super) at: usize,
    pub(super) value: &'t DeValue<'t>,
}

impl Reader {
    pub(super) fn new(source: Source) -> Self {
        Self { source, found: Vec::new(), warnings: Vec::new(), known: Vec::new() }
    }

    pub(super) fn problem(&mut self, at: usize, path: &str, what: impl AsRef<str>) {
        self.found.push(Found { at, path: path.to_owned(), what: what.as_ref().to_owned() });
    }

    /// Notes what is unwise, and works.
    pub(super) fn warn(&mut self, at: usize, path: &str, what: impl AsRef<str>) {
        let place = Some(self.source.place(at));
        self.warnings.push(self.source.problem_at(place, path, what.as_ref()));
    }

    /// Returns what is unwise.
    pub(super) fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    /// Returns all problems with their places, but for those that may come of a mistake that is told already.
    pub(super) fn into_problems(self, mistakes: &Mistakes) -> Vec<Problem> {
        let Self { source, mut found, .. } = self;
        found.retain(|found| !mistakes.explain(&source, found.at));
        let syntax = mistakes.found.iter();
        let syntax =
            syntax.map(|(at, what)| Found { at: *at, path: String::new(), what: what.clone() });
        found.extend(syntax);
        found.sort_by_key(|found| found.at);
        let mut places = source.cursor();
        let problem = |found: Found| {
            source.problem_at(Some(places.place(found.at)), &found.path, &found.what)
        };
        found.into_iter().map(problem).collect()
    }

    /// Returns a key's value, if the key is there.
    pub(super) fn entry<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Entry<'t>> {
        section.asked.push(key);
        let path = join(&section.path, key);
        self.known.push(path.clone());
        let (_, value) = find(section.table?, key)?;
        Some(Entry { path, at: value.span().start, value: value.get_ref() })
    }

    /// Returns a table; an empty one where it is missing or something else.
    pub(super) fn section<'t>(
        &mut self,
        parent: &mut Section<'t>,
        key: &'static str,
    ) -> Section<'t> {
        parent.asked.push(key);
        let path = join(&parent.path, key);
        match parent.table.and_then(|table| find(table, key)) {
            Some((name, value)) => self.as_section(path, name.span().start, value),
            None => Section { path, at: parent.at, table: None, asked: Vec::new() },
        }
    }

    /// Returns the tables below a table whose keys are names that people choose.
    pub(super) fn named_sections<'t>(
        &mut self,
        parent: &Section<'t>,
    ) -> Vec<(&'t str, Section<'t>)> {
        let Some(table) = parent.table else { return Vec::new() };
        table
            .iter()
            .map(|(name, value)| {
                let path = join(&parent.path, name.get_ref());
                let section = self.as_section(path, name.span().start, value);
                (name.get_ref().as_ref(), section)
            })
            .collect()
    }

    /// Returns the tables of an array of tables; none where it is missing or something else.
    pub(super) fn sections<'t>(
        &mut self,
        parent: &mut Section<'t>,
        key: &'static str,
    ) -> Vec<Section<'t>> {
        let Some(entry) = self.entry(parent, key) else { return Vec::new() };
        let Some(array) = entry.value.as_array() else {
            self.wrong_type(entry.at, &entry.path, "an array of tables", entry.value);
            return Vec::new();
        };
        let item = |(index, value): (usize, &'t Spanned<DeValue<'t>>)| {
            self.as_section(format!("{}[{index}]", entry.path), value.span().start, value)
        };
        array.iter().enumerate().map(item).collect()
    }

    fn as_section<'t>(
        &mut self,
        path: String,
        at: usize,
        value: &'t Spanned<DeValue<'t>>,
    ) -> Section<'t> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value.span().start, &path, "a table", value.get_ref());
        }
        Section { path, at, table, asked: Vec::new() }
    }

    /// Reads a value with a function that says what is wrong with it.
    pub(super) fn parsed<T>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(section, key)?;
        match parse(entry.value) {
            Ok(value) => Some(value),
            Err(what) => {
                self.problem(entry.at, &entry.path, what);
                None
            }
        }
    }

    pub(super) fn text<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<&'t str> {
        let entry = self.entry(section, key)?;
        self.entry_text(&entry)
    }

    pub(super) fn path(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
        let entry = self.entry(section, key)?;
        self.entry_path(&entry)
    }

    /// Returns the texts of an array, each with its path and place.
    pub(super) fn texts<'t>(
        &mut self,
        section: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Vec<(Entry<'t>, &'t str)>> {
        let entry = self.entry(section, key)?;
        let Some(array) = entry.value.as_array() else {
            self.wrong_type(entry.at, &entry.path, "an array of texts", entry.value);
            return None;
        };
        let mut texts = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let path = format!("{}[{index}]", entry.path);
            let item = Entry { path, at: value.span().start, value: value.get_ref() };
            if let Some(text) = self.entry_text(&item) {
                texts.push((item, text));
            }
        }
        Some(texts)
    }

    pub(super) fn entry_text<'t>(&mut self, entry: &Entry<'t>) -> Option<&'t str> {
        match entry.value.as_str() {
            Some("") => self.problem(entry.at, &entry.path, "is empty; write a text or delete it"),
            None => self.wrong_type(entry.at, &entry.path, "a text in quotes", entry.value),
            text => return text,
        }
        None
    }

    pub(super) fn entry_path(&mut self, entry: &Entry<'_>) -> Option<PathBuf> {
        self.entry_text(entry).map(|text| self.source.resolve(text))
    }

    /// Reads a path that must lead to a file.
    pub(super) fn readable_file(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
    ) -> Option<PathBuf> {
        let entry = self.entry(section, key)?;
        let path = self.entry_path(&entry)?;
        match regular::open(&path) {
            Ok((_, metadata)) if key == "client_key_file" => {
                warn_of_readers(self, &entry, &path, &metadata);
            }
            Ok(_) => {}
            Err(what) => {
                self.problem(entry.at, &entry.path, format!("{}: {what}", path.display()));
            }
        }
        Some(path)
    }

    pub(super) fn wrong_type(&mut self, at: usize, path: &str, wanted: &str, found: &DeValue<'_>) {
        self.problem(at, path, wrong_type(wanted, found));
    }

    /// Reports the keys of a section that nobody asked for.
    pub(super) fn finish(&mut self, section: Section<'_>) {
        for (name, _) in section.table.into_iter().flatten() {
            let key = name.get_ref().as_ref();
            if section.asked.contains(&key) {
                continue;
            }
            let path = join(&section.path, key);
            let known = section.asked.iter().copied();
            let what = match (other_name(&path), most_similar(key, known)) {
                (Some(other), _) => format!("unknown key; write {other}"),
                (None, Some(similar)) => format!("unknown key; did you mean `{similar}`?"),
                (None, None) => format!("unknown key; known here: {}", section.asked.join(", ")),
            };
            self.problem(name.span().start, &path, what);
        }
    }
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), at: 0, table: Some(table), asked: Vec::new() }
    }

    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| find(table, key).is_some())
    }
}

/// Returns a key of a table with its place, and its value.
pub(super) fn find<'t>(
    table: &'t DeTable<'t>,
    key: &str,
) -> Option<(&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    table.iter().find(|(name, _)| name.get_ref().as_ref() == key)
}

/// Says that a value has the wrong type.
pub(super) fn wrong_type(wanted: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    format!("must be {wanted}, not {found}")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns the key for what people expect under another name.
fn other_name(path: &str) -> Option<&'static str> {
    Some(match path {
        // A secret in the file itself would be readable by whoever may read the configuration.
        "broker.password" => "password_file = \"FILE\" with the password in that file",
        "broker.user" => "username = \"NAME\"",
        "broker.host" | "broker.port" => "url = \"mqtt://HOST:PORT\"",
        _ => return None,
    })
}
