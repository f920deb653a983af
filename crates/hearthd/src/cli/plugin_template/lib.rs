//! The `my-lamp` plugin of hearthd.

use std::time::Duration;

use hearth_sdk::{Answer, Changes, Context, Device, Failure, Property};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// After how many seconds the lamp switches off by itself; never, where this is not there.
    off_after: Option<u32>,
}

pub struct Lamp {
    config: Config,
    context: Context,
}

impl Device for Lamp {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch("power")]
    }

    fn create(config: Config, context: Context, _saved: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("power", false);
        Ok(Self { config, context })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(on) = changes.switch("power") {
            // Switch the real lamp here; with `?` any error becomes the answer.
            tracing::debug!(on, "switched");
            self.context.publish("power", on);
            if let (true, Some(seconds)) = (on, self.config.off_after) {
                self.context.set_timer(0, Duration::from_secs(seconds.into()));
            }
        }
        Ok(Answer::Done)
    }

    fn timer(&mut self, _id: u32) {
        self.context.publish("power", false);
    }
}

hearth_sdk::export!(Lamp);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hearth_sdk::harness::Bench;
    use serde_json::json;

    use super::Lamp;

    #[test]
    fn it_switches_off_by_itself() {
        let mut bench = Bench::<Lamp>::new(json!({"off_after": 60}));
        assert!(bench.set("power", "ON").is_done());
        assert_eq!(bench.published("power").as_deref(), Some("ON"));
        bench.advance(Duration::from_secs(60));
        assert_eq!(bench.published("power").as_deref(), Some("OFF"));
    }

    #[test]
    fn a_wrong_key_is_named() {
        let problems = Bench::<Lamp>::problems(&json!({"off_aftre": 60}));
        assert_eq!(problems[0].path, "off_aftre");
    }
}
