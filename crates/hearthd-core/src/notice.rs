//! What the hub tells people: nothing depends on whether anybody listens.

use std::{sync::Arc, time::Duration};

use crate::{Disconnection, RequestId, topic::Prefix};

/// A fact for people, with no bearing on what the hub does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The prefix is known; every invented topic is under it.
    PrefixLearned {
        /// The prefix; none where the topics stand in their plain form.
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
    /// The broker grants QoS 0: what it would have to keep while the hub is away is lost.
    SubscriptionWeakened {
        /// The filter.
        filter: String,
    },
    /// The broker did not answer SUBSCRIBE; the hub connects again.
    SubscriptionUnanswered {
        /// How many filters the packet had; where it had several, each goes by itself from now on.
        filters: usize,
    },
    /// What the broker of this connection does not offer; told where it is something else than before.
    Lacks(Vec<Lack>),
    /// The broker breaks the standard, and there is no going on with it.
    ProtocolError {
        /// What it does.
        what: &'static str,
    },
    /// The broker ended the connection while it had this message without PUBACK, and may not want it.
    PublishSuspected {
        /// The topic.
        topic: String,
    },
    /// It did so twice over a topic: nothing is published there until the time is over, or the configuration is loaded anew.
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
        /// Whether a requester is left without its answer.
        is_answer: bool,
        /// How many others were left out since the last was told.
        more: u64,
    },
    /// The broker sent a message that cannot be read; it was refused, so that it does not come again.
    MessageUnreadable {
        /// The topic, as far as it can be read.
        topic: String,
        /// What is wrong with it.
        error: String,
        /// How many others there were since the last was told.
        more: u64,
    },
    /// The broker gave no PUBACK in time; the hub connects again.
    PublishUnanswered {
        /// The topic of the oldest message without one.
        topic: String,
    },
    /// The fence did not come back in time: the hub goes on without, and concludes nothing.
    FenceGivenUp,
    /// The broker refused a message.
    PublishRefused {
        /// The topic.
        topic: String,
        /// The reason code.
        reason_code: u8,
    },
    /// A request was not executed, and its requester is not told.
    RequestDropped {
        /// The topic that it came on.
        topic: String,
        /// Why.
        reason: String,
        /// A line for the configuration with which it would be answered.
        remedy: Option<String>,
        /// How many others were dropped since the last was told.
        more: u64,
    },
    /// A request without a Response Topic came to nothing: only the `event` topic tells.
    RequestFailed {
        /// Device ID.
        device: Arc<str>,
        /// Property name.
        property: Arc<str>,
        /// The status.
        status: u16,
        /// Why.
        message: String,
        /// How many others failed since the last was told.
        more: u64,
    },
    /// What claims to be the hub's will, presence, or an answer to its will cannot be that, and counts for nothing.
    EvidenceIgnored {
        /// The topic.
        topic: String,
        /// Why.
        reason: &'static str,
        /// How many others were ignored since the last was told.
        more: u64,
    },
    /// Another hub, or another responder, says that it has a device that this hub has.
    Rival {
        /// Device ID.
        device: Arc<str>,
        /// The other hub's client ID; none where it does not say.
        hub: Option<String>,
    },
    /// The other one has given the device up.
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
    /// What the broker had retained of devices and properties that are no more is cleared.
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
        /// Why it failed; none where it did not, or where enough have failed of late.
        failure: Option<RequestFailure>,
    },
    /// A device answered after its deadline; the requester has had its 408.
    LateAnswer {
        /// The request.
        request: RequestId,
    },
    /// Something else than `online` was published as the hub's presence while it is here; it says `online` again.
    PresenceRestored {
        /// How often it did so since the last was told.
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
    /// The broker has sent more than the hub's Receive Maximum, and more than the hub can hold: the rest is left, and
    /// comes again on another connection.
    ReceiveMaximumExceeded {
        /// How many messages wait.
        held: usize,
    },
    /// A message for the broker was dropped because a queue is full.
    QueueFull {
        /// The topic.
        topic: String,
    },
    /// A message for the broker was dropped: nobody waits for it any more, or it is too large for the broker.
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
        /// Why what came cannot be used, if anything came.
        error: Option<String>,
    },
}

/// Something that the broker does not offer, and that the hub does without.
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
