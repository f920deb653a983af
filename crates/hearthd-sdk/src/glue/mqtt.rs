//! The function table of the extension `hearth.mqtt/1` of one kind, and the host's.

use std::ffi::c_void;

use super::kind::{Glue, Instance};
use super::{HostRef, contained, sink, text};
use crate::abi::mqtt::{
    HostMqtt, KindMqtt, MESSAGE_RETAINED, Message, PUBLISH_ASK, PUBLISH_EXPECT_REPLY,
    PUBLISH_RETAIN, Publication,
};
use crate::abi::{self, Growing, Sink, Slice};
use crate::device::read_config;
use crate::mqtt::{self, PublishError, QoS};
use crate::{Device, scope};

impl<D: Device> Glue<D> {
    #[expect(clippy::cast_possible_truncation, reason = "the table has 40 bytes")]
    pub(super) const MQTT: &'static KindMqtt = &KindMqtt {
        struct_size: size_of::<KindMqtt>() as u32,
        reserved: 0,
        topics: Some(topics::<D>),
        on_message: Some(on_message::<D>),
        on_link: Some(on_link::<D>),
        on_outcome: Some(on_outcome::<D>),
    };
}

impl HostRef {
    /// Publishes a message; a host without the extension has no connection to MQTT.
    pub(crate) fn send(self, publication: &mqtt::Publication) -> i32 {
        // SAFETY: the extension of this name is such a table.
        let extension: Option<HostMqtt> = unsafe { self.extension(c"hearth.mqtt/1") };
        let Some(extension) = extension else { return abi::ERR_GONE };
        let retain = if publication.retain { PUBLISH_RETAIN } else { 0 };
        let reply = if publication.reply { PUBLISH_EXPECT_REPLY } else { 0 };
        let ask = if publication.ask { PUBLISH_ASK } else { 0 };
        let expiry_ms = u64::try_from(publication.expiry.as_millis()).unwrap_or(u64::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "the struct has 72 bytes")]
        let lent = Publication {
            struct_size: size_of::<Publication>() as u32,
            flags: retain | reply | ask,
            token: publication.token,
            command: publication.command,
            // Zero would be the default.
            expiry_ms: expiry_ms.max(1),
            qos: match publication.qos {
                QoS::AtMostOnce => 0,
                QoS::AtLeastOnce => 1,
            },
            reserved: 0,
            topic: Slice::new(publication.topic.as_bytes()),
            payload: Slice::new(&publication.payload),
        };
        // SAFETY: the table is the function's own, and the struct outlives the call (M1).
        unsafe { (extension.publish)(self.as_ptr(), &raw const lent) }
    }
}

unsafe extern "C" fn topics<D: Device>(config: Slice, topics: Sink) -> i32 {
    contained(|| {
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { config.bytes() };
        let Ok(config) = read_config::<D>(config) else { return abi::ERR_INVALID };
        for (purpose, filter) in D::topics(&config).pairs() {
            // SAFETY: the sink is this callback's.
            unsafe { sink::put(topics, purpose, filter.as_bytes()) };
        }
        abi::OK
    })
}

unsafe extern "C" fn on_message<D: Device>(instance: *mut c_void, message: *const Message) -> i32 {
    contained(|| {
        // SAFETY: the host's message begins with its size (S1).
        let Some(message) = (unsafe { Message::copied(message) }) else {
            return abi::ERR_UNSUPPORTED;
        };
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends the topic for this call (M1).
        let topic = unsafe { text(message.topic) };
        // SAFETY: the host lends the payload for this call (M1).
        let payload = unsafe { message.payload.bytes() }.to_vec();
        let retained = message.flags & MESSAGE_RETAINED != 0;
        instance.call(|device| device.message(&mqtt::Message { topic, payload, retained }))
    })
}

unsafe extern "C" fn on_link<D: Device>(instance: *mut c_void, up: i32) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        instance.call(|device| device.link(up != 0))
    })
}

unsafe extern "C" fn on_outcome<D: Device>(
    instance: *mut c_void,
    token: u64,
    status: i32,
    reply: Slice,
) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends the reply for this call (M1).
        let reply = unsafe { reply.bytes() };
        let result = if status == abi::OK { Ok(reply) } else { Err(PublishError::read(status)) };
        let _scope = scope::enter(instance.host, None);
        instance.device.outcome(token, result);
        abi::OK
    })
}
