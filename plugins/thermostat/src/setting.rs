//! What the user wants, and how time changes it.

use std::time::Duration;

use hearthd_sdk::Failure;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::preset::{Preset, Presets};
use crate::schedule::{Entry, Schedule};

/// The least and the greatest target in °C, and the step between targets.
pub(crate) const TARGET: (f64, f64) = (5.0, 30.0);
pub(crate) const TARGET_STEP: f64 = 0.5;

/// What the user wants, and what was last heard; outlives the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) target: f64,
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) preset: Preset,
    #[serde(default)]
    boost: Option<Boost>,
    /// The point of the schedule that was applied last.
    #[serde(default)]
    applied: Option<DateTime>,
    /// The generation of the last absence that the thermostat acted on.
    #[serde(default)]
    pub(crate) handled: Option<String>,
    /// What sensors have said that say something seldom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) heard: Vec<Remembered>,
}

/// What a sensor last said, in °C.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) topic: String,
    pub(crate) pointer: String,
    pub(crate) value: f64,
    /// On the monotonic clock of the boot.
    pub(crate) said: Duration,
    pub(crate) boot: String,
}

/// Whether the thermostat heats, and who chooses the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Off,
    Heat,
    /// The schedule sets the target, until somebody sets another: that one holds until the schedule's next point.
    Auto,
}

/// A boost that is on, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Boost {
    /// On the monotonic clock.
    until: Duration,
    target: f64,
    preset: Preset,
}

/// What a command changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) mode: Option<Mode>,
    pub(crate) target: Option<f64>,
    pub(crate) preset: Option<Preset>,
}

/// The time on both clocks, and what depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// On the monotonic clock.
    pub(crate) now: Duration,
    /// The local time, where the clock is set.
    pub(crate) local: Option<DateTime>,
    pub(crate) presets: &'a Presets,
    pub(crate) schedule: &'a Schedule,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Off, Self::Heat, Self::Auto];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Heat => "heat",
            Self::Auto => "auto",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

impl Setting {
    pub(crate) fn new(target: f64) -> Self {
        let (mode, preset) = (Mode::Off, Preset::None);
        let heard = Vec::new();
        Self { target, mode, preset, boost: None, applied: None, handled: None, heard }
    }

    /// Reads a saved setting; one that is missing or not readable is off.
    pub(crate) fn restored(saved: Option<&[u8]>, initial_target: f64, moment: &Moment) -> Self {
        let mut setting = match saved.map(serde_json::from_slice::<Self>) {
            Some(Ok(setting)) => setting,
            Some(Err(error)) => {
                tracing::warn!(%error, "the saved state is not readable; the thermostat starts off");
                Self::new(initial_target)
            }
            None => Self::new(initial_target),
        };
        setting.target = setting.target.clamp(TARGET.0, TARGET.1);
        if setting.mode == Mode::Auto && moment.schedule.is_empty() {
            setting.mode = Mode::Heat;
        }
        if let Some(boost) = &mut setting.boost {
            // After a reboot the monotonic clock begins anew: a boost never lasts longer than its duration.
            boost.until = boost.until.min(moment.now + moment.presets.boost_duration.0);
        }
        setting
    }

    /// Returns what is wanted here, with what another has learned meanwhile.
    pub(crate) fn having_learned(self, other: &Self) -> Self {
        Self { handled: other.handled.clone(), heard: other.heard.clone(), ..self }
    }

