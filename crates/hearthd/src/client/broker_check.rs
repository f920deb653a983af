//! Tests what a broker does: it does what the hub will do, under its own names.
//!
//! It writes to no topic that a running hub or a device uses, and leaves nothing behind.

mod offer;
mod trials;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hearthd_core::{
    Connack, Limits, Message, Will,
    topic::{Prefix, Template},
};
use tokio::time::Instant;

use crate::{
    client::connection::{self, Connection, ConnectionError},
    config::{Broker, Config},
    link::ConnectOptions,
    random::random_bytes,
};

/// One thing that was found out.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// What it means for the hub.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, and where it is not good what to do.
    pub text: String,
}

/// What a finding means for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As the hub wants it.
    Good,
    /// The hub works, with less.
    Less,
    /// The hub does not work so.
    Bad,
}

/// Checks the configured broker, and reports each finding at once.
///
/// Each step may take as long as `timeout`.
///
/// # Errors
/// Where there is no connection, or not any more.
pub(crate) async fn check(
    config: &Config,
    timeout: Duration,
    tell: &mut dyn FnMut(Finding),
) -> Result<(), ConnectionError> {
    let (verdict, text) = clock(SystemTime::now());
    tell(Finding { verdict, subject: "clock", text });
    // A session that a broken check leaves behind goes soon.
    let broker = Broker { session_expiry: SESSION_EXPIRY, ..config.broker.clone() };
    let id = connection::client_id(config, "doctor");
    let (prefix, limits) = (None, Limits::default());
    let (step, wildcards) = ("connection", true);
    let mut check =
        BrokerCheck { config, broker, id, timeout, prefix, limits, wildcards, step, tell };
    let ended = check.take_steps().await;
    if let Err(error) = &ended {
        check.tell(Verdict::Bad, check.step, error.to_string());
    }
    ended
}

/// A check under way; each step is a method in [`offer`] or [`trials`].
struct BrokerCheck<'e> {
    config: &'e Config,
    broker: Broker,
    id: String,
    timeout: Duration,
    prefix: Option<Prefix>,
    /// What the broker takes of a message.
    limits: Limits,
    /// Whether it takes filters with wildcards.
    wildcards: bool,
    /// What is being looked at.
    step: &'static str,
    tell: &'e mut dyn FnMut(Finding),
}

impl BrokerCheck<'_> {
    async fn take_steps(&mut self) -> Result<(), ConnectionError> {
        let begin = Instant::now();
        let (mut observer, connack) = self.connect("", false, None).await?;
        self.connection(begin.elapsed(), &connack);
        if connack.receive_maximum == 0 {
            let text =
                "a Receive Maximum of 0, which breaks the MQTT 5 standard: the hub stops here";
            self.tell(Verdict::Bad, "limits", text);
            return Ok(());
        }
        if !self.response_information(&connack) {
            observer.end().await;
            return Ok(());
        }
        self.step = "session expiry";
        self.offer().await?;
        if !connack.vouches {
            self.role().await;
        }
        self.step = "permissions";
        self.permissions(&mut observer).await?;
        self.step = "discovery";
        self.discovery(&mut observer).await?;
        self.step = "answers";
        self.round_trip(&mut observer).await?;
        self.step = "retained messages";
        self.retained(&mut observer).await?;
        self.step = "session";
        self.session(&mut observer).await?;
        self.step = "will";
        self.will(&mut observer).await?;
        self.step = "devices";
        self.devices(&mut observer).await?;
        observer.end().await;
        Ok(())
    }

    fn tell(&mut self, verdict: Verdict, subject: &'static str, text: impl Into<String>) {
        (self.tell)(Finding { verdict, subject, text: text.into() });
    }

    async fn connect(
        &self,
        suffix: &str,
        keep_session: bool,
        will: Option<&Will>,
    ) -> Result<(Connection, Connack), ConnectionError> {
        let client_id = format!("{}{suffix}", self.id);
        let options = connection::options(&self.broker, &client_id);
        let options = ConnectOptions { keep_session, will, ..options };
        Connection::begin(&options, self.timeout).await
    }

    fn topic(&self, template: &Template, values: &[(&str, &str)]) -> String {
        template.build(self.prefix.as_ref(), values)
    }

    fn response_topic(&self, purpose: &str) -> String {
        let values = [("client_id", self.id.as_str()), ("purpose", purpose)];
        self.topic(&self.config.topics.response, &values)
    }

    /// A message with every property that the hub relies on.
    fn message(&self, topic: &str) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: Bytes::from_static(b"doctor"),
            qos: self.limits.qos,
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

/// Judges the system's clock: deadlines do not need it, certificates and people do.
fn clock(now: SystemTime) -> (Verdict, String) {
    let time = humantime::format_rfc3339_seconds(now);
    if now < SystemTime::UNIX_EPOCH + OLDEST {
        let text =
            format!("{time}: not set; until it is, certificates fail and schedules do not run");
        return (Verdict::Less, text);
    }
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    let how = if synchronized { ", synchronized" } else { "" };
    (Verdict::Good, format!("{time}{how}"))
}

/// No machine that runs this was set up before 2026.
const OLDEST: Duration = Duration::from_secs(56 * 31_556_952);
const SESSION_EXPIRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::{
        trials::{AccountRole, difference},
        *,
    };

    #[test]
    fn a_clock_that_was_never_set_is_told() {
        let (verdict, text) = clock(SystemTime::UNIX_EPOCH);
        assert_eq!(verdict, Verdict::Less);
        assert!(text.starts_with("1970-01-01T00:00:00Z: not set"), "{text}");
        let set = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        assert_eq!(clock(set).0, Verdict::Good);
    }

    #[test]
    fn the_role_of_an_account_is_read_from_a_refusal() {
        for (words, role) in [
            (
                "account `a` may not subscribe to `$x`: it has no role, and ..",
                Some(AccountRole::None),
            ),
            (
                "account `a` may not subscribe to `$x`: its role is `guest`, and ..",
                Some(AccountRole::Other("guest".into())),
            ),
            ("account `a` may not subscribe to `$x`: its role is `hub`, and ..", None),
            ("not authorized", None),
        ] {
            assert_eq!(AccountRole::read(words), role, "{words}");
        }
    }

    #[test]
    fn what_a_broker_does_to_a_message_is_named() {
        let sent = Message { response_topic: Some("r".into()), ..Message::default() };
        assert_eq!(difference(&sent, &sent.clone()), None);
        let back = Message { response_topic: None, ..sent.clone() };
        assert_eq!(difference(&sent, &back), Some("drops the Response Topic"));
        let named = Message { correlation_data: Some(Bytes::from_static(b"1")), ..sent.clone() };
        assert_eq!(difference(&named, &sent), Some("drops the Correlation Data"));
        let back = Message { payload: Bytes::from_static(b"x"), ..sent.clone() };
        assert_eq!(difference(&sent, &back), Some("changes the payload"));
    }
}
