/* A plug in the network with an HTTP interface. The table has one key: url = "http://ADDRESS[:PORT]/PATH".
 * It suits a plug that tells {"ison": true} at its URL, and is switched by ?turn=on and ?turn=off, as many do.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "hearth_plugin.h"

#define POLL_MS 10000
/* A call that waits for the plug holds up this device alone; keep this below the device's `deadline`, which is 5 s. */
#define PATIENCE_MS 3000

/* One plug of the configuration. */
typedef struct {
  const hearth_host *host;
  const hearth_ext_reach *reach; /* NULL on an older hub */
  struct sockaddr_in address;
  char name[24]; /* the same as text */
  char path[256];
} plug;

static const hearth_slice power = HEARTH_S("power");
static const hearth_slice states[] = { HEARTH_S("OFF"), HEARTH_S("ON") };

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

/* Takes the URL apart. It has an address and no name: looking up a name may take longer than a call may. */
static int read_url(hearth_slice config, plug *self) {
  char url[256], address[16];
  unsigned port = 80;
  int before = 0, after = 0;
  if (!read_text(config, "\"url\"", url)) return 0;
  if (sscanf(url, "http://%15[0-9.]%n:%5u%n", address, &before, &port, &after) < 1) return 0;
  const char *path = url + (after ? after : before);
  if (port < 1 || port > 65535 || *path != '/' || strchr(path, ' ')) return 0;
  strcpy(self->path, path);
  snprintf(self->name, sizeof self->name, "%s:%u", address, port);
  self->address.sin_family = AF_INET;
  self->address.sin_port = htons(port);
  return inet_pton(AF_INET, address, &self->address.sin_addr);
}

static int32_t check_config(hearth_slice config, hearth_sink errors) {
  static const hearth_slice problem = HEARTH_S("http://ADDRESS/PATH is expected, such as http://192.168.1.40/relay/0");
  plug unused;
  if (read_url(config, &unused)) return HEARTH_OK;
  errors.put(errors.ctx, slice_of("url"), problem);
  return HEARTH_ERR_INVALID;
}

static int32_t describe(hearth_slice config, hearth_sink properties) {
  (void)config;
  properties.put(properties.ctx, power, slice_of("{\"type\": \"switch\"}"));
  return HEARTH_OK;
}

/* Limits the next call on a socket to the time that is left. */
static void limit(const plug *self, int connection, int direction, uint64_t end) {
  uint64_t now = self->host->now_ms(self->host), left = now < end ? end - now : 1;
  struct timeval time = { .tv_sec = left / 1000, .tv_usec = left % 1000 * 1000 };
  setsockopt(connection, SOL_SOCKET, direction, &time, sizeof time);
}

/* Sends a request of HTTP, and reads the reply as far as there is room; returns its length, or -1. */
static ssize_t fetch(const plug *self, const char *query, char *text, size_t size) {
  uint64_t end = self->host->now_ms(self->host) + PATIENCE_MS;
  int length = snprintf(text, size, "GET %s%s HTTP/1.0\r\nHost: %s\r\n\r\n", self->path, query, self->name);
  ssize_t got = -1;
  int connection = socket(AF_INET, SOCK_STREAM, 0), error;
  if (connection < 0) return -1;
  limit(self, connection, SO_SNDTIMEO, end);
  if (connect(connection, (const struct sockaddr *)&self->address, sizeof self->address) == 0 &&
      send(connection, text, length, MSG_NOSIGNAL) == length) {
    limit(self, connection, SO_RCVTIMEO, end);
    got = recv(connection, text, size, MSG_WAITALL); /* until the plug closes the connection, or the time is over */
  }
  error = errno;
  close(connection);
  errno = error;
  return got;
}

/* Returns what a reply tells: 1 for on, 0 for off, -1 for anything else. */
static int is_on(const char *reply) {
  char ison[6] = "";
  int status = 0;
  const char *at = strstr(reply, "\"ison\"");
  if (sscanf(reply, "HTTP/1.%*1[01] %d", &status) != 1 || status != 200 || !at) return -1;
  sscanf(at, "\"ison\" : %5[a-z]", ison);
  return strcmp(ison, "true") == 0 ? 1 : strcmp(ison, "false") == 0 ? 0 : -1;
}

/* Asks the plug, and publishes what it tells; returns why that fails, or NULL. */
static const char *ask(const plug *self, const char *query) {
  char text[4096];
  const char *problem = NULL;
  int on = -1;
  ssize_t got = fetch(self, query, text, sizeof text - 1);
  if (got >= 0) {
    text[got] = '\0';
    on = is_on(text);
    if (on < 0) problem = "the plug does not tell whether it is on";
  } else {
    problem = errno == EAGAIN || errno == EINPROGRESS ? "the plug does not answer" : strerror(errno);
  }
  if (!problem) self->host->publish(self->host, power, states[on], 0);
  if (!problem && self->reach) self->reach->reachable(self->host);
  if (problem && self->reach) self->reach->unreachable(self->host, slice_of(problem));
  return problem;
}

static int32_t on_timer(void *instance, uint32_t id) {
  plug *self = instance;
  ask(self, ""); /* the device's status has the reason, if there is one */
  return self->host->set_timer(self->host, id, POLL_MS);
}

static int32_t create(const hearth_create_args *args, void **instance) {
  plug *self = *instance = calloc(1, sizeof *self);
  if (!self) return HEARTH_ERR_FAILED;
  self->host = args->host;
  self->reach = args->host->get_extension(args->host, HEARTH_EXT_REACH);
  read_url(args->config, self);
  return on_timer(self, 0);
}

static void destroy(void *instance) { free(instance); }

/* The hub has checked the payload: it is ON or OFF. */
static int32_t on_command(void *instance, const hearth_command *command) {
  plug *self = instance;
  int on = command->payload.len == 2 && memcmp(command->payload.ptr, "ON", 2) == 0;
  const char *problem = ask(self, on ? "?turn=on" : "?turn=off");
  if (!problem) return HEARTH_OK;
  self->host->complete(self->host, command->token, HEARTH_ERR_UNREACHABLE, slice_of(problem));
  return HEARTH_PENDING;
}

static const hearth_kind kind = {
  .struct_size = sizeof kind, .name = HEARTH_S("my-lamp"), .check_config = check_config, .describe = describe,
  .create = create, .destroy = destroy, .on_command = on_command, .on_timer = on_timer,
};
static const hearth_kind *const kinds[] = { &kind, NULL };
const hearth_entry hearth_plugin_entry_v1 = { HEARTH_PREFIX("my-lamp", "1.0"), NULL, kinds };
