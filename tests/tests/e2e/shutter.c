/* A shutter in C: it accepts a position and tells the end later, and its table has a secret. */
#include "hearth_plugin.h"
#include <stdlib.h>
#include <string.h>

typedef struct shutter {
  const hearth_host *host;
  const hearth_ext_accept *accept;
  uint64_t token;
  char target[4];
} shutter;

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

static int is(hearth_slice slice, const char *text) {
  return slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static int32_t secrets(hearth_slice config, hearth_sink out) {
  (void)config;
  out.put(out.ctx, slice_of("/password"), slice_of(""));
  out.put(out.ctx, slice_of("/rooms/3/password"), slice_of("")); /* there is none */
  return HEARTH_OK;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  (void)config;
  properties.put(properties.ctx, slice_of("position"), slice_of("{\"type\": \"integer\", \"min\": 0, \"max\": 100}"));
  properties.put(properties.ctx, slice_of("knows"), slice_of("{\"type\": \"switch\", \"access\": \"r\"}"));
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **out) {
  *out = NULL;
  shutter *self = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->accept = self->host->get_extension(self->host, HEARTH_EXT_ACCEPT);
  if (!self->accept || !HEARTH_HAS(self->accept, accept)) {
    free(self);
    return HEARTH_ERR_UNSUPPORTED;
  }
  int knows = is(args->config, "{\"password\":\"open sesame\"}");
  self->host->publish(self->host, slice_of("knows"), slice_of(knows ? "ON" : "OFF"), 0);
  self->host->publish(self->host, slice_of("position"), slice_of("0"), 0);
  *out = self;
  return HEARTH_OK;
}

static void destroy(void *instance) { free(instance); }

/* Half way it is stuck, and at the end it does not notice that it is there. */
static int32_t on_command(void *instance, const hearth_command *command) {
  shutter *self = instance;
  int32_t accepted = self->accept->accept(self->host, command->token, is(command->payload, "100") ? 50 : 60000);
  if (accepted != HEARTH_OK) return accepted;
  if (is(command->payload, "100")) return HEARTH_PENDING;
  if (is(command->payload, "50")) {
    self->host->complete(self->host, command->token, HEARTH_ERR_FAILED, slice_of("it is stuck"));
    return HEARTH_PENDING;
  }
  self->token = command->token;
  memcpy(self->target, command->payload.ptr, command->payload.len);
  self->target[command->payload.len] = 0;
  self->host->set_timer(self->host, 1, 20);
  return HEARTH_PENDING;
}

static int32_t on_timer(void *instance, uint32_t timer) {
  shutter *self = instance;
  (void)timer;
  self->host->publish(self->host, slice_of("position"), slice_of(self->target), 0);
  return self->host->complete(self->host, self->token, HEARTH_OK, slice_of(""));
}

static const void *get_extension(const char *id) {
  static const hearth_ext_secret secret = { .struct_size = sizeof(hearth_ext_secret), .secrets = secrets };
  return strcmp(id, HEARTH_EXT_SECRET) == 0 ? &secret : NULL;
}

static const hearth_kind kind = { .struct_size = sizeof(hearth_kind), .name = HEARTH_S("shutter"), .describe = describe,
                                  .create = create, .destroy = destroy, .on_command = on_command, .on_timer = on_timer,
                                  .get_extension = get_extension };
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("shutter", "1.0"), NULL, kinds };
