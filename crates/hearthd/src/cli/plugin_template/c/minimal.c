#include <stdlib.h>
#include <string.h>
#include "hearth_plugin.h"

/* One lamp of the configuration. */
typedef struct { const hearth_host *host; int on; } lamp;

static const hearth_slice power = HEARTH_S("power");
static const hearth_slice states[] = { HEARTH_S("OFF"), HEARTH_S("ON") };

/* The hub has checked the payload: it is ON or OFF. */
static int32_t set(lamp *self, hearth_slice payload) {
  self->on = payload.len == 2 && memcmp(payload.ptr, "ON", 2) == 0;
  /* Switch the real lamp here. */
  return self->host->publish(self->host, power, states[self->on], 0);
}

/* Declares the properties; rule D1 of the header. */
static int32_t describe(hearth_slice config, hearth_sink properties) {
  static const hearth_slice is_switch = HEARTH_S("{\"type\": \"switch\"}");
  (void)config;
  properties.put(properties.ctx, power, is_switch);
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **instance) {
  lamp *self = *instance = malloc(sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  return set(self, args->saved_state);
}

static void destroy(void *instance) { free(instance); }

static int32_t on_command(void *instance, const hearth_command *command) { return set(instance, command->payload); }

/* The hub stores this before it answers, and create gets it after a restart. */
static int32_t save(void *instance, hearth_sink out) {
  out.put(out.ctx, power, states[((lamp *)instance)->on]);
  return HEARTH_OK;
}

static const void *get_extension(const char *id) {
  static const hearth_ext_state state = { .struct_size = sizeof state, .save = save };
  return strcmp(id, HEARTH_EXT_STATE) == 0 ? &state : NULL;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("my-lamp"), .describe = describe, .create = create, .destroy = destroy,
  .on_command = on_command, .get_extension = get_extension,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("my-lamp", "1.0"), NULL, kinds };
