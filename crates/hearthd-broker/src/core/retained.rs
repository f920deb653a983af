//! Retained messages (MQTT 3.3.1.3).

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use super::message::Message;
use crate::rights::Pattern;

/// The retained messages, one for each topic, within a bound in bytes.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Message>>,
    memory: usize,
    limit: usize,
}

impl Retained {
    pub(super) fn new(limit: usize) -> Self {
        Self { messages: BTreeMap::new(), memory: 0, limit }
    }

    /// Returns whether a message finds room in the place of the one before it.
    pub(super) fn has_room(&self, message: &Message) -> bool {
        let before = self.messages.get(&message.topic).map_or(0, |message| message.memory());
        self.memory - before + message.memory() <= self.limit
    }

    /// Keeps a message in the place of the one before it.
    pub(super) fn put(&mut self, message: Arc<Message>) {
        self.remove(&message.topic);
        self.memory += message.memory();
        self.messages.insert(message.topic.clone(), message);
    }

    /// Removes the message of a topic; returns whether there was one.
    pub(super) fn remove(&mut self, topic: &str) -> bool {
        let removed = self.messages.remove(topic);
        self.memory -= removed.as_ref().map_or(0, |message| message.memory());
        removed.is_some()
    }

    pub(super) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.messages.get(topic)
    }

    /// Returns the first message after a topic, in the order of topics, whose topic matches a filter.
    pub(super) fn next_matching(
        &self,
        filter: &str,
        after: Option<&Arc<str>>,
    ) -> Option<Arc<Message>> {
        if !filter.contains(['+', '#']) {
            return self.messages.get(filter).filter(|_| after.is_none()).cloned();
        }
        let pattern = Pattern::of_filter(filter);
        let start = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
        // `a/#` matches `a` as well (MQTT 4.7.1.2).
        let start = start.strip_suffix('/').unwrap_or(start);
        let from = match after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Included(start),
        };
        let range = self.messages.range::<str, _>((from, Bound::Unbounded));
        range
            .take_while(|(topic, _)| topic.starts_with(start))
            .find(|(topic, _)| pattern.matches(topic))
            .map(|(_, message)| message.clone())
    }

    /// Returns the topics of the messages that have an expiry.
    pub(super) fn topics_that_end(&self) -> impl Iterator<Item = &Arc<str>> {
        self.messages.values().filter(|message| message.expiry.is_some()).map(|it| &it.topic)
    }

    /// Returns the topics.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.messages.keys()
    }

    /// Removes the messages that have ended, and returns their topics.
    pub(super) fn remove_expired(&mut self, now: Duration) -> Vec<Arc<str>> {
        let expired: Vec<Arc<str>> = self
            .messages
            .values()
            .filter(|message| message.is_expired(now))
            .map(|message| message.topic.clone())
            .collect();
        for topic in &expired {
            self.remove(topic);
        }
        expired
    }
}
