//! Finds out who serves a device before a request is sent, from the retained messages.

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::{Message, QoS, topic::TopicFilter};
use tokio::time::{Instant, timeout};

use super::{Asking, REFUSED, check_level};
use hearthd_config::most_similar;

use crate::{client::connection::ConnectionError, random::random_bytes};

/// What is known of the responder of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A retained message tells of the device, or of the hub of that name.
    Told,
    /// None does.
    Untold {
        /// A device that there is, with a name like it.
        similar: Option<String>,
    },
    /// The broker does not tell.
    Hidden,
    /// Its hub is away.
    Away(Away),
}

impl Known {
    /// Gives a hint for the case that nobody serves the device.
    pub(super) fn hint_for_nobody(&self) -> String {
        match self {
            Self::Untold { similar: Some(similar) } => format!("; did you mean `{similar}`?"),
            Self::Untold { similar: None } => {
                ", and no hub tells of it: is its hub running?".into()
            }
            Self::Told | Self::Hidden | Self::Away(_) => ": is its hub running?".into(),
        }
    }

    /// Gives a hint for the case that a responder may have the request, and does not answer.
    pub(super) fn hint_for_silence(&self, device: &str) -> String {
        match self {
            Self::Untold { similar } => {
                let similar = similar.as_ref();
                let question = similar.map(|similar| format!("; did you mean `{similar}`?"));
                format!(": no hub tells of a device `{device}`{}", question.unwrap_or_default())
            }
            Self::Told | Self::Hidden | Self::Away(_) => String::new(),
        }
    }
}

/// A hub that is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The hub's client ID.
    pub hub: String,
    /// Since when, as far as its presence tells.
    pub since: Since,
}

/// What a presence tells about the beginning of an absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// The hub ended in order at this time (RFC 3339).
    Ended(String),
    /// The broker published the will of the connection that began at this time (RFC 3339).
    Lost(String),
    /// Nothing.
    Unknown,
}

impl Away {
    /// Reads the presence of a hub; `None` if the hub is not away.
    pub(super) fn read(hub: &str, presence: &Message) -> Option<Self> {
        // Whatever else a message says goes to a terminal.
        let time = |name| {
            let text = presence.user_property(name)?;
            humantime::parse_rfc3339(text).is_ok().then(|| text.to_owned())
        };
        let is_will = presence.response_topic.is_some();
        let since = match (time("at"), time("connected_at")) {
            (Some(at), _) => Since::Ended(at),
            (None, Some(connected_at)) if is_will => Since::Lost(connected_at),
            (None, _) => Since::Unknown,
        };
        let offline = presence.payload == "offline";
        offline.then(|| Self { hub: hub.to_owned(), since })
    }
}

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hub = &self.hub;
        match &self.since {
            Since::Ended(at) => write!(f, "hub {hub} is away since {at}"),
            Since::Lost(connected_at) => {
                write!(f, "hub {hub} is away: its connection of {connected_at} was lost")
            }
            Since::Unknown => write!(f, "hub {hub} is away"),
        }
    }
}

impl std::error::Error for Away {}

/// How much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breadth {
    /// The status of every device, under the names that exist.
    AllDevices,
    /// The status of the device that is asked.
    OneDevice,
}

/// The last message on each topic.
type Retained = BTreeMap<String, Message>;

