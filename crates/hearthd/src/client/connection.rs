//! A command's own connection to the broker; every step has the same deadline.

use std::{collections::VecDeque, time::Duration};

use hearthd_config::printable_line;
use hearthd_core::{Connack, Disconnection, Limits, Message, PublishId, Subscriber, Subscription};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::{Broker, Config},
    link::{ConnectOptions, Link, LinkEvent},
    notice,
    random::random_bytes,
};

/// A connection of a command, from CONNECT to DISCONNECT.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link,
    /// Host and port, for people.
    broker: String,
    limits: Limits,
    deadline: Instant,
    published: u64,
    received: VecDeque<Message>,
    /// The bytes of what was received and not taken yet, and the most there may be.
    held: usize,
    hold_at_most: usize,
    /// The topics of messages that found no room.
    left_out: Vec<String>,
    /// What the broker has said of the last SUBSCRIBE or PUBLISH.
    words: Option<String>,
}

/// Why there is no connection.
struct NotConnected {
    error: ConnectionError,
    /// A relayed connection would tell more.
    wants_relay: bool,
}

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The broker refuses the account, or what it wants to do.
    #[error("the broker refuses the connection: {0}")]
    NotAuthorized(String),
    /// The broker cannot be reached, does not answer, or left: its host and port, and why.
    #[error("no connection to the broker at {0}")]
    Unavailable(String),
    /// The broker assigns every client this client ID, so that each ends the connection of the one before.
    #[error(
        "the broker gives every client of this account the client ID `{0}`, so each command ends the hub's connection, \
         which comes back within a minute: give the commands another account with --user"
    )]
    Indistinct(String),
}

