//! The extension `hearth.mqtt/1`: what the host offers, and every call of what a kind offers.

#![expect(
    unsafe_code,
    reason = "the plugin ABI is C: calling it, and being called, is unsafe by nature"
)]

use std::{ffi::c_void, time::Duration};

use hearthd_sdk::abi::{
    self, Growing, Host,
    mqtt::{
        EXT_MQTT, HostMqtt, KindMqtt, MESSAGE_RETAINED, Message, PUBLISH_ASK, PUBLISH_EXPECT_REPLY,
        PUBLISH_RETAIN, Publication,
    },
};

use super::{
    call,
    host::HostTable,
    library::KindTable,
    pairs::{Pairs, bytes, sink, slice, texts},
};

/// Returns the host's table, the same for all devices.
pub(super) fn extension() -> *const c_void {
    static TABLE: HostMqtt = HostMqtt { struct_size: SIZE, reserved: 0, publish };
    (&raw const TABLE).cast()
}

unsafe extern "C" fn publish(host: *const Host, publication: *const Publication) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    if publication.is_null() {
        return abi::ERR_INVALID;
    }
    // SAFETY: the plugin's struct begins with its size (S1).
    let Some(lent) = (unsafe { Publication::copied(publication) }) else {
        return abi::ERR_UNSUPPORTED;
    };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let topic = String::from_utf8_lossy(unsafe { bytes(lent.topic) });
    // SAFETY: as above.
    let payload = unsafe { bytes(lent.payload) };
    let expiry = Duration::from_millis(lent.expiry_ms);
    calls.send(call::Publication {
        token: lent.token,
        command: (lent.command != 0).then_some(lent.command),
        topic: &topic,
        payload,
        at_least_once: lent.qos != 0,
        retain: lent.flags & PUBLISH_RETAIN != 0,
        reply: lent.flags & PUBLISH_EXPECT_REPLY != 0,
        asks: lent.flags & PUBLISH_ASK != 0,
        expiry: if lent.expiry_ms == 0 { DEFAULT_EXPIRY } else { expiry },
    })
}

/// What a kind offers of the extension.
#[derive(Debug)]
pub(super) struct KindCalls(KindMqtt);

impl KindCalls {
    /// Looks up what a kind offers.
    pub(super) fn of(kind: KindTable) -> Option<Self> {
        // SAFETY: the extension of this name is such a table.
        unsafe { kind.extension(EXT_MQTT) }.map(Self)
    }

    /// Calls an instance.
    ///
    /// # Safety
    /// The handle is that of a living instance of the kind, and no other call on it overlaps (T1).
    pub(super) unsafe fn call(&self, handle: *mut c_void, call: MqttCall<'_>) -> i32 {
        match call {
            MqttCall::Message { topic, payload, retained } => {
                let Some(on_message) = self.0.on_message else { return abi::OK };
                let message = Message {
                    struct_size: u32::try_from(size_of::<Message>())
                        .expect("ABI structs are small"),
                    flags: if retained { MESSAGE_RETAINED } else { 0 },
                    topic: slice(topic.as_bytes()),
                    payload: slice(payload),
                };
                // SAFETY: as the caller vouches, and the message outlives the call.
                unsafe { on_message(handle, &raw const message) }
            }
            MqttCall::Link(up) => {
                // SAFETY: as the caller vouches.
                self.0.on_link.map_or(abi::OK, |call| unsafe { call(handle, i32::from(up)) })
            }
            MqttCall::Outcome { token, status, reply } => {
                let Some(on_outcome) = self.0.on_outcome else { return abi::OK };
                // SAFETY: as the caller vouches, and the reply outlives the call.
                unsafe { on_outcome(handle, token, status, slice(reply)) }
            }
        }
    }
}

/// A call of the extension.
#[derive(Clone, Copy, Debug)]
pub(super) enum MqttCall<'a> {
    Message { topic: &'a str, payload: &'a [u8], retained: bool },
    Link(bool),
    Outcome { token: u64, status: i32, reply: &'a [u8] },
}

impl KindTable {
    /// Asks which topics a device with this table uses itself, and which devices it asks: pairs of a use, and a topic
    /// filter or a device ID.
    ///
    /// # Errors
    /// Where the plugin fails.
    pub(crate) fn topics(&self, config: &str) -> Result<Vec<(String, String)>, String> {
        let Some(topics) = KindCalls::of(*self).and_then(|calls| calls.0.topics) else {
            return Ok(Vec::new());
        };
        let mut pairs = Pairs::new();
        // SAFETY: the function is the plugin's, and config and sink outlive the call.
        let status = unsafe { topics(slice(config.as_bytes()), sink(&mut pairs)) };
        if status < 0 {
            return Err(format!("the plugin cannot name the device's topics (status {status})"));
        }
        Ok(texts(pairs))
    }
}

const SIZE: u32 = {
    assert!(size_of::<HostMqtt>() < 64);
    #[expect(clippy::cast_possible_truncation, reason = "it was just checked")]
    let size = size_of::<HostMqtt>() as u32;
    size
};
/// How long a message is wanted that does not say so.
const DEFAULT_EXPIRY: Duration = Duration::from_secs(10);
