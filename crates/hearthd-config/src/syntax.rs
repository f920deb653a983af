//! Describes syntax errors of TOML, and decides which other problems can still be reported.

use std::{collections::BTreeSet, ops::Range};

use toml::de::Error;

use crate::{Source, sanitised};

/// The syntax errors of a text.
#[derive(Debug, Default)]
pub struct Mistakes {
    /// The place and description of each.
    pub(crate) found: Vec<(usize, String)>,
    /// The lines of the tables with errors: other problems there may only follow from the error.
    tables: Vec<Range<usize>>,
    /// Whether it is impossible to tell which keys belong to which table.
    pub(crate) is_shapeless: bool,
}

impl Mistakes {
    /// Reads what the parser has found.
    pub(crate) fn new(source: &Source, errors: &[Error]) -> Self {
        let mut mistakes = Self::default();
        let mut seen = BTreeSet::new();
        let headers = headers(source);
        for error in errors {
            let at = error.span().map_or(source.text().len(), |span| span.start);
            if !seen.insert((at, error.message().to_owned())) {
                continue;
            }
            mistakes.found.push((at, in_words(source, error)));
            let line = source.line(at);
            let is_header = source.line_text(line).trim_start().starts_with('[');
            let is_name = DUPLICATE.is_in(error) || LETTERS.is_in(error);
            mistakes.is_shapeless |= (is_header && !is_name) || UNCLOSED.is_in(error);
            let table = headers.partition_point(|header| *header <= line);
            let start = table.checked_sub(1).map_or(0, |table| headers[table]);
            let end = headers.get(table).copied().unwrap_or(usize::MAX);
            mistakes.tables.push(start..end);
        }
        mistakes.tables.sort_by_key(|table| table.start);
        mistakes.tables.dedup();
        mistakes
    }

    /// Returns whether it is impossible to tell which keys belong to which table.
    pub fn hide_tables(&self) -> bool {
        self.is_shapeless
    }

    /// Returns whether a problem at this place may follow from a syntax error.
    pub fn explain(&self, source: &Source, at: usize) -> bool {
        let line = source.line(at);
        let after = self.tables.partition_point(|table| table.start <= line);
        self.is_shapeless
            || after.checked_sub(1).is_some_and(|table| self.tables[table].contains(&line))
    }
}

/// Lists the lines that begin a table.
fn headers(source: &Source) -> Vec<usize> {
    let lines = source.text().split('\n').enumerate();
    lines.filter(|(_, line)| line.trim_start().starts_with('[')).map(|(line, _)| line).collect()
}

fn in_words(source: &Source, error: &Error) -> String {
    let span = error.span().unwrap_or_default();
    if DUPLICATE.is_in(error) {
        let key = source.text().get(span).unwrap_or_default();
        return format!("not TOML: the key `{key}` is there twice");
    }
    if LETTERS.is_in(error) {
        let key = word_around(source.text(), span.start);
        let instead = sanitised(key, "light-in-bedroom");
        return format!(
            "not TOML: `{key}` is no key; use letters a to z, digits, `_` and `-`, such as `{instead}`"
        );
    }
    format!("not TOML: {}", error.message())
}

/// Returns the key that a byte belongs to.
fn word_around(text: &str, at: usize) -> &str {
    let ends = |c: char| {
        c.is_whitespace() || matches!(c, '.' | '[' | ']' | '=' | '"' | '\'' | ',' | '{' | '}' | '#')
    };
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before
        .rfind(ends)
        .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
    let end = after.find(ends).map_or(text.len(), |length| at + length);
    &text[start..end]
}

/// How the parser's messages begin.
struct Beginning(&'static str);

impl Beginning {
    fn is_in(&self, error: &Error) -> bool {
        error.message().starts_with(self.0)
    }
}

const DUPLICATE: Beginning = Beginning("duplicate key");
const LETTERS: Beginning = Beginning("invalid unquoted key");
const UNCLOSED: Beginning = Beginning("unclosed");
