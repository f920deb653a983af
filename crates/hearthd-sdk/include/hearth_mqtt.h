/* hearth_mqtt.h - the extension hearth.mqtt/1 of the hearthd device plugin ABI: a device uses MQTT topics of its own
 * through its hub.  SPDX: MIT-0 (copy it into your project, beside hearth_plugin.h)
 *
 * A kind offers it: get_extension(HEARTH_EXT_MQTT) returns a hearth_kind_mqtt. The host offers it likewise, as a
 * hearth_host_mqtt; an older host returns NULL, and then the device can do nothing on MQTT. The rules of
 * hearth_plugin.h hold here too.
 *
 *  Q1 topics(config) puts pairs of a use and a topic filter (MQTT 4.7.1), or as Q7 and Q8 say, and is pure like
 *     describe: "subscribe" for what the device listens to, "publish" for what it alone publishes on, "share" for what
 *     it publishes on as other devices may. 64 at most, of 1024 bytes each, none with a leading `$`. What lies outside of the hub's prefix the
 *     operator must allow as well ([bridges] allow), and no topic of the hub's own can be declared. Where something speaks
 *     against a topic, or the broker refuses a subscription, the host marks the device as failed, answers its requests
 *     503 with the reason, and sends nothing for it.
 *  Q2 publish() returns HEARTH_OK, and on_outcome follows exactly once; or an error, and nothing follows:
 *     HEARTH_ERR_GONE (no connection, or the device or the command is no more), HEARTH_ERR_BUSY (16 messages of this
 *     device, or 256 KiB, are under way), HEARTH_ERR_INVALID (the topic is no topic name that was declared),
 *     HEARTH_ERR_TOO_LARGE (the message alone is more than 256 KiB). It may be called as T2 says.
 *     The message leaves with a Message Expiry Interval of expiry_ms (MQTT 3.3.2.3.3), rounded up to whole seconds and
 *     600 s at most. With `command`, the token of a command that has no answer yet, it leaves before that is answered or
 *     not at all, and its expiry is no more than what is left of the request's. Messages keep their order. Answers to requests
 *     go first.
 *  Q3 on_message: a message on a topic that the device listens to, at QoS 0. HEARTH_MESSAGE_RETAINED says that the
 *     broker had it stored when the hub subscribed; what is published now comes without, retained or not. The device
 *     hears nothing of what it or another device of the hub publishes. 64 messages or 1 MiB may wait for it: of more,
 *     the oldest are lost.
 *  Q4 on_outcome: what became of a message. Without HEARTH_PUBLISH_EXPECT_REPLY, HEARTH_OK says that the broker has it.
 *     With it the host adds a Response Topic and 16 bytes of Correlation Data (MQTT 4.10), and HEARTH_OK comes with the
 *     reply's payload, and nothing before. HEARTH_ERR_FAILED: its time was over, its command was answered before it left,
 *     or no reply came in time. HEARTH_ERR_GONE: the connection was lost. HEARTH_ERR_BUSY, HEARTH_ERR_TOO_LARGE.
 *     HEARTH_ERR_INVALID: the device may not publish there, or the broker refuses the message.
 *  Q5 on_link(1): there is a connection, and the broker has granted all the device's filters; on_link(0): it is lost.
 *     At first there is none. What the broker has retained comes after on_link(1).
 *  Q6 A command that needs a message to be confirmed returns HEARTH_PENDING and completes when that has come; at its
 *     deadline the host answers 408 by itself.
 *  Q7 A device asks another one: topics() puts "ask" and that device's ID, which may be of another hub of the home. With
 *     HEARTH_PUBLISH_ASK the topic is DEVICE/PROPERTY, and the payload is the value; PROPERTY may be `set` or `get`. The
 *     host makes a request of it as any requester would, at QoS 1, and on_outcome comes with HEARTH_OK once there is an
 *     answer, as JSON: `status` is 200, 204 or why not, with `payload` of a success, `message` and `reason` of a failure.
 *     404 comes at once where no hub serves the device and the broker says so (MQTT 3.4.2.1). Errors are those of Q4;
 *     after HEARTH_ERR_FAILED and HEARTH_ERR_GONE nobody can tell whether the request was carried out. With `command`,
 *     the request says which devices wait for it, so that none is asked for its own answer: that is refused with 409 and
 *     `reason` "loop". Devices of one configuration that ask each other in a circle fail.
 *  Q8 A device follows states of others: topics() puts "follow" and DEVICE/PROPERTY, 256 at most beside those of Q1. The
 *     device may be of this hub or of another one of the home. on_message comes with the topic DEVICE/PROPERTY and the
 *     state as text: what the broker has retained, and then each new one, also of devices of this hub. on_link(1) does not
 *     wait for these states, and one that the broker does not grant is not heard.
 */
#ifndef HEARTH_MQTT_H
#define HEARTH_MQTT_H
#include "hearth_plugin.h"
#ifdef __cplusplus
extern "C" {
#endif

#define HEARTH_EXT_MQTT "hearth.mqtt/1"
#define HEARTH_PUBLISH_RETAIN       1u
#define HEARTH_PUBLISH_EXPECT_REPLY 2u
#define HEARTH_PUBLISH_ASK          4u
#define HEARTH_MESSAGE_RETAINED     1u

typedef struct hearth_publication {
  uint32_t struct_size;
  uint32_t flags;
  uint64_t token;     /* comes back in on_outcome */
  uint64_t command;   /* the token of the command that it belongs to; 0 = none */
  uint64_t expiry_ms; /* 0 = ten seconds */
  uint32_t qos;       /* 0 or 1 */
  uint32_t reserved;
  hearth_slice topic;
  hearth_slice payload;
} hearth_publication;

typedef struct hearth_message {
  uint32_t struct_size;
  uint32_t flags;
  hearth_slice topic;
  hearth_slice payload;
} hearth_message;

typedef struct hearth_host_mqtt {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*publish)(const hearth_host *, const hearth_publication *publication);
} hearth_host_mqtt;

typedef struct hearth_kind_mqtt {
  uint32_t struct_size;
  uint32_t reserved;
  int32_t (*topics)(hearth_slice config, hearth_sink topics);
  int32_t (*on_message)(void *instance, const hearth_message *message);
  int32_t (*on_link)(void *instance, int32_t up);
  int32_t (*on_outcome)(void *instance, uint64_t token, int32_t status, hearth_slice reply);
} hearth_kind_mqtt;

#ifdef __cplusplus
}
#endif
#endif