impl ConnectionError {
    /// Says why none of a broker's addresses would do: a refusal counts more than that nobody is there.
    fn of_all(failed: Vec<Self>) -> Self {
        let mut absent = Vec::new();
        for error in failed {
            match error {
                Self::Unavailable(why) => absent.push(why),
                Self::NotAuthorized(_) | Self::Indistinct(_) => return error,
            }
        }
        Self::Unavailable(absent.join("; at "))
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where the broker cannot be reached in time or refuses, or takes every client for the same.
    pub(crate) async fn begin(
        options: &ConnectOptions<'_>,
        timeout: Duration,
    ) -> Result<(Self, Connack), ConnectionError> {
        let deadline = Instant::now() + timeout;
        let (connection, connack) = Self::connect_in_turn(options, deadline).await?;
        if let Some(assigned) = &connack.assigned_client_id
            && assigned != options.client_id
        {
            // Another client ID of its own, which the broker may take for the same.
            let other = format!("{}-2", options.client_id);
            let again = ConnectOptions { client_id: &other, will: None, ..options.clone() };
            let (second, same) = Self::connect_in_turn(&again, deadline).await?;
            second.end().await;
            if same.assigned_client_id == connack.assigned_client_id {
                return Err(ConnectionError::Indistinct(assigned.clone()));
            }
        }
        Ok((connection, connack))
    }

    /// Connects to one of the broker's addresses, tried in turn; none but the last takes all the time that is left.
    async fn connect_in_turn(
        options: &ConnectOptions<'_>,
        deadline: Instant,
    ) -> Result<(Self, Connack), ConnectionError> {
        let addresses = options.broker.addresses();
        let mut failed = Vec::new();
        for turn in 0..addresses {
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (addresses - turn) as u32;
            let one = ConnectOptions { broker: &options.broker.at(turn), ..options.clone() };
            match Self::connect_or_hear_why(&one, now + share).await {
                Ok((mut connection, connack)) => {
                    connection.deadline = deadline;
                    return Ok((connection, connack));
                }
                Err(error) => failed.push(error),
            }
        }
        Err(ConnectionError::of_all(failed))
    }

    /// Connects; where the broker refuses, once more, to hear what it has to say about it.
    async fn connect_or_hear_why(
        options: &ConnectOptions<'_>,
        deadline: Instant,
    ) -> Result<(Self, Connack), ConnectionError> {
        match Self::connect(options, deadline).await {
            Err(refusal) if refusal.wants_relay && !options.relayed => {
                let again = ConnectOptions { relayed: true, ..options.clone() };
                Self::connect(&again, deadline).await
            }
            connected => connected,
        }
        .map_err(|refusal| refusal.error)
    }

    async fn connect(
        options: &ConnectOptions<'_>,
        deadline: Instant,
    ) -> Result<(Self, Connack), NotConnected> {
        let broker = options.broker.address();
        let link = Link::open(options, 0).map_err(|error| NotConnected {
            error: unavailable(&broker, &error),
            wants_relay: false,
        })?;
        let received = VecDeque::new();
        let limits = Limits::default();
        let mut connection = Self {
            link,
            broker,
            limits,
            deadline,
            published: 0,
            received,
            held: 0,
            hold_at_most: usize::MAX,
            left_out: Vec::new(),
            words: None,
        };
        let connack = connection.answer(|event| match event {
            LinkEvent::Connected(connack) => Some(connack.clone()),
            _ => None,
        });
        let connack = connack
            .await
            .map_err(|error| NotConnected { error, wants_relay: connection.link.wants_relay() })?;
        connection.limits = connack.limits;
        Ok((connection, connack))
    }

    /// Gives the steps that follow this much time.
    pub(crate) fn extend(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
    }

    /// Holds at most this many bytes of messages that nobody has taken yet; what is beyond is left out.
    pub(crate) fn hold_at_most(&mut self, bytes: usize) {
        self.hold_at_most = bytes;
    }

    /// Takes the topics of the messages that were left out.
    pub(crate) fn take_left_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left_out)
    }

    /// Takes a message that has come already.
    pub(crate) fn take_received(&mut self) -> Option<Message> {
        let message = self.received.pop_front()?;
        self.held -= size(&message);
        Some(message)
    }

    /// Subscribes to one filter; returns the reason code (MQTT 3.9.3).
    ///
    /// # Errors
    /// Where the connection ends first, or the deadline passes.
    pub(crate) async fn subscribe(
        &mut self,
        filter: &str,
        retained: bool,
    ) -> Result<u8, ConnectionError> {
        let filter = filter.to_owned();
        let subscriber = Subscriber::Hub;
        let subscription = Subscription { filter, retained, no_local: false, subscriber };
        self.link.subscribe(&[subscription]).map_err(|_| self.unavailable(FULL))?;
        let code = self.answer(|event| match event {
            LinkEvent::Subscribed(codes, words) => Some((codes.first().copied(), words.clone())),
            _ => None,
        });
        let (code, words) = code.await?;
        self.words = words;
        code.ok_or_else(|| self.unavailable(SILENT))
    }

    /// Publishes, at QoS 1 where the broker takes that; returns the reason code (MQTT 3.4.2.1).
    ///
    /// # Errors
    /// Where the connection ends first, or the deadline passes.
    pub(crate) async fn publish(&mut self, message: &Message) -> Result<u8, ConnectionError> {
        self.published += 1;
        let id = PublishId(self.published);
        let mut message = message.clone();
        self.limits.apply(&mut message);
        self.link.publish(id, message).map_err(|_| self.unavailable(FULL))?;
        let code = self.answer(|event| match event {
            LinkEvent::Published(published, code, words) if *published == id => {
                Some((*code, words.clone()))
            }
            _ => None,
        });
        let (code, words) = code.await?;
        self.words = words;
        Ok(code)
    }

    /// Returns the Reason String that answered the last SUBSCRIBE or PUBLISH (MQTT 3.4.2.2.2, 3.9.2.1.2), as one line.
    pub(crate) fn words(&self) -> Option<String> {
        let words = self.words.as_deref()?;
        Some(printable_line(words).chars().take(LONGEST_WORDS).collect())
    }

    /// Waits for a message; none when the time is over.
    ///
    /// # Errors
    /// Where the connection ends first.
    pub(crate) async fn receive(&mut self) -> Result<Option<Message>, ConnectionError> {
        self.receive_until(self.deadline).await
    }

    /// Waits for a message; none when `end` has come, or the time of the connection is over.
    ///
    /// # Errors
    /// Where the connection ends first.
    pub(crate) async fn receive_until(
        &mut self,
        end: Instant,
    ) -> Result<Option<Message>, ConnectionError> {
        let end = end.min(self.deadline);
        loop {
            if let Some(message) = self.take_received() {
                return Ok(Some(message));
            }
            let Some(event) = self.next(end).await? else { return Ok(None) };
            self.keep(event);
        }
    }

    /// Disconnects; a broker that does not take DISCONNECT changes nothing.
    pub(crate) async fn end(mut self) {
        self.link.disconnect();
        while !matches!(self.link.next().await, LinkEvent::Closed(_)) {}
    }

    /// Waits for what a packet is answered with; messages that come before it are kept.
    async fn answer<T>(
        &mut self,
        pick: impl Fn(&LinkEvent) -> Option<T>,
    ) -> Result<T, ConnectionError> {
        loop {
            let event = self.next(self.deadline).await?;
            let event = event.ok_or_else(|| self.unavailable(SILENT))?;
            if let Some(answer) = pick(&event) {
                return Ok(answer);
            }
            self.keep(event);
        }
    }

    /// Acknowledges a message and keeps it; no other event is of use to anybody.
    fn keep(&mut self, event: LinkEvent) {
        let LinkEvent::Received(message, delivery) = event else { return };
        if let Some(delivery) = delivery {
            self.link.acknowledge(delivery.id);
        }
        let size = size(&message);
        if size > self.hold_at_most.saturating_sub(self.held) {
            if self.left_out.len() < MOST_LEFT_OUT {
                self.left_out.push(message.topic);
            }
            return;
        }
        self.held += size;
        self.received.push_back(message);
    }

    /// Waits for the next event; none when `end` has come.
    async fn next(&mut self, end: Instant) -> Result<Option<LinkEvent>, ConnectionError> {
        match timeout_at(end, self.link.next()).await {
            Err(_) => Ok(None),
            Ok(LinkEvent::Closed(cause)) => Err(self.ended(&cause)),
            Ok(event) => Ok(Some(event)),
        }
    }

    fn ended(&self, cause: &Disconnection) -> ConnectionError {
        let text = notice::describe(cause);
        match cause {
            Disconnection::Refused { reason_code: 0x85..=0x87 | 0x8A | 0x8C, .. } => {
                ConnectionError::NotAuthorized(format!("{text}, at {}", self.broker))
            }
            _ => self.unavailable(&text),
        }
    }

    fn unavailable(&self, cause: &str) -> ConnectionError {
        unavailable(&self.broker, cause)
    }
}

