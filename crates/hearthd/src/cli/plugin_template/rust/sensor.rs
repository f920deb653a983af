//! The `my-lamp` plugin of hearthd: a number that the system has in a file, such as a thermometer of Linux.

use std::path::PathBuf;
use std::time::Duration;

use hearthd_sdk::{Answer, Changes, Context, Device, Failure, Property};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the temperature is, in thousandths of a degree.
    file: PathBuf,
    /// Seconds between two readings.
    #[serde(default = "half_a_minute")]
    every: u32,
}

pub struct Sensor {
    config: Config,
    context: Context,
}

/// Named once, so that the compiler finds a typo.
const TEMPERATURE: &str = "temperature";
const READ: u32 = 0;

impl Device for Sensor {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::number(TEMPERATURE).unit("°C").read_only()]
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        let mut sensor = Self { config, context };
        sensor.timer(READ);
        Ok(sensor)
    }

    // Nothing can be set: the hub has refused it already.
    fn set(&mut self, _: &Changes) -> Result<Answer, Failure> {
        Ok(Answer::Done)
    }

    fn timer(&mut self, _id: u32) {
        match self.read() {
            Ok(celsius) => {
                self.context.publish(TEMPERATURE, celsius);
                self.context.reachable();
            }
            Err(reason) => self.context.unreachable(reason),
        }
        self.context.set_timer(READ, Duration::from_secs(self.config.every.into()));
    }
}

impl Sensor {
    fn read(&self) -> Result<f64, String> {
        let file = &self.config.file;
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let thousandths: f64 = text
            .trim()
            .parse()
            .map_err(|_| format!("{}: `{}` is no number", file.display(), text.trim()))?;
        Ok(thousandths / 1000.0)
    }
}

fn half_a_minute() -> u32 {
    30
}

hearthd_sdk::export!(Sensor);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hearthd_sdk::harness::TestDevice;
    use serde_json::json;

    use super::Sensor;

    #[test]
    fn it_reads_again_and_says_what_it_cannot_read() {
        let file = std::env::temp_dir().join(format!("my-lamp-{}", std::process::id()));
        std::fs::write(&file, "21500\n").unwrap();
        let mut device = TestDevice::<Sensor>::new(json!({"file": file, "every": 10}));
        assert_eq!(device.published("temperature").as_deref(), Some("21.5"));
        std::fs::write(&file, "nonsense").unwrap();
        device.advance(Duration::from_secs(10));
        assert!(device.unreachable().unwrap().contains("`nonsense` is no number"));
        std::fs::write(&file, "22000").unwrap();
        device.advance(Duration::from_secs(10));
        assert_eq!(device.unreachable(), None);
        assert_eq!(device.published("temperature").as_deref(), Some("22"));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_wrong_key_is_named() {
        let problems = TestDevice::<Sensor>::problems(&json!({"file": "/x", "evry": 60}));
        assert_eq!(problems[0].path, "evry");
    }
}
