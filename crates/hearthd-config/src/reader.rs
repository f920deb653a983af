//! Reads keys from parsed TOML, and collects every problem instead of stopping at the first.

use std::{net::SocketAddr, path::PathBuf};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::{Mistakes, Problem, Source, most_similar, regular, secret};

/// Says where a key is that people expect at another path, such as `username = "NAME"` for `broker.user`.
pub type OtherNames = fn(path: &str) -> Option<&'static str>;

/// Collects the problems of one file.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    found: Vec<Found>,
    warnings: Vec<Problem>,
    /// The paths of all keys that were asked for.
    known: Vec<String>,
    other_names: Option<OtherNames>,
}

/// The result of reading a file.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that is wrong, in the file's order.
    pub problems: Vec<Problem>,
    /// Warnings: settings that work but are a risk.
    pub warnings: Vec<Problem>,
    /// The syntax errors; they are among the problems.
    pub mistakes: Mistakes,
    /// The paths of all keys that were asked for.
    pub known: Vec<String>,
}

/// Reads a file from its root. If the file has problems, the values read are placeholders.
pub fn read<T>(
    source: &Source,
    other_names: Option<OtherNames>,
    read: impl FnOnce(&mut Reader, &mut Section<'_>) -> T,
) -> (T, Outcome) {
    let mut reader = Reader {
        source: source.clone(),
        found: Vec::new(),
        warnings: Vec::new(),
        known: Vec::new(),
        other_names,
    };
    let (table, errors) = DeTable::parse_recoverable(source.text());
    let mut root = Section::root(table.get_ref());
    let read = read(&mut reader, &mut root);
    reader.finish(root);
    let mistakes = Mistakes::new(source, &errors);
    let (warnings, known) =
        (std::mem::take(&mut reader.warnings), std::mem::take(&mut reader.known));
    let problems = reader.into_problems(&mistakes);
    (read, Outcome { problems, warnings, mistakes, known })
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
pub struct Section<'t> {
    /// Path of the table, empty for the file's root.
    pub path: String,
    /// The place of its name.
    pub at: usize,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<&'static str>,
}

/// A value with its path and place.
#[derive(Clone, Debug)]
pub struct Entry<'t> {
    /// Its path.
    pub path: String,
    /// Its place.
    pub at: usize,
    /// The value.
    pub value: &'t DeValue<'t>,
}

impl Reader {
    /// Returns the file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Reports a problem at a place.
    pub fn problem(&mut self, at: usize, path: &str, what: impl AsRef<str>) {
        self.found.push(Found { at, path: path.to_owned(), what: what.as_ref().to_owned() });
    }

    /// Reports a warning: a setting that works but is a risk.
    pub fn warn(&mut self, at: usize, path: &str, what: impl AsRef<str>) {
        let place = Some(self.source.place(at));
        self.warnings.push(self.source.problem_at(place, path, what.as_ref()));
    }

