//! Whether the links of the documents lead somewhere, and the architecture page names what there is.

use std::{collections::BTreeMap, fs};

use hearthd_tests::{Doing, Result, built::workspace};

use super::{Repository, markdown::Document};

/// Looks at every Markdown file; returns the problems, each with its place.
pub(super) fn check(repository: &Repository) -> Result<Vec<String>> {
    let mut documents = BTreeMap::new();
    for path in repository.files.iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(workspace().join(path)).doing(path)?;
        documents.insert(path.as_str(), Document::parse(&text));
    }
    let mut problems = Vec::new();
    for (path, document) in &documents {
        for (line, target) in &document.links {
            if let Some(problem) = problem_of(repository, &documents, path, target) {
                problems.push(format!("{path}:{line}: `{target}` {problem}"));
            }
        }
        if SPEAKS_OF_CODE.iter().any(|folder| path.starts_with(folder)) {
            let missing = document.code.iter().filter(|(_, code)| names_no_file(repository, code));
            problems.extend(
                missing.map(|(line, code)| format!("{path}:{line}: there is no file `{code}`")),
            );
        }
    }
    problems.extend(missing_of_the_map(repository, &documents));
    Ok(problems)
}

/// Says why a link leads nowhere; none where it does, or leads out of the repository.
fn problem_of(
    repository: &Repository,
    documents: &BTreeMap<&str, Document>,
    from: &str,
    target: &str,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(p, a)| (p, Some(a)));
    let Some(path) = resolve(from, path) else {
        return Some("leads out of the repository".into());
    };
    if !repository.has(&path) {
        return Some("is not there".into());
    }
    let document = documents.get(path.as_str())?;
    let anchor = anchor.filter(|anchor| !document.anchors.contains(*anchor))?;
    Some(format!("names no heading of {path}; `#{anchor}` is none"))
}

/// Returns the path from the root that a link in a document means; none where it is not below the root.
fn resolve(from: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    if path.starts_with('/') {
        return None;
    }
    let mut levels: Vec<&str> = from.split('/').collect();
    levels.pop();
    for level in path.split('/') {
        match level {
            "" | "." => {}
            ".." => drop(levels.pop()?),
            level => levels.push(level),
        }
    }
    Some(levels.join("/"))
}

/// Returns whether code in a document looks like the path of a source file, and is none.
fn names_no_file(repository: &Repository, code: &str) -> bool {
    let is_path = code.ends_with(".rs")
        && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    is_path && !repository.has_ending(code.trim_start_matches("../"))
}

/// Requires that the architecture page has every crate.
fn missing_of_the_map(
    repository: &Repository,
    documents: &BTreeMap<&str, Document>,
) -> Vec<String> {
    let named = |name: &str| {
        documents.get(MAP).is_some_and(|map| map.code.iter().any(|(_, code)| code == name))
    };
    let folders = repository.files.iter().filter_map(|file| file.strip_suffix("/Cargo.toml"));
    let crates = folders
        .filter_map(|folder| folder.strip_prefix("crates/"))
        .filter(|name| !name.contains('/'));
    let missing = crates.filter(|name| !named(name));
    missing.map(|name| format!("{MAP}: the crate `{name}` is missing")).collect()
}

/// The folders whose documents name the source files of this repository.
const SPEAKS_OF_CODE: [&str; 2] = ["crates/", ".github/"];
/// The architecture page.
const MAP: &str = "crates/README.md";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_link(target: &str, expected: Option<&str>) {
        let files = ["README.md", "crates/README.md", "crates/core/src/lib.rs"];
        let repository = Repository { files: files.map(str::to_owned).into() };
        let readme = Document::parse("# The hub\n\n## As a service\n");
        let documents = BTreeMap::from([("README.md", readme)]);
        let problem = problem_of(&repository, &documents, "crates/README.md", target);
        assert_eq!(problem.as_deref(), expected, "{target}");
    }

    #[test]
    fn a_link_leads_to_a_file_a_folder_or_a_heading() {
        for good in [
            "../README.md",
            "core",
            "core/src/lib.rs",
            "./core/",
            "..",
            "../README.md#as-a-service",
        ] {
            check_link(good, None);
        }
        for elsewhere in
            ["https://example.org/x#y", "mailto:somebody@example.org", "#of-a-page-not-read"]
        {
            check_link(elsewhere, None);
        }
        check_link("core/src/main.rs", Some("is not there"));
        check_link("cor", Some("is not there"));
        check_link("../../elsewhere", Some("leads out of the repository"));
        check_link("/README.md", Some("leads out of the repository"));
        let gone = "names no heading of README.md; `#as-a-servant` is none";
        check_link("../README.md#as-a-servant", Some(gone));
    }

    #[test]
    fn a_path_in_a_document_is_the_end_of_a_files_path() {
        let repository = Repository { files: vec!["crates/core/src/hub/mod.rs".into()] };
        for good in
            ["hub/mod.rs", "mod.rs", "../core/src/hub/mod.rs", "Hub::new", "hub/*.rs", "a b.rs"]
        {
            assert!(!names_no_file(&repository, good), "{good}");
        }
        for bad in ["ub/mod.rs", "hub/gone.rs"] {
            assert!(names_no_file(&repository, bad), "{bad}");
        }
    }
}
