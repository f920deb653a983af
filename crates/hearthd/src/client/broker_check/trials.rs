//! Tests the broker with what the hub will do.

use std::time::Duration;

use bytes::Bytes;
use hearthd_core::{Message, Will};
use tokio::time::Instant;

use super::{BrokerCheck, Verdict};
use crate::{
    client::connection::{Connection, ConnectionError},
    plugin::STATUS,
};

impl BrokerCheck<'_> {
    /// Looks whether another hub tells of a device of this one.
    pub(super) async fn devices(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "devices";
        let (mut others, mut hidden) = (Vec::new(), Vec::new());
        for device in self.config.devices.keys() {
            let values = [("device", device.as_str()), ("property", STATUS)];
            let topic = self.topic(&self.config.topics.state, &values);
            observer.extend(self.timeout);
            if observer.subscribe(&topic, true).await? < REFUSED {
                others.push((device.clone(), topic));
            } else {
                hidden.push(device.as_str());
            }
        }
        if !hidden.is_empty() {
            let text = format!(
                "nobody can tell whether another hub serves {}: the account may not subscribe to the status",
                hidden.join(", ")
            );
            self.tell(Verdict::Less, SUBJECT, text);
        }
        if others.is_empty() {
            return Ok(());
        }
        // Behind this, all that the broker has retained has come.
        let marker = self.message(&self.response_topic("request"));
        observer.extend(self.timeout);
        observer.publish(&marker).await?;
        let (mut told, mut complete) = (!hidden.is_empty(), false);
        while let Some(message) = observer.receive().await? {
            if message.correlation_data == marker.correlation_data {
                complete = true;
                break;
            }
            let Some((device, _)) = others.iter().find(|(_, topic)| *topic == message.topic) else {
                continue;
            };
            let hub = message.user_property("hub").unwrap_or("a hub without a name");
            if message.payload.is_empty() {
                continue;
            }
            if hub == self.config.broker.client_id {
                let of = |name| message.user_property(name).unwrap_or_default();
                let text = match &*message.payload {
                    b"ready" => continue,
                    b"unreachable" => {
                        format!("`{device}` is unreachable since {}: {}", of("since"), of("reason"))
                    }
                    other => {
                        let status = String::from_utf8_lossy(other);
                        match of("reason") {
                            "" => format!("`{device}` is {status}"),
                            reason => format!("`{device}` is {status}: {reason}"),
                        }
                    }
                };
                self.tell(Verdict::Less, SUBJECT, text);
            } else {
                told = true;
                let text =
                    format!("`{device}` is also served by {hub}: remove it from one of the two");
                self.tell(Verdict::Bad, SUBJECT, text);
            }
        }
        if !complete {
            let text = format!(
                "nobody can tell whether another hub serves them: nothing comes back on {}",
                marker.topic
            );
            self.tell(Verdict::Less, SUBJECT, text);
        } else if !told {
            self.tell(Verdict::Good, SUBJECT, "no other hub serves one of this hub's devices");
        }
        Ok(())
    }

    /// Tries what the account may do on the topics of the hub.
    pub(super) async fn permissions(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        let topics = &self.config.topics;
        let property = if self.wildcards { "+" } else { "doctor" };
        let requests = self.topic(&topics.request, &[("device", &self.id), ("property", property)]);
        observer.extend(self.timeout);
        let code = observer.subscribe(&requests, false).await?;
        self.permission(observer, "requests", "subscribe to", &requests, code);
        let hub = [("client_id", self.id.as_str())];
        let topics = [
            ("states", self.topic(&topics.state, &[("device", &self.id), ("property", "doctor")])),
            ("presence", self.topic(&topics.presence, &hub)),
            ("absence", self.topic(&topics.absence, &hub)),
            ("events", self.topic(&topics.event, &[("device", &self.id)])),
        ];
        for (subject, topic) in topics {
            let qos = self.limits.qos;
            let message = Message { topic, qos, ..Message::default() };
            observer.extend(self.timeout);
            let code = observer.publish(&message).await?;
            self.permission(observer, subject, "publish on", &message.topic, code);
        }
        Ok(())
    }

    /// Tries what the account may do where Home Assistant looks for devices, if it is told of any.
    pub(super) async fn discovery(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "discovery";
        let told = &self.config.home_assistant;
        if !told.discovery {
            return Ok(());
        }
        // Home Assistant reads no such topic, and nothing stays there.
        let topic = format!("{}/device/hearthd_{}/state", told.prefix, self.id);
        let (start, qos) = (format!("{}/status", told.prefix), self.limits.qos);
        let message = Message { topic, qos, retain: self.limits.retain, ..Message::default() };
        observer.extend(self.timeout);
        let published = observer.publish(&message).await?;
        observer.extend(self.timeout);
        let subscribed = observer.subscribe(&start, false).await?;
        let tried =
            [("publish on", &message.topic, published), ("subscribe to", &start, subscribed)];
        for (what, topic, code) in tried {
            if code < REFUSED {
                self.tell(Verdict::Good, SUBJECT, format!("may {what} {topic}"));
                continue;
            }
            let text = format!(
                "may not {what} {topic} ({code:#04x}): give the account the right to `{}/#`, or \
                 Home Assistant learns of no device",
                self.config.home_assistant.prefix
            );
            self.tell(Verdict::Less, SUBJECT, text);
        }
        Ok(())
    }

    /// Tells what `connection` was answered to a SUBSCRIBE or PUBLISH; returns whether it was granted.
    pub(super) fn permission(
        &mut self,
        connection: &Connection,
        subject: &'static str,
        what: &str,
        topic: &str,
        code: u8,
    ) -> bool {
        let granted = code < REFUSED;
        if granted {
            self.tell(Verdict::Good, subject, format!("may {what} {topic}"));
        } else {
            let why = match (connection.words(), code) {
                (Some(words), _) => format!("the broker says: {words}"),
                (None, 0x97) => "the broker's quota is used up".to_owned(),
                (None, 0x80 | 0x83) => "the broker does not say why".to_owned(),
                (None, _) => "see the account's rules".to_owned(),
            };
            let text = format!("may not {what} {topic} ({code:#04x}): {why}");
            self.tell(Verdict::Bad, subject, text);
        }
        granted
    }

    /// Tells the account's role at the bundled broker, where it is not a hub's.
    ///
    /// That broker vouches to hubs alone, and names the role in what it says of a refusal; so something is asked for that
    /// it refuses everybody. Another broker may end the connection over that, which is one for this purpose alone.
    pub(super) async fn role(&mut self) {
        const SUBJECT: &str = "account";
        let Ok((mut asking, _)) = self.connect("-role", false, None).await else { return };
        let refused = asking.subscribe(REFUSED_TO_ALL, false).await;
        let words = refused.ok().filter(|code| *code >= REFUSED).and_then(|_| asking.words());
        if words.is_some() {
            asking.end().await;
        }
        let name = self.config.broker.username.as_deref().unwrap_or_default();
        match words.as_deref().and_then(AccountRole::read) {
            Some(AccountRole::None) => {
                let text = format!(
                    "`{name}` has no role: others may write this hub's states and presence, and the broker ends its \
                     session where too much waits for it; write `role = \"hub\"` into its [[account]]"
                );
                self.tell(Verdict::Less, SUBJECT, text);
            }
            Some(AccountRole::Other(role)) => {
                let text = format!(
                    "`{name}` has the role `{role}`: a hub needs an account with the role `hub` \
                     (`hearth-broker account add NAME --role hub`)"
                );
                self.tell(Verdict::Bad, SUBJECT, text);
            }
            None => {}
        }
    }

    /// Sends itself an answer, as a device's would go.
    pub(super) async fn round_trip(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "answers";
        let topic = self.response_topic("request");
        observer.extend(self.timeout);
        let code = observer.subscribe(&topic, false).await?;
        if code >= REFUSED {
            self.permission(observer, SUBJECT, READ, &topic, code);
            return Ok(());
        }
        let answer = self.message(&topic);
        let begin = Instant::now();
        let code = observer.publish(&answer).await?;
        if code >= REFUSED {
            self.permission(observer, SUBJECT, "publish on", &topic, code);
            return Ok(());
        }
        match arrival(observer, &answer).await? {
            None => self.tell(Verdict::Bad, SUBJECT, format!("nothing comes back on {topic}")),
            Some(back) => match difference(&answer, &back) {
                Some(what) => self.tell(Verdict::Bad, SUBJECT, format!("the broker {what}")),
                None => {
                    let took = begin.elapsed();
                    self.answer_came_back(observer, took, &topic).await?;
                }
            },
        }
        self.step = "message expiry";
        self.message_expiry(observer, &topic).await
    }

    /// Tells how long an answer takes: the shortest of a few, because one says little.
    pub(super) async fn answer_came_back(
        &mut self,
        observer: &mut Connection,
        first: Duration,
        topic: &str,
    ) -> Result<(), ConnectionError> {
        let mut shortest = first;
        for _ in 0..4 {
            let message = self.message(topic);
            let begin = Instant::now();
            observer.publish(&message).await?;
            if arrival(observer, &message).await?.is_some() {
                shortest = shortest.min(begin.elapsed());
            }
        }
        let took = shortest.as_micros();
        if (NAGLE.0..NAGLE.1).contains(&shortest) {
            let text = format!(
                "back after {took} us: the broker delays small packets; with Mosquitto, write \
                 `set_tcp_nodelay true` into its configuration"
            );
            self.tell(Verdict::Less, "answers", text);
        } else {
            let text = format!("back after {took} us, with all their properties");
            self.tell(Verdict::Good, "answers", text);
        }
        Ok(())
    }

    /// Leaves a retained message for a later subscriber, and takes it away again.
    pub(super) async fn retained(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "retained messages";
        let values = [("device", self.id.as_str()), ("property", "doctor")];
        let topic = self.topic(&self.config.topics.state, &values);
        if !self.limits.retain {
            // The broker has said so, and would end the connection over one.
            return Ok(());
        }
        let state = Message { retain: true, ..self.message(&topic) };
        observer.extend(self.timeout);
        let code = observer.publish(&state).await?;
        if code >= REFUSED {
            self.permission(observer, SUBJECT, "publish retained on", &topic, code);
            return Ok(());
        }
        let (mut later, _) = self.connect("-later", false, None).await?;
        let code = later.subscribe(&topic, true).await?;
        let readable = code < REFUSED || self.permission(&later, SUBJECT, READ, &topic, code);
        let back = if readable { arrival(&mut later, &state).await? } else { None };
        later.end().await;
        let nothing = Message { payload: Bytes::new(), ..state.clone() };
        // The later subscriber may have waited in vain.
        observer.extend(self.timeout);
        observer.publish(&nothing).await?;
        match back {
            _ if !readable => {}
            Some(back) if back.retain => {
                let text = "kept, and sent to later subscribers";
                self.tell(Verdict::Good, SUBJECT, text);
            }
            Some(_) | None => {
                let text = "not kept: only clients that are connected see states and presence";
                self.tell(Verdict::Bad, SUBJECT, text);
            }
        }
        Ok(())
    }

    /// Goes away, and looks whether the session has kept what came meanwhile.
    pub(super) async fn session(
        &mut self,
        observer: &mut Connection,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "session";
        let topic = self.response_topic("session");
        let (mut absent, _) = self.connect("-absent", true, None).await?;
        let code = absent.subscribe(&topic, false).await?;
        let readable = code < REFUSED || self.permission(&absent, SUBJECT, READ, &topic, code);
        absent.end().await;
        let meanwhile = self.message(&topic);
        observer.extend(self.timeout);
        let code = observer.publish(&meanwhile).await?;
        if code >= REFUSED {
            self.permission(observer, SUBJECT, "publish on", &topic, code);
        }
        if !readable || code >= REFUSED {
            let (last, _) = self.connect("-absent", false, None).await?;
            last.end().await;
            return Ok(());
        }
        let (mut back, connack) = self.connect("-absent", true, None).await?;
        let kept = connack.session_present && arrival(&mut back, &meanwhile).await?.is_some();
        back.end().await;
        // Clean Start without an expiry: the session is gone.
        let (last, _) = self.connect("-absent", false, None).await?;
        last.end().await;
        if kept {
            let text = "kept during an absence, with the messages that came meanwhile";
            self.tell(Verdict::Good, SUBJECT, text);
        } else {
            let text =
                "not kept during an absence: requests are lost, and a will's outcome is unknown";
            self.tell(Verdict::Bad, SUBJECT, text);
        }
        Ok(())
    }

    /// Dies with a will, and looks when and how it is published.
    pub(super) async fn will(&mut self, observer: &mut Connection) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "will";
        // The check's own presence topic, like a hub's will: a broker may refuse another client's.
        let dying = format!("{}{DYING}", self.id);
        let topic = self.topic(&self.config.topics.presence, &[("client_id", &dying)]);
        observer.extend(self.timeout);
        let code = observer.subscribe(&topic, false).await?;
        if code >= REFUSED {
            self.permission(observer, SUBJECT, READ, &topic, code);
            return Ok(());
        }
        let message = self.message(&topic);
        let will = Will { message: message.clone(), delay: WILL_DELAY };
        // Without a session there is nothing that a delay could wait for (MQTT 3.1.3.2.2).
        let (dying, _) = match self.connect(DYING, true, Some(&will)).await {
            Ok(connected) => connected,
            Err(ConnectionError::NotAuthorized(error)) => {
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
        let (last, _) = self.connect(DYING, false, None).await?;
        last.end().await;
        let Some(published) = published else {
            self.tell(Verdict::Bad, SUBJECT, "not published when the connection was cut");
            return Ok(());
        };
        if let Some(what) = difference(&message, &published) {
            self.tell(Verdict::Bad, SUBJECT, format!("the broker {what}"));
        } else if took < Duration::from_secs(WILL_DELAY.into()).mul_f32(0.5) {
            let text =
                "published at once: a short interruption of the network counts as an absence";
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
}

/// The bundled broker's words about an account's role in a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AccountRole {
    /// None, as in configurations from before there were roles.
    None,
    /// One that is not a hub's.
    Other(String),
}

impl AccountRole {
    /// Finds the role in a Reason String.
    pub(super) fn read(words: &str) -> Option<Self> {
        if words.contains(": it has no role,") {
            return Some(Self::None);
        }
        let (_, rest) = words.split_once(": its role is `")?;
        let (role, _) = rest.split_once('`')?;
        (role != "hub").then(|| Self::Other(role.to_owned()))
    }
}

/// Waits for this message, which the broker may have taken the Correlation Data from.
pub(super) async fn arrival(
    connection: &mut Connection,
    sent: &Message,
) -> Result<Option<Message>, ConnectionError> {
    while let Some(message) = connection.receive().await? {
        let is_it =
            message.correlation_data.is_none() || message.correlation_data == sent.correlation_data;
        if message.topic == sent.topic && is_it {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Says what the broker has done to a message on its way, if anything that the hub relies on.
pub(super) fn difference(sent: &Message, back: &Message) -> Option<&'static str> {
    let property = |message: &Message| message.user_property("client_id").map(str::to_owned);
    if back.payload != sent.payload {
        Some("changes the payload")
    } else if back.qos != sent.qos {
        Some("lowers QoS 1 to QoS 0")
    } else if back.response_topic != sent.response_topic {
        Some("drops the Response Topic")
    } else if back.correlation_data != sent.correlation_data {
        Some("drops the Correlation Data")
    } else if property(back) != property(sent) {
        Some("drops user properties")
    } else if back.content_type != sent.content_type {
        Some("drops the Content Type")
    } else {
        None
    }
}

/// Reason codes from here on are failures (MQTT 2.4).
const REFUSED: u8 = 0x80;
const READ: &str = "subscribe to";
/// A topic that the bundled broker grants to nobody.
const REFUSED_TO_ALL: &str = "$hearthd/doctor";
/// How long an answer takes where the broker gathers small packets, and the kernel its acknowledgements.
const NAGLE: (Duration, Duration) = (Duration::from_millis(35), Duration::from_millis(50));
/// What the client that dies has behind its name.
const DYING: &str = "-dying";
/// In seconds: long enough to be told from none.
const WILL_DELAY: u32 = 2;
