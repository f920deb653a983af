//! As much of Markdown as links need: code, headings, and where a link leads.

use std::collections::BTreeSet;

/// What a document has that a link can begin or end at.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Each link's line and target.
    pub(super) links: Vec<(usize, String)>,
    /// What stands between backquotes, each with its line.
    pub(super) code: Vec<(usize, String)>,
    /// The names of the headings, as a link has them.
    pub(super) anchors: BTreeSet<String>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut fence: Option<&str> = None;
        let mut paragraph = Paragraph::default();
        for (index, line) in text.lines().enumerate() {
            let begins_fence =
                FENCES.into_iter().find(|fence| line.trim_start().starts_with(fence));
            if let Some(open) = fence {
                fence = Some(open).filter(|open| begins_fence != Some(open));
                continue;
            }
            fence = begins_fence;
            let heading = line.trim_start_matches('#');
            let is_heading = heading.starts_with(' ') && heading.len() < line.len();
            if line.trim().is_empty() || is_heading || fence.is_some() {
                document.take(std::mem::take(&mut paragraph));
            }
            if fence.is_some() {
                continue;
            }
            if is_heading {
                document.add_anchor(heading);
            }
            paragraph.add(index + 1, line);
        }
        document.take(paragraph);
        document
    }

    /// Takes in a paragraph, in which code and links may go over several lines.
    fn take(&mut self, paragraph: Paragraph) {
        // By its indentation it is code.
        if paragraph.text.starts_with("    ") {
            return;
        }
        let (plain, code) = without_code(&paragraph.text);
        self.code.extend(code.into_iter().map(|(at, code)| (paragraph.line(at), code)));
        for (at, _) in plain.match_indices("](") {
            let rest = &plain[at + 2..];
            let target = rest.split([')', ' ', '\n']).next().unwrap_or_default();
            self.links.push((paragraph.line(at), target.to_owned()));
        }
    }

    /// Adds a heading's name; a second one of the same name gets a number.
    fn add_anchor(&mut self, heading: &str) {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let name: String = heading.trim().to_lowercase().chars().filter(kept).collect();
        let name = name.replace(' ', "-");
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let free =
            std::iter::once(name.clone()).chain(numbered).find(|n| !self.anchors.contains(n));
        self.anchors.extend(free);
    }
}

/// Lines that belong together.
#[derive(Debug, Default)]
struct Paragraph {
    first_line: usize,
    text: String,
}

impl Paragraph {
    fn add(&mut self, number: usize, line: &str) {
        if self.text.is_empty() {
            self.first_line = number;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }

    /// Returns the line that a byte stands in.
    fn line(&self, at: usize) -> usize {
        self.first_line + self.text[..at].matches('\n').count()
    }
}

/// Returns the text with something else in the place of code, and the code with where it begins.
fn without_code(text: &str) -> (String, Vec<(usize, String)>) {
    let mut plain = String::with_capacity(text.len());
    let mut code = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let at = text.len() - rest.len() + start;
        let (before, quoted) = rest.split_at(start);
        let quotes = quoted.len() - quoted.trim_start_matches('`').len();
        let inside = &quoted[quotes..];
        plain.push_str(before);
        let Some(length) = end_of_code(inside, quotes) else {
            plain.push_str(&quoted[..quotes]);
            rest = inside;
            continue;
        };
        code.push((at, inside[..length].replace('\n', " ")));
        plain.push_str(&"x".repeat(length + 2 * quotes));
        rest = &inside[length + quotes..];
    }
    plain.push_str(rest);
    (plain, code)
}

/// Returns where as many backquotes follow as code began with, and no more.
fn end_of_code(inside: &str, quotes: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = inside[at..].find('`') {
        at += next;
        let run = inside[at..].len() - inside[at..].trim_start_matches('`').len();
        if run == quotes {
            return Some(at);
        }
        at += run;
    }
    None
}

const FENCES: [&str; 2] = ["```", "~~~"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_with_their_lines_and_not_in_code() {
        let document = Document::parse(
            "# Title\n\nSee [the\nmap](crates) and [`src/`](src \"title\").\n![plot](a.svg)\n\n\
             ```\n[no](fence)\n```\n\n    [no](indented)\n\n`[no](code)` and ``a ` [no](b)``\n\n\
             | [one](1) | [two](2) |\n",
        );
        let links: Vec<_> =
            document.links.iter().map(|(line, target)| (*line, target.as_str())).collect();
        assert_eq!(links, [(4, "crates"), (4, "src"), (5, "a.svg"), (15, "1"), (15, "2")]);
        let code: Vec<_> =
            document.code.iter().map(|(line, code)| (*line, code.as_str())).collect();
        assert_eq!(code, [(4, "src/"), (13, "[no](code)"), (13, "a ` [no](b)")]);
    }

    #[test]
    fn headings_have_the_names_that_links_use() {
        let document = Document::parse(
            "# I want to...\n## Write one in C\n## Will it load?\n# `a_b`\n# `a_b`\n#no\n",
        );
        let expected = ["a_b", "a_b-1", "i-want-to", "will-it-load", "write-one-in-c"];
        assert_eq!(document.anchors.iter().collect::<Vec<_>>(), expected);
    }
}
