//! A lamp with Tasmota: a relay, a dimmer and a color temperature.

use serde_json::{Map, Value as Json, json};

use super::{Asked, Firmware, Lamp, Outcome, Said, switched, word};

/// Tasmota with `FullTopic %prefix%/%topic%/`, which is the default.
#[derive(Debug)]
pub struct Tasmota {
    /// `Topic`.
    pub topic: &'static str,
    /// Whether it is a build with MQTT 5, which answers on the Response Topic as well.
    pub mqtt_5: bool,
}

impl Firmware for Tasmota {
    fn replies(&self) -> bool {
        self.mqtt_5
    }

    fn filters(&self) -> Vec<String> {
        vec![format!("cmnd/{}/#", self.topic), "cmnd/tasmotas/#".to_owned()]
    }

    fn presence(&self) -> (String, &'static str, &'static str) {
        (format!("tele/{}/LWT", self.topic), "Online", "Offline")
    }

    fn read(&self, lamp: &Lamp, topic: &str, payload: &[u8]) -> Option<Asked> {
        let command = topic.strip_prefix(&format!("cmnd/{}/", self.topic))?.to_uppercase();
        let payload = std::str::from_utf8(payload).ok()?.trim();
        let is_known = ["POWER", "POWER1", "DIMMER", "CT"].contains(&command.as_str());
        let of = Json::from(command.clone());
        if payload.is_empty() || !is_known {
            return Some(Asked { wanted: None, of });
        }
        let number: Option<f64> = payload.parse().ok();
        let wanted = match command.as_str() {
            "DIMMER" => number.filter(|n| (0.0..=100.0).contains(n)).map(|percent| {
                // A dimmer at 0 is off, and keeps its level.
                let on = percent > 0.0;
                Lamp { on, brightness: if on { percent / 100.0 } else { lamp.brightness }, ..*lamp }
            }),
            "CT" => number.filter(|n| (153.0..=500.0).contains(n)).map(|mireds| Lamp {
                on: true,
                mireds: mireds as u16,
                ..*lamp
            }),
            _ => switched(lamp, payload),
        };
        Some(Asked { wanted, of })
    }

    fn answer(&self, asked: &Asked, outcome: &Outcome) -> Vec<Said> {
        let command = asked.of.as_str().unwrap_or_default();
        let Lamp { on, brightness, mireds } = outcome.shown;
        let mut result = Map::new();
        result.insert("POWER".to_owned(), json!(word(on)));
        match command {
            "POWER" | "POWER1" => {}
            "DIMMER" => {
                result.insert("Dimmer".to_owned(), json!((brightness * 100.0).round() as u64));
            }
            "CT" => {
                result.insert("CT".to_owned(), json!(mireds));
            }
            _ => result = Map::from_iter([("Command".to_owned(), json!("Unknown"))]),
        }
        let mut said = vec![Said::json(self.stat("RESULT"), &Json::Object(result))];
        if command.starts_with("POWER") {
            said.push(Said::new(self.stat("POWER"), word(on)));
        }
        said
    }

    fn state(&self, lamp: &Lamp) -> Vec<Said> {
        let power = word(lamp.on);
        vec![
            Said::json(self.stat("RESULT"), &json!({ "POWER": power })),
            Said::new(self.stat("POWER"), power),
        ]
    }
}

impl Tasmota {
    fn stat(&self, name: &str) -> String {
        format!("stat/{}/{name}", self.topic)
    }
}
