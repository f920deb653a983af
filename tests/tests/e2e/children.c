/* A bridge in C: what is written to `find` is a lamp that it adds, and to `lose` one that it removes. */
#include "hearth_children.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 4, LONGEST = 16 };

typedef struct lamp {
  char name[LONGEST];
  const hearth_host *host;
} lamp;

typedef struct bridge {
  const hearth_host *host;
  const hearth_host_children *children;
  lamp lamps[MOST];
} bridge;

static int is(hearth_slice slice, const char *text) {
  return slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

static hearth_slice slice_of(const char *text) {
  hearth_slice slice = { (const uint8_t *)text, strlen(text) };
  return slice;
}

static lamp *find(bridge *self, hearth_slice name) {
  for (int i = 0; i < MOST; i++) {
    if (self->lamps[i].host && is(name, self->lamps[i].name)) return &self->lamps[i];
  }
  return NULL;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  (void)config;
  properties.put(properties.ctx, slice_of("find"), slice_of("{\"type\": \"text\", \"access\": \"w\"}"));
  properties.put(properties.ctx, slice_of("lose"), slice_of("{\"type\": \"text\", \"access\": \"w\"}"));
  return HEARTH_OK;
}

static int32_t create(const hearth_create_args *args, void **out) {
  *out = NULL;
  const hearth_host_children *children = args->host->get_extension(args->host, HEARTH_EXT_CHILDREN);
  if (!children || !HEARTH_HAS(children, list)) return HEARTH_ERR_UNSUPPORTED;
  bridge *self = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->children = children;
  *out = self;
  return HEARTH_OK;
}

static void destroy(void *instance) { free(instance); }

static void put_nothing(void *ctx, hearth_slice path, hearth_slice message) {
  (void)ctx, (void)path, (void)message;
}

static int32_t add(bridge *self, hearth_slice name) {
  lamp *free_place = NULL;
  for (int i = 0; i < MOST; i++) {
    if (!self->lamps[i].host) free_place = &self->lamps[i];
  }
  if (!free_place || name.len >= LONGEST) return HEARTH_ERR_TOO_LARGE;
  hearth_child child = { .struct_size = sizeof child, .name = name, .kind = slice_of("light"),
                         .properties = slice_of("{\"power\": {\"type\": \"switch\"}}"),
                         .errors = { NULL, put_nothing } };
  int32_t status = self->children->add(self->host, &child, &free_place->host);
  if (status != HEARTH_OK) return status;
  memcpy(free_place->name, name.ptr, name.len);
  free_place->name[name.len] = 0;
  free_place->host->publish(free_place->host, slice_of("power"), slice_of("OFF"), 0);
  return HEARTH_OK;
}

static int32_t on_command(void *instance, const hearth_command *command) {
  bridge *self = instance;
  if (is(command->name, "find")) return add(self, command->payload);
  lamp *lost = find(self, command->payload);
  if (!lost) return HEARTH_ERR_INVALID;
  int32_t status = self->children->remove(self->host, command->payload);
  int32_t late = lost->host->publish(lost->host, slice_of("power"), slice_of("ON"), 0);
  memset(lost, 0, sizeof *lost);
  return late == HEARTH_ERR_GONE ? status : HEARTH_ERR_FAILED;
}

static int32_t may_add(hearth_slice config) {
  (void)config;
  return 1;
}

static int32_t on_child_command(void *instance, hearth_slice child, const hearth_command *command) {
  lamp *asked = find(instance, child);
  if (!asked) return HEARTH_ERR_GONE;
  return asked->host->publish(asked->host, command->name, command->payload, 0);
}

static const hearth_kind_children children = { .struct_size = sizeof(hearth_kind_children), .may_add = may_add,
                                               .on_command = on_child_command };

static const void *get_extension(const char *id) {
  return strcmp(id, HEARTH_EXT_CHILDREN) == 0 ? &children : NULL;
}

static const hearth_kind kind = { .struct_size = sizeof(hearth_kind), .name = HEARTH_S("children"), .describe = describe,
                                  .create = create, .destroy = destroy, .on_command = on_command,
                                  .get_extension = get_extension };
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("children", "1.0"), NULL, kinds };
