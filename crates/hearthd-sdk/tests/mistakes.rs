//! The mistakes that authors make, and what the compiler tells them.
//!
//! Each file of `mistakes/` marks a line with `//~` and a text that the error there must contain. Only the SDK's own
//! words and the compiler's steadiest are asked for, so that another compiler version may word the rest its own way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn the_likeliest_mistakes_get_one_error_each_and_it_is_readable() {
    let (expected, found) = (expected(), found());
    let files = expected.keys().chain(found.keys());
    for file in files {
        let wanted = expected.get(file).map(Vec::as_slice).unwrap_or_default();
        let errors = found.get(file).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(wanted.len(), errors.len(), "{file}: {errors:#?}");
        for ((line, text), error) in wanted.iter().zip(errors) {
            assert!(error.lines.contains(line), "{file}:{line} is not blamed: {error:#?}");
            assert!(error.rendered.contains(text), "{file}:{line}: {text}\n{}", error.rendered);
        }
    }
}

/// An error of the compiler.
#[derive(Debug)]
struct Error {
    rendered: String,
    /// The lines of the author's file that it points at.
    lines: Vec<u64>,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

/// Reads the marks of every file.
fn expected() -> BTreeMap<String, Vec<(u64, String)>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(sources()).expect("the mistakes") {
        let path = entry.expect("the mistakes").path();
        let text = fs::read_to_string(&path).expect("a mistake");
        let marks: Vec<_> = (1..)
            .zip(text.lines())
            .filter_map(|(number, line)| Some((number, line.split_once("//~ ")?.1.to_owned())))
            .collect();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(!marks.is_empty(), "{name} expects nothing");
        files.insert(name, marks);
    }
    files
}

/// Compiles every file as a program of its own, in a crate outside of this workspace.
fn found() -> BTreeMap<String, Vec<Error>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifest = format!(
        "[package]\nname = \"mistakes\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         hearthd-sdk = {{ path = {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n"
    );
    for name in expected().keys() {
        let stem = name.trim_end_matches(".rs");
        manifest += &format!("[[bin]]\nname = \"{stem}\"\npath = {:?}\n", sources().join(name));
    }
    fs::write(folder.path().join("Cargo.toml"), manifest).expect("write the manifest");
    // The versions that the SDK itself was built with are there without a network.
    let lock = sdk.join("../../Cargo.lock");
    if lock.exists() {
        fs::copy(lock, folder.path().join("Cargo.lock")).expect("copy the lock file");
    }
    let check = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--message-format=json", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes"))
        .current_dir(folder.path())
        .output()
        .expect("cargo runs");
    let errors = errors(&String::from_utf8_lossy(&check.stdout));
    assert!(!errors.is_empty(), "cargo check: {}", String::from_utf8_lossy(&check.stderr));
    errors
}

/// Collects the errors by file; cargo's own, such as how many there were, point at none.
fn errors(messages: &str) -> BTreeMap<String, Vec<Error>> {
    let mut files: BTreeMap<String, Vec<Error>> = BTreeMap::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).expect("cargo writes JSON");
        let message = &message["message"];
        let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
        if message["level"] != "error" || spans.is_empty() {
            continue;
        }
        let rendered = message["rendered"].as_str().unwrap_or_default().to_owned();
        let children = message["children"].as_array().into_iter().flatten();
        let inner = children.flat_map(|child| child["spans"].as_array().into_iter().flatten());
        let outer = spans.iter().chain(inner).flat_map(|span| [span, &span["expansion"]["span"]]);
        let mut places: Vec<(String, u64)> = outer
            .filter_map(|span| {
                let file = Path::new(span["file_name"].as_str()?);
                let own = file.parent().is_some_and(|parent| parent.ends_with("mistakes"));
                let name = file.file_name()?.to_string_lossy().into_owned();
                Some((name, span["line_start"].as_u64()?)).filter(|_| own)
            })
            .collect();
        places.dedup();
        let file = places.first().expect("the author's file is pointed at").0.clone();
        let lines = places.into_iter().map(|(_, line)| line).collect();
        files.entry(file).or_default().push(Error { rendered, lines });
    }
    files
}
