//! A Shelly of the second or a later generation: RPC over MQTT.

use serde_json::{Value as Json, json};

use super::{Asked, Firmware, Lamp, Outcome, Said};

/// A Shelly with one relay, or with one dimmer.
#[derive(Debug)]
pub struct Shelly {
    /// `MQTT prefix`.
    pub prefix: &'static str,
    /// Whether it dims.
    pub dims: bool,
}

impl Firmware for Shelly {
    fn filters(&self) -> Vec<String> {
        vec![format!("{}/rpc", self.prefix)]
    }

    fn presence(&self) -> (String, &'static str, &'static str) {
        (format!("{}/online", self.prefix), "true", "false")
    }

    fn read(&self, lamp: &Lamp, _topic: &str, payload: &[u8]) -> Option<Asked> {
        let frame: Json = serde_json::from_slice(payload).ok()?;
        // A frame without a source gets no answer.
        frame.get("src")?.as_str()?;
        let params = frame.get("params").cloned().unwrap_or_default();
        let sets = frame.get("method").and_then(Json::as_str) == Some(&*self.method("Set"));
        let wanted = sets.then(|| Lamp {
            on: params.get("on").and_then(Json::as_bool).unwrap_or(lamp.on),
            brightness: params
                .get("brightness")
                .and_then(Json::as_f64)
                .filter(|_| self.dims)
                .map_or(lamp.brightness, |percent| percent / 100.0),
            ..*lamp
        });
        Some(Asked { wanted, of: frame })
    }

    fn answer(&self, asked: &Asked, outcome: &Outcome) -> Vec<Said> {
        let frame = &asked.of;
        let to = frame.get("src").and_then(Json::as_str).unwrap_or_default();
        let method = frame.get("method").and_then(Json::as_str).unwrap_or_default();
        let mut answer = json!({ "id": frame.get("id"), "src": self.prefix, "dst": to });
        if outcome.refused {
            let message = format!("{}: overtemperature", self.component());
            answer["error"] = json!({ "code": -109, "message": message });
        } else if method == self.method("Set") {
            // A light says nothing of what it was.
            let was = json!({ "was_on": outcome.before.on });
            answer["result"] = if self.dims { Json::Null } else { was };
        } else if method == self.method("GetStatus") {
            answer["result"] = self.status(&outcome.shown);
        } else {
            answer["error"] = json!({ "code": 404, "message": format!("No handler for {method}") });
        }
        let mut said = vec![Said::json(format!("{to}/rpc"), &answer)];
        if outcome.before != outcome.shown {
            said.extend(self.state(&outcome.shown));
        }
        said
    }

    fn state(&self, lamp: &Lamp) -> Vec<Said> {
        vec![Said::json(format!("{}/status/{}", self.prefix, self.component()), &self.status(lamp))]
    }

    fn takes_back(&self) -> bool {
        // It tells nobody: whoever wants to know has to ask.
        false
    }
}

impl Shelly {
    fn component(&self) -> &'static str {
        if self.dims { "light:0" } else { "switch:0" }
    }

    fn method(&self, what: &str) -> String {
        format!("{}.{what}", if self.dims { "Light" } else { "Switch" })
    }

    fn status(&self, lamp: &Lamp) -> Json {
        let mut status = json!({ "id": 0, "source": "MQTT", "output": lamp.on });
        if self.dims {
            status["brightness"] = json!((lamp.brightness * 100.0).round() as u64);
        } else {
            status["temperature"] = json!({ "tC": 41.3, "tF": 106.3 });
        }
        status
    }
}
