//! QR codes on a terminal.

use qrcode::{Color, EcLevel, QrCode, types::QrError};

/// How the characters get their colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Black on white by the codes of a terminal.
    BlackOnWhite,
    /// As the text is: characters are the light modules, as on a dark terminal.
    Plain,
}

/// Draws a QR code with two modules in each character, one above the other.
///
/// # Errors
/// The text is too long for a QR code, which takes up to 2,953 bytes.
pub(super) fn draw(text: &str, ink: Ink) -> Result<String, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let size = code.width();
    let modules = code.to_colors();
    // A reader needs a light margin around the code (ISO/IEC 18004, 5.3.8).
    let is_dark = |row: usize, column: usize| {
        let at = |place: usize| place.checked_sub(MARGIN).filter(|place| *place < size);
        let module = at(row).zip(at(column)).map(|(row, column)| modules[row * size + column]);
        module == Some(Color::Dark)
    };
    let whole = size + 2 * MARGIN;
    let mut drawn = String::new();
    for row in (0..whole).step_by(2) {
        if ink == Ink::BlackOnWhite {
            drawn += "\x1b[30;107m";
        }
        for column in 0..whole {
            let is_drawn = |row| is_dark(row, column) == (ink == Ink::BlackOnWhite);
            drawn.push(match (is_drawn(row), is_drawn(row + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        if ink == Ink::BlackOnWhite {
            drawn += "\x1b[0m";
        }
        drawn.push('\n');
    }
    Ok(drawn)
}

const MARGIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the modules back, `true` for a dark one; the last row may be one of the margin's too many.
    fn modules(drawn: &str, is_black_ink: bool) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let line = line.trim_start_matches("\x1b[30;107m").trim_end_matches("\x1b[0m");
            for half in ['▀', '▄'] {
                let row = line.chars().map(|c| (c == '█' || c == half) == is_black_ink);
                rows.push(row.collect());
            }
        }
        rows
    }

    #[test]
    fn what_is_drawn_is_the_code_with_a_light_margin_in_both_inks() {
        let text =
            "http://raspberrypi.local:8080/#u=phone-annas-phone&p=abcdefghijklmnopqrstuvwxyz";
        let code = QrCode::with_error_correction_level(text, EcLevel::L).unwrap();
        let (size, colours) = (code.width(), code.to_colors());
        for (ink, is_black) in [(Ink::BlackOnWhite, true), (Ink::Plain, false)] {
            let rows = modules(&draw(text, ink).unwrap(), is_black);
            for (row, line) in rows.iter().enumerate() {
                assert_eq!(line.len(), size + 2 * MARGIN);
                for (column, dark) in line.iter().enumerate() {
                    let inside = (MARGIN..MARGIN + size).contains(&row)
                        && (MARGIN..MARGIN + size).contains(&column);
                    let expected =
                        inside && colours[(row - MARGIN) * size + column - MARGIN] == Color::Dark;
                    assert_eq!(*dark, expected, "{ink:?} {row} {column}");
                }
            }
        }
        assert!(size + 2 * MARGIN <= 80, "too wide for a terminal");
    }

    #[test]
    fn a_text_that_is_too_long_is_an_error() {
        assert!(draw(&"x".repeat(2954), Ink::Plain).is_err());
    }
}
