//! `cargo xtask tidy`: what no compiler sees, in documents and dependencies.

mod dependencies;
mod documents;
mod licence;
mod markdown;
mod words;

use std::process::Command;

use hearthd_tests::{Failure, Result, built::workspace};

use crate::{conformance, provision::stdout_of};

/// Tells every problem, and fails where there is one.
pub(crate) fn tidy() -> Result<()> {
    let repository = Repository::new()?;
    let mut problems = documents::check(&repository)?;
    problems.extend(words::check(&repository)?);
    problems.extend(dependencies::check()?);
    problems.extend(conformance::check()?);
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure(format!("{} problems", problems.len()))) }
}

/// The files of the repository, those that are about to be added included.
#[derive(Debug)]
struct Repository {
    /// Paths from the root, in order.
    files: Vec<String>,
}

impl Repository {
    fn new() -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
        let list = stdout_of(git.current_dir(workspace()))?;
        // A file that is gone stays in the index until that is committed.
        let is_there = |path: &&str| workspace().join(path).exists();
        let mut files: Vec<_> = list.lines().filter(is_there).map(str::to_owned).collect();
        files.sort();
        files.dedup();
        Ok(Self { files })
    }

    /// Returns whether there is a file, or a folder with files, at a path from the root; the root is the empty path.
    fn has(&self, path: &str) -> bool {
        let below =
            |file: &String| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        path.is_empty() || self.files.iter().any(|file| file == path || below(file))
    }

    /// Returns whether the path of a file ends in these levels.
    fn has_ending(&self, levels: &str) -> bool {
        let ends =
            |file: &String| file.strip_suffix(levels).is_some_and(|rest| rest.ends_with('/'));
        self.files.iter().any(|file| file == levels || ends(file))
    }
}
