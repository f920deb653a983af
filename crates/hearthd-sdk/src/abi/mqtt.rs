//! The extension `hearth.mqtt/1`: a device uses MQTT topics of its own through its hub.
//!
//! Layout and rules (Q1 to Q7) are those of `include/hearth_mqtt.h`.

use std::ffi::c_void;

use super::{Growing, Host, Sink, Slice};

/// The name of the extension, on both sides.
pub const EXT_MQTT: &str = "hearth.mqtt/1";

/// [`Publication::flags`]: the RETAIN flag (MQTT 3.3.1.3).
pub const PUBLISH_RETAIN: u32 = 1;
/// [`Publication::flags`]: a reply is expected (Q4).
pub const PUBLISH_EXPECT_REPLY: u32 = 2;
/// [`Publication::flags`]: a request to another device (Q7).
pub const PUBLISH_ASK: u32 = 4;
/// [`Message::flags`]: the broker had the message stored when the hub subscribed (Q3).
pub const MESSAGE_RETAINED: u32 = 1;

/// A message that a device publishes (Q2).
#[repr(C)]
#[derive(Debug)]
pub struct Publication {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// [`PUBLISH_RETAIN`], [`PUBLISH_EXPECT_REPLY`], [`PUBLISH_ASK`].
    pub flags: u32,
    /// Comes back in [`KindMqtt::on_outcome`].
    pub token: u64,
    /// The token of the command that it belongs to; zero means none.
    pub command: u64,
    /// How long the message is wanted, and a reply awaited; zero means ten seconds.
    pub expiry_ms: u64,
    /// 0 or 1 (MQTT 4.3).
    pub qos: u32,
    /// Zero.
    pub reserved: u32,
    /// The topic name; with [`PUBLISH_ASK`] `DEVICE/PROPERTY`.
    pub topic: Slice,
    /// The payload.
    pub payload: Slice,
}

/// A message that has arrived (Q3).
#[repr(C)]
#[derive(Debug)]
pub struct Message {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// [`MESSAGE_RETAINED`] or zero.
    pub flags: u32,
    /// The topic name.
    pub topic: Slice,
    /// The payload.
    pub payload: Slice,
}

/// [`EXT_MQTT`] of the host.
#[repr(C)]
#[derive(Debug)]
pub struct HostMqtt {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Publishes a message (Q2).
    pub publish: unsafe extern "C" fn(*const Host, *const Publication) -> i32,
}

/// [`EXT_MQTT`] of a kind.
#[repr(C)]
#[derive(Debug)]
pub struct KindMqtt {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Puts the topics of a device with this table (Q1).
    pub topics: Option<unsafe extern "C" fn(config: Slice, topics: Sink) -> i32>,
    /// A message has arrived (Q3).
    pub on_message:
        Option<unsafe extern "C" fn(instance: *mut c_void, message: *const Message) -> i32>,
    /// The connection was made, with all subscriptions, or was lost (Q5).
    pub on_link: Option<unsafe extern "C" fn(instance: *mut c_void, up: i32) -> i32>,
    /// What became of a message (Q4).
    pub on_outcome: Option<
        unsafe extern "C" fn(instance: *mut c_void, token: u64, status: i32, reply: Slice) -> i32,
    >,
}

growing! {
    Publication up to payload: Slice, 72 or 56 bytes;
    Message up to payload: Slice, 40 or 24 bytes;
    HostMqtt up to publish: usize, 16 or 12 bytes;
    KindMqtt up to on_outcome: usize, 40 or 24 bytes;
}
