//! Looks for a program before it is started.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Looks for a program as the system does when a [`crate::Runner`] starts it; `path` is the `PATH` of its environment, where
/// that has one of its own.
///
/// # Errors
/// What is wrong with it, for people.
pub fn find(program: &str, path: Option<&str>) -> Result<(), String> {
    if program.is_empty() {
        return Err("is empty; it is the program".to_owned());
    }
    if program.contains('/') {
        let file = Path::new(program);
        return if file.is_relative() {
            Err(format!("{program}: give the whole path, or a name that PATH knows"))
        } else if !file.exists() {
            Err(format!("{program} does not exist"))
        } else if !is_executable(file) {
            Err(format!("{program} is no program; run `chmod +x {program}`"))
        } else {
            Ok(())
        };
    }
    let path = path.map_or_else(|| own_path().unwrap_or_else(|| USUAL_PATH.into()), str::to_owned);
    let there = |folder: PathBuf| is_executable(&folder.join(program));
    if std::env::split_paths(&path).any(there) {
        Ok(())
    } else {
        Err(format!("no program `{program}` in {path}"))
    }
}

fn own_path() -> Option<String> {
    std::env::var("PATH").ok()
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Where programs are, for a process that has no PATH.
pub(crate) const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
