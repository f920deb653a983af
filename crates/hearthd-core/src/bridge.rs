//! What devices say over MQTT through the hub: what they declare, what they may, and what goes back and forth.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    QoS, RequestId,
    property::is_name,
    topic::{Prefix, Template, Templates, TopicFilter, check_name, is_disallowed},
};

/// The topics that a device uses, as its plugin declares them.
///
/// A publish topic belongs to one device, unless each that declares it shares it. Any number of devices may listen
/// to one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredTopics {
    /// What it listens to.
    pub subscribe: Vec<TopicFilter>,
    /// What it publishes on, and no other device does.
    pub publish: Vec<TopicFilter>,
    /// What it publishes on, as other devices may.
    pub share: Vec<TopicFilter>,
    /// The devices that it may ask, of this hub or of another one.
    pub ask: BTreeSet<String>,
    /// The properties of devices, of this hub or of another one, whose states it hears.
    pub follow: BTreeSet<(String, String)>,
}

impl DeclaredTopics {
    /// Reads pairs of `subscribe`, `publish` or `share`, and a topic filter (MQTT 4.7.1); of `ask`, and a device ID; or of
    /// `follow`, and `DEVICE/PROPERTY`.
    ///
    /// # Errors
    /// The first that is none, or that there are too many.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, String> {
        let mut topics = Self::default();
        let followed = pairs.iter().filter(|(use_, _)| use_ == "follow").count();
        for (count, what, most) in [
            (pairs.len() - followed, "topics", MOST_TOPICS),
            (followed, "states of others", MOST_FOLLOWED),
        ] {
            if count > most {
                return Err(format!("declares {count} {what}, and {most} are the most"));
            }
        }
        for (use_, text) in pairs {
            let list = match use_.as_str() {
                "subscribe" => &mut topics.subscribe,
                "publish" => &mut topics.publish,
                "share" => &mut topics.share,
                "ask" => {
                    check_device_id(text).map_err(|error| format!("`{text}` {error}"))?;
                    topics.ask.insert(text.clone());
                    continue;
                }
                "follow" => {
                    let followed = check_followed(text).map_err(|e| format!("`{text}` {e}"))?;
                    topics.follow.insert(followed);
                    continue;
                }
                other => {
                    let known = "`subscribe`, `publish`, `share`, `ask` and `follow` are";
                    return Err(format!("`{other}` is no use of a topic; {known}"));
                }
            };
            let filter = check(text).map_err(|error| format!("the topic `{text}` {error}"))?;
            if !list.contains(&filter) {
                list.push(filter);
            }
        }
        Ok(topics)
    }

    /// Returns whether the device uses no topic, and neither asks nor follows another device.
    pub fn is_empty(&self) -> bool {
        self.ask.is_empty() && self.follow.is_empty() && self.all().next().is_none()
    }

    /// Returns every topic, with its use.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &TopicFilter)> {
        let subscribe = self.subscribe.iter().map(|filter| ("subscribe", filter));
        let publish = self.publish.iter().map(|filter| ("publish", filter));
        subscribe.chain(publish).chain(self.share.iter().map(|filter| ("share", filter)))
    }

    /// Returns whether the device may publish on a topic name by its own declaration.
    pub fn may_publish(&self, name: &str) -> bool {
        self.publish.iter().chain(&self.share).any(|filter| filter.matches(name))
    }

    /// Reads the address of a request to another device, `DEVICE/PROPERTY`; none where the device may not ask that one.
    pub fn may_ask<'a>(&self, address: &'a str) -> Option<(&'a str, &'a str)> {
        let (device, property) = address.split_once('/')?;
        let may = self.ask.contains(device) && is_name(property);
        may.then_some((device, property))
    }

    /// Returns a topic of this device that both devices would publish on.
    fn conflict(&self, other: &Self) -> Option<&TopicFilter> {
        let alone = self.publish.iter().find(|own| {
            other.publish.iter().chain(&other.share).any(|filter| filter.overlaps(own))
        });
        let shared = || {
            self.share.iter().find(|own| other.publish.iter().any(|filter| filter.overlaps(own)))
        };
        alone.or_else(shared)
    }
}

