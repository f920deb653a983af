//! Makes text from others safe to show on a terminal.

use std::borrow::Cow;

/// Writes control characters and invisible characters as `\u{1b}`; line breaks and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'))
}

/// Does the same, and also escapes what would break the line.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    replace(text, is_hidden)
}

fn replace(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_replaced) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown.into()
}

/// Returns whether a character controls the terminal, or is invisible and changes how others look.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_or_is_not_seen_is_written_out() {
        for (text, shown) in [
            ("21.5 °C, naïve, 𝄞\n\tdone", "21.5 °C, naïve, 𝄞\n\tdone"),
            ("\u{1b}[31mred\u{9b}0m", "\\u{1b}[31mred\\u{9b}0m"),
            ("\u{feff}ON\r\0", "\\u{feff}ON\\u{d}\\u{0}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_line("a\nb"), "a\\u{a}b");
    }
}