/// Makes up a client identifier beside the daemon's, which a broker may bind to the same account.
pub(crate) fn client_id(config: &Config, purpose: &str) -> String {
    let [a, b, c, d, ..] = random_bytes();
    format!("{}-{purpose}-{:08x}", config.broker.client_id, u32::from_be_bytes([a, b, c, d]))
}

/// Returns how a command connects: without a session that outlives it, and without a will.
pub(crate) fn options<'a>(broker: &'a Broker, client_id: &'a str) -> ConnectOptions<'a> {
    ConnectOptions { broker, client_id, keep_session: false, will: None, relayed: false }
}

fn unavailable(broker: &str, cause: &str) -> ConnectionError {
    ConnectionError::Unavailable(format!("{broker}: {cause}"))
}

/// Returns how many bytes of a message are held.
fn size(message: &Message) -> usize {
    message.topic.len() + message.payload.len()
}

/// The most topics that are remembered of messages that were left out.
const MOST_LEFT_OUT: usize = 1000;
const SILENT: &str = "the broker does not answer";
/// The most characters shown of a Reason String.
const LONGEST_WORDS: usize = 512;
const FULL: &str = "the send queue is full";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_a_refusal_counts_more_than_that_nobody_is_there() {
        let absent = |port: u16| unavailable(&format!("pi:{port}"), "refused");
        let refused = || ConnectionError::NotAuthorized("bad password".into());
        let all = ConnectionError::of_all(vec![absent(1), absent(2)]);
        let text = "no connection to the broker at pi:1: refused; at pi:2: refused";
        assert_eq!(all.to_string(), text);
        for failed in [vec![refused(), absent(2)], vec![absent(1), refused()]] {
            let all = ConnectionError::of_all(failed);
            assert!(matches!(all, ConnectionError::NotAuthorized(_)), "{all}");
        }
    }
}