/// Why a device may not use the topics that it declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicObjection {
    /// The topic is one that the hub itself uses.
    OfHub {
        /// The topic.
        topic: TopicFilter,
        /// The key of `[topics]` that makes it.
        key: &'static str,
    },
    /// The devices ask each other, so that a request to one of them would come back to it.
    Circle {
        /// From this device to itself.
        path: Vec<String>,
    },
    /// Another device publishes on it.
    OfDevice {
        /// The topic.
        topic: TopicFilter,
        /// The other device's ID.
        device: String,
    },
    /// These topics lie outside of the prefix, and the operator has not allowed them.
    NotAllowed {
        /// The topics.
        topics: Vec<TopicFilter>,
        /// The prefix.
        prefix: Option<Prefix>,
    },
}

impl TopicObjection {
    /// Returns the line of the configuration that would help.
    pub fn remedy(&self) -> Option<String> {
        let Self::NotAllowed { topics, .. } = self else { return None };
        let topics: Vec<_> = topics.iter().map(TopicFilter::as_str).collect();
        Some(format!("[bridges] allow = {topics:?}"))
    }
}

impl fmt::Display for TopicObjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfHub { topic, key } => {
                write!(f, "its topic `{}` is one of the hub's own, by topics.{key}", topic.as_str())
            }
            Self::Circle { path } => write!(f, "it asks itself: {}", path.join(", which asks ")),
            Self::OfDevice { topic, device } => {
                write!(f, "`{device}` publishes on its topic `{}` as well", topic.as_str())
            }
            Self::NotAllowed { topics, prefix } => {
                let topic = topics.first().map_or("", |topic| topic.as_str());
                match prefix {
                    Some(prefix) => {
                        write!(
                            f,
                            "its topic `{topic}` is neither below the prefix `{prefix}` nor allowed"
                        )?;
                    }
                    None => write!(f, "its topic `{topic}` is not allowed")?,
                }
                write!(f, "; add {}", self.remedy().unwrap_or_default())
            }
        }
    }
}

/// What decides about the devices' topics.
#[derive(Clone, Copy, Debug)]
pub struct TopicRules<'c> {
    /// The hub's own topics.
    pub topics: &'c Templates,
    /// The hub's client ID.
    pub client_id: &'c str,
    /// `[bridges] allow`.
    pub allow: &'c [TopicFilter],
    /// The prefix.
    pub prefix: Option<&'c Prefix>,
}

