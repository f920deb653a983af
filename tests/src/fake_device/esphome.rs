//! A node of ESPHome with one light.

use serde_json::{Value as Json, json};

use super::{Asked, Firmware, Lamp, Outcome, Said, switched, word};

/// A node with the light `ceiling`.
#[derive(Debug)]
pub struct Esphome {
    /// `topic_prefix`.
    pub node: &'static str,
}

impl Firmware for Esphome {
    fn filters(&self) -> Vec<String> {
        vec![self.topic("command")]
    }

    fn presence(&self) -> (String, &'static str, &'static str) {
        (format!("{}/status", self.node), "online", "offline")
    }

    fn read(&self, lamp: &Lamp, _topic: &str, payload: &[u8]) -> Option<Asked> {
        let json: Json = serde_json::from_slice(payload).ok()?;
        let mut wanted = *lamp;
        if let Some(state) = json.get("state").and_then(Json::as_str) {
            wanted = switched(lamp, state)?;
        }
        // A number that is not whole is ignored, and nobody is told.
        if let Some(level) = json.get("brightness").and_then(Json::as_u64) {
            wanted.brightness = level.min(255) as f64 / 255.0;
        }
        if let Some(mireds) = json.get("color_temp").and_then(Json::as_u64) {
            wanted.mireds = u16::try_from(mireds).unwrap_or(wanted.mireds);
        }
        Some(Asked { wanted: Some(wanted), of: Json::Null })
    }

    fn answer(&self, _asked: &Asked, outcome: &Outcome) -> Vec<Said> {
        // After every command, also where nothing has changed.
        self.state(&outcome.shown)
    }

    fn state(&self, lamp: &Lamp) -> Vec<Said> {
        let state = json!({
            "effect": "None", "color_mode": "color_temp", "state": word(lamp.on),
            "brightness": (lamp.brightness * 255.0).round() as u64, "color_temp": lamp.mireds,
            "color": {},
        });
        vec![Said { retain: true, ..Said::json(self.topic("state"), &state) }]
    }
}

impl Esphome {
    fn topic(&self, what: &str) -> String {
        format!("{}/light/ceiling/{what}", self.node)
    }
}
