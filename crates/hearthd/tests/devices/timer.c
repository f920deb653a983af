/* A switch that switches itself off a minute later, and says how long that took by the hub's clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hearth_plugin.h"

typedef struct {
  const hearth_host *host;
  int on;
  uint64_t since;
} timer;

static const hearth_slice power = HEARTH_S("power");
static const hearth_slice elapsed = HEARTH_S("elapsed");
static const hearth_slice states[] = { HEARTH_S("OFF"), HEARTH_S("ON") };

static int32_t set(timer *self, int on) {
  self->on = on;
  return self->host->publish(self->host, power, states[on], 0);
}

static int is_on(hearth_slice payload) { return payload.len == 2 && memcmp(payload.ptr, "ON", 2) == 0; }

static void tell(timer *self, uint64_t ms) {
  char text[24];
  hearth_slice value = { text, 0 };
  value.len = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)ms);
  self->host->publish(self->host, elapsed, value, 0);
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  static const hearth_slice is_switch = HEARTH_S("{\"type\": \"switch\"}");
  static const hearth_slice is_integer = HEARTH_S("{\"type\": \"integer\", \"access\": \"r\"}");
  (void)config;
  properties.put(properties.ctx, power, is_switch);
  properties.put(properties.ctx, elapsed, is_integer);
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **instance) {
  timer *self = *instance = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  tell(self, 0);
  return set(self, is_on(args->saved_state));
}

static void destroy(void *instance) { free(instance); }

static int32_t on_command(void *instance, const hearth_command *command) {
  timer *self = instance;
  self->since = self->host->now_ms(self->host);
  self->host->set_timer(self->host, 1, 60000);
  /* Of a set of several, this one knows but `power`. */
  return set(self, command->flags & HEARTH_COMMAND_SET ? !self->on : is_on(command->payload));
}

static int32_t on_timer(void *instance, uint32_t id) {
  timer *self = instance;
  (void)id;
  tell(self, self->host->now_ms(self->host) - self->since);
  return set(self, 0);
}

static int32_t save(void *instance, hearth_sink out) {
  out.put(out.ctx, power, states[((timer *)instance)->on]);
  return HEARTH_OK;
}

static const void *get_extension(const char *id) {
  static const hearth_ext_state state = { .struct_size = sizeof state, .save = save };
  return strcmp(id, HEARTH_EXT_STATE) == 0 ? &state : NULL;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("timer"), .describe = describe, .create = create, .destroy = destroy,
  .on_command = on_command, .on_timer = on_timer, .get_extension = get_extension,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("timer", "1.0"), NULL, kinds };
