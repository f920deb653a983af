//! Colors as they go over the wire: `#rrggbb`.

use std::fmt;

use hearthd_confirm::Color;
use hearthd_sdk::Failure;
use serde::{Deserialize, Serialize};

/// Red, green and blue of 0 to 255: a color at full brightness, as brightness is a property of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rgb([u8; 3]);

impl Rgb {
    pub(crate) const WHITE: Self = Self([255; 3]);

    /// Reads `#rrggbb`, in hexadecimal digits of either case.
    pub(crate) fn read(text: &str) -> Result<Self, Failure> {
        let read = || {
            let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
            let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
            if all { Some(Self([part(0)?, part(2)?, part(4)?])) } else { None }
        };
        let message = || format!("color: \"{text}\" is no color such as #ff8800");
        read().ok_or_else(|| Failure::invalid(message()))
    }
}

impl From<Rgb> for Color {
    fn from(Rgb(parts): Rgb) -> Self {
        Self::from_rgb(parts.map(f64::from))
    }
}

impl From<Color> for Rgb {
    fn from(color: Color) -> Self {
        Self(color.to_rgb())
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_is_six_hexadecimal_digits_behind_a_number_sign() {
        assert_eq!(Rgb::read("#FF8800").unwrap().to_string(), "#ff8800");
        for wrong in ["", "#", "ff8800", "#ff88", "#ff88000", "#gg8800", "#+f8800", "#ää880", "red"]
        {
            assert!(Rgb::read(wrong).is_err(), "{wrong}");
        }
    }
}
