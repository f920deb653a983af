//! Whether names and prose keep to one word for each thing: words that have given way to plainer ones do not come back.

use std::fs;

use hearthd_tests::{Doing, Result, built::workspace};

use super::Repository;

/// A word that is not used, what is written instead, and the folders where it means something else.
struct Word {
    word: &'static str,
    instead: &'static str,
    except: &'static [&'static str],
}

/// Looks for the words in every text file and in the names of files; returns the problems, each with its place.
pub(super) fn check(repository: &Repository) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for path in repository.files.iter().filter(|path| is_looked_at(path)) {
        let bytes = fs::read(workspace().join(path)).doing(path)?;
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        for Word { word, instead, .. } in unused_in(path) {
            if path.split(['/', '.']).any(|level| contains(level, word)) {
                problems.push(format!("{path}: a file's name says `{word}`; write `{instead}`"));
            }
            for (number, line) in text.lines().enumerate() {
                if contains(line, word) {
                    let line = number + 1;
                    problems.push(format!("{path}:{line}: `{word}` is not used; write {instead}"));
                }
            }
        }
        if path.ends_with(".rs") {
            for (number, name) in vague_names(text) {
                problems.push(format!("{path}:{number}: `{name}` does not say what it is"));
            }
        }
    }
    Ok(problems)
}

fn is_looked_at(path: &str) -> bool {
    !NOT_LOOKED_AT.iter().any(|beginning| path.starts_with(beginning)) && !path.ends_with(".lock")
}

fn unused_in(path: &str) -> impl Iterator<Item = &'static Word> {
    WORDS.iter().filter(move |word| !word.except.iter().any(|folder| path.starts_with(folder)))
}

/// Returns whether a line has the word as a whole, or as a part of a name in snake case.
fn contains(line: &str, word: &str) -> bool {
    let is_in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.split(|c| !is_in_name(c))
        .any(|name| name == word || name.split('_').any(|part| part == word))
}

/// Lists the names that are defined with a word that fits everything, and their lines.
fn vague_names(text: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            if word.starts_with("//") {
                break;
            }
            if DEFINES.contains(&word)
                && let Some(name) = words.next()
                && parts(name).any(|part| VAGUE.contains(&part.to_lowercase().as_str()))
            {
                names.push((number + 1, name));
            }
        }
    }
    names
}

/// Returns the words of a name in snake case or camel case, with what follows the name in its line left out.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    name.split('_').flat_map(|part| {
        let begins = part.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at);
        let mut cuts: Vec<usize> = std::iter::once(0).chain(begins).chain([part.len()]).collect();
        cuts.dedup();
        (1..cuts.len()).map(move |cut| &part[cuts[cut - 1]..cuts[cut]]).collect::<Vec<_>>()
    })
}

const fn word(word: &'static str, instead: &'static str) -> Word {
    Word { word, instead, except: &[] }
}

const WORDS: [Word; 31] = [
    Word { word: "Bench", instead: "TestDevice, or what is measured", except: &["crates/xtask/"] },
    word("Birth", "CreateArguments"),
    word("birth", "arguments"),
    word("Bereft", "ProcessLost"),
    word("Fall", "InstanceError"),
    word("HandOver", "HandOverError"),
    word("Lane", "a queue of what it holds"),
    Word { word: "Letter", instead: "QueuedEvent", except: &["crates/hearthd-sim/"] },
    word("Pace", "RateLimit"),
    word("pace", "rate"),
    word("paced", "limited"),
    word("Post", "EventQueue"),
    Word {
        word: "post",
        instead: "events, or send",
        except: &["crates/hearthd/debian/", "crates/hearthd-load/", "tests/"],
    },
    word("Rig", "TestHub, or what is tested"),
    word("rig", "the name of what is tested"),
    word("Seat", "MemberId"),
    word("Seated", "Member"),
    word("seat", "member"),
    word("seats", "members"),
    word("Ties", "DeviceHandles"),
    word("Unhurried", "QueuedPacket"),
    word("unhurried", "queued"),
    word("VisitError", "ConnectionError"),
    Word { word: "lane", instead: "queue", except: &["crates/hearthd-broker/"] },
    Word { word: "examination", instead: "broker check", except: &["crates/hearthd/src/plugin/"] },
    word("reply_to", "response_topic"),
    word("rigs", "the name of what is tested"),
    word("testament", "will"),
    Word { word: "Examination", instead: "BrokerCheck", except: &["crates/hearthd/src/plugin/"] },
    Word { word: "Wish", instead: "ParsedRequest", except: &["plugins/thermostat/"] },
    word("TestBench", "TestDevice"),
];
/// Words that fit everything, and say nothing.
const VAGUE: [&str; 4] = ["manager", "helper", "util", "misc"];
/// What comes before a name where that is defined.
const DEFINES: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "mod", "const", "static"];
/// The list itself, the table for people, and what was written for earlier versions or by others.
const NOT_LOOKED_AT: [&str; 6] = [
    "crates/xtask/src/tidy/words.rs",
    ".github/CONTRIBUTING.md",
    "LICENSE",
    "crates/hearthd/benches/peers/",
    "tests/samples/",
    ".github/ISSUE_TEMPLATE/",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_as_a_whole_and_in_snake_case_alone() {
        assert!(contains("let seat = 1;", "seat") && contains("fn next_seat() {", "seat"));
        assert!(!contains("a seaten path, seats", "seat") && !contains("Rigid", "Rig"));
    }

    #[test]
    fn a_vague_name_is_found_where_it_is_defined_alone() {
        let text = "use x::util::Y;\n// fn helper\npub struct PluginManager {\nfn mischief() {}\n";
        assert_eq!(vague_names(text), [(3, "PluginManager")]);
    }
}