impl TopicRules<'_> {
    /// Returns what speaks against the topics of each device.
    pub fn objections<'d>(
        &self,
        devices: impl Iterator<Item = (&'d str, &'d DeclaredTopics)> + Clone,
    ) -> BTreeMap<String, TopicObjection> {
        let own = Index::new(self.own_topics(devices.clone().map(|(id, _)| id)));
        let bridging: BTreeMap<&str, &DeclaredTopics> =
            devices.filter(|(_, topics)| !topics.is_empty()).collect();
        let each = |of: fn(&DeclaredTopics) -> &Vec<TopicFilter>| {
            let all = bridging.iter();
            Index::new(
                all.flat_map(|(id, topics)| of(topics).iter().map(|topic| (*id, topic.clone()))),
            )
        };
        let (alone, shared) = (each(|topics| &topics.publish), each(|topics| &topics.share));
        let objection = |id: &str, topics: &DeclaredTopics| {
            let of_hub = topics.all().find_map(|(_, topic)| {
                let key = own.overlapping(topic).next()?;
                Some(TopicObjection::OfHub { topic: topic.clone(), key })
            });
            let of_device = || {
                let all = topics.publish.iter().chain(&topics.share);
                let others = all.flat_map(|topic| alone.overlapping(topic));
                let sharing = topics.publish.iter().flat_map(|topic| shared.overlapping(topic));
                let others: BTreeSet<&str> = others.chain(sharing).collect();
                others.into_iter().filter(|other| *other != id).find_map(|other| {
                    let topic = topics.conflict(bridging.get(other)?)?.clone();
                    Some(TopicObjection::OfDevice { topic, device: other.to_owned() })
                })
            };
            let of_itself = || {
                let path = way_back(id, &bridging)?;
                Some(TopicObjection::Circle { path })
            };
            of_hub.or_else(of_device).or_else(of_itself).or_else(|| self.not_allowed(topics))
        };
        let found = bridging
            .iter()
            .filter_map(|(id, topics)| Some(((*id).to_owned(), objection(id, topics)?)));
        found.collect()
    }

    fn not_allowed(&self, topics: &DeclaredTopics) -> Option<TopicObjection> {
        let mut refused: Vec<TopicFilter> = Vec::new();
        for (_, topic) in topics.all() {
            let inside = self.prefix.is_some_and(|prefix| prefix.contains(topic.as_str()));
            let allowed = self.allow.iter().any(|allow| allow.covers(topic));
            if !inside && !allowed && !refused.contains(topic) {
                refused.push(topic.clone());
            }
        }
        let prefix = self.prefix.cloned();
        (!refused.is_empty()).then_some(TopicObjection::NotAllowed { topics: refused, prefix })
    }

    /// Names the hub's own topics. Below a prefix that are those of every hub and device; without one, where bridges use
    /// the same words, those of this hub's devices alone.
    fn own_topics<'d>(
        &self,
        devices: impl Iterator<Item = &'d str>,
    ) -> Vec<(&'static str, TopicFilter)> {
        let Templates { request, state, response, presence, absence, event, snapshot } =
            self.topics;
        let mut own = Vec::new();
        let mut add = |key, template: &Template, values: &[(&str, &str)]| {
            let filter = template.build(self.prefix, values);
            own.extend(TopicFilter::parse(&filter).ok().map(|filter| (key, filter)));
        };
        let any = |name| (name, "+");
        add("response", response, &[any("client_id"), any("purpose")]);
        add("presence", presence, &[any("client_id")]);
        add("absence", absence, &[any("client_id")]);
        let ids: Vec<&str> = match self.prefix {
            Some(_) => vec!["+"],
            None => {
                let mut ids: Vec<&str> = devices.collect();
                ids.push(self.client_id);
                ids
            }
        };
        for id in ids {
            add("request", request, &[("device", id), any("property")]);
            add("state", state, &[("device", id), any("property")]);
            add("event", event, &[("device", id)]);
            add("snapshot", snapshot, &[("device", id)]);
        }
        own
    }
}

/// Returns how a device's requests come back to it, by the devices that the others may ask.
fn way_back(id: &str, devices: &BTreeMap<&str, &DeclaredTopics>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![id]];
    while let Some(path) = paths.pop() {
        let asked = path.last().and_then(|last| devices.get(last)).map(|topics| &topics.ask);
        for next in asked.into_iter().flatten() {
            let path: Vec<&str> = path.iter().copied().chain([next.as_str()]).collect();
            if next == id {
                return Some(path.into_iter().map(str::to_owned).collect());
            }
            if seen.insert(next) {
                paths.push(path);
            }
        }
    }
    None
}

