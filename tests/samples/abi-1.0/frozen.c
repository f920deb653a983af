/* A plugin that uses all of ABI 1.0, built with the header beside it as it was then. Neither file is ever changed. */
#define _POSIX_C_SOURCE 200809L
#include "hearth_plugin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hearth_host *plugin_host;

typedef struct device {
  const hearth_host *host;
  uint64_t token;
  long count;
} device;

static int is(hearth_slice slice, const char *text) {
  return slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

static void say(const device *self, const char *property, const char *text) {
  self->host->publish(self->host, slice_of(property), slice_of(text), 0);
}

static void say_count(const device *self) {
  char text[32];
  snprintf(text, sizeof text, "%ld", self->count);
  say(self, "count", text);
}

static int32_t init(const hearth_host *host) {
  if (host->struct_size < sizeof(hearth_host)) return HEARTH_ERR_UNSUPPORTED;
  plugin_host = host;
  host->log(host, HEARTH_LOG_INFO, slice_of("frozen"), slice_of("loaded"));
  return HEARTH_OK;
}

static int32_t check_config(hearth_slice config, hearth_sink errors) {
  if (is(config, "{}")) return HEARTH_OK;
  errors.put(errors.ctx, slice_of("key"), slice_of("takes an empty table"));
  return HEARTH_ERR_INVALID;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  (void)config;
  properties.put(properties.ctx, slice_of("count"), slice_of("{\"type\": \"integer\"}"));
  properties.put(properties.ctx, slice_of("job"), slice_of("{\"type\": \"text\", \"access\": \"w\"}"));
  properties.put(properties.ctx, slice_of("note"), slice_of("{\"type\": \"text\", \"access\": \"r\"}"));
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **out) {
  *out = NULL;
  if (!plugin_host || args->struct_size < sizeof(hearth_create_args)) return HEARTH_ERR_UNSUPPORTED;
  if (!HEARTH_HAS(args->host, get_extension) || args->host->get_extension(args->host, "none/1")) return HEARTH_ERR_FAILED;
  device *self = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  char text[32] = { 0 };
  if (args->saved_state.len < sizeof text) memcpy(text, args->saved_state.ptr, args->saved_state.len);
  self->count = strtol(text, NULL, 10);
  say_count(self);
  *out = self;
  return HEARTH_OK;
}

static void destroy(void *instance) { free(instance); }

static int32_t on_command(void *instance, const hearth_command *command) {
  device *self = instance;
  if (command->struct_size < sizeof(hearth_command)) return HEARTH_ERR_UNSUPPORTED;
  if (command->deadline_ms && command->deadline_ms < self->host->now_ms(self->host)) return HEARTH_ERR_FAILED;
  if (command->flags & HEARTH_COMMAND_SET) return HEARTH_ERR_BUSY;
  if (is(command->name, "count")) {
    self->count++;
    say_count(self);
    return HEARTH_OK;
  }
  self->token = command->token;
  if (is(command->payload, "timer")) return self->host->set_timer(self->host, 7, 1) == HEARTH_OK ? HEARTH_PENDING : HEARTH_ERR_FAILED;
  if (is(command->payload, "wake")) return self->host->wake(self->host) == HEARTH_OK ? HEARTH_PENDING : HEARTH_ERR_FAILED;
  return HEARTH_ERR_INVALID;
}

static int32_t on_timer(void *instance, uint32_t timer) {
  device *self = instance;
  say(self, "note", timer == 7 ? "timer" : "another timer");
  self->host->complete(self->host, self->token, HEARTH_OK, slice_of("later"));
  return HEARTH_OK;
}

static int32_t on_wake(void *instance) {
  device *self = instance;
  say(self, "note", "wake");
  self->host->complete(self->host, self->token, HEARTH_ERR_FAILED, slice_of("the bulb is broken"));
  return HEARTH_OK;
}

static int32_t on_absence(void *instance, hearth_slice absence) {
  say(instance, "note", absence.len > 2 ? "absence" : "nothing");
  return HEARTH_OK;
}

static int32_t save(void *instance, hearth_sink out) {
  char text[32];
  snprintf(text, sizeof text, "%ld", ((device *)instance)->count);
  out.put(out.ctx, slice_of(""), slice_of(text));
  return HEARTH_OK;
}

static const hearth_ext_state state = { sizeof(hearth_ext_state), 0, save };

static const void *get_extension(const char *id) {
  return strcmp(id, HEARTH_EXT_STATE) == 0 ? &state : NULL;
}

static const hearth_kind kind = { sizeof(hearth_kind), 0, HEARTH_S("frozen"), { NULL, 0 }, check_config, describe, create,
                                  destroy, on_command, on_timer, on_wake, on_absence, get_extension };
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("frozen", "1.0"), init, kinds };
