//! What makes a lamp shine.

use hearthd_output::{DriveError, Output, OutputCommand};

use crate::state::State;

/// A way to reach a lamp.
#[derive(Debug)]
pub(crate) enum Backend {
    /// A lamp that exists in the log alone.
    Simulated,
    Output(Output, Curve),
    Command(OutputCommand),
}

/// How the light that a lamp gives follows the brightness that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Curve {
    Linear,
    /// Equal steps look equal: the CIE 1931 lightness.
    Perceptual,
}

impl Backend {
    /// Makes the lamp show a state, at a level between 0 and 1 that may be on the way to that state's own.
    pub(crate) fn show(&mut self, state: &State, level: f64) -> Result<(), DriveError> {
        let State { on, brightness, color_temperature, color, color_mode, .. } = state;
        match self {
            Self::Simulated => {
                tracing::debug!(on, brightness, color_temperature, %color, level, "lamp");
                Ok(())
            }
            Self::Output(output, curve) => {
                output.drive(curve.light(level)).map_err(DriveError::from)
            }
            Self::Command(command) => {
                let values = [
                    ("power", if *on { "on" } else { "off" }.to_owned()),
                    ("brightness", brightness.to_string()),
                    ("color_temperature", color_temperature.to_string()),
                    ("color", color.to_string()),
                    ("color_mode", color_mode.as_str().to_owned()),
                ];
                command.run(&values).map_err(DriveError::from)
            }
        }
    }

    /// Returns whether the lamp can be taken through many levels a second.
    pub(crate) fn fades(&self) -> bool {
        match self {
            Self::Simulated | Self::Output(..) => true,
            Self::Command(_) => false,
        }
    }
}

impl Curve {
    /// Returns the part of full light for a level between 0 and 1.
    fn light(self, level: f64) -> f64 {
        match self {
            Self::Linear => level,
            // Below 8 % the curve is a line, so that it reaches 0.
            Self::Perceptual if level <= 0.08 => level * 100.0 / 903.3,
            Self::Perceptual => ((level * 100.0 + 16.0) / 116.0).powi(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_perceptual_curve_rises_from_0_to_1_without_a_step() {
        let light = |percent: u32| Curve::Perceptual.light(f64::from(percent) / 100.0);
        assert!(light(0).abs() < 1e-9 && (light(100) - 1.0).abs() < 1e-9);
        assert!((light(50) - 0.184).abs() < 0.001, "half as bright is a fifth of the light");
        assert!((1..=100).all(|percent| {
            let step = light(percent) - light(percent - 1);
            0.0 < step && step < 0.03
        }));
    }
}
