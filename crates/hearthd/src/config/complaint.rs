//! Turns a plugin's complaint about its table into the words of a configuration.
//!
//! Plugins in Rust read their table with serde, whose messages name types of Rust.

use hearthd_config::most_similar;

/// Puts a message into words where it is one of serde's; others stay as they are.
pub(super) fn in_words(message: &str) -> String {
    wrong_type(message)
        .or_else(|| wrong_value(message))
        .or_else(|| unknown(message))
        .unwrap_or_else(|| message.to_owned())
}

/// Reads ``invalid type: string "5s", expected f64``.
fn wrong_type(message: &str) -> Option<String> {
    let (found, wanted) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    Some(format!("must be {}, not {}", wanted_in_words(wanted), found_in_words(found)))
}

/// Reads ``invalid value: string "soon", expected a duration such as "90s"``; where the bounds of a type of Rust are
/// wanted, the message says more as it is.
fn wrong_value(message: &str) -> Option<String> {
    let (found, wanted) = message.strip_prefix("invalid value: ")?.split_once(", expected ")?;
    let is_said = wanted.starts_with("a ") && wanted_in_words(wanted) == wanted;
    is_said.then(|| format!("must be {wanted}, not {}", found_in_words(found)))
}

fn wanted_in_words(wanted: &str) -> &str {
    match wanted {
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        "a string" => "a text in quotes",
        "a sequence" => "an array",
        "a map" => "a table",
        wanted if wanted.starts_with("struct ") => "a table",
        wanted => wanted,
    }
}

fn found_in_words(found: &str) -> String {
    match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "boolean", value)) => value.replace('`', ""),
        Some(("floating", value)) => value.trim_start_matches("point ").replace('`', ""),
        _ => match found {
            "map" => "a table".to_owned(),
            "sequence" => "an array".to_owned(),
            found => found.to_owned(),
        },
    }
}

/// Reads ``unknown field `brightnes`, expected one of `backend`, `brightness` ``.
fn unknown(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown ")?;
    let (what, expected) = rest.split_once(", expected ")?;
    let names = |text| quoted(text).collect::<Vec<_>>();
    let [wanted] = names(what)[..] else { return None };
    let known = names(expected);
    let similar = most_similar(wanted, known.iter().copied())?;
    Some(format!("unknown {what}; did you mean `{similar}`?"))
}

/// Returns the text between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_words_become_those_of_a_configuration() {
        for (message, words) in [
            ("invalid type: string \"5s\", expected f64", "must be a number, not the text \"5s\""),
            (
                "invalid type: floating point `1.5`, expected u8",
                "must be a whole number, 0 or more, not 1.5",
            ),
            ("invalid type: integer `3`, expected a string", "must be a text in quotes, not 3"),
            ("invalid type: map, expected a sequence", "must be an array, not a table"),
            ("invalid type: boolean `true`, expected struct Pin", "must be a table, not true"),
            (
                "invalid value: string \"soon\", expected a duration such as \"90s\", or a number",
                "must be a duration such as \"90s\", or a number, not the text \"soon\"",
            ),
            (
                "invalid value: integer `300`, expected u8",
                "invalid value: integer `300`, expected u8",
            ),
            (
                "unknown field `brightnes`, expected one of `backend`, `brightness`",
                "unknown field `brightnes`; did you mean `brightness`?",
            ),
            (
                "unknown variant `simulatd`, expected `simulated` or `gpio`",
                "unknown variant `simulatd`; did you mean `simulated`?",
            ),
            ("unknown field `zzz`, expected `backend`", "unknown field `zzz`, expected `backend`"),
            ("the pin is taken", "the pin is taken"),
        ] {
            assert_eq!(in_words(message), words);
        }
    }
}
