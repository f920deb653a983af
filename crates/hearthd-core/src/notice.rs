//! The hub's reports for people. Nothing depends on them.

use std::{sync::Arc, time::Duration};

use crate::{Disconnection, RequestId, topic::Prefix};

/// A fact for people; it does not affect what the hub does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The prefix is known; every invented topic is under it.
    PrefixLearned {
        /// The prefix; `None` if the topics have none.
        prefix: Option<Prefix>,
    },
    /// The broker's Response Information cannot be used.
    ResponseInformationRefused {
        /// Why.
        error: String,
    },
    /// The broker refused CONNECT because of the will.
    WillRefused {
        /// The reason code.
        reason_code: u8,
    },
    /// There is no connection; the next attempt follows.
    Offline {
        /// Why.
        cause: Disconnection,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// `online` is published on a connection that carries the right will.
    Online {
        /// Whether the broker had kept the session.
        session_present: bool,
    },
    /// The broker refused a subscription, for the first time on this connection; the hub tries again.
    SubscriptionRefused {
        /// The filter.
        filter: String,
        /// The reason code.
        reason_code: u8,
    },
    /// The broker grants QoS 0: messages that arrive while the hub is away are lost.
    SubscriptionWeakened {
        /// The filter.
        filter: String,
    },
    /// The broker did not answer SUBSCRIBE; the hub connects again.
    SubscriptionUnanswered {
        /// How many filters the packet had; if several, each is sent in its own packet from now on.
        filters: usize,
    },
    /// What the broker of this connection does not offer; reported when it changes.
    Lacks(Vec<Lack>),
    /// The broker breaks the standard in a way that the hub cannot work with.
    ProtocolError {
        /// What it does.
        what: &'static str,
    },
    /// The broker ended the connection while it had this message without PUBACK, probably because of the message.
    PublishSuspected {
        /// The topic.
        topic: String,
    },
    /// The broker did so twice because of a topic: the hub publishes nothing there until the time is over, or a reload.
    TopicSetAside {
        /// The topic.
        topic: String,
        /// For how long.
        time: Duration,
    },
    /// A message was not published, because its topic is set aside.
    MessageLeftOut {
        /// The topic.
        topic: String,
        /// Whether a requester gets no answer because of it.
        is_answer: bool,
        /// How many others were left out since the last report.
        more: u64,
    },
    /// The broker sent a message that cannot be read; it was refused, so that it does not come again.
    MessageUnreadable {
        /// The topic, as far as it can be read.
        topic: String,
        /// What is wrong with it.
        error: String,
        /// How many others there were since the last report.
        more: u64,
    },
    /// The broker gave no PUBACK in time; the hub connects again.
    PublishUnanswered {
        /// The topic of the oldest message without one.
        topic: String,
    },
    /// The fence did not come back in time: the hub goes online without it, and concludes nothing from silence.
    FenceGivenUp,
    /// The broker refused a message.
    PublishRefused {
        /// The topic.
        topic: String,
        /// The reason code.
        reason_code: u8,
    },
    /// A request was not carried out, and its requester gets no answer.
    RequestDropped {
        /// The topic that it came on.
        topic: String,
        /// Why.
        reason: String,
        /// A configuration line that would allow the answer.
        remedy: Option<String>,
        /// How many others were dropped since the last report.
        more: u64,
    },
    /// A request without a Response Topic failed, or one that was answered 202: only the `event` topic says so.
    RequestFailed {
        /// Device ID.
        device: Arc<str>,
        /// Property name.
        property: Arc<str>,
        /// The status.
        status: u16,
        /// Why.
        message: String,
        /// Whether it was answered 202.
        was_accepted: bool,
        /// How many others failed since the last report.
        more: u64,
    },
    /// A message that claims to be the hub's will or presence, or an acknowledgement of its will, is not evidence.
    EvidenceIgnored {
        /// The topic.
        topic: String,
        /// Why.
        reason: &'static str,
        /// How many others were ignored since the last report.
        more: u64,
    },
    /// Another hub, or another responder, claims a device of this hub.
    Rival {
        /// Device ID.
        device: Arc<str>,
        /// The other hub's client ID; `None` if it does not give one.
        hub: Option<String>,
    },
    /// The other one no longer claims the device.
    RivalGone {
        /// Device ID.
        device: Arc<str>,
    },
    /// Another client uses the hub's client ID.
    ClientIdShared,
    /// The broker adds a Message Expiry Interval to messages that have none, or does so no more.
    ExpiryAdded {
        /// Whether it does.
        added: bool,
    },
    /// The broker refuses what discovery needs, for the first time on this connection; all else goes on.
    DiscoveryRefused {
        /// The topic or filter.
        topic: String,
        /// The reason code; none where it ended connections over it.
        reason_code: Option<u8>,
    },
    /// The retained messages of removed devices and properties are cleared.
    TakenBack {
        /// How many topics.
        topics: usize,
    },
    /// A request was answered.
    RequestAnswered {
        /// Device ID.
        device: Arc<str>,
        /// Property name.
        property: Arc<str>,
        /// The status.
        status: u16,
        /// From arrival to answer.
        elapsed: Duration,
        /// Why it failed; `None` if it did not, or if enough failures were reported lately.
        failure: Option<RequestFailure>,
    },
    /// A device answered after its deadline; the requester has got 408.
    LateAnswer {
        /// The request.
        request: RequestId,
    },
    /// Another message replaced `online` while the hub is connected; the hub publishes `online` again.
    PresenceRestored {
        /// How often that happened since the last report.
        more: u64,
    },
    /// Another hub's will was published; this hub acts on it.
    Guarding {
        /// The other hub's presence topic.
        presence: String,
        /// Device ID.
        device: Arc<str>,
        /// Property name.
        property: Arc<str>,
    },
    /// The broker has sent more than the hub's Receive Maximum, and more than the hub can hold. The rest comes again on
    /// another connection.
    ReceiveMaximumExceeded {
        /// How many messages wait.
        held: usize,
    },
    /// A message for the broker was dropped because a queue is full.
    QueueFull {
        /// The topic.
        topic: String,
    },
    /// A message for the broker was dropped: it is too late for its receiver, or too large for the broker.
    MessageDropped {
        /// The topic.
        topic: String,
    },
}

/// Why the hub cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The configuration requires Response Information and the broker offers none that can be used.
    ResponseInformationRequired {
        /// Why the received text cannot be used, if there was one.
        error: Option<String>,
    },
}

/// A feature that the broker does not offer, and that the hub works without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// No message above QoS 0: what is published while a receiver is away is lost, the will as well.
    AtLeastOnce,
    /// No retained messages: whoever subscribes later learns neither states nor presence.
    Retain,
    /// No filters with wildcards: one for each property instead.
    Wildcards,
    /// The session lives shorter than asked for.
    SessionExpiry {
        /// For so many seconds.
        seconds: u32,
    },
    /// The session is another client ID's.
    ClientId {
        /// The broker's choice.
        assigned: String,
    },
}

/// A request that failed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFailure {
    /// Who asked: the account that the broker vouches for, else the Response Topic.
    pub requester: Arc<str>,
    /// Why.
    pub message: String,
    /// How many more have failed since the last one that was told.
    pub more: u64,
}
