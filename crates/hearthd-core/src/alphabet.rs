//! All inputs and outputs of the hub. Nothing else can happen to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Absence, Announced, Answer, BridgeInput, BridgeOutput, ContentType, DevicePolicy, Discovery,
    Fatal, JournalRecord, Limits, Memory, Message, Notice, QoS, RequestKey, Served,
    topic::TopicFilter,
};

/// The time at which an input happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since the system booted, which never goes back. All deadlines use it.
    ///
    /// It continues when the daemon starts again, until the next boot.
    pub monotonic: Duration,
    /// Time since the Unix epoch by the system's clock, for people; no decision depends on it.
    pub unix: Duration,
}

/// An input of the hub.
#[derive(Clone, Debug)]
pub enum Input {
    /// CONNACK with a success code arrived (MQTT 3.2).
    Connected(Connack),
    /// The connection attempt failed, or the connection ended.
    Disconnected(Disconnection),
    /// SUBACK arrived with one reason code for each filter (MQTT 3.9.3).
    Subscribed {
        /// In the order of the subscriptions; 0x80 and above are refusals.
        reason_codes: Vec<u8>,
    },
    /// PUBLISH arrived.
    Received {
        /// The message.
        message: Message,
        /// The delivery to acknowledge; `None` at QoS 0.
        delivery: Option<Delivery>,
    },
    /// A PUBLISH arrived that cannot be read. It was refused, and does not come again.
    Unreadable {
        /// The topic, as far as it can be read.
        topic: String,
        /// What is wrong with it, for people.
        error: String,
    },
    /// A message of the hub was acknowledged, or, at QoS 0, written.
    Published {
        /// The message.
        id: PublishId,
        /// The reason code of PUBACK; 0x80 and above are refusals (MQTT 3.4.2.1).
        reason_code: u8,
    },
    /// The store has written this revision and all before it, and synced them.
    Stored {
        /// The revision of [`Output::Store`].
        revision: u64,
    },
    /// The store cannot be written, and has none of the revisions that it has not reported, until the next
    /// [`Input::Stored`].
    StoreFailed {
        /// The newest revision that [`Output::Store`] gave it.
        revision: u64,
        /// Why, for people.
        error: String,
    },
    /// A device, or the hub's own responder, answered a request.
    Answered {
        /// The request of [`Output::Execute`].
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// A device has come to the end of a request that it had answered with [`Status::Accepted`](crate::Status::Accepted).
    Ended {
        /// The request of [`Output::Execute`].
        request: RequestId,
        /// What has become of it.
        answer: Answer,
    },
    /// A device reported the state of a property.
    State(PropertyState),
    /// Something has happened at a device that is no state.
    Happened(PropertyEvent),
    /// A device saves its state; this comes before the answers that tell of it.
    Saved {
        /// Device ID.
        device: String,
        /// In the device's own form.
        state: Bytes,
    },
    /// A device wants something of MQTT.
    Bridge {
        /// Device ID.
        device: String,
        /// What it wants.
        input: BridgeInput,
    },
    /// The devices that a device has added are others now. Unlike [`Input::Devices`], it gives nothing another chance that
    /// the broker has refused: no person has changed anything.
    Children {
        /// Device ID.
        device: String,
        /// What is to be remembered of them, in the driver's own form; empty where there are none.
        children: Bytes,
        /// All devices of the hub.
        devices: BTreeMap<String, DevicePolicy>,
        /// What is announced now.
        discovery: Option<Discovery>,
    },
    /// The configuration has changed: these topics outside of the prefix are allowed to devices now; what that means
    /// for them is decided by the [`Input::Devices`] that follows.
    AllowBridges(Vec<TopicFilter>),
    /// The configuration has changed: these are the devices now.
    Devices(BTreeMap<String, DevicePolicy>),
    /// The configuration has changed: this is announced now. Comes ahead of [`Input::Devices`].
    Discovery(Option<Discovery>),
    /// The time of [`Hub::poll_timeout`](crate::Hub::poll_timeout) has come.
    Elapsed,
    /// The daemon should end: publish `offline`, drain, disconnect.
    Shutdown,
}

/// The state of a property, as a device reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyState {
    /// Device ID.
    pub device: String,
    /// Property name.
    pub property: String,
    /// The state as it is sent.
    pub payload: Bytes,
    /// The payload's type.
    pub content_type: ContentType,
    /// Whether the broker should retain it.
    pub retain: bool,
    /// User properties in addition to the hub's own: why the status is what it is, and since when.
    pub details: Vec<(String, String)>,
}

