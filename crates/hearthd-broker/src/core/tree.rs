//! Subscriptions by topic filter (MQTT 4.7).

use std::{collections::HashMap, sync::Arc};

use super::session::{SessionId, Subscription};

/// All subscriptions, as a tree of the levels of their filters.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
}

/// One subscription of one session.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) session: SessionId,
    /// The whole `$share/NAME/FILTER`, of a shared subscription (MQTT 4.8.2).
    pub(super) share: Option<Arc<str>>,
    pub(super) subscription: Subscription,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// `+`.
    any: Option<Box<Node>>,
    /// Filters that end here.
    here: Vec<Subscriber>,
    /// Filters that end here with `#`.
    below: Vec<Subscriber>,
}

impl Tree {
    /// Adds a subscription, or takes the place of the session's one to the same filter.
    pub(super) fn insert(&mut self, filter: &str, subscriber: Subscriber) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            match level {
                "#" => return put(&mut node.below, subscriber),
                "+" => node = node.any.get_or_insert_default(),
                _ => node = node.children.entry(level.into()).or_default(),
            }
        }
        put(&mut node.here, subscriber);
    }

    /// Removes a subscription.
    pub(super) fn remove(&mut self, filter: &str, session: SessionId, share: Option<&str>) {
        self.root.remove(filter, session, share);
    }

    /// Calls `found` with each subscription whose filter matches a topic name.
    ///
    /// A wildcard at the start matches no topic that begins with `$` (MQTT 4.7.2).
    pub(super) fn matches<'t>(&'t self, topic: &str, found: &mut impl FnMut(&'t Subscriber)) {
        if !topic.starts_with('$') {
            return self.root.matches(Some(topic), found);
        }
        let (level, rest) = split(topic);
        if let Some(child) = self.root.children.get(level) {
            child.matches(rest, found);
        }
    }
}

impl Node {
    fn matches<'t>(&'t self, rest: Option<&str>, found: &mut impl FnMut(&'t Subscriber)) {
        self.below.iter().for_each(&mut *found);
        let Some(rest) = rest else { return self.here.iter().for_each(found) };
        let (level, rest) = split(rest);
        if let Some(any) = &self.any {
            any.matches(rest, found);
        }
        if let Some(child) = self.children.get(level) {
            child.matches(rest, found);
        }
    }

    fn remove(&mut self, filter: &str, session: SessionId, share: Option<&str>) {
        let (level, rest) = split(filter);
        if level == "#" {
            return take(&mut self.below, session, share);
        }
        let child = match level {
            "+" => self.any.as_deref_mut(),
            _ => self.children.get_mut(level),
        };
        let Some(child) = child else { return };
        match rest {
            Some(rest) => child.remove(rest, session, share),
            None => take(&mut child.here, session, share),
        }
        if child.is_empty() {
            match level {
                "+" => self.any = None,
                _ => drop(self.children.remove(level)),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }
}

/// Splits the first level off a topic or filter.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

fn put(list: &mut Vec<Subscriber>, subscriber: Subscriber) {
    take(list, subscriber.session, subscriber.share.as_deref());
    list.push(subscriber);
}

fn take(list: &mut Vec<Subscriber>, session: SessionId, share: Option<&str>) {
    list.retain(|other| other.session != session || other.share.as_deref() != share);
}
