//! Manual pages of configuration files, made of the files that are shipped: their comments are the text.

use clap_mangen::roff::{Roff, bold, italic, roman};

/// One configuration file with its page.
pub(crate) struct FileFormat {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) summary: &'static str,
    /// Where the package puts it.
    pub(crate) path: &'static str,
    pub(crate) see_also: &'static str,
}

impl FileFormat {
    /// Writes the page, of section 5.
    pub(crate) fn page(&self) -> String {
        let mut page = Roff::new();
        page.control("TH", [self.name, "5", "", "hearthd", "File formats"]);
        page.control("SH", ["NAME"]);
        page.text([roman(format!("{} - {}", self.name, self.summary))]);
        page.control("SH", ["SYNOPSIS"]);
        page.text([italic(self.path)]);
        page.control("SH", ["DESCRIPTION"]);
        let blocks = blocks(self.text);
        let mut sections = blocks.split(|block| matches!(block, Block::Table(_)));
        let root = sections.next().unwrap_or_default();
        write_blocks(&mut page, root);
        let mut rest = &blocks[root.len()..];
        if !rest.is_empty() {
            page.control("SH", ["TABLES"]);
        }
        while let [Block::Table(name), below @ ..] = rest {
            page.control("SS", [name.as_str()]);
            let end = below.iter().position(|block| matches!(block, Block::Table(_)));
            let (own, after) = below.split_at(end.unwrap_or(below.len()));
            write_blocks(&mut page, own);
            rest = after;
        }
        page.control("SH", ["SEE ALSO"]);
        page.text([roman(self.see_also)]);
        page.render()
    }
}

/// A part of a shipped file.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// `[broker]`; what was said ahead of it comes after it.
    Table(String),
    /// What is said ahead of keys, and the keys.
    Keys { said: Vec<String>, keys: Vec<String> },
}

/// Splits a file into tables and keys; whether a line is commented out makes no difference.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut said, mut keys) = (Vec::new(), Vec::new());
    let flush = |said: &mut Vec<String>, keys: &mut Vec<String>, blocks: &mut Vec<Block>| {
        if !said.is_empty() || !keys.is_empty() {
            let (said, keys) = (std::mem::take(said), std::mem::take(keys));
            blocks.push(Block::Keys { said, keys });
        }
    };
    for line in text.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line).trim();
        let bare = bare.strip_suffix("# example").map_or(bare, str::trim_end);
        if is_table(bare) {
            // Words right ahead of a table are about the table.
            let about = if keys.is_empty() { std::mem::take(&mut said) } else { Vec::new() };
            flush(&mut said, &mut keys, &mut blocks);
            blocks.push(Block::Table(bare.to_owned()));
            if !about.is_empty() {
                blocks.push(Block::Keys { said: about, keys: Vec::new() });
            }
        } else if is_key(bare) {
            keys.push(bare.to_owned());
        } else if line.starts_with('#') {
            if !keys.is_empty() {
                flush(&mut said, &mut keys, &mut blocks);
            }
            said.push(bare.to_owned());
        } else if line.is_empty() {
            flush(&mut said, &mut keys, &mut blocks);
        }
    }
    flush(&mut said, &mut keys, &mut blocks);
    blocks
}

fn is_table(line: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    inner.is_some_and(|name| {
        name.trim_matches(['[', ']'])
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    })
}

pub(crate) fn is_key(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    })
}

fn write_blocks(page: &mut Roff, blocks: &[Block]) {
    for block in blocks {
        let Block::Keys { said, keys } = block else { continue };
        let mut tag = "TP";
        for key in keys {
            page.control(tag, []);
            page.text([bold(key.as_str())]);
            tag = "TQ";
        }
        if keys.is_empty() {
            page.control("PP", []);
        }
        // An empty line of a comment begins a paragraph.
        let paragraphs = said.split(String::is_empty).filter(|lines| !lines.is_empty());
        for (index, paragraph) in paragraphs.enumerate() {
            if index > 0 {
                page.control(if keys.is_empty() { "PP" } else { "IP" }, []);
            }
            page.text([roman(paragraph.join(" "))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_with_what_is_said_ahead_of_them_and_tables_with_theirs() {
        let text = "# About all.\n\n# A port.\nport = 1\n\n# What it keeps.\n[limits]\n# Two\n# bounds.\n# a = 1\n# b = 2 # example\n";
        let keys = |said: &[&str], keys: &[&str]| Block::Keys {
            said: said.iter().map(ToString::to_string).collect(),
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            keys(&["About all."], &[]),
            keys(&["A port."], &["port = 1"]),
            Block::Table("[limits]".into()),
            keys(&["What it keeps."], &[]),
            keys(&["Two", "bounds."], &["a = 1", "b = 2"]),
        ];
        assert_eq!(blocks(text), expected);
    }
}
