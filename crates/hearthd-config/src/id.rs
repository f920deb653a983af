//! Names that people give to hubs and devices.

/// Checks a hub or device ID: one topic level of `[a-z0-9_-]`.
///
/// # Errors
/// What to write instead.
pub fn check_id(id: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) {
        return Err(format!(
            "`{id}` is no ID; use 1 to {MAX_ID} of a-z, 0-9, `_` and `-`, such as `{}`",
            sanitised(id, "light-in-bedroom")
        ));
    }
    Ok(())
}

/// Turns a text into an ID; returns `fallback` if no character is left.
pub fn sanitised(text: &str, fallback: &str) -> String {
    let lower = text.to_lowercase();
    let letters = lower.chars().flat_map(|c| spelled(c).chars().chain(kept(c)));
    let id: String = letters.take(MAX_ID / 2).collect();
    let id = id.trim_matches('-');
    if id.is_empty() { fallback.to_owned() } else { id.to_owned() }
}

/// Replaces a letter that an ID cannot have.
fn spelled(c: char) -> &'static str {
    match c {
        'ä' | 'æ' => "ae",
        'ö' | 'ø' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'à'..='ã' | 'å' => "a",
        'ç' => "c",
        'è'..='ë' => "e",
        'ì'..='ï' => "i",
        'ñ' => "n",
        'ò'..='õ' => "o",
        'ù'..='û' => "u",
        'ý' | 'ÿ' => "y",
        _ => "",
    }
}

/// Returns the replacement of a character that has no spelling.
fn kept(c: char) -> Option<char> {
    if !spelled(c).is_empty() {
        return None;
    }
    Some(if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
}

/// The most characters of an ID.
const MAX_ID: usize = 64;