/// What has happened once at a property of type event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyEvent {
    /// Device ID.
    pub device: String,
    /// Property name.
    pub property: String,
    /// The kind of event: what has happened.
    pub event: String,
    /// How many events of the device were left out before this one, because they came too fast.
    pub left_out: u64,
}

/// An output of the hub. The driver performs outputs in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a connection and send CONNECT.
    Connect {
        /// The will to register; `None` while the hub learns the prefix.
        will: Option<Will>,
    },
    /// Send DISCONNECT 0x00 and close; the driver then reports [`Disconnection::Requested`] if the packet was written.
    Disconnect,
    /// Send DISCONNECT 0x82 (protocol error) if that can be written, and close; the broker publishes the will.
    Protest,
    /// Send one SUBSCRIBE with these filters; the next follows after its SUBACK.
    Subscribe(Vec<Subscription>),
    /// Send one UNSUBSCRIBE with these filters; the hub does not wait for UNSUBACK.
    Unsubscribe(Vec<String>),
    /// Send PUBLISH; the driver reports [`Input::Published`].
    Publish {
        /// Identifies the message in [`Input::Published`].
        id: PublishId,
        /// The message.
        message: Message,
    },
    /// Send PUBACK for this delivery.
    Acknowledge(DeliveryId),
    /// Write this to the store, in order; the driver reports [`Input::Stored`] once it is synced.
    Store {
        /// The number of the change, counted up by one.
        revision: u64,
        /// What to write.
        change: Change,
    },
    /// Make a device carry out a request; the driver reports [`Input::Answered`].
    Execute(Request),
    /// Tell every device the outcome of the will.
    Absence(Absence),
    /// Tell a device something of MQTT.
    Bridge {
        /// Device ID.
        device: Arc<str>,
        /// What it is told.
        output: BridgeOutput,
    },
    /// Tell people; the hub does not wait.
    Notice(Notice),
    /// The hub has ended. Only [`Output::Store`] may follow, for what the devices save as they end.
    Stopped(Result<(), Fatal>),
}

/// One change of the stored data.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The hub's memory; it replaces the one before.
    Memory(Memory),
    /// A request of the journal; it replaces the record with the same key.
    Record(JournalRecord),
    /// A request whose answer has been sent already: only its PUBACK waits for this.
    Answer(JournalRecord),
    /// A request leaves the journal.
    Forget(RequestKey),
    /// The retained messages and filters that the broker may have for a device.
    Served(Served),
    /// The broker has nothing of a device any more.
    Unserved(Arc<str>),
    /// What may be retained on a topic because of an announcement.
    Announced(Announced),
    /// Nothing is retained on this topic any more.
    Withdrawn(String),
    /// The saved state of a device; it replaces the one before.
    Device {
        /// Device ID.
        device: String,
        /// In the device's own form.
        state: Bytes,
    },
    /// What is remembered of the devices that a device has added; it replaces what was before, and nothing is remembered
    /// where it is empty.
    Children {
        /// Device ID.
        device: String,
        /// In the driver's own form.
        children: Bytes,
    },
    /// No change: an answer waits for the changes before it.
    Await,
}

impl Change {
    /// Returns who waits for this change.
    pub fn urgency(&self) -> Urgency {
        match self {
            Self::Memory(_) | Self::Served(_) | Self::Children { .. } => Urgency::Now,
            // What is about to be published must be known; what was published can be published again.
            Self::Announced(announced) if announced.digest.is_none() => Urgency::Now,
            Self::Record(record) if record.delivered => Urgency::Whenever,
            Self::Record(_) | Self::Await => Urgency::Now,
            Self::Answer(_) => Urgency::Soon,
            Self::Forget(_)
            | Self::Unserved(_)
            | Self::Announced(_)
            | Self::Withdrawn(_)
            | Self::Device { .. } => Urgency::Whenever,
        }
    }
}

/// Who waits for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The hub, and with it a requester or the connection.
    Now,
    /// Only the broker waits, for a PUBACK: it may wait a few milliseconds for other changes.
    Soon,
    /// Nobody waits: it may be written together with the next change that somebody waits for.
    Whenever,
}

