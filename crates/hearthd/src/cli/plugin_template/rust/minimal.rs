//! The `my-lamp` plugin of hearthd.

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Property, Span};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lamp switches off after this time; never, if this is left out.
    off_after: Option<Span>,
}

pub struct Lamp {
    config: Config,
    context: Context,
    on: bool,
}

/// Named once, so that the compiler finds a typo.
const POWER: &str = "power";

impl Device for Lamp {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch(POWER)]
    }

    fn create(config: Config, context: Context, saved: Option<&[u8]>) -> Result<Self, Failure> {
        let mut lamp = Self { config, context, on: false };
        lamp.switch(saved == Some(b"on"))?;
        Ok(lamp)
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(on) = changes.switch(POWER) {
            self.switch(on)?;
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _id: u32) {
        if let Err(error) = self.switch(false) {
            tracing::warn!(%error, "the lamp stays on");
        }
    }

    // The hub stores this before it answers, and `create` gets it after a restart.
    fn save(&self) -> Option<Vec<u8>> {
        Some(if self.on { b"on".to_vec() } else { b"off".to_vec() })
    }
}

impl Lamp {
    fn switch(&mut self, on: bool) -> Result<(), Failure> {
        // Switch the real lamp here; with `?` any error becomes the answer.
        tracing::debug!(on, "switched");
        self.on = on;
        self.context.publish(POWER, on);
        if let (true, Some(after)) = (on, self.config.off_after) {
            self.context.set_timer(0, after.0);
        }
        Ok(())
    }
}

hearthd_sdk::export!(Lamp);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hearthd_sdk::harness::TestDevice;
    use serde_json::json;

    use super::Lamp;

    #[test]
    fn it_switches_off_by_itself() {
        let mut device = TestDevice::<Lamp>::new(json!({"off_after": "1m"}));
        assert!(device.set("power", "ON").is_done());
        assert_eq!(device.published("power").as_deref(), Some("ON"));
        device.advance(Duration::from_secs(60));
        assert_eq!(device.published("power").as_deref(), Some("OFF"));
    }

    #[test]
    fn it_is_as_it_was_after_a_restart() {
        let mut device = TestDevice::<Lamp>::new(json!({}));
        for state in ["ON", "OFF"] {
            assert!(device.set("power", state).is_done());
            device.restart();
            assert_eq!(device.published("power").as_deref(), Some(state));
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let problems = TestDevice::<Lamp>::problems(&json!({"off_aftre": 60}));
        assert_eq!(problems[0].path, "off_aftre");
    }
}
