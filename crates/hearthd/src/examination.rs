//! Finds out what a broker really does, by doing what the hub will do, under names of its own.
//!
//! No topic that a running hub or a device uses is written to, and nothing stays behind.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hearth_core::{
    Connack, Message, QoS, Will,
    topic::{Prefix, Template},
};
use tokio::time::Instant;

use crate::{
    config::{Broker, Config},
    driver::random_bytes,
    link::ConnectOptions,
    visit::{self, Visit, VisitError},
};

/// One thing that was found out.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it means for the hub.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, and where it is not good what to do.
    pub text: String,
}

/// What a finding means for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the hub wants it.
    Good,
    /// The hub works, with less.
    Less,
    /// The hub does not work so.
    Bad,
}

/// Examines the broker of a configuration, and tells each finding as soon as it is there.
///
/// Each step may take as long as `timeout`.
///
/// # Errors
/// Where there is no connection, or not any more.
pub async fn examine(
    config: &Config,
    timeout: Duration,
    tell: &mut dyn FnMut(Finding),
) -> Result<(), VisitError> {
    let (verdict, text) = clock(SystemTime::now());
    tell(Finding { verdict, subject: "clock", text });
    // A session that a broken examination leaves behind goes soon.
    let broker = Broker { session_expiry: SESSION_EXPIRY, ..config.broker.clone() };
    let id = visit::client_id(config, "doctor");
    let mut examination = Examination { config, broker, id, timeout, prefix: None, tell };
    let begin = Instant::now();
    let (mut observer, connack) = examination.connect("", false, None).await?;
    examination.connection(begin.elapsed(), &connack);
    if !examination.response_information(&connack) {
        observer.end().await;
        return Ok(());
    }
    examination.permissions(&mut observer).await?;
    examination.round_trip(&mut observer).await?;
    examination.retained(&mut observer).await?;
    examination.session(&mut observer).await?;
    examination.will(&mut observer).await?;
    observer.end().await;
    Ok(())
}

struct Examination<'e> {
    config: &'e Config,
    broker: Broker,
    id: String,
    timeout: Duration,
    prefix: Option<Prefix>,
    tell: &'e mut dyn FnMut(Finding),
}

