//! What the broker announces in CONNACK, and what the hub does about it.

use std::time::Duration;

use hearthd_core::{Connack, Message, topic::Prefix};

use super::{BrokerCheck, Verdict, trials::arrival};
use crate::{
    client::connection::{Connection, ConnectionError},
    config::Broker,
    notice,
};

impl BrokerCheck<'_> {
    /// Tells how the connection is, and what CONNACK says of sizes and senders.
    pub(super) fn connection(&mut self, took: Duration, connack: &Connack) {
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
        self.limits = connack.limits;
        self.wildcards = connack.wildcards;
        let (verdict, text) = if connack.vouches {
            (Verdict::Good, "the broker vouches for the sender of each message")
        } else {
            (
                Verdict::Less,
                "the broker does not vouch for senders: every client that may publish can claim to be another",
            )
        };
        self.tell(verdict, "senders", text);
    }

    /// Asks for the session that the hub will ask for, and tells whatever the broker does not offer.
    pub(super) async fn offer(&mut self) -> Result<(), ConnectionError> {
        let real = self.config.broker.session_expiry;
        let short = std::mem::replace(&mut self.broker.session_expiry, real);
        let connected = self.connect("-offer", true, None).await;
        self.broker.session_expiry = short;
        let (asking, connack) = connected?;
        asking.end().await;
        // Clean Start without an expiry: the session is gone.
        let (last, _) = self.connect("-offer", false, None).await?;
        last.end().await;
        let client_id = format!("{}-offer", self.id);
        let lacks = connack.lacks(&client_id);
        for lack in &lacks {
            let (what, cost) = notice::explain(lack);
            self.tell(Verdict::Less, "offer", format!("not {what}: {cost}"));
        }
        if lacks.is_empty() {
            let text = "QoS 1, retained messages, wildcards, and a session as long as asked for";
            self.tell(Verdict::Good, "offer", text);
        }
        let (verdict, text) = match connack.server_keep_alive {
            None => (Verdict::Good, format!("{} s, as asked", self.broker.keep_alive.as_secs())),
            Some(0) => {
                (Verdict::Less, "none: the hub sends PINGREQ at its own interval".to_owned())
            }
            Some(seconds) => (Verdict::Less, format!("{seconds} s, as the broker requires")),
        };
        self.tell(verdict, "keep alive", text);
        Ok(())
    }

    /// Finds the prefix; returns whether there is one, or may be none.
    pub(super) fn response_information(&mut self, connack: &Connack) -> bool {
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
                let shown: String = information.chars().take(LONGEST_SHOWN).collect();
                let text = format!("`{}` cannot be used: {error}", shown.escape_debug());
                self.tell(Verdict::Less, RESPONSE_INFORMATION, text);
                self.no_response_information()
            }
        }
    }

    /// Tells which prefix the hub uses then; returns whether the hub can work.
    pub(super) fn no_response_information(&mut self) -> bool {
        let config = &self.config.response_information;
        self.prefix.clone_from(&config.fallback);
        let (verdict, text) = match &config.fallback {
            _ if config.required => {
                let text = "none usable, and the configuration has `required = true`";
                (Verdict::Bad, text.into())
            }
            Some(fallback) => {
                let text = format!("none usable; topics begin with the fallback `{fallback}/`");
                (Verdict::Less, text)
            }
            None => (Verdict::Less, "none usable, and no fallback: topics have no prefix".into()),
        };
        self.tell(verdict, RESPONSE_INFORMATION, text);
        verdict != Verdict::Bad
    }

    /// Finds out whether the broker adds an expiry to messages that have none.
    pub(super) async fn message_expiry(
        &mut self,
        observer: &mut Connection,
        topic: &str,
    ) -> Result<(), ConnectionError> {
        const SUBJECT: &str = "message expiry";
        let lasting = Message { expiry: None, ..self.message(topic) };
        observer.extend(self.timeout);
        observer.publish(&lasting).await?;
        match arrival(observer, &lasting).await?.map(|back| back.expiry) {
            Some(Some(seconds)) => {
                let text = format!(
                    "the broker adds {seconds} s to messages that have none: of requests that waited while the hub \
                     was away, only those with the user property `expiry` count as having one"
                );
                self.tell(Verdict::Less, SUBJECT, text);
            }
            Some(None) => self.tell(Verdict::Good, SUBJECT, "as the sender sets it"),
            None => self.tell(Verdict::Bad, SUBJECT, "a message without an expiry does not arrive"),
        }
        Ok(())
    }
}

/// How much is shown of what cannot be used.
const LONGEST_SHOWN: usize = 60;
const RESPONSE_INFORMATION: &str = "Response Information";
/// Below this, a description of a device may not fit.
const SMALL_PACKET: u32 = 16 * 1024;
