//! The bridge: a device that stands for another one, with a topic for its state and one for commands.
//!
//! A request is answered once the other device has said on its state topic that it has done it. What the bridge hears
//! beside that can be read from its properties.

use hearthd_sdk::{
    Answer, Changes, Context, Deferred, Device, Failure, Property,
    mqtt::{Message, Publication, PublishError, QoS, Topics},
};
use serde::Deserialize;

hearthd_sdk::export!(Bridge);

/// A bridge.
#[derive(Debug)]
pub struct Bridge {
    context: Context,
    topic: String,
    /// The request that waits for the other device, and what it wants.
    waiting: Option<(Deferred, bool)>,
    /// The request that waits for a reply.
    asking: Option<Deferred>,
    heard: i64,
}

/// The `config` table of a bridge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The state topic; commands go to the level `set` below it, and questions to `ask`.
    topic: String,
}

impl Device for Bridge {
    const KIND: &'static str = "bridge";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![
            Property::switch("power"),
            Property::text("ask"),
            Property::text("stray"),
            Property::text("link").read_only(),
            Property::text("last").read_only(),
            Property::integer("heard").read_only(),
        ]
    }

    fn topics(Config { topic }: &Config) -> Topics {
        Topics::none()
            .subscribe(topic)
            .publish(format!("{topic}/set"))
            .share(format!("{topic}/ask"))
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("link", "none");
        Ok(Self { context, topic: config.topic, waiting: None, asking: None, heard: 0 })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(topic) = changes.text("stray") {
            self.context.send(&Publication::new(topic, "astray"))?;
        }
        if let Some(question) = changes.text("ask") {
            let request = self.context.defer();
            let ask = Publication::new(format!("{}/ask", self.topic), question).token(ASKED);
            self.context.send(&ask.belonging_to(&request).expect_reply())?;
            self.asking = Some(request);
            return Ok(Answer::Later);
        }
        let Some(on) = changes.switch("power") else { return Ok(Answer::Done) };
        let request = self.context.defer();
        let set = Publication::new(format!("{}/set", self.topic), if on { "ON" } else { "OFF" });
        self.context.send(&set.token(SET).belonging_to(&request).qos(QoS::AtLeastOnce))?;
        self.waiting = Some((request, on));
        Ok(Answer::Later)
    }

    fn message(&mut self, message: &Message) {
        let text = String::from_utf8_lossy(&message.payload);
        let kind = if message.retained { "retained" } else { "live" };
        self.heard += 1;
        self.context.publish("heard", self.heard);
        self.context.publish("last", format!("{kind} {text}"));
        let on = text == "ON";
        self.context.publish("power", on);
        if let Some((request, _)) =
            self.waiting.take_if(|(_, wanted)| !message.retained && *wanted == on)
        {
            request.done();
        }
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        let waiting = if token == ASKED {
            self.asking.take()
        } else if result.is_err() {
            self.waiting.take().map(|(request, _)| request)
        } else {
            None
        };
        let Some(request) = waiting else { return };
        match result {
            Ok(reply) => {
                self.context.publish("ask", String::from_utf8_lossy(reply).into_owned());
                request.done();
            }
            Err(error) => request.fail(&error.into()),
        }
    }

    fn link(&mut self, up: bool) {
        self.context.publish("link", if up { "up" } else { "down" });
    }
}

const SET: u64 = 1;
const ASKED: u64 = 2;
