/* A number that the system has in a file, such as a thermometer of Linux; it is in thousandths of a degree.
 * The table has one key: file = PATH.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hearth_plugin.h"

#define EVERY_MS 30000 /* between two readings */

/* One thermometer of the configuration. */
typedef struct {
  const hearth_host *host;
  const hearth_ext_reach *reach; /* NULL on an older hub */
  char file[256];
} sensor;

static const hearth_slice temperature = HEARTH_S("temperature");

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

/* Reads a text of the table, which is JSON, by its key in quotation marks. A text with a backslash is refused. */
static int read_text(hearth_slice config, const char *key, char text[256]) {
  char table[1024] = "";
  int end = 0;
  if (config.len < sizeof table) memcpy(table, config.ptr, config.len);
  const char *at = strstr(table, key);
  return at && sscanf(at + strlen(key), " : \"%255[^\"\\]\"%n", text, &end) == 1 && end > 0;
}

static int32_t check_config(hearth_slice config, hearth_sink errors) {
  char file[256];
  if (read_text(config, "\"file\"", file)) return HEARTH_OK;
  errors.put(errors.ctx, slice_of("file"), slice_of("the path of a file is expected"));
  return HEARTH_ERR_INVALID;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  static const hearth_slice celsius = HEARTH_S("{\"type\": \"number\", \"access\": \"r\", \"unit\": \"°C\"}");
  (void)config;
  properties.put(properties.ctx, temperature, celsius);
  return HEARTH_OK;
}

/* Reads the file; returns why that fails, or NULL. */
static const char *measure(const char *path, double *celsius) {
  long thousandths = 0;
  char more;
  FILE *file = fopen(path, "r");
  if (!file) return strerror(errno);
  int found = fscanf(file, "%ld %c", &thousandths, &more);
  fclose(file);
  *celsius = thousandths / 1000.0;
  return found == 1 ? NULL : "there is no number in it";
}

static int32_t on_timer(void *instance, uint32_t id) {
  sensor *self = instance;
  char text[300];
  double celsius = 0;
  const char *problem = measure(self->file, &celsius);
  if (problem) {
    snprintf(text, sizeof text, "%s: %s", self->file, problem);
    if (self->reach) self->reach->unreachable(self->host, slice_of(text));
  } else {
    snprintf(text, sizeof text, "%g", celsius);
    self->host->publish(self->host, temperature, slice_of(text), 0);
    if (self->reach) self->reach->reachable(self->host);
  }
  return self->host->set_timer(self->host, id, EVERY_MS);
}

static int32_t create(const hearth_create_args *args, void **instance) {
  sensor *self = *instance = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->reach = args->host->get_extension(args->host, HEARTH_EXT_REACH);
  read_text(args->config, "\"file\"", self->file);
  return on_timer(self, 0);
}

static void destroy(void *instance) { free(instance); }

/* Nothing can be set: the hub has refused it already. */
static int32_t on_command(void *instance, const hearth_command *command) {
  (void)instance, (void)command;
  return HEARTH_ERR_UNSUPPORTED;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("my-lamp"), .check_config = check_config, .describe = describe,
  .create = create, .destroy = destroy, .on_command = on_command, .on_timer = on_timer,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("my-lamp", "1.0"), NULL, kinds };