/// Filters, and whose they are: a filter is compared only with those that it may overlap.
struct Index<'o> {
    names: BTreeMap<String, Vec<(usize, &'o str)>>,
    /// By the levels before the first wildcard.
    patterns: BTreeMap<String, Vec<(usize, &'o str, TopicFilter)>>,
}

impl<'o> Index<'o> {
    fn new(filters: impl IntoIterator<Item = (&'o str, TopicFilter)>) -> Self {
        let mut index = Self { names: BTreeMap::new(), patterns: BTreeMap::new() };
        for (place, (owner, filter)) in filters.into_iter().enumerate() {
            if filter.has_wildcard() {
                let head = filter.head().to_owned();
                index.patterns.entry(head).or_default().push((place, owner, filter));
            } else {
                let name = filter.as_str().to_owned();
                index.names.entry(name).or_default().push((place, owner));
            }
        }
        index
    }

    /// Returns the owners of the filters that overlap one, in the order in which they came.
    fn overlapping(&self, filter: &TopicFilter) -> impl Iterator<Item = &'o str> {
        let mut found: Vec<(usize, &'o str)> = Vec::new();
        if filter.has_wildcard() {
            let names = self.names.iter().filter(|(name, _)| filter.matches(name));
            found.extend(names.flat_map(|(_, owners)| owners));
        } else {
            found.extend(self.names.get(filter.as_str()).into_iter().flatten());
        }
        let head = filter.head();
        let shorter = head.match_indices('/').map(|(end, _)| &head[..end]).chain(["", head]);
        let shorter = shorter.filter_map(|head| self.patterns.get(head));
        // Only a wildcard can stand for the levels that another filter has more.
        let below = if head.is_empty() { String::new() } else { format!("{head}/") };
        let longer = self.patterns.range(below.clone()..);
        let longer = longer
            .take_while(|(longer, _)| filter.has_wildcard() && longer.starts_with(&below))
            .map(|(_, patterns)| patterns);
        let patterns = shorter.chain(longer).flatten();
        let patterns = patterns.filter(|(.., pattern)| pattern.overlaps(filter));
        found.extend(patterns.map(|(place, owner, _)| (*place, *owner)));
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|(_, owner)| owner)
    }
}

/// What a device wants of MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeInput {
    /// Its instance is there, or there anew: it wants its subscriptions, and to be told of the connection.
    Begun,
    /// It publishes.
    Publish(Publication),
}

/// A message that a device wants published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Names it in [`BridgeOutput::Outcome`]; never used twice.
    pub number: u64,
    /// The topic name; of a request to another device, `DEVICE/PROPERTY`.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// The quality of service.
    pub qos: QoS,
    /// The RETAIN flag (MQTT 3.3.1.3).
    pub retain: bool,
    /// How long it is wanted: the Message Expiry Interval (MQTT 3.3.2.3.3), and how long a reply is awaited.
    pub expiry: Duration,
    /// What comes back.
    pub expects: Expects,
    /// The request that it belongs to: it leaves before that is answered, or not at all.
    pub request: Option<RequestId>,
}

/// What comes back for a publication: for all but `Nothing` the hub adds Response Topic and Correlation Data (MQTT 4.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expects {
    /// That the broker has it.
    #[default]
    Nothing,
    /// A reply.
    Reply,
    /// Another device's answer: it is a request, and the hub makes its topic.
    Answer,
}

/// What a device is told of MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeOutput {
    /// There is a connection with all its subscriptions, or there is none any more.
    Link {
        /// Whether there is.
        up: bool,
    },
    /// A message arrived on one of its topics.
    Message {
        /// The topic name.
        topic: String,
        /// The payload.
        payload: Bytes,
        /// Whether the broker had it stored when the hub subscribed.
        retained: bool,
    },
    /// What became of a publication: the one word about it.
    Outcome {
        /// The publication.
        number: u64,
        /// The reply's payload, or another device's answer as JSON: `status`, `payload`, `message` and `reason`; empty where
        /// neither was asked for, and the broker has the message.
        result: Result<Bytes, PublishError>,
    },
    /// Whether the device may use its topics at all has changed.
    Refused {
        /// Why it may not, for people.
        reason: Option<String>,
    },
}