impl Examination<'_> {
    fn tell(&mut self, verdict: Verdict, subject: &'static str, text: impl Into<String>) {
        (self.tell)(Finding { verdict, subject, text: text.into() });
    }

    async fn connect(
        &self,
        suffix: &str,
        keep_session: bool,
        will: Option<&Will>,
    ) -> Result<(Visit, Connack), VisitError> {
        let client_id = format!("{}{suffix}", self.id);
        let options =
            ConnectOptions { broker: &self.broker, client_id: &client_id, keep_session, will };
        Visit::begin(&options, self.timeout).await
    }

    fn topic(&self, template: &Template, values: &[(&str, &str)]) -> String {
        template.build(self.prefix.as_ref(), values)
    }

    fn response_topic(&self, purpose: &str) -> String {
        let values = [("client_id", self.id.as_str()), ("purpose", purpose)];
        self.topic(&self.config.topics.response, &values)
    }

    fn connection(&mut self, took: Duration, connack: &Connack) {
        let Broker { host, port, tls, username, .. } = &self.broker;
        let how = if tls.is_some() { "MQTT 5 over TLS" } else { "MQTT 5" };
        let who = username.as_deref().unwrap_or("nobody");
        let text = format!("{how} at {host}:{port} as {who}, after {} ms", took.as_millis());
        self.tell(Verdict::Good, "connection", text);
        let size = match connack.maximum_packet_size {
            Some(size) => format!("packets of up to {size} bytes"),
            None => "packets of any size".into(),
        };
        let verdict = match connack.maximum_packet_size {
            Some(size) if size < SMALL_PACKET => Verdict::Less,
            Some(_) | None => Verdict::Good,
        };
        let text = format!("{} messages in flight, {size}", connack.receive_maximum);
        self.tell(verdict, "limits", text);
    }

    /// Finds the prefix; returns whether there is one, or may be none.
    fn response_information(&mut self, connack: &Connack) -> bool {
        let Some(information) = connack.response_information.as_deref() else {
            return self.no_response_information();
        };
        match Prefix::parse(information) {
            Ok(prefix) => {
                let text = format!("`{information}`: topics begin with `{prefix}/`");
                self.tell(Verdict::Good, RESPONSE_INFORMATION, text);
                self.prefix = Some(prefix);
                true
            }
            Err(error) => {
                self.tell(Verdict::Bad, RESPONSE_INFORMATION, format!("`{information}`: {error}"));
                false
            }
        }
    }

    fn no_response_information(&mut self) -> bool {
        let config = &self.config.response_information;
        self.prefix.clone_from(&config.fallback);
        let (verdict, text) = match &config.fallback {
            _ if config.required => {
                (Verdict::Bad, "none, and the configuration has `required = true`".into())
            }
            Some(fallback) => {
                (Verdict::Less, format!("none; topics begin with the fallback `{fallback}/`"))
            }
            None => (Verdict::Less, "none, and no fallback: topics have no prefix".into()),
        };
        self.tell(verdict, RESPONSE_INFORMATION, text);
        verdict != Verdict::Bad
    }

    /// Tries what the account may do on the topics of the hub.
    async fn permissions(&mut self, observer: &mut Visit) -> Result<(), VisitError> {
        let topics = &self.config.topics;
        let requests = self.topic(&topics.request, &[("device", "+"), ("property", "+")]);
        observer.extend(self.timeout);
        let code = observer.subscribe(&requests, false).await?;
        self.permission("requests", "subscribe to", &requests, code);
        let hub = [("client_id", self.id.as_str())];
        let topics = [
            ("states", self.topic(&topics.state, &[("device", &self.id), ("property", "doctor")])),
            ("presence", self.topic(&topics.presence, &hub)),
            ("absence", self.topic(&topics.absence, &hub)),
        ];
        for (subject, topic) in topics {
            let message = Message { topic, qos: QoS::AtLeastOnce, ..Message::default() };
            observer.extend(self.timeout);
            let code = observer.publish(&message).await?;
            self.permission(subject, "publish on", &message.topic, code);
        }
        Ok(())
    }

    fn permission(&mut self, subject: &'static str, what: &str, topic: &str, code: u8) {
        if code < 0x80 {
            self.tell(Verdict::Good, subject, format!("may {what} {topic}"));
        } else {
            let text = format!("may not {what} {topic} ({code:#04x}): see the account's rules");
            self.tell(Verdict::Bad, subject, text);
        }
    }

    /// Sends itself an answer, as a device's would go.
    async fn round_trip(&mut self, observer: &mut Visit) -> Result<(), VisitError> {
        const SUBJECT: &str = "answers";
        let topic = self.response_topic("request");
        observer.extend(self.timeout);
        let code = observer.subscribe(&topic, false).await?;
        if code >= 0x80 {
            self.permission(SUBJECT, "subscribe to", &topic, code);
            return Ok(());
        }
        let answer = self.message(&topic);
        let begin = Instant::now();
        let code = observer.publish(&answer).await?;
        if code >= 0x80 {
            self.permission(SUBJECT, "publish on", &topic, code);
            return Ok(());
        }
        match arrival(observer, &answer).await? {
            None => self.tell(Verdict::Bad, SUBJECT, format!("nothing comes back on {topic}")),
            Some(back) => match difference(&answer, &back) {
                Some(what) => self.tell(Verdict::Bad, SUBJECT, format!("the broker {what}")),
                None => {
                    let took = begin.elapsed().as_micros();
                    let text = format!("back after {took} us, with all their properties");
                    self.tell(Verdict::Good, SUBJECT, text);
                }
            },
        }
        Ok(())
    }

    /// Leaves a retained message for a later subscriber, and takes it away again.
    async fn retained(&mut self, observer: &mut Visit) -> Result<(), VisitError> {
        const SUBJECT: &str = "retained messages";
        let values = [("device", self.id.as_str()), ("property", "doctor")];
        let topic = self.topic(&self.config.topics.state, &values);
        let state = Message { retain: true, ..self.message(&topic) };
        observer.extend(self.timeout);
        observer.publish(&state).await?;
        let (mut later, _) = self.connect("-later", false, None).await?;
        later.subscribe(&topic, true).await?;
        let back = arrival(&mut later, &state).await?;
        later.end().await;
        let nothing = Message { payload: Bytes::new(), ..state.clone() };
        observer.publish(&nothing).await?;
        match back {
            Some(back) if back.retain => {
                let text = "kept, and given to who subscribes later";
                self.tell(Verdict::Good, SUBJECT, text);
            }
            Some(_) | None => {
                let text = "not kept: states and presence show only to who is there";
                self.tell(Verdict::Bad, SUBJECT, text);
            }
        }
        Ok(())
    }

    /// Goes away, and looks whether the session has kept what came meanwhile.
    async fn session(&mut self, observer: &mut Visit) -> Result<(), VisitError> {
        const SUBJECT: &str = "session";
        let topic = self.response_topic("session");
        let (mut absent, _) = self.connect("-absent", true, None).await?;
        absent.subscribe(&topic, false).await?;
        absent.end().await;
        let meanwhile = self.message(&topic);
        observer.extend(self.timeout);
        observer.publish(&meanwhile).await?;
        let (mut back, connack) = self.connect("-absent", true, None).await?;
        let kept = connack.session_present && arrival(&mut back, &meanwhile).await?.is_some();
        back.end().await;
        // Clean Start without an expiry: the session is gone.
        let (last, _) = self.connect("-absent", false, None).await?;
        last.end().await;
        if kept {
            let text = "kept while away, with what came meanwhile";
            self.tell(Verdict::Good, SUBJECT, text);
        } else {
            let text = "not kept while away: requests are lost, and a will's outcome is unknown";
            self.tell(Verdict::Bad, SUBJECT, text);
        }
        Ok(())
    }

    /// Dies with a will, and looks when and how it is published.
    async fn will(&mut self, observer: &mut Visit) -> Result<(), VisitError> {
        const SUBJECT: &str = "will";
        let topic = self.topic(&self.config.topics.presence, &[("client_id", &self.id)]);
        observer.extend(self.timeout);
        observer.subscribe(&topic, false).await?;
        let message = self.message(&topic);
        let will = Will { message: message.clone(), delay: WILL_DELAY };
        // Without a session there is nothing that a delay could wait for (MQTT 3.1.3.2.2).
        let (dying, _) = match self.connect("-dying", true, Some(&will)).await {
            Ok(connected) => connected,
            Err(VisitError::NotAuthorized(error)) => {
                self.tell(Verdict::Bad, SUBJECT, format!("refused: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        drop(dying);
        let begin = Instant::now();
        observer.extend(self.timeout + Duration::from_secs(WILL_DELAY.into()));
        let published = arrival(observer, &message).await?;
        let took = begin.elapsed();
        let (last, _) = self.connect("-dying", false, None).await?;
        last.end().await;
        let Some(published) = published else {
            self.tell(Verdict::Bad, SUBJECT, "not published when the connection was cut");
            return Ok(());
        };
        if let Some(what) = difference(&message, &published) {
            self.tell(Verdict::Bad, SUBJECT, format!("the broker {what}"));
        } else if took < Duration::from_secs(WILL_DELAY.into()).mul_f32(0.5) {
            let text = "published at once: a short cut of the line shows as an absence";
            self.tell(Verdict::Less, SUBJECT, text);
        } else {
            let text = format!(
                "published {:.1} s after a cut (asked: {WILL_DELAY} s), with Response Topic and Correlation Data",
                took.as_secs_f32()
            );
            self.tell(Verdict::Good, SUBJECT, text);
        }
        Ok(())
    }

    /// A message with every property that the hub relies on.
    fn message(&self, topic: &str) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"doctor"),
            qos: QoS::AtLeastOnce,
            utf8: true,
            expiry: Some(60),
            response_topic: Some(self.response_topic("will")),
            correlation_data: Some(random_bytes().to_vec().into()),
            user_properties: vec![("client_id".into(), self.id.clone())],
            content_type: Some("text/plain".into()),
            ..Message::default()
        }
    }
}