    /// Returns all problems with their places, without those that may only follow from another reported mistake.
    fn into_problems(self, mistakes: &Mistakes) -> Vec<Problem> {
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
    pub fn entry<'t>(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<Entry<'t>> {
        section.asked.push(key);
        let path = join(&section.path, key);
        self.known.push(path.clone());
        let (_, value) = find(section.table?, key)?;
        Some(Entry { path, at: value.span().start, value: value.get_ref() })
    }

    /// Returns a table; an empty one if it is missing or not a table.
    pub fn section<'t>(&mut self, parent: &mut Section<'t>, key: &'static str) -> Section<'t> {
        parent.asked.push(key);
        let path = join(&parent.path, key);
        match parent.table.and_then(|table| find(table, key)) {
            Some((name, value)) => self.as_section(path, name.span().start, value),
            None => Section { path, at: parent.at, table: None, asked: Vec::new() },
        }
    }

    /// Returns the tables below a table whose keys are chosen by people.
    pub fn named_sections<'t>(&mut self, parent: &Section<'t>) -> Vec<(&'t str, Section<'t>)> {
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

    /// Returns the tables of an array of tables; none if it is missing or something else.
    pub fn sections<'t>(
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

    /// Reads a value with a function that returns what is wrong with it.
    pub fn parsed<T>(
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

    /// Returns a text that is not empty.
    pub fn text<'t>(&mut self, section: &mut Section<'t>, key: &'static str) -> Option<&'t str> {
        let entry = self.entry(section, key)?;
        self.entry_text(&entry)
    }

    /// Returns a path; a relative one starts at the file's folder.
    pub fn path(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
        let entry = self.entry(section, key)?;
        self.entry_path(&entry)
    }

    /// Returns the texts of an array, each with its path and place.
    pub fn texts<'t>(
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

    /// Returns the addresses to listen on, each an IP address and a port; none if the key is missing.
    ///
    /// `one` and `like` show what to write.
    pub fn addresses(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        one: &str,
        like: &str,
    ) -> Option<Vec<SocketAddr>> {
        let texts = self.texts(section, key)?;
        if texts.is_empty() {
            let at = section.place_of(key).unwrap_or(section.at);
            self.problem(at, &section.path_of(key), format!("names no address; try {one}"));
        }
        let mut addresses = Vec::new();
        for (entry, text) in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let what = format!("must be an IP address and a port, like {like}");
                    self.problem(entry.at, &entry.path, what);
                }
            }
        }
        Some(addresses)
    }

    /// Reports that an existing table lacks a key.
    pub fn require(&mut self, section: &Section<'_>, key: &str) {
        if section.exists() && !section.has(key) {
            self.problem(section.at, &section.path, format!("{key} is missing"));
        }
    }

    /// Returns an entry's text that is not empty.
    pub fn entry_text<'t>(&mut self, entry: &Entry<'t>) -> Option<&'t str> {
        match entry.value.as_str() {
            Some("") => self.problem(entry.at, &entry.path, "is empty; write a text or delete it"),
            None => self.wrong_type(entry.at, &entry.path, "a text in quotes", entry.value),
            text => return text,
        }
        None
    }

    /// Returns an entry's path; a relative one starts at the file's folder.
    pub fn entry_path(&mut self, entry: &Entry<'_>) -> Option<PathBuf> {
        self.entry_text(entry).map(|text| self.source.resolve(text))
    }

    /// Reads a path, which must lead to a file. If the file is secret, warns if everybody can read it.
    pub fn readable_file(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        is_secret: bool,
    ) -> Option<PathBuf> {
        let entry = self.entry(section, key)?;
        let path = self.entry_path(&entry)?;
        match regular::open(&path) {
            Ok((_, metadata)) if is_secret => {
                secret::warn_of_readers(self, &entry, &path, &metadata);
            }
            Ok(_) => {}
            Err(what) => {
                self.problem(entry.at, &entry.path, format!("{}: {what}", path.display()));
            }
        }
        Some(path)
    }

    /// Reports that a value has the wrong type.
    pub fn wrong_type(&mut self, at: usize, path: &str, wanted: &str, found: &DeValue<'_>) {
        self.problem(at, path, wrong_type(wanted, found));
    }

    /// Reports the keys of a section that the program does not know.
    pub fn finish(&mut self, section: Section<'_>) {
        for (name, _) in section.table.into_iter().flatten() {
            let key = name.get_ref().as_ref();
            if section.asked.contains(&key) {
                continue;
            }
            let path = join(&section.path, key);
            let known = section.asked.iter().copied();
            let other_name = self.other_names.and_then(|other_name| other_name(&path));
            let what = match (other_name, most_similar(key, known)) {
                (Some(other), _) => format!("unknown key; write {other}"),
                (None, Some(similar)) => format!("unknown key; did you mean `{similar}`?"),
                (None, None) => format!("unknown key; known here: {}", section.asked.join(", ")),
            };
            self.problem(name.span().start, &path, what);
        }
    }
}

impl<'t> Section<'t> {
    fn root(table: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), at: 0, table: Some(table), asked: Vec::new() }
    }

    /// Whether the file has it.
    pub fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file has this key in it.
    pub fn has(&self, key: &str) -> bool {
        self.place_of(key).is_some()
    }

    /// Returns the place of a key's value.
    pub fn value_at(&self, key: &str) -> Option<usize> {
        find(self.table?, key).map(|(_, value)| value.span().start)
    }

    /// Returns the path of a key in it.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Returns the place of a key.
    pub fn place_of(&self, key: &str) -> Option<usize> {
        find(self.table?, key).map(|(name, _)| name.span().start)
    }
}

/// Returns a key of a table with its place, and its value.
pub fn find<'t>(
    table: &'t DeTable<'t>,
    key: &str,
) -> Option<(&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    table.iter().find(|(name, _)| name.get_ref().as_ref() == key)
}

/// Says that a value has the wrong type.
pub fn wrong_type(wanted: &str, found: &DeValue<'_>) -> String {
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
