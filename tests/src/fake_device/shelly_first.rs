//! A Shelly of the first generation: a relay, or a lamp.

use serde_json::{Value as Json, json};

use super::{Asked, Firmware, Lamp, Outcome, Said, switched};

/// A Shelly 1, or a Shelly Bulb.
#[derive(Debug)]
pub struct ShellyFirst {
    /// The device's ID: what follows `shellies/`.
    pub id: &'static str,
    /// Whether it is a lamp.
    pub dims: bool,
}

impl Firmware for ShellyFirst {
    fn filters(&self) -> Vec<String> {
        let id = self.id;
        let own = if self.dims { self.topic("/set") } else { self.topic("/command") };
        vec![own, format!("shellies/{id}/command"), "shellies/command".to_owned()]
    }

    fn presence(&self) -> (String, &'static str, &'static str) {
        (format!("shellies/{}/online", self.id), "true", "false")
    }

    fn read(&self, lamp: &Lamp, topic: &str, payload: &[u8]) -> Option<Asked> {
        let text = std::str::from_utf8(payload).ok()?;
        if topic == self.topic("/command") {
            return Some(Asked { wanted: Some(switched(lamp, text)?), of: Json::Null });
        }
        if topic != self.topic("/set") {
            return (text == "update").then_some(Asked { wanted: None, of: Json::Null });
        }
        let json: Json = serde_json::from_str(text).ok()?;
        let mut wanted = *lamp;
        if let Some(turn) = json.get("turn").and_then(Json::as_str) {
            wanted = switched(lamp, turn)?;
        }
        if let Some(percent) = json.get("brightness").and_then(Json::as_f64) {
            wanted.brightness = percent / 100.0;
        }
        if let Some(kelvin) = json.get("temp").and_then(Json::as_f64) {
            wanted.mireds = (1e6 / kelvin).round() as u16;
        }
        Some(Asked { wanted: Some(wanted), of: Json::Null })
    }

    fn answer(&self, _asked: &Asked, outcome: &Outcome) -> Vec<Said> {
        self.state(&outcome.shown)
    }

    fn state(&self, lamp: &Lamp) -> Vec<Said> {
        let plain = Said::new(self.topic(""), if lamp.on { "on" } else { "off" });
        if !self.dims {
            return vec![plain];
        }
        let status = json!({
            "ison": lamp.on, "source": "mqtt", "has_timer": false, "mode": "white",
            "brightness": (lamp.brightness * 100.0).round() as u64,
            "temp": (1e6 / f64::from(lamp.mireds)).round() as u64, "transition": 0,
        });
        vec![plain, Said::json(self.topic("/status"), &status)]
    }
}

impl ShellyFirst {
    fn topic(&self, rest: &str) -> String {
        let kind = if self.dims { "light" } else { "relay" };
        format!("shellies/{}/{kind}/0{rest}", self.id)
    }
}