/// Waits for the message with this Correlation Data.
async fn arrival(visit: &mut Visit, sent: &Message) -> Result<Option<Message>, VisitError> {
    while let Some(message) = visit.receive().await? {
        if message.topic == sent.topic && message.correlation_data == sent.correlation_data {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Says what the broker has done to a message on its way, if anything that the hub relies on.
fn difference(sent: &Message, back: &Message) -> Option<&'static str> {
    let property = |message: &Message| message.user_property("client_id").map(str::to_owned);
    if back.payload != sent.payload {
        Some("changes the payload")
    } else if back.qos != sent.qos {
        Some("lowers QoS 1 to QoS 0")
    } else if back.response_topic != sent.response_topic {
        Some("drops the Response Topic")
    } else if property(back) != property(sent) {
        Some("drops user properties")
    } else if back.content_type != sent.content_type {
        Some("drops the Content Type")
    } else {
        None
    }
}

/// Judges the system's clock: deadlines do not need it, certificates and people do.
fn clock(now: SystemTime) -> (Verdict, String) {
    let time = humantime::format_rfc3339_seconds(now);
    if now < SystemTime::UNIX_EPOCH + OLDEST {
        let text = format!("{time}: not set; certificates fail and schedules rest until it is");
        return (Verdict::Less, text);
    }
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    let how = if synchronized { ", synchronized" } else { "" };
    (Verdict::Good, format!("{time}{how}"))
}

const RESPONSE_INFORMATION: &str = "Response Information";
/// No machine that runs this was set up before 2026.
const OLDEST: Duration = Duration::from_secs(56 * 31_556_952);
const SESSION_EXPIRY: Duration = Duration::from_secs(60);
/// In seconds: long enough to be told from none.
const WILL_DELAY: u32 = 2;
/// Below this, a description of a device may not fit.
const SMALL_PACKET: u32 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_told() {
        let (verdict, text) = clock(SystemTime::UNIX_EPOCH);
        assert_eq!(verdict, Verdict::Less);
        assert!(text.starts_with("1970-01-01T00:00:00Z: not set"), "{text}");
        let set = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        assert_eq!(clock(set).0, Verdict::Good);
    }

    #[test]
    fn what_a_broker_does_to_a_message_is_named() {
        let sent = Message { response_topic: Some("r".into()), ..Message::default() };
        assert_eq!(difference(&sent, &sent.clone()), None);
        let back = Message { response_topic: None, ..sent.clone() };
        assert_eq!(difference(&sent, &back), Some("drops the Response Topic"));
        let back = Message { payload: Bytes::from_static(b"x"), ..sent.clone() };
        assert_eq!(difference(&sent, &back), Some("changes the payload"));
    }
}