/// Why a publication came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// There is no connection, or it was lost.
    Gone,
    /// Too many messages of the device wait.
    Busy,
    /// The topic was not declared, is not allowed, or the broker does not take the message.
    Refused,
    /// The broker takes no message of this size.
    TooLarge,
    /// Its time was over, or its request was answered; or no reply came in time.
    Late,
}

/// Returns why this is no ID of a device, which is one level of a topic (MQTT 4.7.1.1).
fn check_device_id(text: &str) -> Result<(), &'static str> {
    if text.contains('/') || check_name(text).is_err() || text.len() > LONGEST_TOPIC {
        return Err("is no ID of a device");
    }
    Ok(())
}

/// Reads whose state is followed, `DEVICE/PROPERTY`.
fn check_followed(text: &str) -> Result<(String, String), &'static str> {
    let parts = text.split_once('/').filter(|(device, property)| {
        check_device_id(device).is_ok() && is_name(property) && *property != STATUS
    });
    let (device, property) = parts.ok_or("is no DEVICE/PROPERTY")?;
    Ok((device.to_owned(), property.to_owned()))
}

fn check(text: &str) -> Result<TopicFilter, &'static str> {
    if text.starts_with('$') {
        return Err("starts with `$`");
    }
    if text.chars().any(is_disallowed) {
        return Err("contains a control character");
    }
    if text.len() > LONGEST_TOPIC {
        return Err("is longer than 1,024 bytes");
    }
    TopicFilter::parse(text)
}

