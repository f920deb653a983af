/* A plugin in C that says what it cannot reach, and what happens: what is written to `job` says which. */
#include "hearth_plugin.h"
#include <stdlib.h>
#include <string.h>

typedef struct device {
  const hearth_host *host;
  const hearth_ext_reach *reach;
  const hearth_ext_event *event;
} device;

static int is(hearth_slice slice, const char *text) {
  return slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  (void)config;
  properties.put(properties.ctx, slice_of("job"), slice_of("{\"type\": \"text\"}"));
  properties.put(properties.ctx, slice_of("bell"), slice_of("{\"type\": \"event\", \"values\": [\"press\", \"double\"]}"));
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **out) {
  *out = NULL;
  device *self = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->reach = self->host->get_extension(self->host, HEARTH_EXT_REACH);
  self->event = self->host->get_extension(self->host, HEARTH_EXT_EVENT);
  if (!self->reach || !HEARTH_HAS(self->reach, reachable) || !self->event || !HEARTH_HAS(self->event, event)) {
    free(self);
    return HEARTH_ERR_UNSUPPORTED;
  }
  self->host->publish(self->host, slice_of("job"), slice_of("none"), 0);
  *out = self;
  return HEARTH_OK;
}

static void destroy(void *instance) { free(instance); }

static int32_t on_command(void *instance, const hearth_command *command) {
  device *self = instance;
  if (is(command->payload, "lose")) return self->reach->unreachable(self->host, slice_of("the cable is cut"));
  if (is(command->payload, "find")) return self->reach->reachable(self->host);
  if (is(command->payload, "ring")) return self->event->event(self->host, slice_of("bell"), slice_of("double"));
  if (is(command->payload, "ring wrongly")) return self->event->event(self->host, slice_of("bell"), slice_of("triple"));
  return HEARTH_ERR_UNREACHABLE;
}

static const hearth_kind kind = { .struct_size = sizeof(hearth_kind), .name = HEARTH_S("reports"), .describe = describe,
                                  .create = create, .destroy = destroy, .on_command = on_command };
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("reports", "1.0"), NULL, kinds };
