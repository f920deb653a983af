//! A client that comes back: whatever the broker acknowledged to it, it has seen.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{Access, Client, Message, Result};

/// A client with a session, which it resumes as often as the broker goes away.
///
/// None of its methods may be cancelled: rumqttc acknowledges what it hands over.
#[derive(Debug)]
pub(super) struct Steady {
    access: Access,
    client_id: String,
    filters: Vec<String>,
    client: Option<Client>,
    /// What earlier connections still had in hand.
    received: VecDeque<Message>,
}

impl Steady {
    /// Connects and subscribes.
    pub(super) async fn connect(
        access: &Access,
        client_id: &str,
        filters: Vec<String>,
    ) -> Result<Self> {
        let (access, client_id) = (access.clone(), client_id.to_owned());
        let mut steady =
            Self { access, client_id, filters, client: None, received: VecDeque::new() };
        steady.try_connect().await?;
        Ok(steady)
    }

    /// Waits for the next message until a point in time, or longer where the broker is away.
    pub(super) async fn next_before(&mut self, end: Instant) -> Option<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            let left = end.saturating_duration_since(Instant::now());
            let client = self.connected().await;
            if let Ok(message) = client.expect("a message", left, |_| true).await {
                return Some(message);
            }
            if Instant::now() >= end {
                // Whether the connection has ended as well, the next call finds out.
                return None;
            }
            self.lose().await;
        }
    }

    /// Publishes, and again on the next connection, until the broker acknowledges; a request says that it is a repeat.
    pub(super) async fn publish(&mut self, mut message: Message) {
        while self.connected().await.publish(message.clone()).await.is_err() {
            if message.response_topic.is_some() && message.property(RETRY).is_none() {
                message = message.with_property(RETRY, "lost");
            }
            self.lose().await;
        }
    }

    async fn connected(&mut self) -> &mut Client {
        while self.client.is_none() {
            if self.try_connect().await.is_err() {
                self.lose().await;
            }
        }
        self.client.as_mut().expect("it was just connected")
    }

    async fn try_connect(&mut self) -> Result<()> {
        // Kept from the first moment: messages may come before the subscriptions are confirmed.
        let client = self.client.insert(Client::resume(&self.access, &self.client_id).await?);
        for filter in &self.filters {
            client.subscribe(filter).await?;
        }
        Ok(())
    }

    /// Gives the connection up, but nothing that came through it.
    async fn lose(&mut self) {
        if let Some(mut client) = self.client.take() {
            while let Ok(message) = client.expect("what is left", Duration::ZERO, |_| true).await {
                self.received.push_back(message);
            }
        }
        sleep(PAUSE).await;
    }
}

/// The user property, of any value, of a request that may have come before.
pub(super) const RETRY: &str = "retry";
/// How long it waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);
