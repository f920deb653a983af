//! Decides what the hub does; performs nothing.
//!
//! A [`Hub`] is a state machine without I/O, clock, randomness or threads. Its driver gives it one [`Input`] at a time
//! and performs the [`Output`]s that it returns; see [`Hub`] for the contract.
//! Section numbers such as "MQTT 3.2.2.3.15" refer to the OASIS MQTT 5.0 standard.

#![forbid(unsafe_code)]

mod absence;
mod alphabet;
mod answer;
mod backoff;
mod bridge;
mod discovery;
mod expiry;
mod hub;
mod journal;
mod message;
mod notice;
mod outbox;
mod record;
mod requests;
mod token;
pub mod topic;
mod wills;

pub use absence::{
    Absence, Acknowledgement, Acknowledgements, Generation, KnownPrefix, Limits, Memory, OpenWill,
    Outcome, Published,
};
pub use alphabet::*;
pub use answer::{Answer, ContentType, LastKnown, Reason, Status};
pub use bridge::{
    BRIDGE_BYTES, BRIDGE_MESSAGES, BridgeInput, BridgeOutput, DeclaredTopics, Expects, Publication,
    PublishError, TopicObjection, TopicRules,
};
pub use discovery::{Announced, Announcement, Announcer, Discovery, Known, KnownStatus};
pub use hearthd_property as property;
pub use hub::{DevicePolicy, Guard, Hub, HubConfig, Kept, Served, Telling};
pub use message::{Message, QoS, SENDER_ACCOUNT, SENDER_CLIENT_ID, VOUCHES};
pub use notice::*;
pub use record::{JournalRecord, Reply, RequestKey};
pub use token::TokenKey;