/// How many topics one device may declare.
const MOST_TOPICS: usize = 64;
/// Likewise of states of others that it follows.
const MOST_FOLLOWED: usize = 256;
/// How a device is, which the hub tells itself.
const STATUS: &str = "status";
/// How many bytes each may have.
const LONGEST_TOPIC: usize = 1024;
/// Messages of one device that wait for the broker, or for their replies.
pub const BRIDGE_MESSAGES: usize = 16;
/// How many bytes those may be.
pub const BRIDGE_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(pairs: &[(&str, &str)]) -> DeclaredTopics {
        let pairs: Vec<_> =
            pairs.iter().map(|(use_, topic)| ((*use_).to_owned(), (*topic).to_owned())).collect();
        DeclaredTopics::parse(&pairs).unwrap()
    }

    fn objections(
        prefix: Option<&str>,
        allow: &[&str],
        devices: &[(&str, &DeclaredTopics)],
    ) -> Vec<(String, String)> {
        let prefix = prefix.map(|prefix| Prefix::parse(prefix).unwrap());
        let allow: Vec<_> = allow.iter().map(|text| TopicFilter::parse(text).unwrap()).collect();
        let topics = Templates::default();
        let rules = TopicRules {
            topics: &topics,
            client_id: "hub",
            allow: &allow,
            prefix: prefix.as_ref(),
        };
        let found = rules.objections(devices.iter().copied());
        found.into_iter().map(|(id, objection)| (id, objection.to_string())).collect()
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for (pair, error) in [
            (
                ("listen", "a"),
                "`listen` is no use of a topic; `subscribe`, `publish`, `share`, `ask` and `follow` are",
            ),
            (("publish", ""), "the topic `` is empty"),
            (("publish", "$SYS/a"), "the topic `$SYS/a` starts with `$`"),
            (("subscribe", "a/#/b"), "the topic `a/#/b` `#` is not its last level"),
        ] {
            let pairs = [(pair.0.to_owned(), pair.1.to_owned())];
            assert_eq!(DeclaredTopics::parse(&pairs), Err(error.to_owned()));
        }
        let many: Vec<_> = (0..65).map(|n| ("publish".to_owned(), format!("a/{n}"))).collect();
        let error = DeclaredTopics::parse(&many).unwrap_err();
        assert_eq!(error, "declares 65 topics, and 64 are the most");
    }

    #[test]
    fn what_lies_outside_of_the_prefix_must_be_allowed() {
        let lamp = declared(&[("subscribe", "z/lamp"), ("publish", "z/lamp/set")]);
        let told = "its topic `z/lamp` is neither below the prefix `alice` nor allowed; add [bridges] \
                    allow = [\"z/lamp\", \"z/lamp/set\"]";
        let devices = [("lamp", &lamp)];
        assert_eq!(objections(Some("alice"), &[], &devices), [("lamp".into(), told.into())]);
        assert_eq!(objections(Some("alice"), &["z/lamp"], &devices).len(), 1);
        assert_eq!(objections(Some("alice"), &["z/#"], &devices), []);
        assert_eq!(objections(Some("z"), &[], &devices), []);
        assert_eq!(objections(None, &[], &devices).len(), 1);
        let wild = declared(&[("subscribe", "z/#")]);
        assert_eq!(objections(None, &["z/+"], &[("lamp", &wild)]).len(), 1);
    }

    #[test]
    fn the_hubs_own_topics_are_no_devices() {
        let all = ["#"];
        for topic in [
            "a/cmnd/x/y",
            "a/state/x/status",
            "a/response/phone/will",
            "a/hub/x/presence",
            "a/hub/x/absence",
            "a/event/x",
            "a/#",
            "+/cmnd/#",
            "#",
        ] {
            for use_ in ["subscribe", "publish", "share"] {
                let lamp = declared(&[(use_, topic)]);
                let found = objections(Some("a"), &all, &[("lamp", &lamp)]);
                assert!(found[0].1.contains("is one of the hub's own"), "{topic}: {found:?}");
            }
        }
        // A Tasmota has topics like those of a hub that has no prefix.
        let plug = declared(&[("publish", "cmnd/plug/POWER"), ("subscribe", "stat/plug/RESULT")]);
        assert_eq!(objections(Some("a"), &all, &[("plug", &plug)]), []);
        assert_eq!(objections(None, &all, &[("kitchen", &plug)]), []);
        let told = "its topic `cmnd/plug/POWER` is one of the hub's own, by topics.request";
        assert_eq!(objections(None, &all, &[("plug", &plug)]), [("plug".into(), told.into())]);
    }

    #[test]
    fn of_two_devices_on_one_publish_topic_neither_may_use_it_unless_both_share_it() {
        let alone = declared(&[("publish", "z/lamp/set"), ("subscribe", "z/lamp")]);
        let shared = declared(&[("share", "z/lamp/set"), ("subscribe", "z/lamp")]);
        let names = |one: &DeclaredTopics, other: &DeclaredTopics| {
            let found = objections(None, &["z/#"], &[("one", one), ("other", other)]);
            found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(names(&alone, &alone), ["one", "other"]);
        assert_eq!(names(&alone, &shared), ["one", "other"]);
        assert_eq!(names(&shared, &shared), [""; 0]);
        let listens = declared(&[("subscribe", "z/+")]);
        assert_eq!(names(&alone, &listens), [""; 0]);
    }

    #[test]
    fn an_index_finds_all_that_overlap_and_nothing_else() {
        const LEVELS: [&str; 8] = ["", "a", "a-", "ab", "b", "$a", "+", "#"];
        let mut texts: Vec<String> = LEVELS.map(str::to_owned).into();
        for shorter in 0..72 {
            let longer = LEVELS.map(|level| format!("{}/{level}", texts[shorter]));
            texts.extend(longer);
        }
        let filters: Vec<_> = texts.iter().filter_map(|t| TopicFilter::parse(t).ok()).collect();
        let owners = filters.iter().map(TopicFilter::as_str);
        let index = Index::new(owners.zip(filters.iter().cloned()));
        for asked in &filters {
            let found: Vec<&str> = index.overlapping(asked).collect();
            let all = filters.iter().filter(|other| other.overlaps(asked));
            let expected: Vec<&str> = all.map(TopicFilter::as_str).collect();
            assert_eq!(found, expected, "{asked:?}");
        }
    }
}
