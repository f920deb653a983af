//! Colors as people choose them, and the other ways to write them.

use serde::Deserialize;

/// A color at full brightness.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Color {
    /// 0 to 360 degrees: 0 is red, 120 green, 240 blue.
    pub hue: f64,
    /// 0 (white) to 100 percent.
    pub saturation: f64,
}

/// How much devices round, and how much their primaries clip.
const HUE: f64 = 6.0;
const SATURATION: f64 = 8.0;

impl Color {
    /// Makes a color from red, green and blue of 0 to 255. Black becomes white, because brightness is a separate
    /// property.
    pub fn from_rgb([red, green, blue]: [f64; 3]) -> Self {
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let span = most - least;
        if span <= 0.0 {
            return Self { hue: 0.0, saturation: 0.0 };
        }
        let sixth = if most == red {
            ((green - blue) / span).rem_euclid(6.0)
        } else if most == green {
            (blue - red) / span + 2.0
        } else {
            (red - green) / span + 4.0
        };
        Self { hue: sixth * 60.0, saturation: span / most * 100.0 }
    }

    /// Returns red, green and blue of 0 to 255, the greatest of them 255.
    pub fn to_rgb(self) -> [u8; 3] {
        [5.0, 3.0, 1.0].map(|n: f64| {
            let k = (n + self.hue / 60.0).rem_euclid(6.0);
            let part = 1.0 - self.saturation / 100.0 * k.min(4.0 - k).clamp(0.0, 1.0);
            (part * 255.0).round() as u8
        })
    }

    /// Makes a color from the x and y of CIE 1931, by the primaries of sRGB.
    pub(crate) fn from_xy(x: f64, y: f64) -> Self {
        let y = y.max(1e-6);
        let (big_x, big_z) = (x / y, (1.0 - x - y) / y);
        let linear = [
            3.2406 * big_x - 1.5372 - 0.4986 * big_z,
            -0.9689 * big_x + 1.8758 + 0.0415 * big_z,
            0.0557 * big_x - 0.2040 + 1.0570 * big_z,
        ];
        let most = linear.iter().copied().fold(1e-6, f64::max);
        Self::from_rgb(linear.map(|part| {
            let part = (part / most).clamp(0.0, 1.0);
            let curved = if part <= 0.003_130_8 {
                12.92 * part
            } else {
                1.055 * part.powf(1.0 / 2.4) - 0.055
            };
            curved * 255.0
        }))
    }

    /// Returns whether another color is the same, within what devices round and clip.
    pub(crate) fn looks_like(self, other: Self) -> bool {
        let apart = (self.hue - other.hue).rem_euclid(360.0);
        let pale = self.saturation.min(other.saturation) < SATURATION;
        (self.saturation - other.saturation).abs() <= SATURATION
            && (pale || apart.min(360.0 - apart) <= HUE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_green_and_blue_survive_the_way_there_and_back() {
        for hue in (0..360).step_by(7) {
            for saturation in [0, 20, 55, 100] {
                let color = Color { hue: f64::from(hue), saturation: f64::from(saturation) };
                let back = Color::from_rgb(color.to_rgb().map(f64::from));
                assert!(color.looks_like(back), "{color:?} became {back:?}");
            }
        }
        assert_eq!(Color { hue: 0.0, saturation: 100.0 }.to_rgb(), [255, 0, 0]);
        assert_eq!(Color { hue: 240.0, saturation: 100.0 }.to_rgb(), [0, 0, 255]);
    }

    #[test]
    fn the_primaries_of_srgb_are_where_the_standard_has_them() {
        for (x, y, hue) in [(0.64, 0.33, 0.0), (0.30, 0.60, 120.0), (0.15, 0.06, 240.0)] {
            let color = Color::from_xy(x, y);
            assert!(color.looks_like(Color { hue, saturation: 100.0 }), "{x} {y} is {color:?}");
        }
        assert!(Color::from_xy(0.3127, 0.3290).saturation < 1.0, "the white point has no color");
    }

    #[test]
    fn hues_on_either_side_of_red_are_near() {
        let at = |hue| Color { hue, saturation: 100.0 };
        assert!(at(358.0).looks_like(at(2.0)));
        assert!(!at(350.0).looks_like(at(2.0)));
    }
}
