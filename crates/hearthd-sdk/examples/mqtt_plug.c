/* A plug behind two MQTT topics, with the extension of hearth_mqtt.h: bulbs/c-plug tells its state, bulbs/c-plug/set
 * takes commands. A request is answered once the plug has said that it is so.  SPDX: MIT-0
 */
#include <stdlib.h>
#include <string.h>
#include "hearth_mqtt.h"

/* One plug of the configuration. */
typedef struct {
  const hearth_host *host;
  const hearth_host_mqtt *mqtt;
  uint64_t waiting; /* the command that waits for the plug; 0 = none */
  int wanted;
} plug;

static const hearth_slice power = HEARTH_S("power");
static const hearth_slice link_state = HEARTH_S("link");
static const hearth_slice states[] = { HEARTH_S("OFF"), HEARTH_S("ON") };
static const hearth_slice links[] = { HEARTH_S("down"), HEARTH_S("up") };

static int is_on(hearth_slice payload) { return payload.len == 2 && memcmp(payload.ptr, "ON", 2) == 0; }

static int32_t describe(hearth_slice config, hearth_sink properties) {
  static const hearth_slice is_switch = HEARTH_S("{\"type\": \"switch\"}");
  static const hearth_slice is_text = HEARTH_S("{\"type\": \"text\", \"access\": \"r\"}");
  (void)config;
  properties.put(properties.ctx, power, is_switch);
  properties.put(properties.ctx, link_state, is_text);
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **instance) {
  plug *self = *instance = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->mqtt = args->host->get_extension(args->host, HEARTH_EXT_MQTT); /* NULL on an older hub */
  return HEARTH_OK;
}

static void destroy(void *instance) { free(instance); }

/* Tells the plug, and leaves the answer to on_message (Q6). */
static int32_t on_command(void *instance, const hearth_command *command) {
  plug *self = instance;
  hearth_publication set = { .struct_size = sizeof set, .token = command->token, .command = command->token, .qos = 1,
                             .topic = HEARTH_S("bulbs/c-plug/set"), .payload = command->payload };
  int32_t status = self->mqtt ? self->mqtt->publish(self->host, &set) : HEARTH_ERR_UNSUPPORTED;
  if (status != HEARTH_OK) return status;
  self->waiting = command->token;
  self->wanted = is_on(command->payload);
  return HEARTH_PENDING;
}

/* Which topics it uses: rule Q1. */
static int32_t topics(hearth_slice config, hearth_sink sink) {
  static const hearth_slice subscribe = HEARTH_S("subscribe"), publish = HEARTH_S("publish");
  static const hearth_slice state = HEARTH_S("bulbs/c-plug"), set = HEARTH_S("bulbs/c-plug/set");
  (void)config;
  sink.put(sink.ctx, subscribe, state);
  sink.put(sink.ctx, publish, set);
  return HEARTH_OK;
}

/* What the plug says now counts; what the broker had stored is only its last word. */
static int32_t on_message(void *instance, const hearth_message *message) {
  static const hearth_slice nothing = { NULL, 0 };
  plug *self = instance;
  int on = is_on(message->payload);
  self->host->publish(self->host, power, states[on], 0);
  if (self->waiting && on == self->wanted && !(message->flags & HEARTH_MESSAGE_RETAINED)) {
    self->host->complete(self->host, self->waiting, HEARTH_OK, nothing);
    self->waiting = 0;
  }
  return HEARTH_OK;
}

static int32_t on_link(void *instance, int32_t up) {
  plug *self = instance;
  self->host->publish(self->host, link_state, links[up != 0], 0);
  return HEARTH_OK;
}

/* The command did not reach the plug: its requester need not wait for the deadline. */
static int32_t on_outcome(void *instance, uint64_t token, int32_t status, hearth_slice reply) {
  static const hearth_slice unsent = HEARTH_S("the command was not sent");
  plug *self = instance;
  (void)reply;
  if (status != HEARTH_OK && token == self->waiting) {
    self->host->complete(self->host, self->waiting, status, unsent);
    self->waiting = 0;
  }
  return HEARTH_OK;
}

static const void *get_extension(const char *id) {
  static const hearth_kind_mqtt mqtt = { .struct_size = sizeof mqtt, .topics = topics, .on_message = on_message,
                                         .on_link = on_link, .on_outcome = on_outcome };
  return strcmp(id, HEARTH_EXT_MQTT) == 0 ? &mqtt : NULL;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("mqtt-plug"), .describe = describe, .create = create,
  .destroy = destroy, .on_command = on_command, .get_extension = get_extension,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("mqtt-plug", "1.0"), NULL, kinds };
