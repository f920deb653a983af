//! The names that a new plugin may have.

/// Checks that a name can be a crate's, a kind's and a plugin's (L1: at most 31 bytes).
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Err("it must start with a letter of a-z")
    } else if !name.chars().all(fits) {
        Err("it may have only a-z, 0-9 and -")
    } else if name.ends_with('-') || name.contains("--") {
        Err("each - must be between two other characters")
    } else if name.len() > 31 {
        Err("it may have at most 31 characters")
    } else if TAKEN.contains(&name) {
        Err("Rust, cargo or a crate that it is built with has this name")
    } else {
        Ok(())
    }
}

/// Keywords, folders of cargo's, and crates that it is built with.
const TAKEN: [&str; 66] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "hearthd-sdk",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "rustix",
    "self",
    "serde",
    "serde-json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "tracing",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "ureq",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_with_a_reason() {
        assert_eq!(check_name("my-lamp"), Ok(()));
        for name in
            ["", "9lives", "My-Lamp", "my_lamp", "lampe-é", "-x", "x-", "a--b", "type", "std"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name(&"x".repeat(32)).is_err());
        assert_eq!(check_name(&"x".repeat(31)), Ok(()));
    }
}
