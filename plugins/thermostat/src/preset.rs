//! Named temperatures.

use hearthd_sdk::Span;
use serde::{Deserialize, Serialize};

/// A named temperature, or none where the target was set by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preset {
    #[default]
    None,
    Comfort,
    Eco,
    Away,
    /// Warmer for a limited time.
    Boost,
}

/// The `presets` table: temperatures in °C, and how long a boost lasts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Presets {
    pub(crate) comfort: f64,
    pub(crate) eco: f64,
    pub(crate) away: f64,
    pub(crate) boost: f64,
    pub(crate) boost_duration: Span,
}

impl Default for Presets {
    fn default() -> Self {
        Self { comfort: 21.0, eco: 18.0, away: 12.0, boost: 24.0, boost_duration: Span::hours(1) }
    }
}

impl Preset {
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Comfort, Self::Eco, Self::Away, Self::Boost];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Comfort => "comfort",
            Self::Eco => "eco",
            Self::Away => "away",
            Self::Boost => "boost",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text)
    }

    /// Returns whether the preset has a temperature and no end.
    pub(crate) fn is_lasting(self) -> bool {
        match self {
            Self::Comfort | Self::Eco | Self::Away => true,
            Self::None | Self::Boost => false,
        }
    }
}

impl Presets {
    /// Returns a preset's temperature.
    pub(crate) fn target(&self, preset: Preset) -> Option<f64> {
        match preset {
            Preset::None => None,
            Preset::Comfort => Some(self.comfort),
            Preset::Eco => Some(self.eco),
            Preset::Away => Some(self.away),
            Preset::Boost => Some(self.boost),
        }
    }
}
