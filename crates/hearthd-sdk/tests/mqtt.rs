//! A device that uses MQTT topics of its own, through the real tables.

use std::time::Duration;

use hearthd_sdk::harness::{Reply, TestDevice};
use hearthd_sdk::mqtt::{Message, Publication, PublishError, QoS, Topics};
use hearthd_sdk::{Answer, Changes, Context, Deferred, Device, Failure, Property};
use serde::Deserialize;
use serde_json::json;

/// A plug with a command topic and a state topic.
struct Plug {
    context: Context,
    topic: String,
    waiting: Option<Deferred>,
}

#[derive(Deserialize)]
struct Config {
    topic: String,
}

impl Device for Plug {
    const KIND: &'static str = "plug";
    type Config = Config;

    fn properties(_: &Config) -> Vec<Property> {
        vec![Property::switch("power"), Property::text("note"), Property::text("link").read_only()]
    }

    fn topics(config: &Config) -> Topics {
        let topic = &config.topic;
        Topics::none().subscribe(topic).publish(format!("{topic}/set")).share("bridge/ask")
    }

    fn create(config: Config, context: Context, _: Option<&[u8]>) -> Result<Self, Failure> {
        context.publish("link", "none");
        Ok(Self { context, topic: config.topic, waiting: None })
    }

    fn set(&mut self, changes: &Changes) -> Result<Answer, Failure> {
        if let Some(note) = changes.text("note") {
            let ask = Publication::new("bridge/ask", note).token(7).expect_reply();
            self.context.send(&ask.expiry(Duration::from_secs(3)))?;
            return Ok(Answer::Done);
        }
        let request = self.context.defer();
        let wanted = if changes.switch("power") == Some(true) { "ON" } else { "OFF" };
        let set = Publication::new(format!("{}/set", self.topic), wanted);
        let set = set.belonging_to(&request).qos(QoS::AtLeastOnce).retained();
        self.context.send(&set)?;
        self.waiting = Some(request);
        Ok(Answer::Later)
    }

    fn message(&mut self, message: &Message) {
        self.context.publish("power", message.payload == b"ON");
        if !message.retained
            && let Some(request) = self.waiting.take()
        {
            request.done();
        }
    }

    fn outcome(&mut self, token: u64, result: Result<&[u8], PublishError>) {
        let note = match result {
            Ok(reply) => String::from_utf8_lossy(reply).into_owned(),
            Err(error) => error.to_string(),
        };
        self.context.publish("note", format!("{token}: {note}"));
    }

    fn link(&mut self, up: bool) {
        self.context.publish("link", if up { "up" } else { "down" });
    }
}

fn plug() -> TestDevice<Plug> {
    TestDevice::new(json!({"topic": "z/plug"}))
}

#[test]
fn a_request_is_answered_once_the_device_behind_the_topic_has_said_so() {
    let mut plug = plug();
    plug.set_link(true);
    assert_eq!(plug.published("link").as_deref(), Some("up"));
    assert_eq!(plug.set("power", "ON"), Reply::Pending);
    let sent = plug.take_sent();
    let [set] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((set.topic.as_str(), set.payload.as_str()), ("z/plug/set", "ON"));
    assert_eq!(
        (set.qos, set.retain, set.reply, set.belongs),
        (QoS::AtLeastOnce, true, false, true)
    );
    plug.receive("z/plug", "OFF", true);
    assert_eq!(plug.reply(), Reply::Pending, "what the broker has stored proves nothing");
    plug.receive("z/plug", "ON", false);
    assert_eq!(plug.reply(), Reply::Done);
    assert_eq!(plug.published("power").as_deref(), Some("ON"));
}

#[test]
fn without_a_connection_the_device_hears_at_once_that_nothing_is_sent() {
    let mut plug = plug();
    let gone = Failure::failed("there is no connection to the broker");
    assert_eq!(plug.set("power", "ON"), Reply::Failed(gone.clone()));
    plug.set_link(true);
    plug.set_link(false);
    assert_eq!(plug.set("power", "ON"), Reply::Failed(gone));
    assert_eq!(plug.take_sent(), []);
}

#[test]
fn a_reply_comes_with_the_devices_own_number() {
    let mut plug = plug();
    plug.set_link(true);
    plug.set("note", "who?");
    let sent = plug.take_sent();
    assert_eq!((sent[0].token, sent[0].reply, sent[0].belongs), (7, true, false));
    assert_eq!(sent[0].expiry, Duration::from_secs(3));
    plug.give_outcome(7, Ok("me"));
    assert_eq!(plug.published("note").as_deref(), Some("7: me"));
    for (error, text) in [
        (PublishError::Gone, "7: there is no connection to the broker"),
        (PublishError::Busy, "7: too many messages of the device wait"),
        (PublishError::Refused, "7: the device may not publish there"),
        (PublishError::TooLarge, "7: the message is too large"),
        (PublishError::Late, "7: the message, or the reply to it, is too late"),
    ] {
        plug.give_outcome(7, Err(error));
        assert_eq!(plug.published("note").as_deref(), Some(text));
    }
}

#[test]
#[should_panic(expected = "the device does not listen to z/plug/set")]
fn the_harness_delivers_nothing_that_the_device_does_not_listen_to() {
    plug().receive("z/plug/set", "ON", false);
}
