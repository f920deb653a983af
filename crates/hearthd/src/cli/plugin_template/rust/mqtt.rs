//! The `my-lamp` plugin of hearthd: a lamp with MQTT topics of its own, such as one behind a Zigbee bridge.

use hearthd_sdk::mqtt::{Message, Publication, PublishError, QoS, Topics};
use hearthd_sdk::{Answer, Changes, Context, Deferred, Device, Failure, Property};

/// The table `[devices.ID.config]`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the lamp says `ON` or `OFF`; it takes commands on the level `set` below.
    topic: String,
}

pub struct Lamp {
    config: Config,
    context: Context,
    /// The request that waits for the lamp, and what it asks for.
    waiting: Option<(Deferred, bool)>,
}

/// Named once, so that the compiler finds a typo.
const POWER: &str = "power";

impl Device for Lamp {
    const KIND: &'static str = "my-lamp";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch(POWER)]
    }

    fn topics(config: &Config) -> Topics {
        Topics::none().subscribe(&config.topic).publish(format!("{}/set", config.topic))
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        context.unreachable("there is no connection to the broker");
        Ok(Self { config, context, waiting: None })
    }

    /// Tells the lamp; the answer follows when the lamp says that it is so.
    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        let Some(on) = changes.switch(POWER) else { return Ok(Answer::Done) };
        let request = self.context.defer();
        let topic = format!("{}/set", self.config.topic);
        let command = Publication::new(topic, if on { "ON" } else { "OFF" });
        self.context.send(&command.qos(QoS::AtLeastOnce).belonging_to(&request))?;
        self.waiting = Some((request, on));
        Ok(Answer::Later)
    }

    fn message(&mut self, message: &Message) {
        let on = message.payload == b"ON";
        self.context.publish(POWER, on);
        // What the broker had stored is how things were, and confirms nothing.
        let confirmed = self.waiting.take_if(|(_, wanted)| !message.retained && *wanted == on);
        if let Some((request, _)) = confirmed {
            request.done();
        }
    }

    fn outcome(&mut self, _token: u64, result: Result<&[u8], PublishError>) {
        if let (Err(error), Some((request, _))) =
            (result, self.waiting.take_if(|_| result.is_err()))
        {
            request.fail(&error.into());
        }
    }

    fn link(&mut self, up: bool) {
        if up {
            self.context.reachable();
        } else {
            self.context.unreachable("there is no connection to the broker");
        }
    }
}

hearthd_sdk::export!(Lamp);

#[cfg(test)]
mod tests {
    use hearthd_sdk::harness::{Reply, TestDevice};
    use serde_json::json;

    use super::Lamp;

    #[test]
    fn a_request_is_answered_once_the_lamp_has_confirmed() {
        let mut device = TestDevice::<Lamp>::new(json!({"topic": "bulbs/1"}));
        device.set_link(true);
        assert_eq!(device.set("power", "ON"), Reply::Pending);
        let sent = device.take_sent();
        assert_eq!((sent[0].topic.as_str(), sent[0].payload.as_str()), ("bulbs/1/set", "ON"));
        device.receive("bulbs/1", "ON", true);
        assert_eq!(device.reply(), Reply::Pending, "that is stored, and perhaps old");
        device.receive("bulbs/1", "ON", false);
        assert!(device.reply().is_done());
        assert_eq!(device.published("power").as_deref(), Some("ON"));
    }

    #[test]
    fn without_a_connection_it_is_unreachable() {
        let mut device = TestDevice::<Lamp>::new(json!({"topic": "bulbs/1"}));
        assert!(device.unreachable().is_some());
        assert!(matches!(device.set("power", "ON"), Reply::Failed(_)));
        device.set_link(true);
        assert_eq!(device.unreachable(), None);
    }

    #[test]
    fn a_wrong_key_is_named() {
        let problems = TestDevice::<Lamp>::problems(&json!({"topic": "a", "topics": "b"}));
        assert_eq!(problems[0].path, "topics");
    }
}
