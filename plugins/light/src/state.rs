//! What a light shows, and how a command changes it.

use hearthd_sdk::{Changes, Failure};
use serde::{Deserialize, Serialize};

use crate::color::Rgb;

/// The longest transition in seconds.
pub(crate) const MAX_TRANSITION: f64 = 60.0;

/// What a light shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) on: bool,
    /// 0 to 100 percent.
    pub(crate) brightness: u8,
    /// The last brightness above 0.
    pub(crate) last_brightness: u8,
    /// In kelvin; 0 until it is fitted to the light's range.
    pub(crate) color_temperature: u16,
    #[serde(default = "white")]
    pub(crate) color: Rgb,
    #[serde(default)]
    pub(crate) color_mode: ColorMode,
    /// Seconds that a change of brightness takes.
    #[serde(default)]
    pub(crate) transition: f64,
    /// The boot of the machine in which the state was shown.
    #[serde(default)]
    pub(crate) boot: Option<String>,
    /// The generation of the last absence that the light acted on.
    #[serde(default)]
    pub(crate) handled: Option<String>,
}

/// Which of the two a light shows that has both: the one that was set last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColorMode {
    #[default]
    ColorTemperature,
    Color,
}

impl ColorMode {
    pub(crate) const VALUES: [&str; 2] = [Self::ColorTemperature.as_str(), Self::Color.as_str()];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ColorTemperature => "color_temperature",
            Self::Color => "color",
        }
    }
}

impl State {
    /// Reads a saved state; one that is missing or not readable is off at full brightness.
    pub(crate) fn restored(saved: Option<&[u8]>) -> Self {
        let new = Self {
            on: false,
            brightness: 100,
            last_brightness: 100,
            color_temperature: 0,
            color: Rgb::WHITE,
            color_mode: ColorMode::default(),
            transition: 0.0,
            boot: None,
            handled: None,
        };
        match saved.map(serde_json::from_slice) {
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                tracing::warn!(%error, "the saved state is not readable; the light starts off");
                new
            }
            None => new,
        }
    }

    /// Moves the values into the light's ranges, which may differ from those of the state's time.
    pub(crate) fn fitted(mut self, kelvin: Option<(u16, u16)>) -> Self {
        self.brightness = self.brightness.min(100);
        self.last_brightness = self.last_brightness.clamp(1, 100);
        self.transition = self.transition.clamp(0.0, MAX_TRANSITION);
        if let Some((min, max)) = kelvin {
            self.color_temperature = self.color_temperature.clamp(min, max);
        }
        self
    }

    /// Returns the state with all changes.
    pub(crate) fn changed(&self, changes: &Changes) -> Result<Self, Failure> {
        let mut state = self.clone();
        let power = changes.switch("power");
        if let Some(brightness) = number(changes, "brightness")? {
            if power == Some(true) && brightness == 0 {
                return Err(Failure::invalid("a light at brightness 0 is not on"));
            }
            state.brightness = brightness;
            state.on = brightness > 0;
        }
        if let Some(on) = power {
            state.switch(on);
        }
        if state.brightness > 0 {
            state.last_brightness = state.brightness;
        }
        if let Some(color_temperature) = number(changes, "color_temperature")? {
            state.color_temperature = color_temperature;
            state.color_mode = ColorMode::ColorTemperature;
        }
        if let Some(color) = changes.text("color") {
            state.color = Rgb::read(color)?;
            state.color_mode = ColorMode::Color;
        }
        if let Some(transition) = changes.number("transition") {
            state.transition = transition;
        }
        Ok(state)
    }

    /// Switches on or off; on from brightness 0 takes the last brightness there was.
    pub(crate) fn switch(&mut self, on: bool) {
        self.on = on;
        if on && self.brightness == 0 {
            self.brightness = self.last_brightness;
        }
    }

    /// Returns how bright the light looks: 0 is off, 1 is full.
    pub(crate) fn level(&self) -> f64 {
        if self.on { f64::from(self.brightness) / 100.0 } else { 0.0 }
    }

    /// Returns the form that [`restored`](Self::restored) reads.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state holds nothing but numbers and text")
    }
}

fn white() -> Rgb {
    Rgb::WHITE
}

pub(crate) fn number<N: TryFrom<i64>>(
    changes: &Changes,
    property: &str,
) -> Result<Option<N>, Failure> {
    let narrow = |n: i64| N::try_from(n).map_err(|_| Failure::invalid(format!("{property}: {n}")));
    changes.integer(property).map(narrow).transpose()
}
