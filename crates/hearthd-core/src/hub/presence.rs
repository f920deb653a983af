//! The hub's presence: `online` while it is connected, whatever others publish there.

use std::time::Duration;

use super::{Connection, Hub, Phase};
use crate::{
    Generation, Message, Notice, Now, PublishId, QoS, absence::rfc3339, outbox::Kind,
    token::Purpose, topic::Prefix,
};

/// How `online` is kept where it belongs.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// `online` on its way to the broker.
    under_way: Option<PublishId>,
    /// The broker has had `online` of this connection: a later life learns of it, whatever the store holds.
    pub(super) is_told: bool,
    /// Something has taken its place.
    is_displaced: bool,
    /// When it may be said again.
    next: Duration,
    /// The hub has been `online` in this life.
    pub(super) has_been_online: bool,
    /// Another client was seen that uses the hub's client ID.
    is_shared: bool,
}

impl Presence {
    /// The connection is gone; how often `online` is said is not forgotten with it.
    pub(super) fn disconnected(&mut self) {
        self.under_way = None;
        self.is_told = false;
        self.is_displaced = false;
        self.is_shared = false;
    }

    /// The hub ends: what has taken the place of `online` may stay there.
    pub(super) fn ends(&mut self) {
        self.is_displaced = false;
    }

    /// Returns whether it is `online` that the broker has now; it may be too large for it.
    pub(super) fn published(&mut self, id: PublishId, is_taken: bool) -> bool {
        let is_online = self.under_way.take_if(|under_way| *under_way == id).is_some();
        self.is_told |= is_online && is_taken;
        is_online && is_taken
    }

    /// Returns when `online` is said again; none where nothing has displaced it, or it is on its way.
    pub(super) fn due(&self) -> Option<Duration> {
        (self.is_displaced && self.under_way.is_none()).then_some(self.next)
    }
}

impl Hub {
    /// Says `online`: after the fence, so that whoever hears it and asks is never taken for stale.
    pub(super) fn say_online(&mut self, now: Now) {
        let Phase::Online(connection) = &self.phase else { return };
        let online = self.online(&connection.clone());
        self.presence.is_displaced = false;
        self.presence.next = now.monotonic + RESTORED_AGAIN;
        self.presence.under_way = self.send(online, Kind::Connection, None);
    }

    /// Something that is not the hub's `online` was published in its place.
    pub(super) fn displaced(&mut self) {
        if self.stopping.is_none() {
            self.presence.is_displaced = true;
        }
    }

    /// Says `online` again where something has taken its place: one at a time, and once a second at most.
    pub(super) fn restore_presence(&mut self, now: Now) {
        if self.stopping.is_some() || self.presence.due().is_none_or(|due| due > now.monotonic) {
            return;
        }
        if matches!(self.phase, Phase::Online(_)) {
            self.say_online(now);
            if let Some(more) = self.told.restored.tell(now.monotonic) {
                self.notice(Notice::PresenceRestored { more });
            }
        }
    }

    /// Another client that uses the hub's client ID was seen; told once for each connection.
    pub(super) fn saw_namesake(&mut self) {
        if !std::mem::replace(&mut self.presence.is_shared, true) {
            self.notice(Notice::ClientIdShared);
        }
    }

    fn online(&self, connection: &Connection) -> Message {
        let generation = connection.generation;
        Message {
            correlation_data: Some(self.wills.token(generation, Purpose::Online)),
            user_properties: self.introduction(generation),
            ..self.presence_message(connection.prefix.as_ref(), "online")
        }
    }

    /// The last words of an end in order, which no will follows.
    pub(super) fn farewell(&self, now: Now, connection: &Connection) -> Message {
        let generation = connection.generation;
        let mut user_properties = self.introduction(generation);
        user_properties.push(("at".into(), rfc3339(now.unix)));
        Message {
            correlation_data: Some(self.wills.token(generation, Purpose::Farewell)),
            user_properties,
            ..self.presence_message(connection.prefix.as_ref(), "offline")
        }
    }

    /// Returns a message on the hub's own presence topic, retained, without what tells the connection.
    pub(super) fn presence_message(
        &self,
        prefix: Option<&Prefix>,
        payload: &'static str,
    ) -> Message {
        Message {
            topic: self.own_presence_topic(prefix),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            utf8: true,
            content_type: Some("text/plain".into()),
            ..Message::default()
        }
    }

    /// Returns the user properties by which others know the hub and the connection; they do not reveal the
    /// generation.
    pub(super) fn introduction(&self, generation: Generation) -> Vec<(String, String)> {
        vec![
            self.introduction_of_hub(),
            ("client_id".into(), self.config.client_id.clone()),
            ("connected_at".into(), self.connected_at(generation)),
        ]
    }

    fn connected_at(&self, generation: Generation) -> String {
        let open = &self.wills.memory().open;
        open.iter()
            .find(|will| will.generation == generation)
            .map(|will| will.connected_at.clone())
            .unwrap_or_default()
    }
}

/// How soon `online` may be said again.
const RESTORED_AGAIN: Duration = Duration::from_secs(1);