/// The facts of CONNACK that the hub's decisions depend on (MQTT 3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Session Present (MQTT 3.2.2.1.1).
    pub session_present: bool,
    /// Response Information (MQTT 3.2.2.3.15).
    pub response_information: Option<String>,
    /// Receive Maximum (MQTT 3.2.2.3.3); 65,535 if it is absent.
    pub receive_maximum: u16,
    /// Maximum Packet Size (MQTT 3.2.2.3.6).
    pub maximum_packet_size: Option<u32>,
    /// Wildcard Subscription Available (MQTT 3.2.2.3.11).
    pub wildcards: bool,
    /// Maximum QoS (MQTT 3.2.2.3.4) and Retain Available (MQTT 3.2.2.3.5).
    pub limits: Limits,
    /// Session Expiry Interval in seconds, if it differs from the requested one (MQTT 3.2.2.3.2).
    pub session_expiry: Option<u32>,
    /// Assigned Client Identifier (MQTT 3.2.2.3.7).
    pub assigned_client_id: Option<String>,
    /// Server Keep Alive in seconds (MQTT 3.2.2.3.14); 0 means none.
    pub server_keep_alive: Option<u16>,
    /// Whether the broker marks each message with its sender, and lets no client set these marks: the user property
    /// [`VOUCHES`](crate::VOUCHES) of CONNACK.
    pub vouches: bool,
}

impl Default for Connack {
    fn default() -> Self {
        Self {
            session_present: false,
            response_information: None,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            wildcards: true,
            limits: Limits::default(),
            session_expiry: None,
            assigned_client_id: None,
            server_keep_alive: None,
            vouches: false,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnection {
    /// The hub asked for it.
    Requested,
    /// CONNACK refused (MQTT 3.2.2.2).
    Refused {
        /// The reason code.
        reason_code: u8,
        /// The reason string, if it is known.
        reason_string: Option<String>,
        /// The broker to use instead, if it is known (MQTT 3.2.2.3.16).
        server_reference: Option<String>,
    },
    /// The broker sent DISCONNECT (MQTT 3.14.2.1).
    ByBroker {
        /// The reason code.
        reason_code: u8,
        /// The reason string.
        reason_string: Option<String>,
        /// The broker to use instead (MQTT 3.14.2.2.5).
        server_reference: Option<String>,
    },
    /// The connection could not be made: the broker cannot have seen CONNECT.
    Unreachable {
        /// The cause, for people.
        error: String,
    },
    /// The connection was lost, or the broker did not answer CONNECT.
    Lost {
        /// The cause, for people.
        error: String,
    },
}

/// The will of one connection (MQTT 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The message that the broker publishes.
    pub message: Message,
    /// Will Delay Interval in seconds (MQTT 3.1.3.2.2).
    pub delay: u32,
}

/// One filter of a SUBSCRIBE (MQTT 3.8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter.
    pub filter: String,
    /// Whether the broker sends its retained messages.
    pub retained: bool,
    /// Whether the broker leaves out this client's own messages (No Local).
    pub no_local: bool,
    /// Whose it is.
    pub subscriber: Subscriber,
}

/// Whose a subscription is, and with it the rest of its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscriber {
    /// The hub's own: QoS 1, Retain As Published.
    Hub,
    /// A device's: QoS 0, so that nothing waits for the hub while it is away, and is taken for news later; and not
    /// Retain As Published, so that the RETAIN flag tells what was stored from what is sent now.
    Device,
}

impl Subscriber {
    /// Returns the Maximum QoS of the subscription (MQTT 3.8.3.1).
    pub fn qos(self) -> QoS {
        match self {
            Self::Hub => QoS::AtLeastOnce,
            Self::Device => QoS::AtMostOnce,
        }
    }

    /// Returns whether the RETAIN flag is that of the publisher (Retain As Published).
    pub fn retain_as_published(self) -> bool {
        self == Self::Hub
    }
}

/// A request for a device to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Identifies the request in [`Input::Answered`].
    pub id: RequestId,
    /// Device ID, or the hub's own client ID.
    pub device: Arc<str>,
    /// Property name, or a verb: `set`, `get`, `describe`; for the hub such as `devices` and `absences`.
    pub property: Arc<str>,
    /// The payload as it arrived; an empty one reads.
    pub payload: Bytes,
    /// The Content Type as it arrived.
    pub content_type: Option<String>,
    /// The time that is left until the deadline.
    pub remaining: Duration,
}

/// Identifies a request between the hub and the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One inbound QoS 1 PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Identifies it in [`Output::Acknowledge`].
    pub id: DeliveryId,
    /// Its Packet Identifier; a redelivery in the same session has the same one (MQTT 4.4).
    pub packet_id: u16,
}

/// Identifies an inbound QoS 1 message of the current connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// Identifies an outbound message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);