impl Asking<'_> {
    /// Finds out who serves a device, or whether the hub of this name is here.
    ///
    /// # Errors
    /// Where the connection ends meanwhile, or the broker leaves a packet without an answer.
    pub(super) async fn find(
        &mut self,
        device: &str,
        breadth: Breadth,
    ) -> Result<Known, ConnectionError> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let found = timeout(LOOK_TIMEOUT.min(remaining / 3), self.look(device, breadth)).await;
        found.unwrap_or_else(|_| Err(ConnectionError::Unavailable("no answer".into())))
    }

    async fn look(&mut self, device: &str, breadth: Breadth) -> Result<Known, ConnectionError> {
        let is_own_hub = device == self.config.broker.client_id;
        let statuses = if is_own_hub { None } else { self.statuses(device, breadth).await? };
        let status = statuses.as_ref().and_then(|all| all.get(&self.status_topic(device)));
        if let Some(status) = status {
            let hub = status.user_property("hub").filter(|hub| check_level(hub).is_ok());
            let Some(hub) = hub else { return Ok(Known::Told) };
            let presence = self.presence(hub).await?;
            let away = presence.flatten().and_then(|presence| Away::read(hub, &presence));
            return Ok(away.map_or(Known::Told, Known::Away));
        }
        // It may be a hub.
        match (self.presence(device).await?, statuses) {
            (Some(Some(presence)), _) => {
                Ok(Away::read(device, &presence).map_or(Known::Told, Known::Away))
            }
            (Some(None), _) if is_own_hub => Ok(Known::Untold { similar: None }),
            (_, Some(statuses)) => {
                let similar = most_similar(device, self.names(&statuses)).map(str::to_owned);
                Ok(Known::Untold { similar })
            }
            (_, None) => Ok(Known::Hidden),
        }
    }

    /// Lists the devices and their hubs.
    fn names<'r>(&self, statuses: &'r Retained) -> impl Iterator<Item = &'r str> {
        let names = statuses.iter().flat_map(|(topic, status)| {
            let values = self.config.topics.state.match_name(self.prefix.as_ref(), topic);
            [values.and_then(|values| values.get("device")), status.user_property("hub")]
        });
        names.flatten().filter(|name| check_level(name).is_ok())
    }

    /// Reads the statuses of all devices, or of one if the broker grants no more; `None` if the broker sends nothing.
    async fn statuses(
        &mut self,
        device: &str,
        breadth: Breadth,
    ) -> Result<Option<Retained>, ConnectionError> {
        let topic = self.status_topic(device);
        if breadth == Breadth::AllDevices {
            let statuses = self.retained(&self.status_topic("+"), &topic).await?;
            if statuses.is_some() {
                return Ok(statuses);
            }
        }
        self.retained(&topic, &topic).await
    }

    /// Reads a hub's presence: none where the broker does not tell, and none inside where the hub has none.
    async fn presence(&mut self, hub: &str) -> Result<Option<Option<Message>>, ConnectionError> {
        let values = [("client_id", hub)];
        let topic = self.config.topics.presence.build(self.prefix.as_ref(), &values);
        let retained = self.retained(&topic, &topic).await?;
        Ok(retained.map(|mut retained| retained.remove(&topic)))
    }

    fn status_topic(&self, device: &str) -> String {
        let values = [("device", device), ("property", "status")];
        self.config.topics.state.build(self.prefix.as_ref(), &values)
    }

    /// Reads retained messages until `wanted` has arrived or all have; `None` if the broker sends nothing.
    async fn retained(
        &mut self,
        filter: &str,
        wanted: &str,
    ) -> Result<Option<Retained>, ConnectionError> {
        if self.connection.subscribe(filter, true).await? >= REFUSED {
            return Ok(None);
        }
        let matching = TopicFilter::parse(filter).ok();
        // Comes back behind what was retained.
        let marker = Message {
            topic: self.response_topic.clone(),
            qos: QoS::AtLeastOnce,
            expiry: Some(60),
            correlation_data: Some(random_bytes().to_vec().into()),
            ..Message::default()
        };
        let is_on_its_way = self.connection.publish(&marker).await? < REFUSED;
        let patience = if is_on_its_way { MARKER_TIMEOUT } else { SETTLE };
        let mut retained = Retained::new();
        let mut is_back = false;
        let mut end = Instant::now() + patience;
        while !retained.contains_key(wanted) {
            let Some(message) = self.connection.receive_until(end).await? else { break };
            let is_marker = message.topic == marker.topic
                && message.correlation_data == marker.correlation_data;
            if is_marker {
                is_back = true;
                end = Instant::now() + SETTLE;
            } else if matching.as_ref().is_some_and(|filter| filter.matches(&message.topic)) {
                // An empty one takes it back (MQTT 3.3.1.3).
                if message.payload.is_empty() {
                    retained.remove(&message.topic);
                } else {
                    retained.insert(message.topic.clone(), message);
                }
            }
        }
        let is_complete = is_back || retained.contains_key(wanted);
        Ok(is_complete.then_some(retained))
    }
}

/// How long the look may take, all in all.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the marker may take to come back.
const MARKER_TIMEOUT: Duration = Duration::from_millis(800);
/// How long to wait after the marker: order holds within a topic alone (MQTT 4.6).
const SETTLE: Duration = Duration::from_millis(50);