    /// Returns the form that [`restored`](Self::restored) reads.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a setting is numbers and text")
    }

    /// Returns the setting with all that a command asks for.
    pub(crate) fn changed(&self, wish: Wish, moment: &Moment) -> Result<Self, Failure> {
        if wish.target.is_some() && wish.preset.is_some_and(|preset| preset != Preset::None) {
            return Err(Failure::invalid("a preset brings its own target: set one of the two"));
        }
        let mut setting = self.clone();
        if let Some(mode) = wish.mode {
            setting.set_mode(mode);
        }
        if wish.preset == Some(Preset::None) && wish.target.is_none() {
            setting.end_boost();
            setting.preset = Preset::None;
            // Without a hold the schedule applies again.
            setting.applied = None;
        }
        setting.follow_schedule(moment);
        match wish.preset {
            None | Some(Preset::None) => {}
            Some(Preset::Boost) => setting.begin_boost(moment)?,
            Some(preset) => {
                setting.boost = None;
                setting.preset = preset;
                setting.target = moment.presets.target(preset).unwrap_or(setting.target);
            }
        }
        if let Some(target) = wish.target {
            setting.boost = None;
            setting.preset = Preset::None;
            setting.target = target;
        }
        Ok(setting)
    }

    /// Ends a boost that is over, and follows the schedule.
    pub(crate) fn advance(&mut self, moment: &Moment) {
        if self.boost.is_some_and(|boost| moment.now >= boost.until) {
            self.end_boost();
        }
        self.follow_schedule(moment);
    }

    fn set_mode(&mut self, mode: Mode) {
        if self.mode == mode {
            return;
        }
        self.mode = mode;
        match mode {
            Mode::Off => self.end_boost(),
            Mode::Heat => {}
            Mode::Auto => self.applied = None,
        }
    }

    fn begin_boost(&mut self, moment: &Moment) -> Result<(), Failure> {
        if self.mode == Mode::Off {
            return Err(Failure::invalid("no boost in mode off: set the mode as well"));
        }
        let until = moment.now + moment.presets.boost_duration.0;
        let boost = match self.boost {
            Some(boost) => Boost { until, ..boost },
            None => Boost { until, target: self.target, preset: self.preset },
        };
        self.boost = Some(boost);
        self.preset = Preset::Boost;
        self.target = moment.presets.boost;
        Ok(())
    }

    fn end_boost(&mut self) {
        if let Some(boost) = self.boost.take() {
            self.target = boost.target;
            self.preset = boost.preset;
        }
    }

    /// Takes the point of the schedule that came into force since; a boost defers it, `away` lets it pass.
    fn follow_schedule(&mut self, moment: &Moment) {
        let (Mode::Auto, Some(local)) = (self.mode, moment.local) else { return };
        let Some(point) = moment.schedule.next(local, self.applied) else { return };
        self.applied = Some(point.at);
        let (preset, target) = match point.entry {
            Entry::Preset(preset) => (preset, moment.presets.target(preset)),
            Entry::Target(target) => (Preset::None, Some(target)),
        };
        match (&mut self.boost, self.preset) {
            (Some(boost), _) => {
                boost.preset = preset;
                boost.target = target.unwrap_or(boost.target);
            }
            (None, Preset::Away) => {}
            (None, Preset::None | Preset::Comfort | Preset::Eco | Preset::Boost) => {
                self.preset = preset;
                self.target = target.unwrap_or(self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hearthd_sdk::Problems;
    use jiff::civil::date;
    use serde_json::json;

    use super::*;
    use crate::schedule::RawSchedule;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A setting with its clocks: a schedule of comfort at 06:00 and eco at 22:00.
    struct Home {
        setting: Setting,
        presets: Presets,
        schedule: Schedule,
        minutes: u32,
    }

    impl Home {
        fn new(mode: Mode) -> Self {
            let day = json!({"06:00": "comfort", "22:00": "eco"});
            let raw: RawSchedule = serde_json::from_value(json!({"weekdays": day, "weekend": day}))
                .expect("a schedule");
            let schedule = raw.read(&mut Problems::default(), |_| None);
            let presets = Presets::default();
            let mut home = Self { setting: Setting::new(19.0), presets, schedule, minutes: 0 };
            home.at(5 * 60).wish(Wish { mode: Some(mode), ..Wish::default() }).expect("a mode");
            home
        }

        /// Moves both clocks on to so many minutes after midnight.
        fn at(&mut self, minutes: u32) -> &mut Self {
            self.minutes = minutes;
            let mut setting = self.setting.clone();
            setting.advance(&self.moment());
            self.setting = setting;
            self
        }

        fn moment(&self) -> Moment<'_> {
            let local = date(2026, 1, 5).at(0, 0, 0, 0) + MINUTE * self.minutes;
            let (presets, schedule) = (&self.presets, &self.schedule);
            Moment { now: MINUTE * self.minutes, local: Some(local), presets, schedule }
        }

        fn wish(&mut self, wish: Wish) -> Result<&mut Self, Failure> {
            self.setting = self.setting.changed(wish, &self.moment())?;
            Ok(self)
        }

        fn preset(&mut self, preset: Preset) -> &mut Self {
            self.wish(Wish { preset: Some(preset), ..Wish::default() }).expect("a preset")
        }

        fn shows(&self) -> (f64, Preset) {
            (self.setting.target, self.setting.preset)
        }
    }

    #[test]
    fn auto_takes_what_is_in_force_and_a_hand_holds_until_the_next_point() {
        let mut home = Home::new(Mode::Auto);
        assert_eq!(home.shows(), (18.0, Preset::Eco));
        assert_eq!(home.at(6 * 60).shows(), (21.0, Preset::Comfort));
        home.wish(Wish { target: Some(23.5), ..Wish::default() }).expect("a target");
        assert_eq!(home.at(21 * 60).shows(), (23.5, Preset::None));
        assert_eq!(home.at(22 * 60).shows(), (18.0, Preset::Eco));
    }

    #[test]
    fn preset_none_gives_a_hold_up() {
        let mut home = Home::new(Mode::Auto);
        home.at(7 * 60).preset(Preset::Away);
        assert_eq!(home.at(30 * 60).shows(), (12.0, Preset::Away), "away outlasts the schedule");
        assert_eq!(home.preset(Preset::None).shows(), (21.0, Preset::Comfort));
    }

    #[test]
    fn a_boost_ends_where_it_began_or_where_the_schedule_went() {
        let mut home = Home::new(Mode::Auto);
        assert_eq!(home.preset(Preset::Boost).shows(), (24.0, Preset::Boost));
        assert_eq!(home.at(5 * 60 + 59).shows(), (24.0, Preset::Boost));
        assert_eq!(home.at(6 * 60).shows(), (21.0, Preset::Comfort));
        let mut home = Home::new(Mode::Heat);
        home.preset(Preset::Boost).at(5 * 60 + 30).preset(Preset::Boost);
        assert_eq!(home.at(6 * 60 + 29).shows(), (24.0, Preset::Boost), "boosted again");
        assert_eq!(home.at(6 * 60 + 30).shows(), (19.0, Preset::None));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut home = Home::new(Mode::Off);
        let boost = Wish { preset: Some(Preset::Boost), ..Wish::default() };
        assert!(home.wish(boost).is_err());
        let both = Wish { target: Some(20.0), preset: Some(Preset::Eco), mode: None };
        assert!(home.wish(both).is_err());
        assert_eq!(home.shows(), (19.0, Preset::None));
    }

    #[test]
    fn a_boost_does_not_outlast_a_reboot_by_more_than_its_duration() {
        let mut home = Home::new(Mode::Heat);
        home.at(1000).preset(Preset::Boost);
        let saved = serde_json::to_vec(&home.setting).expect("a setting");
        home.minutes = 1;
        home.setting = Setting::restored(Some(&saved), 20.0, &home.moment());
        assert_eq!(home.at(60).shows(), (24.0, Preset::Boost));
        assert_eq!(home.at(61).shows(), (19.0, Preset::None));
    }

    #[test]
    fn a_state_of_an_earlier_version_is_read() {
        let home = Home::new(Mode::Off);
        let saved = br#"{"target":21.5,"mode":"heat","handled":null}"#;
        let setting = Setting::restored(Some(saved), 20.0, &home.moment());
        assert_eq!((setting.target, setting.mode), (21.5, Mode::Heat));
    }
}
